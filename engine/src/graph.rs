//! The target graph: targets and files as nodes, what their attributes name as edges.
//!
//! The only user of petgraph in the engine. Does no I/O: whether a source file exists is asked through a function.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ouro_rules::diagnostic::{did_you_mean, sorted};
use ouro_rules::{Diagnostic, EdgeKind, Label, RuleTable, Span, Target};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{EdgeFiltered, EdgeRef};

use crate::load::Loaded;

/// The part of the workspace that was asked for, with all it depends on.
pub struct Graph<'l> {
    /// Dependents point to what they depend on.
    pub nodes: DiGraph<Node<'l>, Edge>,
    /// Where each label stands.
    pub index: BTreeMap<Label, NodeIndex>,
    /// What was asked for.
    pub requested: Vec<NodeIndex>,
}

/// A node.
#[derive(Debug, Clone)]
pub enum Node<'l> {
    /// A target of a BUILD file.
    Target(&'l Target),
    /// A file written by people.
    File(Label),
    /// A file that a target's `outs` names; its only edge leads to that target.
    Generated(Label),
}

/// An edge.
#[derive(Debug, Clone)]
pub struct Edge {
    /// What it means.
    pub kind: EdgeKind,
    /// Where the label stands.
    pub span: Span,
}

impl Edge {
    /// Whether the dependent must wait for the other. Jumps may go in circles and do not wait.
    pub fn waits(&self) -> bool {
        self.kind != EdgeKind::Jump
    }
}

impl Node<'_> {
    /// Its label.
    pub fn label(&self) -> &Label {
        match self {
            Node::Target(target) => &target.label,
            Node::File(label) | Node::Generated(label) => label,
        }
    }
}

/// Builds the graph from what was loaded; every finding at once. `is_file` tells whether a path from the workspace root is a file.
pub fn build<'l>(loaded: &'l Loaded, rules: &RuleTable, is_file: &dyn Fn(&str) -> bool) -> Result<Graph<'l>, Vec<Diagnostic>> {
    let graph = Graph { nodes: DiGraph::new(), index: BTreeMap::new(), requested: Vec::new() };
    let mut builder = Builder { loaded, rules, is_file, generated: generated_files(loaded), graph, queue: VecDeque::new(), findings: Vec::new() };
    builder.run();
    let Builder { mut graph, mut findings, .. } = builder;
    add_members(&mut graph);
    findings.extend(cycles(&graph));
    if findings.is_empty() { Ok(graph) } else { Err(sorted(findings)) }
}

impl Graph<'_> {
    /// All nodes, each after those it waits for, in an order that depends on the workspace alone; grouped so that the nodes of
    /// a group do not wait for each other.
    pub fn waves(&self) -> Vec<Vec<NodeIndex>> {
        let waiting = EdgeFiltered::from_fn(&self.nodes, |edge| edge.weight().waits());
        let order = petgraph::algo::toposort(&waiting, None).expect("BUG: cycles were reported when the graph was built");
        let mut depth = vec![0usize; self.nodes.node_count()];
        let mut waves: Vec<Vec<NodeIndex>> = Vec::new();
        for node in order.into_iter().rev() {
            let below = self.nodes.edges(node).filter(|edge| edge.weight().waits());
            let wave = below.map(|edge| depth[edge.target().index()] + 1).max().unwrap_or(0);
            depth[node.index()] = wave;
            waves.resize_with(waves.len().max(wave + 1), Vec::new);
            waves[wave].push(node);
        }
        waves.iter_mut().for_each(|wave| wave.sort());
        waves
    }
}

/// For each file some target's `outs` names: the target.
fn generated_files(loaded: &Loaded) -> BTreeMap<Label, Label> {
    let mut files = BTreeMap::new();
    for target in loaded.packages.values().flat_map(|package| package.targets.values()) {
        for out in target.get("outs").items().iter().filter_map(|out| out.value.as_str()) {
            files.insert(target.label.sibling(out), target.label.clone());
        }
    }
    files
}

