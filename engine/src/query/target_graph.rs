//! The target graph as queries see it: flat arrays that can be walked both ways, whoever filled them.
//!
//! Knows neither petgraph nor where the graph came from. Attributes stand beside it, see [`super::Attributes`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::label::{Label, Scope, is_below};
use serde::{Deserialize, Serialize};

use super::links::{Edge, Link, Links};
use super::node::{Ix, Kind, Name, Node, Place};
use super::texts::{Collector, TextId, Texts};
use crate::load::GlobPatterns;

/// A graph of targets and files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetGraph {
    texts: Texts,
    /// Sorted by label, each once.
    rows: Vec<Row>,
    /// The tags of all nodes, one node's after the other's.
    tags: Vec<TextId>,
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

/// A node without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Row {
    repo: TextId,
    package: TextId,
    name: TextId,
    what: What,
    declared: Option<(TextId, u32, u32)>,
    /// Where its tags end.
    tags: u32,
    jumps: bool,
    test: bool,
    suite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum What {
    Rule(TextId),
    Source,
    Generated,
}

/// What a package was made from. Its name is that of the package its BUILD file lies in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Its BUILD file.
    pub build_file: Ix,
    /// The `.star` files that loads, directly or through others.
    pub loads: Vec<Ix>,
    /// Where it looks for files: others may come to match.
    pub globs: Vec<GlobPatterns>,
}

/// What a graph is made of.
#[derive(Debug, Clone, Default)]
pub struct Parts<'a> {
    /// The nodes, sorted by label, each once.
    pub nodes: Vec<Node<'a>>,
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

/// Rows that are being collected, with what stands beside them.
#[derive(Default)]
struct Rows<'a> {
    texts: Collector<'a>,
    tags: Vec<TextId>,
}

impl<'a> Rows<'a> {
    fn row(&mut self, node: &Node<'a>) -> Row {
        self.tags.extend(node.tags.iter().map(|tag| self.texts.number(tag)));
        Row {
            repo: self.texts.number(node.label.repo),
            package: self.texts.number(node.label.package),
            name: self.texts.number(node.label.name),
            what: match node.kind {
                Kind::Rule(rule) => What::Rule(self.texts.number(rule)),
                Kind::Source => What::Source,
                Kind::Generated => What::Generated,
            },
            declared: node.declared.map(|place| (self.texts.number(place.file), place.line, place.column)),
            tags: self.tags.len() as u32,
            jumps: node.jumps,
            test: node.test,
            suite: node.suite,
        }
    }
}

impl TargetGraph {
    /// The graph of these parts.
    pub fn new(parts: Parts<'_>) -> TargetGraph {
        let Parts { nodes, mut edges, attrs, packages, known, others, programs_only } = parts;
        edges.sort_unstable();
        edges.dedup();
        let down = Links::new(nodes.len(), &edges);
        let mut collected = Rows::default();
        let rows = nodes.iter().map(|node| collected.row(node)).collect();
        let Rows { texts: Collector { texts, .. }, tags } = collected;
        TargetGraph { texts, rows, tags, up: down.turned(), down, attrs, packages, known, others, programs_only }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every node, sorted by label.
    pub fn ids(&self) -> impl Iterator<Item = Ix> + use<> {
        (0..self.rows.len()).map(Ix::new)
    }

    /// A node.
    pub fn node(&self, node: Ix) -> Node<'_> {
        let row = &self.rows[node.place()];
        let tags = node.place().checked_sub(1).map_or(0, |before| self.rows[before].tags)..row.tags;
        let place = |(file, line, column)| Place { file: self.texts.get(file), line, column };
        Node {
            label: self.label(row),
            kind: match row.what {
                What::Rule(rule) => Kind::Rule(self.texts.get(rule)),
                What::Source => Kind::Source,
                What::Generated => Kind::Generated,
            },
            declared: row.declared.map(place),
            tags: self.tags[tags.start as usize..tags.end as usize].iter().map(|tag| self.texts.get(*tag)).collect(),
            jumps: row.jumps,
            test: row.test,
            suite: row.suite,
        }
    }

    fn label(&self, row: &Row) -> Name<'_> {
        let [repo, package, name] = [row.repo, row.package, row.name].map(|text| self.texts.get(text));
        Name { repo, package, name }
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

    /// The packages with their names, sorted by those.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &Package)> {
        self.packages.iter().map(|package| (self.name_of(package), package))
    }

    /// The package of this name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.binary_search_by(|package| self.name_of(package).cmp(name)).ok().map(|at| &self.packages[at])
    }

    fn name_of(&self, package: &Package) -> &str {
        self.texts.get(self.rows[package.build_file.place()].package)
    }

    /// The node of this label.
    pub fn find(&self, label: Name<'_>) -> Option<Ix> {
        let at = self.rows.binary_search_by(|row| self.label(row).cmp(&label)).ok();
        at.map(Ix::new).or_else(|| self.others.get(&label.to_label()).copied())
    }

    /// The nodes whose labels lie in this package.
    pub fn members(&self, package: &str) -> impl Iterator<Item = Ix> + use<> {
        let key = |row: &Row| (self.texts.get(row.repo), self.texts.get(row.package));
        let start = self.rows.partition_point(|row| key(row) < ("", package));
        let end = self.rows.partition_point(|row| key(row) <= ("", package));
        (start..end).map(Ix::new)
    }

    /// The `.star` file of this path, by whatever labels it is loaded.
    fn modules(&self, path: &str) -> Vec<Ix> {
        if !path.ends_with(".star") {
            return Vec::new();
        }
        let loaded: BTreeSet<Ix> = self.packages.iter().flat_map(|package| package.loads.iter().copied()).collect();
        let is_meant = |node: &Ix| {
            let label = self.node(*node).label;
            label.repo.is_empty() && label.to_label().path() == path
        };
        loaded.into_iter().filter(is_meant).collect()
    }

    /// The node of a label, or all targets of a package or of those below it, manual ones too.
    pub fn select(&self, scope: &Scope) -> Vec<Ix> {
        let is_target = |node: &Ix| matches!(self.rows[node.place()].what, What::Rule(_));
        match scope {
            Scope::Target(label) => self.find(label.into()).map_or_else(|| self.modules(&label.path()), |node| vec![node]),
            Scope::Package(package) => self.members(package).filter(is_target).collect(),
            Scope::Subtree(root) => {
                let is_in = |node: &Ix| is_below(self.texts.get(self.rows[node.place()].package), root);
                self.ids().filter(is_target).filter(is_in).collect()
            }
        }
    }
}
