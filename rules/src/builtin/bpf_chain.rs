//! `bpf_chain`: an entry program and all it can reach by jumps, deployed as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attach::{ATTACH, attach};
use super::extension::extensions;
use super::packet::packets;
use crate::action::{Action, ActionKind, Artifact};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::chain::{self, Draft};
use crate::diagnostic::Diagnostic;
use crate::hook;
use crate::label::Label;
use crate::manifest::{DEPLOYMENT_NAME, PacketTest, is_deployment_name};
use crate::native::Native;
use crate::provider::{ChainInfo, ProgramInfo, Providers};
use crate::rule::{Analysis, Context, Rule};

pub(super) struct BpfChain {
    attrs: Vec<AttrSpec>,
}

impl BpfChain {
    pub(super) fn new() -> BpfChain {
        let empty = || Value::List(Vec::new());
        let points = AttrType::Record(ATTACH.iter().map(|name| (*name).to_owned()).collect());
        let attrs = vec![
            AttrSpec::new("entry", AttrType::Label, "The first program.").required().edge(EdgeKind::Entry),
            AttrSpec::new(
                "attach",
                points.list(),
                "Where the entry is attached: `xdp()`, `tc()`, `cgroup()` and the others below.",
            )
            .default(empty()),
            AttrSpec::new(
                "programs",
                AttrType::Label.list(),
                "Programs that must be part of the chain; an unreachable one is an error.",
            )
            .default(empty())
            .edge(EdgeKind::Member),
            AttrSpec::new(
                "extensions",
                AttrType::Record(vec!["freplace".to_owned()]).list(),
                "Programs that replace functions of the entry, before anything runs it.",
            )
            .default(empty())
            .edge(EdgeKind::Member),
            AttrSpec::new("table_size", AttrType::Int, "Entries of the jump table; as many as needed by default."),
            AttrSpec::new(
                "counting",
                AttrType::Bool,
                "Whether each jump counts how often it was taken and missed. When off it costs nothing.",
            )
            .default(Value::Bool(true)),
            AttrSpec::new(
                "atomic",
                AttrType::Bool,
                "Whether all hooks switch to a new generation at one instant. Costs one of the 33 tail calls of a run.",
            )
            .default(Value::Bool(false)),
            AttrSpec::new(
                "btf",
                AttrType::Label,
                "A file with a kernel's types (BTF). It travels in the bundle, and CO-RE relocations are made for these types instead \
                 of the running kernel's.",
            )
            .edge(EdgeKind::Source),
            AttrSpec::new(
                "tests",
                AttrType::Record(vec!["packet".to_owned()]).list(),
                "Packets the chain is tried with before it goes live; a wrong verdict fails the deploy, and nothing changes.",
            )
            .default(empty()),
        ];
        BpfChain { attrs }
    }
}

impl Rule for BpfChain {
    fn name(&self) -> &str {
        "bpf_chain"
    }

    fn doc(&self) -> &str {
        "An entry program and all it can reach by jumps. Owns the jump table; building it makes the bundle that is deployed."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let entry = entry(ctx)?;
        let programs = reachable(ctx, &entry);
        let (attach, mut findings) = attach_points(ctx, &entry);
        findings.extend(name_finding(ctx));
        let listed = listed(ctx, &mut findings);
        let extensions = extensions(ctx, &mut findings);
        let added = extensions.iter().map(|extension| extension.program.clone()).collect::<Vec<_>>();
        let tests = tests(ctx, &entry, &mut findings);
        let btf = btf(ctx).unwrap_or_else(|finding| {
            findings.push(finding);
            None
        });
        let draft = Draft {
            workspace: ctx.config.workspace.as_deref(),
            chain: &ctx.target.label,
            span: &ctx.target.span,
            entry: &entry,
            programs: &programs,
            listed,
            extensions,
            attach,
            table_size: ctx.target.get("table_size").as_int().map(|size| (size, ctx.target.span_of("table_size"))),
            counting: ctx.target.get("counting").as_bool().unwrap_or(true),
            atomic: ctx.target.get("atomic").as_bool().unwrap_or(false),
            tests,
            has_btf: btf.is_some(),
            oldest: ctx.config.oldest_kernel,
        };
        match chain::validate(&draft) {
            Ok(spec) if findings.is_empty() => Ok(analysis(ctx, spec, programs.values().chain(&added), btf)),
            Ok(_) => Err(findings),
            Err(more) => {
                findings.extend(more);
                Err(findings)
            }
        }
    }
}

fn entry(ctx: &Context<'_>) -> Result<Arc<ProgramInfo>, Vec<Diagnostic>> {
    let label = ctx.target.get("entry").as_label();
    let program = label.and_then(|label| (ctx.deps)(label)).and_then(|providers| providers.program.clone());
    program.ok_or_else(|| {
        let shown = label.map_or_else(String::new, Label::to_string);
        vec![
            Diagnostic::error(ctx.target.span_of("entry"), format!("`{shown}` is no program"))
                .help("name a `bpf_program` as `entry`"),
        ]
    })
}

