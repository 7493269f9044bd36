//! Configuration: what `select()` chooses. Pure.
//!
//! Targets that choose nothing are passed on as they are, without a copy. Knows nothing of where configurations come from.

mod choose;
mod conditions;
mod reach;

use std::collections::{BTreeMap, BTreeSet};

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Configuration, Diagnostic, Label, Target};

use self::choose::Chooser;
use self::conditions::Conditions;
use crate::load::Loaded;

/// What was loaded, for one configuration: nothing in it depends on anything any more.
#[derive(Debug)]
pub struct Configured<'l> {
    loaded: &'l Loaded,
    /// The targets that had something to choose.
    chosen: BTreeMap<&'l Label, Target>,
}

impl<'l> Configured<'l> {
    /// What it was made from.
    pub fn loaded(&self) -> &'l Loaded {
        self.loaded
    }

    /// The target of this label, if it had something to choose.
    pub(crate) fn chosen(&self, label: &Label) -> Option<&Target> {
        self.chosen.get(label)
    }

    /// The target of this label.
    pub fn target(&self, label: &Label) -> Option<&Target> {
        self.chosen.get(label).or_else(|| self.loaded.target(label))
    }

    /// Every target that was loaded, by package and name.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let all = self.loaded.packages.values().flat_map(|package| package.targets.values());
        all.map(|target| self.chosen.get(&target.label).unwrap_or(target))
    }
}

/// Chooses the branch of every `select()`. What cannot be chosen is a finding only where something needs it.
pub fn configure<'l>(loaded: &'l Loaded, configuration: &Configuration) -> Result<Configured<'l>, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let (configured, failed) = choose(loaded, configuration, &mut findings);
    if !failed.is_empty() {
        let needed = reach::needed(&configured);
        findings.extend(failed.into_iter().filter(|(label, _)| needed.contains(label)).flat_map(|(_, more)| more));
    }
    if findings.is_empty() { Ok(configured) } else { Err(sorted(findings)) }
}

/// The targets that leave nothing to choose in this configuration: who asks for everything does without them.
pub fn impossible<'l>(loaded: &'l Loaded, configuration: &Configuration) -> BTreeSet<&'l Label> {
    choose(loaded, configuration, &mut Vec::new()).1.into_keys().collect()
}

type Failed<'l> = BTreeMap<&'l Label, Vec<Diagnostic>>;

fn choose<'l>(loaded: &'l Loaded, configuration: &Configuration, findings: &mut Vec<Diagnostic>) -> (Configured<'l>, Failed<'l>) {
    let conditions = Conditions::new(loaded, configuration, findings);
    let chooser = Chooser { loaded, configuration, conditions };
    let (mut configured, mut failed) = (Configured { loaded, chosen: BTreeMap::new() }, BTreeMap::new());
    for target in loaded.such(|target| target.attrs.values().any(|attr| attr.value.has_select())) {
        match chooser.target(target) {
            Ok(chosen) => drop(configured.chosen.insert(&target.label, chosen)),
            Err(more) => drop(failed.insert(&target.label, more)),
        }
    }
    (configured, failed)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ouro_rules::{Pattern, builtin, platform};

    use super::*;
    use crate::load;
    use crate::workspace::Workspace;

    #[test]
    fn targets_that_choose_nothing_are_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ouro.toml"), "").unwrap();
        let build = "config_setting(name = 'x86', arch = 'x86')\n[filegroup(name = 't%d' % n, srcs = ['a.c', 'b.c']) for n in range(10000)]\nfilegroup(name = 'chosen', srcs = select({':x86': []}))\n";
        std::fs::write(folder.path().join("BUILD.ouro"), build).unwrap();
        let workspace = Workspace::find(folder.path()).unwrap();
        let loaded = load::load(&workspace, &[Pattern::parse("//...", "").unwrap()], &builtin::table()).unwrap();
        let began = Instant::now();
        let configured = configure(&loaded, &Configuration::plain(platform::find("x86").unwrap())).unwrap();
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        assert_eq!(configured.chosen.keys().map(|label| label.to_string()).collect::<Vec<_>>(), ["//:chosen"]);
        let label = Label::new("", "t77");
        assert!(std::ptr::eq(configured.target(&label).unwrap(), loaded.target(&label).unwrap()));
        assert_eq!(configured.targets().count(), 10_002);
    }
}
