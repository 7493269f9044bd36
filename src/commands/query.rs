//! `ouro query`

use ouro_engine::graph;
use ouro_engine::load::{self, Loaded};
use ouro_engine::query::{self, Ix, TargetGraph};
use ouro_engine::workspace::Workspace;
use ouro_rules::label::Pattern;
use ouro_rules::{Diagnostic, Label, builtin};

use crate::cli::{Query, QueryOutput};
use crate::error::{CliError, Kind};
use crate::session::Session;
use crate::view::network;
use crate::view::targets::{self, Answer};

/// Answers an expression about targets. Nothing is built, and no compiler is needed.
pub fn run(session: &Session, args: &Query) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let is_file = |path: &str| workspace.root.join(path).is_file();
    let asked = query::Query::parse(&args.expression, &workspace.cwd, &is_file);
    let asked = asked.map_err(|findings| wrong(session, &args.expression, findings))?;
    let (loaded, mut graph) = everything(session, &workspace, &asked.patterns())?;
    if args.jumps {
        graph = graph.jumps();
    }
    let nodes = evaluate(session, &args.expression, &asked, &loaded, &graph)?;
    let answer = Answer { graph: &graph, nodes: &nodes, loaded: &loaded };
    session.fact(&match args.output {
        QueryOutput::Label => targets::labels(&answer),
        QueryOutput::LabelKind => targets::kinds(&answer),
        QueryOutput::Package => targets::packages(&answer),
        QueryOutput::Location => targets::locations(&answer),
        QueryOutput::Json => targets::json(&answer),
        QueryOutput::Dot => network::dot(&targets::network(&answer, &args.expression)),
        QueryOutput::Mermaid => network::mermaid(&targets::network(&answer, &args.expression)),
    })
}

/// The packages of these patterns, all they depend on, and who depends on whom.
pub fn everything(session: &Session, workspace: &Workspace, patterns: &[Pattern]) -> Result<(Loaded, TargetGraph), CliError> {
    let mut loaded = load::load(workspace, patterns, &builtin::table())?;
    loaded.requested = query::everything(&loaded);
    session.findings(&loaded.warnings)?;
    let graph = graph::build(&loaded, &|path| workspace.root.join(path).is_file())?;
    let targets = TargetGraph::of(&loaded, &graph);
    drop(graph);
    Ok((loaded, targets))
}

/// The nodes that an expression means.
pub fn evaluate(
    session: &Session,
    text: &str,
    asked: &query::Query,
    loaded: &Loaded,
    graph: &TargetGraph,
) -> Result<Vec<Ix>, CliError> {
    let attribute = |label: &Label, name: &str| query::text(loaded.target(label)?.get(name));
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