/// Every program that jumps lead to, by each name that jumps use for it, and the entry by its own label.
fn reachable(ctx: &Context<'_>, entry: &Arc<ProgramInfo>) -> BTreeMap<Label, Arc<ProgramInfo>> {
    let mut found = BTreeMap::from([(entry.label.clone(), entry.clone())]);
    let mut open = vec![entry.clone()];
    while let Some(program) = open.pop() {
        for jump in &program.jumps {
            let Some(next) = (ctx.deps)(&jump.target).and_then(|providers| providers.program.clone()) else { continue };
            if found.insert(jump.target.clone(), next.clone()).is_none() {
                open.push(next);
            }
        }
    }
    found
}

/// The label names the deployment, and that a folder of the bpffs.
fn name_finding(ctx: &Context<'_>) -> Option<Diagnostic> {
    let name = chain::deployment_name(&ctx.target.label);
    if is_deployment_name(&name) {
        return None;
    }
    let finding = Diagnostic::error(ctx.target.span_of("name"), format!("`{name}` cannot name a deployment"));
    Some(
        finding.help(format!(
            "use letters, digits, `_` and `-` in the names of chain and package, and at most {DEPLOYMENT_NAME} bytes"
        )),
    )
}

/// The programs of the attribute `programs` by their own labels.
fn listed<'a>(ctx: &Context<'a>, findings: &mut Vec<Diagnostic>) -> Vec<(Label, &'a Spanned)> {
    let mut programs = Vec::new();
    for (item, label, providers) in ctx.listed("programs") {
        match providers.and_then(|providers| providers.program.as_ref()) {
            Some(program) => programs.push((program.label.clone(), item)),
            None => findings
                .push(Diagnostic::error(&item.span, format!("`{label}` is no program")).help("list `bpf_program` targets here")),
        }
    }
    programs
}

fn tests(ctx: &Context<'_>, entry: &ProgramInfo, findings: &mut Vec<Diagnostic>) -> Vec<PacketTest> {
    let Some(hook) = hook::find(&entry.ty) else { return Vec::new() };
    let (tests, more) = packets(ctx.target.get("tests").items(), hook);
    findings.extend(more);
    tests
}

/// The file with the types that travel with the chain.
fn btf(ctx: &Context<'_>) -> Result<Option<Artifact>, Diagnostic> {
    let Some(label) = ctx.target.get("btf").as_label() else { return Ok(None) };
    match (ctx.deps)(label).map_or(&[][..], |providers| &providers.files) {
        [file] => Ok(Some(file.clone())),
        files => {
            let message = format!("`{label}` stands for {} files; the types of a kernel are one", files.len());
            Err(Diagnostic::error(ctx.target.span_of("btf"), message).help("name one file with BTF"))
        }
    }
}

fn attach_points<'a>(ctx: &Context<'a>, entry: &ProgramInfo) -> (Vec<(crate::manifest::Attach, &'a Spanned)>, Vec<Diagnostic>) {
    let (mut points, mut findings) = (Vec::new(), Vec::new());
    for item in ctx.target.get("attach").items() {
        match chain::check_point(entry, item).map_or_else(|| attach(item, &entry.ty), Err) {
            Ok(point) => points.push((point, item)),
            Err(finding) => findings.push(finding),
        }
    }
    (points, findings)
}

fn analysis<'a>(
    ctx: &Context<'_>,
    spec: chain::ChainSpec,
    programs: impl Iterator<Item = &'a Arc<ProgramInfo>>,
    btf: Option<Artifact>,
) -> Analysis {
    let label = ctx.target.label.clone();
    let bundle = Artifact::Output(ctx.output(&format!("{}.bundle", label.name)).into());
    let by_label: BTreeMap<&Label, &Arc<ProgramInfo>> = programs.map(|program| (&program.label, program)).collect();
    let members: Vec<&Arc<ProgramInfo>> = spec.programs.iter().flat_map(|member| by_label[&member.label].tried()).collect();
    let expected = members.iter().map(|program| program.expected.clone()).collect();
    let action = Action {
        mnemonic: "bundle".into(),
        owner: label.clone(),
        inputs: members.iter().map(|program| program.object.clone()).chain(btf).collect(),
        kind: ActionKind::Native(Native::Bundle(Box::new(spec.clone()), expected)),
        outputs: vec![bundle.clone()],
    };
    let chain = ChainInfo { label, spec: Arc::new(spec), bundle: bundle.clone() };
    let providers = Providers { files: vec![bundle], chain: Some(Arc::new(chain)), ..Providers::default() };
    Analysis { actions: vec![Arc::new(action)], providers, ..Analysis::default() }
}
