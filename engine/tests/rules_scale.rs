//! Rules of users on thousands of targets in a row: nothing grows with the square of them, and no stack is deep enough to count on.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ouro_engine::build::{Analysis, BuildError, config};
use ouro_engine::configure::configure;
use ouro_engine::load;
use ouro_engine::toolchain::ToolchainFacts;
use ouro_engine::workspace::Workspace;
use ouro_rules::label::Pattern;
use ouro_rules::{Configuration, Data, Diagnostic, Label, ProviderId, builtin, platform};

/// Analyses a workspace with these two files and hands `look` what it means.
fn analyse<T>(build: &str, star: &str, look: impl FnOnce(&Analysis<'_>) -> T) -> Result<T, Vec<Diagnostic>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("ouro.toml", ""), ("BUILD.ouro", build), ("defs.star", star)] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let workspace = Workspace::find(folder.path())?;
    let patterns = [Pattern::parse("//...", "").expect("a pattern")];
    let table = builtin::table();
    let loaded = load::load(&workspace, &patterns, &table)?;
    let configuration = Configuration::plain(platform::find("x86").expect("a platform"));
    let configured = configure(&loaded, &configuration)?;
    let config = config(&workspace, &configuration, ToolchainFacts::default());
    match Analysis::of(&workspace.root, &configured, &config, &AtomicBool::new(false)) {
        Ok(analysis) => Ok(look(&analysis)),
        Err(BuildError::Findings(findings)) => Err(findings),
        Err(other) => panic!("{other}"),
    }
}

/// Each target adds one file to the set of the one before; only the last one lists it. If a set were copied on its way, this would
/// take as long as copying half a billion files.
#[test]
fn a_set_is_handed_on_through_thirty_thousand_targets() {
    const COUNT: usize = 30_000;
    let star = format!(
        r#"
SetInfo = provider(fields = ["files", "count"])

def _node(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(out, "")
    files = depset([out], transitive = [dep[SetInfo].files for dep in ctx.attr.deps])
    return [SetInfo(files = files, count = len(files.to_list()) if ctx.attr.last else 0)]

node = rule(
    implementation = _node,
    attrs = {{"deps": attr.label_list(providers = [SetInfo]), "last": attr.bool()}},
)

def row():
    for i in range({COUNT}):
        node(name = "n%d" % i, deps = [":n%d" % (i - 1)] if i else [], last = i == {COUNT} - 1)
"#
    );
    let began = Instant::now();
    let build = "load(\":defs.star\", \"row\")\nrow()\n";
    let count = analyse(build, &star, |analysis| {
        let last = Label::new("", format!("n{}", COUNT - 1));
        let id = ProviderId { file: "defs.star".into(), name: "SetInfo".into() };
        analysis.providers(&last).map(|providers| providers.infos[&id].fields["count"].clone())
    });
    assert_eq!(count, Ok(Some(Data::Int(COUNT as i64))));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// What is no set is copied, and a value in a value in a value is taken apart by functions that call themselves: a finding, before
/// that gets slow or deep.
#[test]
fn values_nested_without_end_are_a_finding() {
    let star = r#"
LinkInfo = provider(fields = ["left", "right"])

def _node(ctx):
    before = [dep[LinkInfo] for dep in ctx.attr.deps]
    return [LinkInfo(left = before, right = before)]

node = rule(implementation = _node, attrs = {"deps": attr.label_list(providers = [LinkInfo])})

def row():
    for i in range(1000):
        node(name = "n%d" % i, deps = [":n%d" % (i - 1)] if i else [])
"#;
    let build = "load(\":defs.star\", \"row\")\nrow()\n";
    let findings = analyse(build, star, |_| ()).expect_err("too deep");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("nested too deeply, or too large"), "{findings:?}");
}
