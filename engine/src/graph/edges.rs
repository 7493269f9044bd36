//! From what attributes name to edges: which target or file a label means, and whether it may be named there.
//!
//! Knows nothing of what rules make of it.

use std::collections::VecDeque;

use ouro_rules::diagnostic::nearest;
use ouro_rules::label::join;
use ouro_rules::{Diagnostic, EdgeKind, Label, Span, Target};

use super::{Edge, Graph, Node, NodeId};
use crate::fast::FastMap;
use crate::load::{BUILD_FILES, Loaded, Package};

/// Looking for a near name costs more than all else; who has this many wrong names needs no more hints to see why.
const MOST_HINTS: usize = 50;

/// All nodes and edges that the requested targets need, and what is wrong with the labels.
pub(super) fn collect<'l>(loaded: &'l Loaded, is_file: &dyn Fn(&str) -> bool) -> (Graph<'l>, Vec<Diagnostic>) {
    let (generated, findings) = generated_files(loaded);
    let packages = loaded.packages.iter().map(|(name, package)| (&**name, package)).collect();
    let count = loaded.packages.values().map(|package| package.targets.len()).sum();
    let (graph, queue, inner) = (Graph::with_room(count), VecDeque::new(), FastMap::default());
    let mut builder = Builder { loaded, packages, is_file, generated, inner, graph, queue, findings, hints: 0 };
    builder.run();
    (builder.graph, builder.findings)
}

