//! The shape of a chain: cycles, depth, and programs that cannot be reached.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::{Draft, Graph, MAX_DEPTH};
use crate::diagnostic::Diagnostic;
use crate::label::Label;

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut findings = cycles(graph);
    // A chain with an endless cycle has no depth to speak of.
    if findings.is_empty() {
        findings.extend(depth(draft, graph));
    }
    findings.extend(unreachable(draft, graph));
    findings
}

/// Every cycle must have an edge with a bound, so without those edges no cycle may be left.
fn cycles(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let unbounded = unbounded(graph);
    let components = petgraph::algo::tarjan_scc(&unbounded);
    let mut findings = Vec::new();
    for component in components {
        let members: BTreeSet<NodeIndex> = component.into_iter().collect();
        let Some(first) = members.first().copied() else { continue };
        if let Some(path) = cycle_through(&unbounded, first, &members) {
            findings.push(cycle_finding(graph, &path));
        }
    }
    findings
}

fn unbounded(graph: &Graph<'_>) -> DiGraph<(), usize> {
    let mut result = DiGraph::with_capacity(graph.programs.len(), graph.jumps.len());
    graph.programs.iter().for_each(|_| {
        result.add_node(());
    });
    for (index, edge) in graph.jumps.iter().enumerate().filter(|(_, edge)| edge.jump.bound.is_none()) {
        result.add_edge(NodeIndex::new(edge.from), NodeIndex::new(edge.to), index);
    }
    result
}

/// The shortest cycle from `start` back to it, as edges; none when the component is a single node without a self-loop.
fn cycle_through(graph: &DiGraph<(), usize>, start: NodeIndex, members: &BTreeSet<NodeIndex>) -> Option<Vec<usize>> {
    let mut came_by: HashMap<NodeIndex, (NodeIndex, usize)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut edges: Vec<_> = graph.edges(node).filter(|edge| members.contains(&edge.target())).collect();
        edges.sort_by_key(|edge| *edge.weight());
        for edge in edges {
            if edge.target() == start {
                return Some(walk_back(&came_by, start, node, *edge.weight()));
            }
            if !came_by.contains_key(&edge.target()) {
                came_by.insert(edge.target(), (node, *edge.weight()));
                queue.push_back(edge.target());
            }
        }
    }
    None
}

fn walk_back(came_by: &HashMap<NodeIndex, (NodeIndex, usize)>, start: NodeIndex, mut node: NodeIndex, last: usize) -> Vec<usize> {
    let mut edges = vec![last];
    while node != start {
        let (before, edge) = came_by[&node];
        edges.push(edge);
        node = before;
    }
    edges.reverse();
    edges
}

fn cycle_finding(graph: &Graph<'_>, path: &[usize]) -> Diagnostic {
    let closing = &graph.jumps[path[path.len() - 1]];
    let mut names: Vec<&str> = path.iter().map(|edge| name(graph, graph.jumps[*edge].from)).collect();
    names.push(name(graph, closing.to));
    let finding = Diagnostic::error(&closing.jump.span, format!("jumps go in a circle: `{}`", names.join(" -> ")));
    let finding = finding.note("the kernel stops after 33 tail calls in one run and goes on behind the jump");
    finding.help(format!("remove a jump, or bound one that closes the circle: `jump(\"{}\", loop = 4)`", closing.jump.target))
}

fn name<'a>(graph: &Graph<'a>, index: usize) -> &'a str {
    &graph.programs[index].label.name
}

/// States of one layer looked at before a chain is called too deep: so many combinations of loop counts only arise from
/// bounds whose sum is far beyond the kernel's limit.
const STATES: usize = 50_000;

/// A run so far: the program it is in, and what is left of each bounded edge.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    node: usize,
    left: Vec<u32>,
}

/// Follows all runs step by step, each bounded edge taken at most as often as declared; none may go on beyond the limit.
fn depth(draft: &Draft<'_>, graph: &Graph<'_>) -> Option<Diagnostic> {
    let bounds = graph.jumps.iter().map(|edge| edge.jump.bound.unwrap_or(u32::MAX)).collect();
    let mut layers = vec![BTreeMap::from([(Run { node: 0, left: bounds }, None)])];
    while layers.len() <= MAX_DEPTH as usize + 1 {
        let next = next_layer(graph, &layers[layers.len() - 1]);
        if next.is_empty() {
            return None;
        }
        let full = next.len() > STATES;
        layers.push(next);
        if full {
            break;
        }
    }
    let path = longest(graph, &layers).join(" -> ");
    let finding = Diagnostic::error(draft.span, format!("`{}` can take more than {MAX_DEPTH} tail calls in one run", draft.chain));
    Some(
        finding
            .note(format!("a run the kernel would cut short: {path} -> ..."))
            .help("split the chain, merge programs, or lower the `loop` bounds"),
    )
}

fn next_layer(graph: &Graph<'_>, layer: &BTreeMap<Run, Option<Run>>) -> BTreeMap<Run, Option<Run>> {
    let mut next = BTreeMap::new();
    for run in layer.keys() {
        for (index, edge) in graph.jumps.iter().enumerate().filter(|(index, edge)| edge.from == run.node && run.left[*index] > 0) {
            let mut left = run.left.clone();
            if edge.jump.bound.is_some() {
                left[index] -= 1;
            }
            next.entry(Run { node: edge.to, left }).or_insert_with(|| Some(run.clone()));
        }
    }
    next
}

/// The names along one run that reaches the last layer.
fn longest(graph: &Graph<'_>, layers: &[BTreeMap<Run, Option<Run>>]) -> Vec<String> {
    let mut run = layers[layers.len() - 1].keys().next().cloned();
    let mut names = Vec::new();
    for layer in layers.iter().rev() {
        let Some(here) = run else { break };
        names.push(name(graph, here.node).to_owned());
        run = layer.get(&here).cloned().flatten();
    }
    names.reverse();
    names
}

fn unreachable(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let reached: BTreeSet<&Label> = graph.programs.iter().map(|program| &program.label).collect();
    let missing = draft.listed.iter().filter(|(label, _)| !reached.contains(label));
    missing
        .map(|(label, item)| {
            Diagnostic::error(&item.span, format!("`{label}` cannot be reached from the entry `{}`", draft.entry.label))
                .help("let a program of the chain jump to it, or take it off the list")
        })
        .collect()
}
