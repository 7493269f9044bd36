//! From what attributes name to nodes and edges.
//!
//! Knows nothing of what rules make of it; `resolve` tells what labels mean.

use std::collections::VecDeque;

use ouro_rules::diagnostic::nearest;
use ouro_rules::{Diagnostic, EdgeKind, Label, Span, Target};

use super::resolve::{IsFile, Mention, Resolver, To};
use super::{Edge, Graph, Node, NodeId};
use crate::configure::Configured;
use crate::fast::FastMap;

/// Looking for a near name costs more than all else; who has this many wrong names needs no more hints to see why.
const MOST_HINTS: usize = 50;

/// The labels of so many targets are held at once: enough for all cores, and little beside the graph.
const AT_ONCE: usize = 2_048;

/// All nodes and edges that the requested targets need, and what is wrong with the labels.
pub(super) fn collect<'l>(configured: &'l Configured<'_>, is_file: IsFile<'_>) -> (Graph<'l>, Vec<Diagnostic>) {
    let (generated, findings) = generated_files(configured);
    let loaded = configured.loaded();
    let packages = loaded.packages.iter().map(|(name, package)| (&**name, package)).collect();
    let count = loaded.packages.values().map(|package| package.targets.len()).sum();
    let resolver = Resolver { configured, packages, generated, is_file };
    let mut builder = Builder { resolver: &resolver, graph: Graph::with_room(count), queue: VecDeque::new(), findings, hints: 0 };
    builder.run();
    (builder.graph, builder.findings)
}

/// For each file some target's `outs` names: the target.
fn generated_files<'l>(configured: &'l Configured<'_>) -> (FastMap<Label, &'l Target>, Vec<Diagnostic>) {
    let (mut files, mut findings) = (FastMap::<Label, &Target>::default(), Vec::new());
    for target in configured.loaded().such(|target| target.attrs.contains_key("outs")) {
        let target = configured.chosen(&target.label).unwrap_or(target);
        for (name, span) in target.get("outs").items().iter().filter_map(|out| Some((out.value.as_str()?, &out.span))) {
            let label = target.label.sibling(name);
            match files.get(&label) {
                Some(other) if other.label != target.label => findings.push(made_twice(&label, other, target, span)),
                _ => drop(files.insert(label, target)),
            }
        }
    }
    (files, findings)
}

fn made_twice(file: &Label, first: &Target, second: &Target, span: &Span) -> Diagnostic {
    let finding = Diagnostic::error(span, format!("`{file}` is made by `{}` and by `{}`", first.label, second.label));
    finding.related(first.span_of("outs"), "first declared here").help("rename one of the outputs")
}

struct Builder<'a, 'l> {
    resolver: &'a Resolver<'a, 'l>,
    graph: Graph<'l>,
    /// The targets that are nodes, and whose edges are not there yet.
    queue: VecDeque<(NodeId, &'l Target)>,
    findings: Vec<Diagnostic>,
    hints: usize,
}

impl<'l> Builder<'_, 'l> {
    fn run(&mut self) {
        for label in &self.resolver.configured.loaded().requested {
            let node = match (self.resolver.target(label), self.resolver.generated.get(label)) {
                (Some(target), _) => Some(self.add_target(target)),
                (None, Some(maker)) => Some(self.add_generated(label, maker)),
                (None, None) => None,
            };
            self.graph.requested.extend(node);
        }
        while !self.queue.is_empty() {
            let some = self.queue.drain(..AT_ONCE.min(self.queue.len()));
            let (nodes, targets): (Vec<NodeId>, Vec<&Target>) = some.unzip();
            let resolved = self.resolver.all(&targets);
            for ((node, target), resolved) in nodes.into_iter().zip(targets).zip(resolved) {
                if !resolved.findings.is_empty() {
                    self.graph.broken.insert(node);
                    self.findings.extend(resolved.findings);
                }
                resolved.mentions.iter().for_each(|mention| self.add_edge(node, target, mention));
            }
        }
    }

    fn add_target(&mut self, target: &'l Target) -> NodeId {
        self.graph.find(&target.label).unwrap_or_else(|| {
            let node = self.graph.add(&target.label, Node::Target(target));
            self.queue.push_back((node, target));
            node
        })
    }

    /// A node for a file that a target makes.
    fn add_generated(&mut self, label: &'l Label, maker: &'l Target) -> NodeId {
        self.graph.find(label).unwrap_or_else(|| {
            let to = self.add_target(maker);
            let node = self.graph.add(label, Node::Generated(label.clone()));
            let attr = maker.attrs.get_key_value("outs").map(|(name, _)| name.clone());
            self.graph.connect(node, to, Edge { kind: EdgeKind::Source, attr, span: maker.span.clone() });
            node
        })
    }

    fn add_file(&mut self, label: &'l Label) -> NodeId {
        self.graph.find(label).unwrap_or_else(|| self.graph.add(label, Node::File(label.clone())))
    }

    fn add_edge(&mut self, node: NodeId, by: &Target, mention: &Mention<'l>) {
        let Mention { label, span, kind, attr, to } = *mention;
        let to = match to {
            Some(To::Target(target)) => self.add_target(target),
            Some(To::Generated(maker)) => self.add_generated(label, maker),
            Some(To::File) => self.add_file(label),
            None => {
                self.graph.broken.insert(node);
                // Else what is wrong has been found.
                if !self.resolver.configured.loaded().leaves_out(label) {
                    let finding = self.missing(by, kind, label, span);
                    self.findings.push(by.blamed(finding));
                }
                return;
            }
        };
        self.graph.connect(node, to, Edge { kind, attr: Some(attr.clone()), span: span.clone() });
    }

    fn missing(&mut self, by: &Target, kind: EdgeKind, label: &Label, span: &Span) -> Diagnostic {
        let what = if kind.takes_files() { "no target or file" } else { "no target" };
        let finding = Diagnostic::error(span, format!("there is {what} `{label}`"));
        if self.resolver.is_any_file(label) {
            return finding.help(format!(
                "`{}` is a file; files belong in `srcs`, `hdrs` or `data`, or another attribute that takes them",
                label.path()
            ));
        }
        let fallback = || match kind {
            kind if kind.takes_files() => format!("create `{}`, or correct the name", label.path()),
            _ => format!("declare it in `//{}`, or correct the name", label.package),
        };
        let near = self.near(by, kind, label);
        let about = (kind.takes_files() && near.is_none() && self.hints <= MOST_HINTS).then(|| label.path().into());
        let finding = finding.help(near.map_or_else(fallback, |near| format!("did you mean `{near}`?")));
        Diagnostic { about, ..finding }
    }

    /// What is declared and has nearly this name: never the target that names it, and for what looks like a file no target.
    fn near(&mut self, by: &Target, kind: EdgeKind, label: &Label) -> Option<Label> {
        self.hints += 1;
        let package = self.resolver.packages.get(&*label.package).filter(|_| self.hints <= MOST_HINTS)?;
        let is_file = kind.takes_files() && label.name.contains('.');
        let others = package.targets.values().map(|target| &target.label).filter(|other| **other != by.label);
        let made = self.resolver.generated.keys().filter(|file| kind.takes_files() && file.package == label.package);
        let names = others.chain(made).map(|near| &*near.name).filter(|name| !is_file || name.contains('.'));
        nearest(&label.name, names).map(|name| label.sibling(name))
    }
}