/// For each file some target's `outs` names: the target.
fn generated_files(loaded: &Loaded) -> (FastMap<Label, &Target>, Vec<Diagnostic>) {
    let (mut files, mut findings) = (FastMap::<Label, &Target>::default(), Vec::new());
    for target in loaded.packages.values().flat_map(|package| package.targets.values()) {
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
    loaded: &'l Loaded,
    packages: FastMap<&'l str, &'l Package>,
    is_file: &'a dyn Fn(&str) -> bool,
    generated: FastMap<Label, &'l Target>,
    /// Whether a folder inside a package is a package of its own.
    inner: FastMap<String, bool>,
    graph: Graph<'l>,
    queue: VecDeque<(NodeId, &'l Target)>,
    findings: Vec<Diagnostic>,
    hints: usize,
}

impl<'l> Builder<'_, 'l> {
    fn run(&mut self) {
        for label in &self.loaded.requested {
            let node = match self.target(label) {
                Some(target) => Some(self.add_target(target)),
                None => self.add_generated(label),
            };
            self.graph.requested.extend(node);
        }
        while let Some((node, target)) = self.queue.pop_front() {
            self.add_edges(node, target);
        }
    }

    /// The target of this label. Every label is looked up, and a tree of packages would compare many names each time.
    fn target(&self, label: &Label) -> Option<&'l Target> {
        self.packages.get(&*label.package)?.targets.get(&label.name).filter(|_| label.repo.is_empty())
    }

    fn add_target(&mut self, target: &'l Target) -> NodeId {
        self.graph.find(&target.label).unwrap_or_else(|| {
            let node = self.graph.add(&target.label, Node::Target(target));
            self.queue.push_back((node, target));
            node
        })
    }

    /// A node for a file that a target makes.
    fn add_generated(&mut self, label: &'l Label) -> Option<NodeId> {
        let maker = *self.generated.get(label)?;
        self.graph.find(label).or_else(|| {
            let to = self.add_target(maker);
            let node = self.graph.add(label, Node::Generated(label.clone()));
            self.graph.connect(node, to, Edge { kind: EdgeKind::Source, span: maker.span.clone() });
            Some(node)
        })
    }

    /// A node for a file that exists.
    fn add_file(&mut self, label: &'l Label) -> Option<NodeId> {
        self.graph.find(label).or_else(|| {
            let exists = label.repo.is_empty() && (self.is_file)(&label.path());
            exists.then(|| self.graph.add(label, Node::File(label.clone())))
        })
    }

    fn add_edges(&mut self, node: NodeId, target: &'l Target) {
        let Some(rule) = self.loaded.rules.rule(&target.rule) else { return };
        for attr in rule.attrs() {
            let (Some(kind), Some(value)) = (attr.edge, target.attrs.get(attr.name.as_str())) else { continue };
            value.value.each_label(&value.span, &mut |label, span| self.add_edge(node, target, kind, label, span));
        }
    }

    fn add_edge(&mut self, from: NodeId, target: &Target, kind: EdgeKind, label: &'l Label, span: &Span) {
        let to = match self.target(label) {
            Some(found) => {
                self.check_visibility(target, found, span);
                Some(self.add_target(found))
            }
            None if kind == EdgeKind::Source => self.add_source(target, label, span),
            None => None,
        };
        match to {
            Some(to) => self.graph.connect(from, to, Edge { kind, span: span.clone() }),
            None => {
                let finding = self.missing(kind, label, span);
                self.findings.push(finding);
            }
        }
    }

    /// The file of this label. What a target makes has its visibility; a package's plain files are its own.
    fn add_source(&mut self, from: &Target, label: &'l Label, span: &Span) -> Option<NodeId> {
        if let Some(maker) = self.generated.get(label) {
            self.check_visibility(from, maker, span);
            return self.add_generated(label);
        }
        let node = self.add_file(label)?;
        let owner = self.owner(label);
        if owner != *from.label.package {
            let finding = Diagnostic::error(span, format!("`{label}` is a file of another package, `//{owner}`"));
            self.findings.push(finding.help(format!("name it by a `filegroup` or `bpf_library` of `//{owner}` with visibility")));
        }
        Some(node)
    }

    /// The package that a plain file belongs to: the innermost one around it.
    fn owner(&mut self, label: &Label) -> String {
        let folders = label.name.rmatch_indices('/').map(|(at, _)| join(&label.package, &label.name[..at]));
        let inner = folders.into_iter().find(|folder| self.is_package(folder));
        inner.unwrap_or_else(|| label.package.to_string())
    }

    fn is_package(&mut self, folder: &str) -> bool {
        if let Some(known) = self.inner.get(folder) {
            return *known;
        }
        let found = BUILD_FILES.iter().any(|name| (self.is_file)(&join(folder, name)));
        self.inner.insert(folder.to_owned(), found);
        found
    }

    fn check_visibility(&mut self, from: &Target, to: &Target, span: &Span) {
        if to.visibility.allows(&to.label.package, &from.label.package) {
            return;
        }
        let finding = Diagnostic::error(span, format!("`{}` is not visible to `{}`", to.label, from.label));
        let help = format!("add `visibility = [\"//{}:__pkg__\"]` to `{}`", from.label.package, to.label);
        self.findings.push(finding.related(&to.span, "declared here").help(help));
    }

    fn missing(&mut self, kind: EdgeKind, label: &Label, span: &Span) -> Diagnostic {
        let what = if kind == EdgeKind::Source { "no target or file" } else { "no target" };
        let finding = Diagnostic::error(span, format!("there is {what} `{label}`"));
        if self.is_any_file(label) {
            return finding.help(format!("`{}` is a file; files belong in `srcs` or `hdrs`", label.path()));
        }
        let fallback = || match kind {
            EdgeKind::Source => format!("create `{}`, or correct the name", label.path()),
            _ => format!("declare it in `//{}`, or correct the name", label.package),
        };
        finding.help(self.near(label).map_or_else(fallback, |near| format!("did you mean `{near}`?")))
    }

    fn is_any_file(&self, label: &Label) -> bool {
        self.generated.contains_key(label) || (label.repo.is_empty() && (self.is_file)(&label.path()))
    }

    fn near(&mut self, label: &Label) -> Option<Label> {
        self.hints += 1;
        let package = self.packages.get(&*label.package).filter(|_| self.hints <= MOST_HINTS)?;
        nearest(&label.name, package.targets.keys().map(|name| &**name)).map(|name| label.sibling(name))
    }
}
