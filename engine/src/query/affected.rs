//! Which targets a change of files touches.
//!
//! Pure: knows neither git nor the file system. May name too many targets, never too few, as far as BUILD files tell.

use std::collections::{BTreeMap, BTreeSet};

use ouro_rules::diagnostic::{Diagnostic, did_you_mean, sorted};
use ouro_rules::label::{Label, Pattern, Scope};

use super::bits::Bits;
use super::links::Link;
use super::node::{Ix, Kind};
use super::target_graph::TargetGraph;
use super::walk::Walk;
use super::word::folders;
use crate::load::BUILD_FILES;
use crate::workspace::{SETTINGS_FILE, Workspace};

/// A file that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the workspace root; a folder stands for all in it.
    pub path: String,
    /// Whether it was there before and now; else it came or went.
    pub stays: bool,
}

/// The targets that may come out otherwise after these changes, sorted by label. `graph` holds every target of the workspace.
///
/// A file touches what is built from it. A BUILD or `.star` file, or one that came or went where a `glob()` looks, touches all
/// targets of the packages that read it, what is built from those, and programs that jump to them, for these are checked
/// against their declarations. The settings touch everything.
pub fn affected(workspace: &Workspace, graph: &TargetGraph, changes: &[Change]) -> Vec<Ix> {
    let paths: BTreeSet<&str> = changes.iter().map(|change| change.path.trim_end_matches('/')).collect();
    let is_changed = |path: &str| paths.contains(path) || folders(path).any(|folder| paths.contains(folder));
    let is_target = |node: &Ix| graph.node(*node).is_target();
    if is_changed(SETTINGS_FILE) {
        return graph.ids().filter(is_target).collect();
    }
    let mut files = Bits::new(graph.len());
    files.extend(graph.ids().filter(|node| is_source(graph, *node) && is_changed(&graph.node(*node).label.path())));
    let mut declared = Bits::new(graph.len());
    for (name, package) in graph.packages() {
        if package.loads.iter().chain([&package.build_file]).any(|file| files.contains(*file)) {
            declared.extend(graph.members(name).filter(is_target));
        }
    }
    for package in looked_at(workspace, graph, changes) {
        declared.extend(graph.members(package).filter(is_target));
    }
    let up = |follow| Walk { links: graph.up(), follow, within: None };
    let mut touched = up(Link::waits).reach(&files, None);
    touched.unite(&up(|_| true).reach(&declared, None));
    touched.iter().filter(is_target).collect()
}

fn is_source(graph: &TargetGraph, node: Ix) -> bool {
    graph.node(node).kind == Kind::Source && graph.node(node).label.repo.is_empty()
}

/// The packages that some file came to or went from, as their `glob()`s see it, or that have another BUILD file now.
fn looked_at<'c>(workspace: &Workspace, graph: &TargetGraph, changes: &'c [Change]) -> BTreeSet<&'c str> {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut packages = BTreeSet::new();
    for change in changes.iter().filter(|change| !folders(&change.path).any(|folder| workspace.ignores(folder))) {
        let (folder, name) = change.path.rsplit_once('/').unwrap_or(("", &change.path));
        let is_build_file = BUILD_FILES.contains(&name);
        if is_build_file && graph.package(folder).is_some() {
            packages.insert(folder);
        }
        // A package that comes or goes takes its files from, or leaves them to, the one around it.
        let inner = usize::from(is_build_file);
        let package = folders(&change.path).skip(inner).find_map(|folder| Some((folder, graph.package(folder)?)));
        let Some((package, globbing)) = package.filter(|_| !change.stays) else { continue };
        if (is_build_file || name.is_empty()) && !globbing.globs.is_empty() {
            packages.insert(package);
        }
        files.entry(package).or_default().push(change.path[package.len()..].trim_start_matches('/'));
    }
    let looks = |(name, files): (&'c str, Vec<&str>)| {
        graph.package(name)?.globs.iter().any(|glob| glob.may_select(files.iter().copied())).then_some(name)
    };
    packages.extend(files.into_iter().filter_map(looks));
    packages
}

impl TargetGraph {
    /// The targets that patterns select, as a build takes them: `manual` ones only by their names.
    pub fn requested(&self, patterns: &[Pattern]) -> Result<BTreeSet<Ix>, Vec<Diagnostic>> {
        let (mut selected, mut findings) = (BTreeSet::new(), Vec::new());
        for pattern in patterns {
            if pattern.negative {
                selected.retain(|node: &Ix| !pattern.matches(&self.node(*node).label.to_label()));
                continue;
            }
            let is_wide = !matches!(pattern.scope, Scope::Target(_));
            let found = self.select(&pattern.scope);
            findings.extend(self.unknown(&pattern.scope).filter(|_| found.is_empty()));
            selected.extend(found.into_iter().filter(|node| !(is_wide && self.node(*node).is_manual())));
        }
        if findings.is_empty() { Ok(selected) } else { Err(sorted(findings)) }
    }

    /// What is wrong with a pattern that selects nothing.
    fn unknown(&self, scope: &Scope) -> Option<Diagnostic> {
        match scope {
            Scope::Target(Label { package: name, .. }) | Scope::Package(name) if self.package(name).is_none() => {
                let names = self.packages().map(|(name, _)| name);
                Some(Diagnostic::bare(format!("there is no package `//{name}`")).maybe_help(did_you_mean(name, names)))
            }
            Scope::Target(label) => {
                let names = self.members(&label.package).map(|node| self.node(node).label.name);
                Some(Diagnostic::bare(format!("there is no target `{label}`")).maybe_help(did_you_mean(&label.name, names)))
            }
            Scope::Package(_) | Scope::Subtree(_) => None,
        }
    }
}
