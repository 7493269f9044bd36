//! The target graph as queries see it: flat arrays that can be walked both ways, whoever filled them.
//!
//! Knows neither petgraph nor where the graph came from. Attributes stand beside it, see [`super::Attributes`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ouro_rules::label::{Label, Scope, is_below};
use ouro_rules::{EdgeKind, Span};

/// A graph of targets and files.
#[derive(Debug, Clone, Default)]
pub struct TargetGraph {
    /// Sorted by label, each once.
    nodes: Vec<Node>,
    down: Links,
    up: Links,
    /// The names of attributes that make edges.
    attrs: Vec<Arc<str>>,
    /// Sorted by name.
    packages: Vec<Package>,
    known: BTreeSet<Arc<str>>,
    /// Nodes under another label: what aliases stand for, where aliases are no nodes themselves.
    others: BTreeMap<Label, Ix>,
    programs_only: bool,
}

/// A node of one graph: its place among all nodes, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ix(u32);

/// A target or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub label: Label,
    /// What it is.
    pub kind: Kind,
    /// Where it is declared; the beginning of a source file.
    pub place: Span,
    /// Free words to select by.
    pub tags: Vec<Arc<str>>,
    /// Whether its rule has an attribute for jumps.
    pub jumps: bool,
    /// Whether it is a test.
    pub test: bool,
    /// Whether it stands for other tests.
    pub suite: bool,
}

/// What a node is; displays as the function `kind()` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A target of this rule.
    Rule(Arc<str>),
    /// A file written by people.
    Source,
    /// A file that a target's `outs` names.
    Generated,
}

/// An edge, for making graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The dependent.
    pub from: Ix,
    /// What it depends on.
    pub to: Ix,
    /// The attribute that says so, by its place in a list of names; none for what follows from other edges.
    pub attr: Option<u16>,
    /// What it means.
    pub kind: EdgeKind,
}

/// One end of an edge, seen from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The node it leads to.
    pub to: Ix,
    /// See [`Edge::attr`].
    pub attr: Option<u16>,
    /// What it means.
    pub kind: EdgeKind,
}

/// The edges of a graph in one direction, grouped by node.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// Where each node's links begin, and where the last one's end.
    starts: Vec<u32>,
    links: Vec<Link>,
}

/// The files a package was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The folder's path from the workspace root.
    pub name: Arc<str>,
    /// Its BUILD file.
    pub build_file: Ix,
    /// The `.star` files that loads, directly or through others.
    pub loads: Vec<Ix>,
}

/// What a graph is made of.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The nodes, sorted by label, each once.
    pub nodes: Vec<Node>,
    /// The edges, in any order.
    pub edges: Vec<Edge>,
    /// The names that [`Edge::attr`] means.
    pub attrs: Vec<Arc<str>>,
    /// The packages, sorted by name.
    pub packages: Vec<Package>,
    /// The names of all attributes that targets of the graph may have.
    pub known: BTreeSet<Arc<str>>,
    /// More labels for some nodes.
    pub others: BTreeMap<Label, Ix>,
    /// Whether it is a jump graph, where only programs are nodes.
    pub programs_only: bool,
}

impl Ix {
    /// The node at a place.
    pub fn new(place: usize) -> Ix {
        Ix(u32::try_from(place).expect("BUG: fewer than four billion nodes"))
    }

    /// Its place.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

impl Node {
    /// Whether it is a target, not a file.
    pub fn is_target(&self) -> bool {
        matches!(self.kind, Kind::Rule(_))
    }

    /// Whether it is a test.
    pub fn is_test(&self) -> bool {
        self.test
    }

    /// Whether it stands for other tests.
    pub fn is_suite(&self) -> bool {
        self.suite
    }

    /// Whether it wants to be named, and is left out of `:all` and `...` when things are built.
    pub fn is_manual(&self) -> bool {
        self.tags.iter().any(|tag| &**tag == "manual")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Rule(rule) => write!(f, "{rule} rule"),
            Kind::Source => f.write_str("source file"),
            Kind::Generated => f.write_str("generated file"),
        }
    }
}

impl Link {
    /// Whether an attribute says so.
    pub fn is_declared(&self) -> bool {
        self.attr.is_some()
    }

