//! What of the loaded targets is needed, without a graph; asked only when something could not be chosen.

use std::collections::BTreeSet;

use ouro_rules::{Label, Target};

use super::Configured;

/// Everything that was asked for and all its labels lead to. Where nothing was chosen, no label is followed.
pub(super) fn needed<'c>(configured: &'c Configured<'_>) -> BTreeSet<&'c Label> {
    let mut needed: BTreeSet<&Label> = BTreeSet::new();
    let mut open: Vec<&Target> = configured.loaded.requested.iter().filter_map(|label| behind(configured, label)).collect();
    while let Some(target) = open.pop() {
        if !needed.insert(&target.label) {
            continue;
        }
        for attr in target.attrs.values().filter(|attr| !attr.value.has_select()) {
            attr.value.each_label(&attr.span, &mut |label, _| open.extend(behind(configured, label)));
        }
    }
    needed
}

/// The target of a label, or the one that makes the file of it.
fn behind<'c>(configured: &'c Configured<'_>, label: &Label) -> Option<&'c Target> {
    let makes = |target: &&Target| target.get("outs").items().iter().any(|out| out.value.as_str() == Some(&label.name));
    let makers = || configured.loaded.packages.get(&label.package)?.targets.values().find(makes);
    configured.target(label).or_else(makers)
}
