//! Runs the golden workspaces in `tests/golden`, named `<phase>-<ok|fail>-<topic>`: one test per phase.
//!
//! How a workspace is judged is in `support::golden`; a test here only says how its phase is run.

mod support;

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use ouro_engine::build::{self, Analysis, BuildError, Request};
use ouro_engine::configure::configure;
use ouro_engine::load;
use ouro_engine::plan::{self, Plan};
use ouro_engine::toolchain::ToolchainFacts;
use ouro_rules::{Config, Diagnostic, RuleTable, builtin};
use support::golden::{Case, run};
use support::{analysis, dump, rules};

#[test]
fn load_phase() {
    run("load", |case: &Case| {
        let workspace = case.workspace()?;
        let patterns = case.patterns(&workspace)?;
        load::load(&workspace, &patterns, &rules::table()).map(|loaded| dump::loaded(&loaded))
    });
}

#[test]
fn graph_phase() {
    run("graph", |case: &Case| analysed(case, analysis::graph));
}

#[test]
fn analyse_phase() {
    run("analyse", |case: &Case| analysed(case, analysis::chains));
}

#[test]
fn programs_phase() {
    run("programs", |case: &Case| analysed(case, analysis::programs));
}

#[test]
fn plan_phase() {
    run("plan", |case: &Case| analysed(case, analysis::plan));
}

#[test]
fn configure_phase() {
    run("configure", |case: &Case| {
        let workspace = case.workspace()?;
        let (patterns, configuration) = (case.patterns(&workspace)?, case.configuration(&workspace)?);
        let (workspace, configurations, rules) = (&workspace, std::slice::from_ref(&configuration), &RULES);
        let request = Request { workspace, patterns: &patterns, configurations, rules, search_path: "".as_ref(), program: None };
        let loaded = build::load(&request, (false, &AtomicBool::new(false))).map_err(findings)?;
        let configured = configure(&loaded, &configuration)?;
        Ok(format!("{}: {configuration}\n{}", configuration.folder, configured.targets().map(dump::target).collect::<String>()))
    });
}

fn findings(error: BuildError) -> Vec<Diagnostic> {
    match error {
        BuildError::Findings(findings) => findings,
        other => panic!("{other}"),
    }
}

static RULES: LazyLock<RuleTable> = LazyLock::new(builtin::table);

/// Takes a workspace through all phases that need no compiler, with the real rules.
fn analysed(case: &Case, show: fn(&Analysis<'_>, &Plan) -> String) -> Result<String, Vec<Diagnostic>> {
    let workspace = case.workspace()?;
    let patterns = case.patterns(&workspace)?;
    let configuration = case.configuration(&workspace)?;
    let configurations = std::slice::from_ref(&configuration);
    let (workspace, patterns, rules) = (&workspace, patterns.as_slice(), &RULES);
    let request = Request { workspace, patterns, configurations, rules, search_path: "".as_ref(), program: None };
    let loaded = build::load(&request, (false, &AtomicBool::new(false))).map_err(findings)?;
    let configured = configure(&loaded, &configuration)?;
    let facts = ToolchainFacts { clang_flags: vec!["--no-default-config".to_owned()], ..ToolchainFacts::default() };
    let config = Config { system_includes: Vec::new(), kernel_btf: None, ..build::config(workspace, &configuration, facts) };
    let analysis = Analysis::of(&workspace.root, &configured, &config, &AtomicBool::new(false)).map_err(findings)?;
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    Ok(show(&analysis, &plan))
}