    /// Whether what is built at one end depends on what is built at the other.
    pub fn waits(&self) -> bool {
        self.kind != EdgeKind::Jump
    }
}

impl Links {
    /// The links from the first nodes of these edges, which are sorted.
    fn new(count: usize, edges: &[Edge]) -> Links {
        let mut starts = Vec::with_capacity(count + 1);
        for (edge, at) in edges.iter().zip(0u32..) {
            starts.resize(edge.from.place() + 1, at);
        }
        starts.resize(count + 1, edges.len() as u32);
        let links = edges.iter().map(|edge| Link { to: edge.to, attr: edge.attr, kind: edge.kind }).collect();
        Links { starts, links }
    }

    /// The same edges the other way round.
    fn turned(&self) -> Links {
        let mut starts = vec![0; self.len() + 1];
        self.links.iter().for_each(|link| starts[link.to.place() + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let (mut next, mut links) = (starts.clone(), self.links.clone());
        for from in (0..self.len()).map(Ix::new) {
            for link in self.of(from) {
                let at = &mut next[link.to.place()];
                links[*at as usize] = Link { to: from, ..*link };
                *at += 1;
            }
        }
        Links { starts, links }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// A node's links, sorted by where they lead.
    pub fn of(&self, node: Ix) -> &[Link] {
        &self.links[self.starts[node.place()] as usize..self.starts[node.place() + 1] as usize]
    }
}

impl TargetGraph {
    /// The graph of these parts.
    pub fn new(parts: Parts) -> TargetGraph {
        let Parts { nodes, mut edges, attrs, packages, known, others, programs_only } = parts;
        edges.sort_unstable();
        edges.dedup();
        let down = Links::new(nodes.len(), &edges);
        TargetGraph { up: down.turned(), nodes, down, attrs, packages, known, others, programs_only }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node, sorted by label.
    pub fn ids(&self) -> impl Iterator<Item = Ix> + use<> {
        (0..self.nodes.len()).map(Ix::new)
    }

    /// A node.
    pub fn node(&self, node: Ix) -> &Node {
        &self.nodes[node.place()]
    }

    /// What nodes depend on.
    pub fn down(&self) -> &Links {
        &self.down
    }

    /// What depends on nodes.
    pub fn up(&self) -> &Links {
        &self.up
    }

    /// The name of the attribute an edge comes from.
    pub fn attr(&self, link: &Link) -> Option<&Arc<str>> {
        link.attr.and_then(|attr| self.attrs.get(usize::from(attr)))
    }

    /// The names that [`Edge::attr`] means.
    pub(super) fn attrs(&self) -> &[Arc<str>] {
        &self.attrs
    }

    /// The names of all attributes that targets of the graph may have.
    pub fn known_attrs(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|name| &**name)
    }

    /// Whether only programs are nodes.
    pub(super) fn programs_only(&self) -> bool {
        self.programs_only
    }

    /// The packages, sorted by name.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The package of this name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.binary_search_by(|package| (*package.name).cmp(name)).ok().map(|at| &self.packages[at])
    }

    /// The node of this label.
    pub fn find(&self, label: &Label) -> Option<Ix> {
        let at = self.nodes.binary_search_by(|node| node.label.cmp(label)).ok();
        at.map(Ix::new).or_else(|| self.others.get(label).copied())
    }

    /// The nodes whose labels lie in this package.
    pub fn members(&self, package: &str) -> impl Iterator<Item = Ix> + use<> {
        fn key(node: &Node) -> (&str, &str) {
            (&node.label.repo, &node.label.package)
        }
        let start = self.nodes.partition_point(|node| key(node) < ("", package));
        let end = self.nodes.partition_point(|node| key(node) <= ("", package));
        (start..end).map(Ix::new)
    }

    /// The node of a label, or all targets of a package or of those below it, manual ones too.
    pub fn select(&self, scope: &Scope) -> Vec<Ix> {
        let is_target = |node: &Ix| self.node(*node).is_target();
        match scope {
            Scope::Target(label) => self.find(label).into_iter().collect(),
            Scope::Package(package) => self.members(package).filter(is_target).collect(),
            Scope::Subtree(root) => {
                let is_in = |node: &Ix| is_below(&self.node(*node).label.package, root);
                self.ids().filter(is_target).filter(is_in).collect()
            }
        }
    }
}
