//! `ouro affected`

use std::collections::BTreeSet;

use ouro_engine::query::{self, Change, Ix, Node, TargetGraph};
use ouro_rules::label::{Pattern, Scope};
use serde_json::json;

use crate::cli::{Affected, AffectedOutput};
use crate::commands::analysed::Asker;
use crate::error::{CliError, Kind};
use crate::git;
use crate::session::{self, Session};

/// Lists the targets that may come out otherwise than in a git revision. The whole workspace is loaded: anyone may depend on
/// what changed.
pub fn run(session: &Session, args: &Affected) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let patterns = session::patterns(&workspace, &args.patterns)?;
    let changes = git::changes(&workspace.root, &args.since)?;
    let whole = Pattern { negative: false, scope: Scope::Subtree("".into()) };
    let asker = Asker::new(session, &workspace, &args.config, "`ouro affected`")?;
    let looked = asker.universe(&[whole], false)?;
    let graph = &looked.universe.graph;
    let among = graph.requested(&patterns).map_err(|findings| CliError { kind: Kind::Usage, findings })?;
    let is_wanted = |node: &Ix| among.contains(node) && (!args.tests || graph.node(*node).is_test());
    let mut affected = query::affected(&workspace, graph, &changes);
    affected.retain(is_wanted);
    session.fact(&match args.output {
        AffectedOutput::Label => affected.iter().map(|node| format!("{}\n", graph.node(*node).label)).collect(),
        AffectedOutput::Json => json(&args.since, &changes, graph, &affected),
    })?;
    asker.keep(looked);
    Ok(())
}

fn json(since: &str, changes: &[Change], graph: &TargetGraph, affected: &[Ix]) -> String {
    let target =
        |node: Node<'_>| json!({ "label": node.label.to_string(), "kind": node.kind.to_string(), "test": node.is_test() });
    let targets: Vec<_> = affected.iter().map(|node| target(graph.node(*node))).collect();
    let changed: BTreeSet<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    format!("{:#}\n", json!({ "since": since, "changed": changed, "targets": targets }))
}
