//! `ouro aquery`

use ouro_engine::configure::Configured;
use ouro_engine::execute::Keys;
use ouro_engine::query::{ActionQuery, TargetGraph};
use ouro_engine::state::State;
use ouro_rules::Label;

use crate::cli::{Aquery, AqueryOutput};
use crate::commands::analysed::Asker;
use crate::commands::query::{evaluate, everything, here, targets, wrong};
use crate::error::CliError;
use crate::session::Session;
use crate::view::actions::{self, Shown};
use crate::view::network;

/// Shows the actions of targets. Nothing is built; a key is known where all inputs are there.
pub fn run(session: &Session, args: &Aquery) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let is_file = |path: &str| workspace.root.join(path).is_file();
    let asked = ActionQuery::parse(&args.expression, here(&workspace, &is_file));
    let asked = asked.map_err(|findings| wrong(session, &args.expression, findings))?;
    let asker = Asker::new(session, &workspace, &args.config, "`ouro aquery`")?;
    let mut loaded = everything(&asker, &asked.targets.patterns())?;
    let labels = {
        let configured = asker.configure(&loaded)?;
        labels(session, args, &asked, &configured, &targets(&workspace, &configured)?)?
    };
    // What was not asked for is not analysed, so that what is wrong with it does not matter.
    loaded.requested = labels.clone();
    let configured = asker.configure(&loaded)?;
    let view = asker.analyse(&configured)?;
    let (analysis, toolchain) = (&view.analysis, view.toolchain()?);
    let state = State::load(&workspace.root);
    let keys = Keys::new(&workspace.root, &state, toolchain);
    let selected = asked.select(&analysis.graph, &analysis.analysed, &labels);
    let shown: Vec<Shown<'_>> = selected.into_iter().map(|action| Shown::of(action, toolchain, keys.of(action))).collect();
    session.fact(&match args.output {
        AqueryOutput::Text => actions::text(&shown),
        AqueryOutput::Json => actions::json(&shown),
        AqueryOutput::Dot => network::dot(&actions::network(&shown, &args.expression)),
        AqueryOutput::Mermaid => network::mermaid(&actions::network(&shown, &args.expression)),
    })
}

/// The targets that are meant, sorted.
fn labels(
    session: &Session,
    args: &Aquery,
    asked: &ActionQuery,
    configured: &Configured<'_>,
    graph: &TargetGraph,
) -> Result<Vec<Label>, CliError> {
    let nodes = evaluate(session, &args.expression, &asked.targets, configured, graph)?;
    let mut labels: Vec<Label> = nodes.into_iter().map(|node| graph.node(node).label.clone()).collect();
    labels.sort();
    Ok(labels)
}
