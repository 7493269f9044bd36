//! Targets that wait for each other in a circle.
//!
//! Knows nothing of jumps that go in circles: those do not wait, and the chain judges them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ouro_rules::{Diagnostic, Span};
use petgraph::visit::EdgeFiltered;

use super::{Graph, NodeId};

/// One finding for each group of targets that wait for each other. From then on they are broken, and do not.
pub(super) fn open(graph: &mut Graph<'_>) -> Vec<Diagnostic> {
    let waiting = EdgeFiltered::from_fn(&graph.nodes, |edge| edge.weight().waits());
    // Kosaraju's algorithm keeps a stack of its own; Tarjan's, as petgraph has it, calls itself once for each target in a row.
    let groups: Vec<BTreeSet<NodeId>> =
        petgraph::algo::kosaraju_scc(&waiting).into_iter().map(|group| group.into_iter().map(NodeId).collect()).collect();
    let (mut findings, mut circle_of) = (Vec::new(), BTreeMap::new());
    for (circle, group) in groups.iter().enumerate() {
        if let Some(finding) = finding(graph, group) {
            findings.push(finding);
            circle_of.extend(group.iter().map(|node| (*node, circle)));
        }
    }
    graph.nodes.retain_edges(|nodes, edge| {
        let circle = |node| circle_of.get(&NodeId(node));
        let closes = |(from, to)| circle(from).is_some() && circle(from) == circle(to);
        !nodes[edge].waits() || !nodes.edge_endpoints(edge).is_some_and(closes)
    });
    graph.broken.extend(circle_of.into_keys());
    findings
}

fn finding(graph: &Graph<'_>, members: &BTreeSet<NodeId>) -> Option<Diagnostic> {
    let start = *members.first()?;
    let path = shortest(graph, start, members)?;
    let name = |node: NodeId| graph.node(node).label().to_string();
    let names: Vec<String> = std::iter::once(start).chain(path.iter().map(|(node, _)| *node)).map(name).collect();
    let ((_, closing), others) = path.split_last()?;
    let finding = Diagnostic::error(closing, format!("targets depend on each other in a circle: `{}`", names.join(" -> ")));
    let related =
        |finding: Diagnostic, (node, span): &(NodeId, Span)| finding.related(span, format!("`{}` is named here", name(*node)));
    Some(others.iter().fold(finding, related).help("remove one of these dependencies"))
}

/// The shortest way from `start` back to it: the nodes after `start`, each with the place that names it.
fn shortest(graph: &Graph<'_>, start: NodeId, members: &BTreeSet<NodeId>) -> Option<Vec<(NodeId, Span)>> {
    let mut came_by: BTreeMap<NodeId, (NodeId, &Span)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for (next, edge) in graph.edges(node).filter(|(next, edge)| edge.waits() && members.contains(next)) {
            if next == start {
                return Some(way(&came_by, start, node, &edge.span));
            }
            came_by.entry(next).or_insert_with(|| {
                queue.push_back(next);
                (node, &edge.span)
            });
        }
    }
    None
}

/// The way to `last`, and from there by `closing` to `start`.
fn way(came_by: &BTreeMap<NodeId, (NodeId, &Span)>, start: NodeId, last: NodeId, closing: &Span) -> Vec<(NodeId, Span)> {
    let mut path = vec![(start, closing.clone())];
    let mut here = last;
    while here != start {
        let (before, span) = came_by[&here];
        path.push((here, span.clone()));
        here = before;
    }
    path.reverse();
    path
}
