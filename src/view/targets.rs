//! Answers about targets: a line each, as JSON, or as boxes and arrows.
//!
//! Knows nothing of expressions, and of files only their names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use ouro_engine::query::{Ix, Link, Node, Plain, TargetGraph};
use ouro_engine::universe::Universe;
use serde::Serialize;
use serde_json::{Map, json};

use super::network::{Arrow, Box, Network};

/// Nodes of a graph.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The graph.
    pub graph: &'a TargetGraph,
    /// The nodes, in the order in which they are written.
    pub nodes: &'a [Ix],
    /// What targets say of themselves.
    pub universe: &'a Universe,
}

impl<'a> Answer<'a> {
    fn nodes(&self) -> impl Iterator<Item = Node<'a>> {
        let graph = self.graph;
        self.nodes.iter().map(|node| graph.node(*node))
    }

    /// What a node names in its attributes.
    fn deps(&self, node: Ix) -> impl Iterator<Item = &'a Link> {
        self.graph.down().of(node).iter().filter(|link| link.is_declared())
    }
}

/// One label a line.
pub fn labels(answer: &Answer<'_>) -> String {
    lines(answer, |text, node| writeln!(text, "{}", node.label))
}

/// The kind, then the label: `bpf_program rule //fw:parse`.
pub fn kinds(answer: &Answer<'_>) -> String {
    lines(answer, |text, node| writeln!(text, "{} {}", node.kind, node.label))
}

/// The place first: `fw/BUILD.ouro:3:1: bpf_program rule //fw:parse`.
pub fn locations(answer: &Answer<'_>) -> String {
    lines(answer, |text, node| {
        let (line, column) = node.line_and_column();
        writeln!(text, "{}:{line}:{column}: {} {}", node.file(), node.kind, node.label)
    })
}

fn lines(answer: &Answer<'_>, line: impl Fn(&mut String, &Node<'_>) -> std::fmt::Result) -> String {
    let mut text = String::with_capacity(answer.nodes.len() * 32);
    answer.nodes().for_each(|node| line(&mut text, &node).expect("BUG: a string takes everything"));
    text
}

/// The packages, sorted, each once: `//fw`.
pub fn packages(answer: &Answer<'_>) -> String {
    let packages: BTreeSet<(&str, &str)> = answer.nodes().map(|node| (node.label.repo, node.label.package)).collect();
    let at = |repo: &str| if repo.is_empty() { String::new() } else { format!("@{repo}") };
    packages.into_iter().map(|(repo, package)| format!("{}//{package}\n", at(repo))).collect()
}

#[derive(Serialize)]
struct JsonNode<'a> {
    label: String,
    kind: String,
    package: String,
    file: Cow<'a, str>,
    line: u32,
    column: u32,
    test: bool,
    tags: Vec<&'a str>,
    attributes: Map<String, serde_json::Value>,
    deps: Vec<JsonDep<'a>>,
}

#[derive(Serialize)]
struct JsonDep<'a> {
    label: String,
    attribute: &'a str,
}

/// An object with `nodes`: objects with `label`, `kind`, `package`, the place as `file`, `line` and `column`, `test` (a boolean),
/// `tags`, `attributes` (by name, as in the BUILD file; what `jump(...)` and its like make is an object with that name as its only
/// key) and `deps` (objects with `label` and the `attribute` that names it). Keys are only ever added.
pub fn json(answer: &Answer<'_>) -> String {
    let nodes: Vec<JsonNode<'_>> = answer.nodes.iter().map(|node| json_node(answer, *node)).collect();
    let mut text = serde_json::to_string_pretty(&BTreeMap::from([("nodes", nodes)])).expect("BUG: nodes are plain data");
    text.push('\n');
    text
}

fn json_node<'a>(answer: &Answer<'a>, ix: Ix) -> JsonNode<'a> {
    let node = answer.graph.node(ix);
    let dep = |link: &'a Link| {
        Some(JsonDep { label: answer.graph.node(link.to).label.to_string(), attribute: answer.graph.attr(link)? })
    };
    let Universe { graph, attributes, .. } = answer.universe;
    let attributes = graph.find(node.label).into_iter().flat_map(|node| attributes.of(node));
    let attributes = attributes.map(|(name, attr)| (name.to_string(), value(attr)));
    let (line, column) = node.line_and_column();
    JsonNode {
        label: node.label.to_string(),
        kind: node.kind.to_string(),
        package: format!("//{}", node.label.package),
        file: node.file(),
        line,
        column,
        test: node.is_test(),
        tags: node.tags,
        attributes: attributes.collect(),
        deps: answer.deps(ix).filter_map(dep).collect(),
    }
}

fn value(attr: &Plain) -> serde_json::Value {
    match attr {
        Plain::None => serde_json::Value::Null,
        Plain::Bool(truth) => json!(truth),
        Plain::Int(number) => json!(number),
        Plain::Str(text) => json!(text),
        Plain::Label(label) => json!(label),
        Plain::List(items) => items.iter().map(value).collect(),
        Plain::Dict(entries) => {
            let key = |key: &Plain| if let Plain::Str(text) = key { text.to_string() } else { String::new() };
            entries.iter().map(|(name, item)| (key(name), value(item))).collect::<Map<_, _>>().into()
        }
        Plain::Record(kind, fields) => {
            let fields: Map<_, _> = fields.iter().map(|(name, field)| (name.to_string(), value(field))).collect();
            json!({ &**kind: fields })
        }
    }
}

/// The nodes and the edges between them, each edge with its attribute.
pub fn network(answer: &Answer<'_>, title: &str) -> Network {
    let place: HashMap<Ix, usize> = answer.nodes.iter().copied().zip(0..).collect();
    let boxes = answer.nodes().map(|node| Box { text: node.label.to_string(), small: !node.is_target() }).collect();
    let mut arrows = Vec::new();
    for (node, from) in answer.nodes.iter().zip(0..) {
        let inside = answer.deps(*node).filter_map(|link| Some((*place.get(&link.to)?, answer.graph.attr(link)?)));
        arrows.extend(inside.map(|(to, attr)| Arrow { from, to, text: attr.to_string() }));
    }
    Network { title: title.to_owned(), boxes, arrows }
}
