//! From what attributes name to edges: which target or file a label means, and whether it may be named there.
//!
//! Knows nothing of what rules make of it.

use std::collections::VecDeque;
use std::sync::Arc;

use ouro_rules::diagnostic::nearest;
use ouro_rules::label::join;
use ouro_rules::{Diagnostic, EdgeKind, Label, Span, Target};

use super::{Edge, Graph, Node, NodeId};
use crate::configure::Configured;
use crate::fast::FastMap;
use crate::load::{BUILD_FILES, Export, Package};
use crate::visibility;

/// Looking for a near name costs more than all else; who has this many wrong names needs no more hints to see why.
const MOST_HINTS: usize = 50;

/// All nodes and edges that the requested targets need, and what is wrong with the labels.
pub(super) fn collect<'l>(configured: &'l Configured<'_>, is_file: &dyn Fn(&str) -> bool) -> (Graph<'l>, Vec<Diagnostic>) {
    let (generated, findings) = generated_files(configured);
    let loaded = configured.loaded();
    let packages = loaded.packages.iter().map(|(name, package)| (&**name, package)).collect();
    let count = loaded.packages.values().map(|package| package.targets.len()).sum();
    let (graph, queue, inner) = (Graph::with_room(count), VecDeque::new(), FastMap::default());
    let mut builder = Builder { configured, packages, is_file, generated, inner, graph, queue, findings, hints: 0 };
    builder.run();
    (builder.graph, builder.findings)
}

/// For each file some target's `outs` names: the target.
fn generated_files<'l>(configured: &'l Configured<'_>) -> (FastMap<Label, &'l Target>, Vec<Diagnostic>) {
    let (mut files, mut findings) = (FastMap::<Label, &Target>::default(), Vec::new());
    for target in configured.targets() {
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
    configured: &'l Configured<'l>,
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

/// A label in an attribute.
#[derive(Clone, Copy)]
struct Mention<'a> {
    /// The target it stands in.
    by: &'a Target,
    /// The package that must see what it names.
    from: &'a str,
    label: &'a Label,
    span: &'a Span,
}

impl<'l> Builder<'_, 'l> {
    fn run(&mut self) {
        for label in &self.configured.loaded().requested {
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
        let loaded = || self.packages.get(&*label.package)?.targets.get(&label.name).filter(|_| label.repo.is_empty());
        self.configured.chosen(label).or_else(loaded)
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
            let attr = maker.attrs.get_key_value("outs").map(|(name, _)| name.clone());
            self.graph.connect(node, to, Edge { kind: EdgeKind::Source, attr, span: maker.span.clone() });
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
        let Some(rule) = self.configured.loaded().rules.rule(&target.rule) else { return };
        for attr in rule.attrs() {
            let (Some(kind), Some((name, value))) = (attr.edge, target.attrs.get_key_value(attr.name.as_str())) else { continue };
            // Who defines a rule names the labels of its defaults, and has to see them.
            let home = attr.home.as_deref().filter(|_| value.value == attr.default);
            let seen_from = home.unwrap_or(&target.label.package);
            value.value.each_label(&value.span, &mut |label, span| {
                self.add_edge(node, &Mention { by: target, from: seen_from, label, span }, (kind, name));
            });
        }
        self.add_conditions(node, target);
    }

    /// What a target could choose depends on conditions, whatever it chose.
    fn add_conditions(&mut self, node: NodeId, target: &'l Target) {
        let configured: &'l Configured<'l> = self.configured;
        let Some(written) = configured.chosen(&target.label).and_then(|_| configured.loaded().target(&target.label)) else {
            return;
        };
        for (name, attr) in &written.attrs {
            attr.value.each_condition(&mut |label, span| {
                let named = Mention { by: target, from: &target.label.package, label, span };
                self.add_edge(node, &named, (EdgeKind::Setting, name));
            });
        }
    }

    fn add_edge(&mut self, node: NodeId, named: &Mention<'l>, (kind, attr): (EdgeKind, &Arc<str>)) {
        let Mention { label, span, .. } = *named;
        let to = match self.target(label) {
            Some(found) => {
                // Nobody depends on a flag or group of packages by looking at it.
                if kind != EdgeKind::Setting {
                    self.check_visibility(named, found);
                }
                Some(self.add_target(found))
            }
            None if kind.takes_files() => self.add_source(named),
            None => None,
        };
        match to {
            Some(to) => self.graph.connect(node, to, Edge { kind, attr: Some(attr.clone()), span: span.clone() }),
            None => {
                let finding = self.missing(kind, label, span);
                self.findings.push(named.by.blamed(finding));
            }
        }
    }

    /// The file of this label. What a target makes has its visibility; a package's plain files are its own.
    fn add_source(&mut self, named: &Mention<'l>) -> Option<NodeId> {
        let label = named.label;
        if let Some(maker) = self.generated.get(label) {
            self.check_visibility(named, maker);
            return self.add_generated(label);
        }
        let node = self.add_file(label)?;
        let owner = self.owner(label);
        if owner != named.from {
            let finding = self.foreign_file(named, &owner).map(|finding| named.by.blamed(finding));
            self.findings.extend(finding);
        }
        Some(node)
    }

    /// What is wrong with naming a file of the package `owner`; nothing when that package exports it.
    fn foreign_file(&self, named: &Mention<'_>, owner: &str) -> Option<Diagnostic> {
        let Mention { by, from, label, span } = *named;
        let Some(export) = self.export(label).filter(|_| owner == &*label.package) else {
            let finding = Diagnostic::error(span, format!("`{label}` is a file of another package, `//{owner}`"));
            let name = label.path().strip_prefix(owner).unwrap_or_default().trim_start_matches('/').to_owned();
            let help = format!(
                "name it by a `filegroup` or `bpf_library` of `//{owner}` with visibility, or say `exports_files([\"{name}\"])` there"
            );
            return Some(finding.help(help));
        };
        if self.configured.loaded().allows(&export.visibility, owner, from) {
            return None;
        }
        let finding = Diagnostic::error(span, format!("`{label}` is not exported to `{}`", by.label));
        let help = format!("add `//{from}:__pkg__` to the `visibility` of its `exports_files()`");
        Some(finding.related(&export.span, "exported here").help(help))
    }

    fn export(&self, label: &Label) -> Option<&'l Export> {
        self.configured.loaded().packages.get(&label.package)?.exports.get(&label.name)
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

    fn check_visibility(&mut self, named: &Mention<'_>, to: &Target) {
        let hidden = visibility::hidden(self.configured.loaded(), &named.by.label, named.from, to, named.span);
        self.findings.extend(hidden.map(|finding| named.by.blamed(finding)));
    }

    fn missing(&mut self, kind: EdgeKind, label: &Label, span: &Span) -> Diagnostic {
        let what = if kind.takes_files() { "no target or file" } else { "no target" };
        let finding = Diagnostic::error(span, format!("there is {what} `{label}`"));
        if self.is_any_file(label) {
            return finding.help(format!(
                "`{}` is a file; files belong in `srcs`, `hdrs` or `data`, or another attribute that takes them",
                label.path()
            ));
        }
        let fallback = || match kind {
            kind if kind.takes_files() => format!("create `{}`, or correct the name", label.path()),
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
