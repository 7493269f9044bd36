//! Rules for loading tests: like the real ones, but small and fixed, so that dumps change only when loading does.

use std::sync::Arc;

use ouro_rules::rule::RuleTable;
use ouro_rules::{Analysis, AttrSpec, AttrType, Context, Diagnostic, EdgeKind, RecordSpec, Rule, Value};

struct TestRule {
    name: &'static str,
    attrs: Vec<AttrSpec>,
}

impl Rule for TestRule {
    fn name(&self) -> &str {
        self.name
    }

    fn doc(&self) -> &str {
        "For tests."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, _ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        Ok(Analysis::default())
    }
}

/// The rules `bpf_program`, `bpf_map`, `bpf_chain`, `filegroup` and the constructors `xdp` and `jump`.
pub fn table() -> RuleTable {
    let rules: Vec<Arc<dyn Rule>> = vec![
        Arc::new(TestRule { name: "bpf_program", attrs: program() }),
        Arc::new(TestRule { name: "bpf_map", attrs: map() }),
        Arc::new(TestRule { name: "bpf_chain", attrs: chain() }),
        Arc::new(TestRule { name: "filegroup", attrs: vec![labels("srcs", EdgeKind::Source)] }),
    ];
    let interface = AttrSpec::new("interface", AttrType::String, "").required();
    let mode = AttrSpec::new("mode", AttrType::String, "").allowed(&["native", "generic"]).default(Value::Str("native".into()));
    let target = AttrSpec::new("target", AttrType::Label, "").required().edge(EdgeKind::Jump);
    let bound = AttrSpec::new("loop", AttrType::Int, "");
    let record = |name: &str, attrs| RecordSpec { name: name.to_owned(), attrs, doc: String::new() };
    RuleTable::new(rules, vec![record("xdp", vec![interface, mode]), record("jump", vec![target, bound])])
}

fn labels(name: &str, edge: EdgeKind) -> AttrSpec {
    AttrSpec::new(name, AttrType::Label.list(), "").default(Value::List(Vec::new())).edge(edge)
}

fn program() -> Vec<AttrSpec> {
    let jump = AttrType::OneOf(vec![AttrType::Label, AttrType::Record(vec!["jump".to_owned()])]);
    vec![
        labels("srcs", EdgeKind::Source).required(),
        AttrSpec::new("type", AttrType::String, "").required(),
        labels("deps", EdgeKind::Dep),
        labels("maps", EdgeKind::Map),
        AttrSpec::new("jumps", jump.list(), "").default(Value::List(Vec::new())).edge(EdgeKind::Jump),
        AttrSpec::new("slot", AttrType::Int, ""),
        AttrSpec::new("defines", AttrType::Dict, "").default(Value::Dict(Vec::new())),
    ]
}

fn map() -> Vec<AttrSpec> {
    vec![
        AttrSpec::new("type", AttrType::String, "").required(),
        AttrSpec::new("max_entries", AttrType::Int, "").default(Value::Int(1)),
        AttrSpec::new("contents", AttrType::Data, "").edge(EdgeKind::Map),
    ]
}

fn chain() -> Vec<AttrSpec> {
    let points = AttrType::Record(vec!["xdp".to_owned()]);
    vec![
        AttrSpec::new("entry", AttrType::Label, "").required().edge(EdgeKind::Entry),
        AttrSpec::new("attach", points.list(), "").default(Value::List(Vec::new())),
        AttrSpec::new("counting", AttrType::Bool, "").default(Value::Bool(true)),
    ]
}
