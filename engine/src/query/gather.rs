//! From what was loaded to the graph that queries see.
//!
//! Knows nothing of expressions.

use std::collections::BTreeSet;
use std::sync::Arc;

use ouro_rules::{EdgeKind, Label, Span, Target};

use super::links::Edge;
use super::node::{Ix, Kind, Name, Node, Place};
use super::target_graph::{Package, Parts, TargetGraph};
use crate::graph::{self, Graph, NodeId};
use crate::load::{self, Loaded};

/// Attributes that every target may have.
const COMMON: [&str; 3] = ["name", "tags", "visibility"];

/// Every target of the loaded packages, and every file they say they make: the graph of all these knows who depends on whom.
/// `but` are left out.
pub fn everything(loaded: &Loaded, but: &BTreeSet<&Label>) -> Vec<Label> {
    let all = || loaded.packages.values().flat_map(|package| package.targets.values());
    let targets = || all().filter(|target| !but.contains(&target.label));
    let made = targets().flat_map(|target| {
        let names = target.get("outs").items().iter().filter_map(|out| out.value.as_str());
        names.map(|name| target.label.sibling(name))
    });
    let mut labels: Vec<Label> = targets().map(|target| target.label.clone()).chain(made).collect();
    labels.sort();
    labels.dedup();
    labels
}

/// The compact form of a graph, with the files that packages were made from.
pub(super) fn gather(loaded: &Loaded, graph: &Graph<'_>) -> TargetGraph {
    let own = own_files(loaded);
    let (nodes, places) = nodes(loaded, graph, &own);
    let (edges, attrs) = edges(graph, &places);
    let packages = loaded.packages.values().filter_map(|package| files(package, &nodes)).collect();
    let known = known(loaded);
    TargetGraph::new(Parts { nodes, edges, attrs, packages, known, ..Parts::default() })
}

/// The nodes, sorted, and for each place in `graph` the place among them. `own` are files of packages.
fn nodes<'a>(loaded: &'a Loaded, graph: &'a Graph<'_>, own: &'a BTreeSet<Label>) -> (Vec<Node<'a>>, Vec<Ix>) {
    let mut all: Vec<(&Label, Option<NodeId>)> = graph.by_label().map(|(label, id)| (label, Some(id))).collect();
    all.extend(own.iter().filter(|label| graph.find(label).is_none()).map(|label| (label, None)));
    all.sort_by(|one, other| one.0.cmp(other.0));
    let mut places = vec![Ix::new(0); graph.len()];
    for ((_, id), place) in all.iter().zip(0..) {
        if let Some(id) = id {
            places[id.place()] = Ix::new(place);
        }
    }
    let node = |(label, id): (&'a Label, Option<NodeId>)| match id {
        Some(id) => node(loaded, graph, id),
        None => Node::source(label.into()),
    };
    (all.into_iter().map(node).collect(), places)
}

/// BUILD and `.star` files.
fn own_files(loaded: &Loaded) -> BTreeSet<Label> {
    loaded.packages.values().flat_map(|package| package.loads.iter().cloned().chain([build_file(package)])).collect()
}

fn build_file(package: &load::Package) -> Label {
    let name = package.build_file.rsplit('/').next().unwrap_or(&package.build_file);
    Label::new(package.name.clone(), name)
}

fn node<'a>(loaded: &'a Loaded, graph: &'a Graph<'_>, id: NodeId) -> Node<'a> {
    match graph.node(id) {
        graph::Node::Target(target) => self::target(loaded, target),
        graph::Node::File(label) => Node::source(label.into()),
        graph::Node::Generated(label) => {
            Node { declared: Some(place(maker(graph, id))), kind: Kind::Generated, ..Node::source(label.into()) }
        }
    }
}

fn target<'a>(loaded: &'a Loaded, target: &'a Target) -> Node<'a> {
    let rule = loaded.rules.rule(&target.rule);
    let leads = |kind| rule.is_some_and(|rule| rule.attrs().iter().any(|attr| attr.edge == Some(kind)));
    Node {
        label: (&target.label).into(),
        kind: Kind::Rule(rule.map_or(&target.rule, |rule| rule.name())),
        declared: Some(place(&target.span)),
        tags: target.tags.iter().map(|tag| &**tag).collect(),
        jumps: leads(EdgeKind::Jump),
        test: rule.is_some_and(|rule| rule.is_test()),
        suite: leads(EdgeKind::Test),
    }
}

fn place(span: &Span) -> Place<'_> {
    Place { file: &span.file, line: span.line, column: span.column }
}

/// Where the target that makes a file is declared: its only edge leads there.
fn maker<'a>(graph: &'a Graph<'_>, id: NodeId) -> &'a Span {
    let edge = graph.edges(id).next();
    edge.map(|(_, edge)| &edge.span).expect("BUG: a generated file has a maker")
}

fn edges(graph: &Graph<'_>, places: &[Ix]) -> (Vec<Edge>, Vec<Arc<str>>) {
    let (mut edges, mut attrs) = (Vec::new(), Vec::<Arc<str>>::new());
    for (_, from) in graph.by_label() {
        for (to, edge) in graph.edges(from) {
            let attr = edge.attr.as_ref().map(|name| number(&mut attrs, name));
            edges.push(Edge { from: places[from.place()], to: places[to.place()], attr, kind: edge.kind });
        }
    }
    (edges, attrs)
}

/// A name's place in the list. There are few, so looking through them is the fastest way.
fn number(names: &mut Vec<Arc<str>>, name: &Arc<str>) -> u16 {
    let known = names.iter().position(|known| known == name);
    let at = known.unwrap_or_else(|| {
        names.push(name.clone());
        names.len() - 1
    });
    u16::try_from(at).expect("BUG: rules have fewer than 65,536 attributes")
}

fn files(package: &load::Package, nodes: &[Node<'_>]) -> Option<Package> {
    let find = |label: &Label| nodes.binary_search_by(|node| node.label.cmp(&Name::from(label))).ok().map(Ix::new);
    let loads = package.loads.iter().filter_map(find).collect();
    Some(Package { build_file: find(&build_file(package))?, loads, globs: package.globs.clone() })
}

/// The attributes of all rules that some target is of.
fn known(loaded: &Loaded) -> BTreeSet<Arc<str>> {
    let targets = loaded.packages.values().flat_map(|package| package.targets.values());
    let used: BTreeSet<&Arc<str>> = targets.map(|target| &target.rule).collect();
    let attrs = used.into_iter().filter_map(|name| loaded.rules.rule(name)).flat_map(|rule| rule.attrs());
    attrs.map(|attr| attr.name.as_str()).chain(COMMON).map(Arc::from).collect()
}