struct Builder<'a, 'l> {
    loaded: &'l Loaded,
    rules: &'a RuleTable,
    is_file: &'a dyn Fn(&str) -> bool,
    generated: BTreeMap<Label, Label>,
    graph: Graph<'l>,
    queue: VecDeque<(NodeIndex, &'l Target)>,
    findings: Vec<Diagnostic>,
}

impl<'l> Builder<'_, 'l> {
    fn run(&mut self) {
        for label in &self.loaded.requested {
            let node = self.target(label).map(|target| self.add_target(target)).or_else(|| self.add_file(label));
            self.graph.requested.extend(node);
        }
        while let Some((node, target)) = self.queue.pop_front() {
            self.add_edges(node, target);
        }
    }

    fn target(&self, label: &Label) -> Option<&'l Target> {
        self.loaded.target(label)
    }

    fn add_target(&mut self, target: &'l Target) -> NodeIndex {
        if let Some(node) = self.graph.index.get(&target.label) {
            return *node;
        }
        let label = target.label.clone();
        let node = self.graph.nodes.add_node(Node::Target(target));
        self.graph.index.insert(label, node);
        self.queue.push_back((node, target));
        node
    }

    /// A node for a generated file or for a file that exists.
    fn add_file(&mut self, label: &Label) -> Option<NodeIndex> {
        if let Some(node) = self.graph.index.get(label) {
            return Some(*node);
        }
        if let Some(maker) = self.generated.get(label).and_then(|maker| self.target(maker)) {
            let span = maker.span.clone();
            let maker = self.add_target(maker);
            let node = self.graph.nodes.add_node(Node::Generated(label.clone()));
            self.graph.nodes.add_edge(node, maker, Edge { kind: EdgeKind::Source, span });
            self.graph.index.insert(label.clone(), node);
            return Some(node);
        }
        (label.repo.is_empty() && (self.is_file)(&label.path())).then(|| {
            let node = self.graph.nodes.add_node(Node::File(label.clone()));
            self.graph.index.insert(label.clone(), node);
            node
        })
    }

    fn add_edges(&mut self, node: NodeIndex, target: &'l Target) {
        let Some(rule) = self.rules.rule(&target.rule).cloned() else { return };
        for attr in rule.attrs() {
            let (Some(kind), Some(value)) = (attr.edge, target.attrs.get(attr.name.as_str())) else { continue };
            let mut named = Vec::new();
            value.value.each_label(&value.span, &mut |label, span| named.push((label.clone(), span.clone())));
            for (label, span) in named {
                self.add_edge(node, target, kind, &label, span);
            }
        }
    }

    fn add_edge(&mut self, from: NodeIndex, target: &Target, kind: EdgeKind, label: &Label, span: Span) {
        let to = match self.target(label) {
            Some(found) => {
                self.check_visibility(target, found, &span);
                Some(self.add_target(found))
            }
            None if kind == EdgeKind::Source => {
                self.check_file_package(target, label, &span);
                self.add_file(label)
            }
            None => None,
        };
        match to {
            Some(to) => {
                self.graph.nodes.add_edge(from, to, Edge { kind, span });
            }
            None => self.findings.push(self.missing(kind, label, &span)),
        }
    }

    fn check_visibility(&mut self, from: &Target, to: &Target, span: &Span) {
        if to.visibility.allows(&to.label.package, &from.label.package) {
            return;
        }
        let finding = Diagnostic::error(span, format!("`{}` is not visible to `{}`", to.label, from.label));
        let finding = finding.related(&to.span, "declared here").help(format!("add `visibility = [\"//{}:__pkg__\"]` to `{}`", from.label.package, to.label));
        self.findings.push(finding);
    }

    /// A package's plain files are its own; what others may use has a target's name and visibility.
    fn check_file_package(&mut self, from: &Target, label: &Label, span: &Span) {
        if label.package != from.label.package && self.loaded.packages.contains_key(&label.package) && !self.generated.contains_key(label) {
            let finding = Diagnostic::error(span, format!("`{label}` is a file of another package"));
            self.findings.push(finding.help(format!("name it by a `filegroup` or `bpf_library` of `//{}` with visibility", label.package)));
        }
    }

    fn missing(&self, kind: EdgeKind, label: &Label, span: &Span) -> Diagnostic {
        let package = self.loaded.packages.get(&label.package);
        let siblings: Vec<String> = package.iter().flat_map(|package| package.targets.values()).map(|target| target.label.to_string()).collect();
        let what = if kind == EdgeKind::Source { "no target or file" } else { "no target" };
        let finding = Diagnostic::error(span, format!("there is {what} `{label}`"));
        let is_file = kind != EdgeKind::Source && label.repo.is_empty() && (self.is_file)(&label.path());
        if is_file {
            return finding.help(format!("`{}` is a file; files belong in `srcs` or `hdrs`", label.path()));
        }
        let fallback = match () {
            () if kind == EdgeKind::Source => format!("create `{}`, or correct the name", label.path()),
            () => format!("declare it in `//{}`, or correct the name", label.package),
        };
        finding.help(did_you_mean(&label.to_string(), siblings.iter().map(String::as_str)).unwrap_or(fallback))
    }
}

