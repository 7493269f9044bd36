//! Which target or file each label of a target means, and whether it may be named there. Many targets are looked at in parallel.
//!
//! Adds nothing to the graph, and knows nothing of what rules make of it.

use std::sync::Arc;

use ouro_rules::label::join;
use ouro_rules::{Diagnostic, EdgeKind, Label, Span, Target};
use rayon::prelude::*;

use crate::configure::Configured;
use crate::fast::FastMap;
use crate::load::{BUILD_FILES, Export, Package};
use crate::visibility;

/// Below this many targets one thread looks at them: waking others costs more than it saves.
const PARALLEL: usize = 256;

/// Where labels are looked up.
pub(super) struct Resolver<'a, 'l> {
    pub(super) configured: &'l Configured<'l>,
    pub(super) packages: FastMap<&'l str, &'l Package>,
    /// For each file some target's `outs` names: the target.
    pub(super) generated: FastMap<Label, &'l Target>,
    pub(super) is_file: IsFile<'a>,
}

/// Whether a path from the workspace root is a file.
pub type IsFile<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// The labels of a target.
pub(super) struct Resolved<'l> {
    pub(super) mentions: Vec<Mention<'l>>,
    /// What is wrong with those that mean something.
    pub(super) findings: Vec<Diagnostic>,
}

/// A label in an attribute.
#[derive(Clone, Copy)]
pub(super) struct Mention<'l> {
    pub(super) label: &'l Label,
    pub(super) span: &'l Span,
    pub(super) kind: EdgeKind,
    pub(super) attr: &'l Arc<str>,
    /// What it means; none when there is nothing of this name.
    pub(super) to: Option<To<'l>>,
}

/// What a label means.
#[derive(Clone, Copy)]
pub(super) enum To<'l> {
    Target(&'l Target),
    /// The file of this label, which this target makes.
    Generated(&'l Target),
    /// The file of this label, written by people.
    File,
}

impl<'l> Resolver<'_, 'l> {
    /// The labels of many targets, in their order.
    pub(super) fn all(&self, targets: &[&'l Target]) -> Vec<Resolved<'l>> {
        let one = |target: &&'l Target| self.one(target);
        if targets.len() < PARALLEL { targets.iter().map(one).collect() } else { targets.par_iter().map(one).collect() }
    }

    /// The target of this label. Every label is looked up, and a tree of packages would compare many names each time.
    pub(super) fn target(&self, label: &Label) -> Option<&'l Target> {
        let loaded = || self.packages.get(&*label.package)?.targets.get(&label.name).filter(|_| label.repo.is_empty());
        self.configured.chosen(label).or_else(loaded)
    }

    /// Whether a label names a file of any kind.
    pub(super) fn is_any_file(&self, label: &Label) -> bool {
        self.generated.contains_key(label) || (label.repo.is_empty() && (self.is_file)(&label.path()))
    }

    fn one(&self, target: &'l Target) -> Resolved<'l> {
        let mut resolved = Resolved { mentions: Vec::new(), findings: Vec::new() };
        let Some(rule) = self.configured.loaded().rules.rule(&target.rule) else { return resolved };
        for attr in rule.attrs() {
            let (Some(kind), Some((name, value))) = (attr.edge, target.attrs.get_key_value(attr.name.as_str())) else { continue };
            // Who defines a rule names the labels of its defaults, and has to see them.
            let home = attr.home.as_deref().filter(|_| value.value == attr.default);
            let seen_from = home.unwrap_or(&target.label.package);
            value.value.each_label(&value.span, &mut |label, span| {
                let mention = Mention { label, span, kind, attr: name, to: None };
                self.look_up((target, seen_from), mention, &mut resolved);
            });
        }
        self.conditions(target, &mut resolved);
        resolved
    }

    /// What a target could choose depends on conditions, whatever it chose.
    fn conditions(&self, target: &'l Target, resolved: &mut Resolved<'l>) {
        let configured: &'l Configured<'l> = self.configured;
        let Some(written) = configured.chosen(&target.label).and_then(|_| configured.loaded().target(&target.label)) else {
            return;
        };
        for (attr, value) in &written.attrs {
            value.value.each_condition(&mut |label, span| {
                let mention = Mention { label, span, kind: EdgeKind::Setting, attr, to: None };
                self.look_up((target, &target.label.package), mention, resolved);
            });
        }
    }

    /// Looks a label up that stands in `by`, and that the package `from` must see.
    fn look_up(&self, (by, from): (&Target, &str), mut mention: Mention<'l>, resolved: &mut Resolved<'l>) {
        mention.to = match self.target(mention.label) {
            Some(found) => Some(To::Target(found)),
            None if mention.kind.takes_files() && !self.configured.loaded().leaves_out(mention.label) => self.file(mention.label),
            None => None,
        };
        let finding = match mention.to {
            // Nobody depends on a flag or group of packages by looking at it.
            Some(To::Target(_)) if mention.kind == EdgeKind::Setting => None,
            // What a target makes has its visibility; a package's plain files are its own.
            Some(To::Target(to) | To::Generated(to)) => {
                visibility::hidden(self.configured.loaded(), &by.label, from, to, mention.span)
            }
            Some(To::File) => self.foreign_file((by, from), &mention),
            None => None,
        };
        resolved.findings.extend(finding.map(|finding| by.blamed(finding)));
        resolved.mentions.push(mention);
    }

    fn file(&self, label: &Label) -> Option<To<'l>> {
        let maker = self.generated.get(label).map(|maker| To::Generated(maker));
        maker.or_else(|| (label.repo.is_empty() && (self.is_file)(&label.path())).then_some(To::File))
    }

    /// What is wrong with naming a plain file; nothing when it is of this package, or its own exports it.
    fn foreign_file(&self, (by, from): (&Target, &str), mention: &Mention<'_>) -> Option<Diagnostic> {
        let Mention { label, span, .. } = *mention;
        let inner = self.inner_package(label);
        let owner = inner.as_deref().unwrap_or(&label.package);
        if owner == from {
            return None;
        }
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
        self.packages.get(&*label.package)?.exports.get(&label.name)
    }

    /// The package between a plain file and the one its label names: the innermost one around it.
    fn inner_package(&self, label: &Label) -> Option<String> {
        let mut folders = label.name.rmatch_indices('/').map(|(at, _)| join(&label.package, &label.name[..at]));
        folders.find(|folder| BUILD_FILES.iter().any(|name| (self.is_file)(&join(folder, name))))
    }
}
