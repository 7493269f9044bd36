//! The target graph: targets and files as nodes, what their attributes name as edges.
//!
//! The only user of petgraph in the engine, and no value of it leaves. Does no I/O: whether a path is a file is asked through
//! a function.

mod cycle;
mod edges;
mod resolve;

use std::collections::BTreeSet;
use std::sync::Arc;

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Diagnostic, EdgeKind, Label, Span, Target};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{EdgeFiltered, EdgeRef};

pub use self::resolve::IsFile;

use crate::configure::Configured;
use crate::fast::FastMap;

/// The part of the workspace that was asked for, with all it depends on.
pub struct Graph<'l> {
    /// Dependents point to what they depend on.
    nodes: DiGraph<Node<'l>, Edge>,
    index: FastMap<&'l Label, NodeId>,
    /// Every node after those it waits for; empty while the graph is built.
    order: Vec<NodeId>,
    requested: Vec<NodeId>,
    /// Targets with labels that lead nowhere, or where they must not.
    broken: BTreeSet<NodeId>,
}

/// A node of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(NodeIndex);

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
    /// The attribute with the label; none for edges that follow from others.
    pub attr: Option<Arc<str>>,
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

impl NodeId {
    /// Its place among all nodes, from 0.
    pub fn place(self) -> usize {
        self.0.index()
    }
}

/// Builds the graph for one configuration; every finding at once. `is_file` tells whether a path from the workspace root is a file.
pub fn build<'l>(configured: &'l Configured<'_>, is_file: IsFile<'_>) -> Result<Graph<'l>, Vec<Diagnostic>> {
    match sound(configured, is_file) {
        (graph, findings) if findings.is_empty() => Ok(graph),
        (_, findings) => Err(findings),
    }
}

/// The same for those who go on with what is not broken.
pub fn sound<'l>(configured: &'l Configured<'_>, is_file: IsFile<'_>) -> (Graph<'l>, Vec<Diagnostic>) {
    let (mut graph, mut findings) = edges::collect(configured, is_file);
    graph.add_members();
    // Almost always there is an order, and finding it costs less than looking for circles.
    let order = graph.find_order().or_else(|| {
        findings.extend(cycle::open(&mut graph));
        graph.find_order()
    });
    graph.order = order.expect("BUG: no circle is left");
    (graph, sorted(findings))
}

impl<'l> Graph<'l> {
    /// An empty one with room for these targets and about one file for each: growing by doubling would take twice as much.
    fn with_room(targets: usize) -> Graph<'l> {
        let (nodes, mut index) = (DiGraph::with_capacity(2 * targets, 2 * targets), FastMap::default());
        index.reserve(2 * targets);
        Graph { nodes, index, order: Vec::new(), requested: Vec::new(), broken: BTreeSet::new() }
    }

    /// What was asked for.
    pub fn requested(&self) -> &[NodeId] {
        &self.requested
    }

    /// Whether it is a target of which labels lead nowhere, or where they must not.
    pub fn is_broken(&self, node: NodeId) -> bool {
        self.broken.contains(&node)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every node, in an order that depends on the workspace alone.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.node_indices().map(NodeId)
    }

    /// Every node by its label, sorted.
    pub fn by_label(&self) -> impl Iterator<Item = (&Label, NodeId)> {
        let mut all: Vec<(&Label, NodeId)> = self.index.iter().map(|(label, id)| (*label, *id)).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// The node of this label.
    pub fn find(&self, label: &Label) -> Option<NodeId> {
        self.index.get(label).copied()
    }

    /// Where the target of this label is declared.
    pub fn place(&self, label: &Label) -> Option<&Span> {
        match self.node(self.find(label)?) {
            Node::Target(target) => Some(&target.span),
            Node::File(_) | Node::Generated(_) => None,
        }
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node<'l> {
        &self.nodes[id.0]
    }

    /// What a node depends on.
    pub fn edges(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Edge)> {
        self.nodes.edges(id.0).map(|edge| (NodeId(edge.target()), edge.weight()))
    }

    /// All nodes, each after those it waits for, in an order that depends on the workspace alone; grouped so that the nodes of
    /// a group do not wait for each other.
    pub fn waves(&self) -> Vec<Vec<NodeId>> {
        let mut depth = vec![0usize; self.len()];
        let mut waves: Vec<Vec<NodeId>> = Vec::new();
        for node in self.order.iter().copied() {
            let below = self.edges(node).filter(|(_, edge)| edge.waits());
            let wave = below.map(|(next, _)| depth[next.place()] + 1).max().unwrap_or(0);
            depth[node.place()] = wave;
            waves.resize_with(waves.len().max(wave + 1), Vec::new);
            waves[wave].push(node);
        }
        waves.iter_mut().for_each(|wave| wave.sort());
        waves
    }

    /// None when nodes wait for each other in a circle.
    fn find_order(&self) -> Option<Vec<NodeId>> {
        let waiting = EdgeFiltered::from_fn(&self.nodes, |edge| edge.weight().waits());
        let order = petgraph::algo::toposort(&waiting, None).ok()?;
        Some(order.into_iter().rev().map(NodeId).collect())
    }

    fn add(&mut self, label: &'l Label, node: Node<'l>) -> NodeId {
        let id = NodeId(self.nodes.add_node(node));
        self.index.insert(label, id);
        id
    }

    fn connect(&mut self, from: NodeId, to: NodeId, edge: Edge) {
        self.nodes.add_edge(from.0, to.0, edge);
    }

    /// A chain waits for every program that its entry can jump to, however far.
    fn add_members(&mut self) {
        let entries: Vec<(NodeId, NodeId, Span)> = self.ids().flat_map(|chain| self.entries(chain)).collect();
        for (chain, entry, span) in entries {
            for member in self.jump_closure(entry) {
                self.connect(chain, member, Edge { kind: EdgeKind::Member, attr: None, span: span.clone() });
            }
        }
    }

    fn entries(&self, chain: NodeId) -> impl Iterator<Item = (NodeId, NodeId, Span)> {
        let entries = self.edges(chain).filter(|(_, edge)| edge.kind == EdgeKind::Entry);
        entries.map(move |(entry, edge)| (chain, entry, edge.span.clone()))
    }

    /// Everything jumps lead to from `entry`, through aliases and programs made from others, without `entry` itself.
    fn jump_closure(&self, entry: NodeId) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        let mut open = vec![entry];
        while let Some(node) = open.pop() {
            let onward = self.edges(node).filter(|(_, edge)| leads_on(edge.kind));
            open.extend(onward.map(|(next, _)| next).filter(|next| *next != entry && found.insert(*next)));
        }
        found
    }
}

