//! Patterns: which packages they need, and which targets they select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::Target;
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use ouro_rules::label::{Label, Pattern, Scope, is_below};

use super::crew::Crew;
use super::discover::{self, Found};
use super::{Package, Reads};
use crate::workspace::Workspace;

/// A package to load.
pub(super) struct Wanted {
    pub(super) package: Arc<str>,
    /// Its BUILD file, when a walk has seen it.
    pub(super) build_file: Option<&'static str>,
}

impl Wanted {
    /// One that is known by its name alone.
    pub(super) fn named(package: &Arc<str>) -> Wanted {
        Wanted { package: package.clone(), build_file: None }
    }
}

/// The packages that positive patterns name; negative ones need none.
pub(super) fn packages(
    workspace: &Workspace,
    crew: &Crew,
    patterns: &[Pattern],
    reads: &mut Reads,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Wanted> {
    let mut wanted: BTreeMap<Arc<str>, Option<&'static str>> = BTreeMap::new();
    for scope in patterns.iter().filter(|pattern| !pattern.negative).map(|pattern| &pattern.scope) {
        match scope {
            Scope::Target(label) if !label.repo.is_empty() => findings.push(foreign(label).named_at(None)),
            Scope::Target(Label { package, .. }) | Scope::Package(package) => {
                wanted.entry(package.clone()).or_default();
            }
            Scope::Subtree(root) => {
                let before = findings.len();
                let found = discover::below(workspace, crew, root, reads, findings);
                if found.is_empty() && findings.len() == before {
                    findings.push(nothing_below(workspace, root).named_at(None));
                }
                reads.listed.reserve(found.len());
                let listed = found.into_iter().map(|Found { package, build_file, files }| {
                    reads.listed.insert(package.clone(), files);
                    (package, Some(build_file))
                });
                wanted.append(&mut listed.collect());
            }
        }
    }
    wanted.into_iter().map(|(package, build_file)| Wanted { package, build_file }).collect()
}

fn nothing_below(workspace: &Workspace, root: &str) -> Diagnostic {
    if !workspace.root.join(root).is_dir() {
        return discover::no_package(workspace, root, None);
    }
    let pattern = if root.is_empty() { "//...".to_owned() } else { format!("//{root}/...") };
    Diagnostic::bare(format!("no package matches `{pattern}`")).help("a package is a folder with a `BUILD.ouro` or `BUILD` file")
}

/// A label outside of the workspace where only targets can stand.
pub(super) fn foreign(label: &Label) -> Diagnostic {
    Diagnostic::bare(format!("`{label}` is no target of this workspace")).help("`@ouro//` holds only files for `load()`")
}

/// The targets that the patterns select, applied in order. `broken` packages have findings of their own, so that a target
/// missing there is not one more.
pub(super) fn select(
    workspace: &Workspace,
    packages: &BTreeMap<Arc<str>, Package>,
    patterns: &[Pattern],
    broken: &BTreeSet<Arc<str>>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Label> {
    let mut selected: BTreeSet<Label> = BTreeSet::new();
    for pattern in patterns {
        match &pattern.scope {
            _ if pattern.negative => selected.retain(|label| !pattern.matches(label)),
            Scope::Target(label) => match packages.get(&label.package) {
                Some(package) if package.targets.contains_key(&label.name) || made(package).any(|name| *name == *label.name) => {
                    selected.insert(label.clone());
                }
                Some(package) if !broken.contains(&label.package) => {
                    findings.push(no_target(workspace, package, label).named_at(None))
                }
                _ => {}
            },
            Scope::Package(package) => selected.extend(packages.get(package).into_iter().flat_map(automatic)),
            Scope::Subtree(root) => {
                // What was loaded of a repository below only because something depends on it is not asked for.
                let repositories = &workspace.settings.repositories;
                let is_meant = |package: &&Package| {
                    is_below(&package.name, root) && repositories.root_of(&package.name) == repositories.root_of(root)
                };
                selected.append(&mut packages.values().filter(is_meant).flat_map(automatic).collect());
            }
        }
    }
    selected.into_iter().collect()
}

/// The targets of a package that need not be named one by one.
fn automatic(package: &Package) -> impl Iterator<Item = Label> {
    let is_automatic = |target: &&Target| !target.tags.iter().any(|tag| &**tag == "manual");
    package.targets.values().filter(is_automatic).map(|target| target.label.clone())
}

/// The files that the targets of a package make, as `outs` names them.
fn made(package: &Package) -> impl Iterator<Item = &str> {
    package.targets.values().flat_map(|target| target.get("outs").items()).filter_map(|out| out.value.as_str())
}

/// The targets of a package that name a file.
fn users<'p>(package: &'p Package, file: &'p Label) -> impl Iterator<Item = &'p Label> {
    let names = move |target: &&Target| {
        let mut found = false;
        target.attrs.values().for_each(|attr| attr.value.each_label(&attr.span, &mut |label, _| found |= label == file));
        found
    };
    package.targets.values().filter(names).map(|target| &target.label)
}

/// The target whose output is probably meant: outputs are called after it.
fn maker(package: &Package, label: &Label) -> Option<String> {
    let (stem, _) = label.name.rsplit_once('.')?;
    let target = package.targets.get(stem)?;
    Some(format!("if an output of `{}` is meant, name that target", target.label))
}

/// So many targets are told by their names.
const FEW: usize = 6;

fn no_target(workspace: &Workspace, package: &Package, label: &Label) -> Diagnostic {
    let finding = Diagnostic::bare(format!("no target `{}` in `{}`", label.name, package.build_file));
    if workspace.root.join(label.path()).is_file() {
        let users: Vec<String> = users(package, label).map(|user| format!("`{user}`")).collect();
        let which = if users.is_empty() { String::new() } else { format!(": {}", users.join(" or ")) };
        return finding.help(format!("`{}` is a file; name the target that uses it{which}", label.path()));
    }
    let names = package.targets.keys().map(|name| &**name).chain(made(package));
    let near = did_you_mean(&label.name, names).or_else(|| maker(package, label));
    let near = near.or_else(|| discover::folder_meant(workspace, label));
    finding.help(near.unwrap_or_else(|| match package.targets.len() {
        0 => "the package has no targets".to_owned(),
        1..=FEW => format!("the package has `{}`", package.targets.keys().map(|name| &**name).collect::<Vec<_>>().join("`, `")),
        _ => format!("`//{}:all` selects every target of the package", package.name),
    }))
}
