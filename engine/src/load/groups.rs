//! The groups of packages that visibility lists name.
//!
//! Knows nothing of who depends on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, Span, did_you_mean};
use ouro_rules::label::Label;
use ouro_rules::package_group::PackageGroup;
use ouro_rules::repository::Repositories;
use ouro_rules::rule::{Role, RuleTable};
use ouro_rules::target::{Target, Visibility};

use super::Package;

/// Every group that was loaded, each as itself and all it includes.
pub(super) fn groups(
    packages: &BTreeMap<Arc<str>, Package>,
    broken: &BTreeSet<Arc<str>>,
    table: &RuleTable,
    repositories: &Repositories,
    findings: &mut Vec<Diagnostic>,
) -> BTreeMap<Label, Vec<PackageGroup>> {
    let is_group = |target: &&Target| table.rule(&target.rule).is_some_and(|rule| rule.role() == Role::Packages);
    let targets = || packages.values().flat_map(|package| package.targets.values());
    let mut own: BTreeMap<&Label, (&Target, PackageGroup)> = BTreeMap::new();
    for target in targets().filter(is_group) {
        let group = PackageGroup::of(target, repositories).unwrap_or_else(|more| {
            findings.extend(more);
            PackageGroup::default()
        });
        own.insert(&target.label, (target, group));
    }
    let named = targets().flat_map(|target| target.visibility.groups()).chain(exported(packages));
    let named = named.map(|(label, span)| (label, span)).chain(own.values().flat_map(|(target, _)| included(target)));
    for (label, span) in named.filter(|(label, _)| !own.contains_key(label) && !broken.contains(&label.package)) {
        let near = packages.get(&label.package).and_then(|_| {
            did_you_mean(&label.name, own.keys().filter(|known| known.package == label.package).map(|known| &*known.name))
        });
        let finding = Diagnostic::error(span, format!("there is no `package_group` `{label}`"));
        findings.push(finding.help(near.unwrap_or_else(|| format!("declare one in `//{}`, or correct the name", label.package))));
    }
    own.keys().map(|label| ((*label).clone(), closure(label, &own))).collect()
}

fn exported(packages: &BTreeMap<Arc<str>, Package>) -> impl Iterator<Item = &(Label, Span)> {
    let exports = packages.values().flat_map(|package| package.exports.values());
    exports.flat_map(|export| export.visibility.groups())
}

fn included(target: &Target) -> impl Iterator<Item = (&Label, &Span)> {
    target.get("includes").items().iter().filter_map(|item| Some((item.value.as_label()?, &item.span)))
}

/// A group and all it includes, each once: groups may include each other.
fn closure(label: &Label, own: &BTreeMap<&Label, (&Target, PackageGroup)>) -> Vec<PackageGroup> {
    let (mut seen, mut open) = (BTreeSet::from([label]), vec![label]);
    let mut found = Vec::new();
    while let Some((target, group)) = open.pop().and_then(|label| own.get(label)) {
        found.push(group.clone());
        open.extend(included(target).map(|(label, _)| label).filter(|label| own.contains_key(label) && seen.insert(label)));
    }
    found
}

/// Labels that visibility lists of a package name in other packages.
pub(super) fn outside(package: &Package) -> impl Iterator<Item = &(Label, Span)> {
    let visibilities = package.targets.values().map(|target| &target.visibility);
    let visibilities = visibilities.chain(package.exports.values().map(|export| &export.visibility));
    visibilities.flat_map(Visibility::groups).filter(|(label, _)| *label.package != *package.name)
}
