//! Runs the golden workspaces in `tests/golden`, named `<phase>-<ok|fail>-<topic>`: one test per phase.
//!
//! How a workspace is judged is in `support::golden`; a test here only says how its phase is run.

mod support;

use ouro_engine::build::{Analysis, Request};
use ouro_engine::load;
use ouro_engine::plan::{self, Plan};
use ouro_rules::{Config, Diagnostic, builtin};
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

/// Takes a workspace through all phases that need no compiler, with the real rules.
fn analysed(case: &Case, show: fn(&Analysis<'_>, &Plan) -> String) -> Result<String, Vec<Diagnostic>> {
    let workspace = case.workspace()?;
    let patterns = case.patterns(&workspace)?;
    let table = builtin::table();
    let loaded = load::load(&workspace, &patterns, &table)?;
    let request = Request { workspace: &workspace, patterns: &patterns, rules: &table, search_path: "".as_ref(), program: None };
    let config = Config {
        workspace: workspace.settings.workspace.name.clone(),
        out_dir: "ouro-out/x86".to_owned(),
        arch: "x86".to_owned(),
        system_includes: Vec::new(),
        clang_flags: vec!["--no-default-config".to_owned()],
    };
    let analysis = Analysis::of(&request, &loaded, &config)?;
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    Ok(show(&analysis, &plan))
}
