//! `ouro aquery`

use ouro_engine::build::{Analysis, Request, config};
use ouro_engine::execute::Keys;
use ouro_engine::query::ActionQuery;
use ouro_engine::state::State;
use ouro_engine::toolchain::Toolchain;
use ouro_rules::{Label, builtin};

use crate::cli::{Aquery, AqueryOutput};
use crate::commands::build::failure;
use crate::commands::query::{evaluate, everything, wrong};
use crate::error::CliError;
use crate::session::{self, Session};
use crate::view::actions::{self, Shown};
use crate::view::network;

/// Shows the actions of targets. Nothing is built; a key is known where all inputs are there.
pub fn run(session: &Session, args: &Aquery) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let is_file = |path: &str| workspace.root.join(path).is_file();
    let asked = ActionQuery::parse(&args.expression, &workspace.cwd, &is_file);
    let asked = asked.map_err(|findings| wrong(session, &args.expression, findings))?;
    let (rules, search_path) = (builtin::table(), session::search_path());
    let toolchain =
        Toolchain::find(&workspace.root, &workspace.settings.toolchain, &search_path).map_err(|error| failure(error.into()))?;
    let (mut loaded, graph) = everything(session, &workspace, &asked.targets.patterns())?;
    let nodes = evaluate(session, &args.expression, &asked.targets, &loaded, &graph)?;
    let mut labels: Vec<Label> = nodes.into_iter().map(|node| graph.node(node).label.clone()).collect();
    labels.sort();
    // What was not asked for is not analysed, so that what is wrong with it does not matter.
    loaded.requested = labels.clone();
    let request = Request { workspace: &workspace, patterns: &[], rules: &rules, search_path: &search_path, program: None };
    let analysis = Analysis::of(&request, &loaded, &config(&workspace, &toolchain))?;
    let state = State::load(&workspace.root);
    let keys = Keys::new(&workspace.root, &state, &toolchain);
    let selected = asked.select(&analysis.graph, &analysis.analysed, &labels);
    let shown: Vec<Shown<'_>> = selected.into_iter().map(|action| Shown::of(action, &toolchain, keys.of(action))).collect();
    session.fact(&match args.output {
        AqueryOutput::Text => actions::text(&shown),
        AqueryOutput::Json => actions::json(&shown),
        AqueryOutput::Dot => network::dot(&actions::network(&shown, &args.expression)),
        AqueryOutput::Mermaid => network::mermaid(&actions::network(&shown, &args.expression)),
    })
}