/// Whether what a chain follows goes on along such an edge.
fn leads_on(kind: EdgeKind) -> bool {
    matches!(kind, EdgeKind::Jump | EdgeKind::Actual | EdgeKind::Program)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use ouro_rules::named::Named;
    use ouro_rules::target::Visibility;
    use ouro_rules::{Configuration, Spanned, Value, builtin, platform};

    use super::*;
    use crate::configure::configure;
    use crate::load::{Loaded, Package, Reads};

    /// One package of `count` filegroups; each lists what `srcs` says for its number.
    fn filegroups(count: usize, srcs: impl Fn(usize) -> Option<String>) -> Loaded {
        let target = |number: usize| {
            let span = Span::point("BUILD.ouro", number as u32 + 1, 1);
            let item = |name: String| Spanned { value: Value::Label(Label::new("", name)), span: span.clone() };
            let list = Spanned { value: Value::List(srcs(number).map(item).into_iter().collect()), span: span.clone() };
            let (label, attrs) = (Label::new("", format!("t{number}")), Named::from_iter([("srcs".into(), list)]));
            Target {
                label,
                rule: "filegroup".into(),
                attrs,
                visibility: Visibility::Private,
                tags: Vec::new(),
                span,
                macro_trace: Vec::new(),
            }
        };
        let targets: Named<Target> = (0..count).map(target).map(|target| (target.label.name.clone(), target)).collect();
        let requested = targets.values().map(|target| target.label.clone()).collect();
        let package = Package { build_file: "BUILD.ouro".into(), targets, ..Package::default() };
        Loaded {
            packages: BTreeMap::from([("".into(), package)]),
            requested,
            rules: builtin::table(),
            groups: BTreeMap::new(),
            reads: Reads::default(),
            warnings: Vec::new(),
            left_out: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// For the plain configuration of this machine.
    fn plain(loaded: &Loaded) -> Configured<'_> {
        configure(loaded, &Configuration::plain(platform::find("x86").unwrap())).unwrap()
    }

    /// A build of generated BUILD files ended in a stack overflow.
    #[test]
    fn a_very_long_row_of_targets_needs_no_deep_stack() {
        let count = 30_000;
        let loaded = filegroups(count, |number| (number > 0).then(|| format!("t{}", number - 1)));
        let configured = plain(&loaded);
        let graph = build(&configured, &|_| false).unwrap_or_else(|findings| panic!("{}", findings.len()));
        assert_eq!(graph.waves().len(), count);
        let round = filegroups(count, |number| Some(format!("t{}", (number + 1) % count)));
        let findings = build(&plain(&round), &|_| false).err().expect("a circle");
        assert_eq!(findings.len(), 1);
    }

    /// Every name that was missing was compared with every label of its package: 3,000 took 39 seconds.
    #[test]
    fn many_missing_names_are_told_at_once() {
        let loaded = filegroups(3_000, |number| Some(format!("u{number}")));
        let began = Instant::now();
        let findings = build(&plain(&loaded), &|_| false).err().expect("missing names");
        assert_eq!(findings.len(), 3_000);
        let hints = findings.iter().filter(|finding| finding.help.as_ref().is_some_and(|help| help.contains("did you mean")));
        assert!((1..100).contains(&hints.count()));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
