//! `ouro aquery`

use ouro_engine::execute::Keys;
use ouro_engine::query::ActionQuery;
use ouro_engine::state::State;
use ouro_engine::universe::Universe;
use ouro_rules::Label;

use crate::cli::{Aquery, AqueryOutput};
use crate::commands::analysed::Asker;
use crate::commands::output;
use crate::commands::query::{evaluate, here, wrong};
use crate::error::CliError;
use crate::session::Session;
use crate::view::actions::{self, Shown};
use crate::view::network;

/// Shows the actions of targets. Nothing is built; a key is known where all inputs are there.
pub fn run(session: &Session, args: &Aquery) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let is_file = |path: &str| workspace.root.join(path).is_file();
    let here = here(&workspace, &is_file);
    let asked = match output::named(&workspace, &args.expression) {
        Some(path) => ActionQuery::of_output(&path, output::package(&workspace, &path), here),
        None => ActionQuery::parse(&args.expression, here),
    };
    let asked = asked.map_err(|findings| wrong(session, &workspace, &args.expression, findings))?;
    let asker = Asker::new(session, &workspace, &args.config, "`ouro aquery`")?;
    let looked = asker.universe(&asked.targets.patterns(), asked.targets.asks_attributes())?;
    let labels = labels(session, args, &asked, &looked.universe)?;
    let loaded = asker.loaded(looked, &labels)?;
    let configured = asker.configure(&loaded)?;
    let view = asker.analyse(&configured)?;
    let analysis = &view.analysis;
    let selected = asked.select(&analysis.graph, &analysis.analysed, &labels);
    let toolchain = view.toolchain(selected.iter().copied())?;
    let state = State::load(&workspace.root);
    let keys = Keys::new(&workspace.root, &state, toolchain);
    let shown: Vec<Shown<'_>> = selected.into_iter().map(|action| Shown::of(action, toolchain, keys.of(action))).collect();
    if shown.is_empty() {
        session.output.status("nothing matches\n");
    }
    session.fact(&match args.output {
        AqueryOutput::Text => actions::text(&shown),
        AqueryOutput::Json => actions::json(&shown),
        AqueryOutput::Dot => network::dot(&actions::network(&shown, &args.expression)),
        AqueryOutput::Mermaid => network::mermaid(&actions::network(&shown, &args.expression)),
    })
}

/// The targets that are meant, sorted.
fn labels(session: &Session, args: &Aquery, asked: &ActionQuery, universe: &Universe) -> Result<Vec<Label>, CliError> {
    let nodes = evaluate(session, &args.expression, &asked.targets, universe, &universe.graph)?;
    let mut labels: Vec<Label> = nodes.into_iter().map(|node| universe.graph.node(node).label.to_label()).collect();
    labels.sort();
    Ok(labels)
}
