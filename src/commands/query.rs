//! `ouro query`

use ouro_engine::configure::Configured;
use ouro_engine::graph;
use ouro_engine::load::Loaded;
use ouro_engine::query::{self, Here, Ix, TargetGraph};
use ouro_engine::workspace::Workspace;
use ouro_rules::label::Pattern;
use ouro_rules::{Diagnostic, Label};

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
    let asked = asked.map_err(|findings| wrong(session, &args.expression, findings))?;
    let asker = Asker::new(session, &workspace, &args.config, "`ouro query`")?;
    let loaded = everything(&asker, &asked.patterns())?;
    let configured = asker.configure(&loaded)?;
    let mut graph = targets(&workspace, &configured)?;
    if args.jumps {
        graph = graph.jumps();
    }
    let nodes = evaluate(session, &args.expression, &asked, &configured, &graph)?;
    let answer = Answer { graph: &graph, nodes: &nodes, configured: &configured };
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

/// The packages of these patterns and all they depend on, with every target asked for: only then is it known who depends on whom.
pub fn everything(asker: &Asker<'_>, patterns: &[Pattern]) -> Result<Loaded, CliError> {
    let mut loaded = asker.load(patterns)?;
    loaded.requested = query::everything(&loaded, &asker.impossible(&loaded));
    Ok(loaded)
}

/// The graph of all that was loaded.
pub fn targets(workspace: &Workspace, configured: &Configured<'_>) -> Result<TargetGraph, CliError> {
    let graph = graph::build(configured, &|path| workspace.root.join(path).is_file())?;
    Ok(TargetGraph::of(configured.loaded(), &graph))
}

/// The nodes that an expression means.
pub fn evaluate(
    session: &Session,
    text: &str,
    asked: &query::Query,
    configured: &Configured<'_>,
    graph: &TargetGraph,
) -> Result<Vec<Ix>, CliError> {
    let attribute = |label: &Label, name: &str| query::text(configured.target(label)?.get(name));
    let nodes = asked.evaluate(graph, &attribute).map_err(|findings| wrong(session, text, findings))?;
    if nodes.is_empty() {
        session.output.status("nothing matches\n");
    }
    Ok(nodes)
}

/// Findings with places in the expression.
pub fn wrong(session: &Session, text: &str, findings: Vec<Diagnostic>) -> CliError {
    session.sources().add(query::EXPRESSION, text);
    CliError { kind: Kind::Usage, findings }
}
