//! The shape of a chain: cycles, depth, and programs that cannot be reached.
//!
//! Knows jumps and their bounds, no program types and no slots.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::{Draft, Graph, MAX_DEPTH, depth};
use crate::diagnostic::Diagnostic;
use crate::label::Label;

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut findings = cycles(graph);
    // A chain with an endless cycle has no depth to speak of.
    if findings.is_empty() {
        findings.extend(depth::check(draft, graph));
    }
    findings.extend(unreachable(draft, graph));
    findings
}

/// Cycles after which no more are looked for: whoever reads so many has something else in mind than a chain.
const ENOUGH: usize = 50;

/// Every cycle must have an edge with a bound, so without those edges no cycle may be left. Cycles can share programs: the one
/// found is opened, and then looked again.
fn cycles(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut unbounded = unbounded(graph);
    let mut findings = Vec::new();
    loop {
        // Not Tarjan's algorithm, which calls itself once for each program in a row.
        let components = petgraph::algo::kosaraju_scc(&unbounded);
        let found: Vec<Vec<usize>> = components.into_iter().filter_map(|component| cycle_in(&unbounded, component)).collect();
        if found.is_empty() || findings.len() > ENOUGH {
            return findings;
        }
        findings.extend(found.iter().map(|path| cycle_finding(graph, path)));
        let closing: BTreeSet<usize> = found.iter().filter_map(|path| path.last().copied()).collect();
        unbounded.retain_edges(|graph, edge| !closing.contains(&graph[edge]));
    }
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

/// A shortest cycle through the first program of a component, as edges; none when that is a single one without a self-loop.
fn cycle_in(graph: &DiGraph<(), usize>, component: Vec<NodeIndex>) -> Option<Vec<usize>> {
    let members: BTreeSet<NodeIndex> = component.into_iter().collect();
    let start = *members.first()?;
    let mut came_by: HashMap<NodeIndex, (NodeIndex, usize)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut edges: Vec<_> = graph.edges(node).filter(|edge| members.contains(&edge.target())).collect();
        edges.sort_by_key(|edge| *edge.weight());
        for edge in edges {
            if edge.target() == start {
                return Some(walk_back(&came_by, start, node, *edge.weight()));
            }
            if let Entry::Vacant(entry) = came_by.entry(edge.target()) {
                entry.insert((node, *edge.weight()));
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
    let finding = finding.note(format!("the kernel stops after {MAX_DEPTH} tail calls in one run and goes on behind the jump"));
    finding.help(format!("remove a jump, or bound one that closes the circle: `jump(\"{}\", loop = 4)`", closing.jump.target))
}

fn name<'a>(graph: &Graph<'a>, index: usize) -> &'a str {
    &graph.programs[index].label.name
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
