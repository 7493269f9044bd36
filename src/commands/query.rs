//! `ouro query`

use ouro_engine::build::near_files;
use ouro_engine::query::{self, Here, Ix, Name, TargetGraph};
use ouro_engine::universe::Universe;
use ouro_engine::workspace::Workspace;
use ouro_rules::Diagnostic;

use crate::cli::{Query, QueryOutput};
use crate::commands::analysed::Asker;
use crate::error::{CliError, Kind};
use crate::session::Session;
use crate::view::network;
use crate::view::targets::{self as drawn, Answer};

/// Answers an expression about targets. Nothing is built, and no compiler is needed.
pub fn run(session: &Session, args: &Query) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let is_file = |path: &str| workspace.root.join(path).is_file();
    let asked = query::Query::parse(&args.expression, here(&workspace, &is_file));
    let asked = asked.map_err(|findings| wrong(session, &workspace, &args.expression, findings))?;
    let asker = Asker::new(session, &workspace, &args.config, "`ouro query`")?;
    let attributes = asked.asks_attributes() || matches!(args.output, QueryOutput::Json);
    let looked = asker.universe(&asked.patterns(), attributes)?;
    answer(session, args, &asked, &looked.universe)?;
    asker.keep(looked);
    Ok(())
}

fn answer(session: &Session, args: &Query, asked: &query::Query, universe: &Universe) -> Result<(), CliError> {
    let jumps = args.jumps.then(|| universe.graph.jumps());
    let graph = jumps.as_ref().unwrap_or(&universe.graph);
    let nodes = evaluate(session, &args.expression, asked, universe, graph)?;
    let answer = Answer { graph, nodes: &nodes, universe };
    session.fact(&match args.output {
        QueryOutput::Label => drawn::labels(&answer),
        QueryOutput::LabelKind => drawn::kinds(&answer),
        QueryOutput::Package => drawn::packages(&answer),
        QueryOutput::Location => drawn::locations(&answer),
        QueryOutput::Json => drawn::json(&answer),
        QueryOutput::Dot => network::dot(&drawn::network(&answer, &args.expression)),
        QueryOutput::Mermaid => network::mermaid(&drawn::network(&answer, &args.expression)),
    })
}

/// Where expressions are read.
pub fn here<'a>(workspace: &'a Workspace, is_file: &'a dyn Fn(&str) -> bool) -> Here<'a> {
    Here { cwd: &workspace.cwd, repositories: &workspace.settings.repositories, is_file }
}

/// The nodes that an expression means.
pub fn evaluate(
    session: &Session,
    text: &str,
    asked: &query::Query,
    universe: &Universe,
    graph: &TargetGraph,
) -> Result<Vec<Ix>, CliError> {
    let attribute = |label: Name<'_>, name: &str| universe.attributes.text(universe.graph.find(label)?, name);
    let nodes = asked.evaluate(graph, &attribute).map_err(|findings| misread(session, text, findings))?;
    if nodes.is_empty() {
        session.output.status("nothing matches\n");
    }
    Ok(nodes)
}

/// Findings of words that may name files.
pub fn wrong(session: &Session, workspace: &Workspace, text: &str, findings: Vec<Diagnostic>) -> CliError {
    misread(session, text, near_files::complete(&workspace.root, findings))
}

/// Findings with places in the expression.
fn misread(session: &Session, text: &str, findings: Vec<Diagnostic>) -> CliError {
    session.sources().add(query::EXPRESSION, text);
    CliError { kind: Kind::Usage, findings }
}