/// A chain waits for every program that its entry can jump to, however far.
fn add_members(graph: &mut Graph<'_>) {
    let chains: Vec<NodeIndex> = graph.nodes.node_indices().filter(|node| graph.nodes.edges(*node).any(|edge| edge.weight().kind == EdgeKind::Entry)).collect();
    for chain in chains {
        let entries: Vec<(NodeIndex, Span)> =
            graph.nodes.edges(chain).filter(|edge| edge.weight().kind == EdgeKind::Entry).map(|edge| (edge.target(), edge.weight().span.clone())).collect();
        for (entry, span) in entries {
            for member in jump_closure(graph, entry) {
                graph.nodes.add_edge(chain, member, Edge { kind: EdgeKind::Member, span: span.clone() });
            }
        }
    }
}

/// Everything jumps lead to from `entry`, through aliases, without `entry` itself.
fn jump_closure(graph: &Graph<'_>, entry: NodeIndex) -> BTreeSet<NodeIndex> {
    let mut found = BTreeSet::new();
    let mut open = vec![entry];
    while let Some(node) = open.pop() {
        let onward = graph.nodes.edges(node).filter(|edge| matches!(edge.weight().kind, EdgeKind::Jump | EdgeKind::Actual));
        open.extend(onward.map(|edge| edge.target()).filter(|next| *next != entry && found.insert(*next)));
    }
    found
}

/// Targets that wait for each other in a circle; jumps are judged by the chain.
fn cycles(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let waiting = EdgeFiltered::from_fn(&graph.nodes, |edge| edge.weight().waits());
    let mut findings = Vec::new();
    for component in petgraph::algo::tarjan_scc(&waiting) {
        let members: BTreeSet<NodeIndex> = component.into_iter().collect();
        let start = *members.first().expect("BUG: a component has a node");
        if let Some(path) = cycle_from(graph, start, &members) {
            findings.push(cycle_finding(graph, start, &path));
        }
    }
    findings
}

/// The shortest way from `start` back to it: the nodes after `start`, each with the place that names it.
fn cycle_from(graph: &Graph<'_>, start: NodeIndex, members: &BTreeSet<NodeIndex>) -> Option<Vec<(NodeIndex, Span)>> {
    let mut came_by: BTreeMap<NodeIndex, (NodeIndex, Span)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let onward = graph.nodes.edges(node).filter(|edge| edge.weight().waits() && members.contains(&edge.target()));
        for edge in onward {
            let (next, span) = (edge.target(), edge.weight().span.clone());
            if next == start {
                let mut path = vec![(start, span)];
                let mut here = node;
                while here != start {
                    let (before, span) = came_by[&here].clone();
                    path.push((here, span));
                    here = before;
                }
                path.reverse();
                return Some(path);
            }
            if !came_by.contains_key(&next) {
                came_by.insert(next, (node, span));
                queue.push_back(next);
            }
        }
    }
    None
}

fn cycle_finding(graph: &Graph<'_>, start: NodeIndex, path: &[(NodeIndex, Span)]) -> Diagnostic {
    let names: Vec<String> = std::iter::once(start).chain(path.iter().map(|(node, _)| *node)).map(|node| graph.nodes[node].label().to_string()).collect();
    let (_, closing) = &path[path.len() - 1];
    let finding = Diagnostic::error(closing, format!("targets depend on each other in a circle: `{}`", names.join(" -> ")));
    let others = path[..path.len() - 1].iter();
    others.fold(finding, |finding, (node, span)| finding.related(span, format!("`{}` is named here", graph.nodes[*node].label()))).help("remove one of these dependencies")
}
