//! Several configurations side by side: each configured and analysed by itself, all planned as one.
//!
//! Knows nothing of how the plan is executed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Configuration, Diagnostic};

use super::{Analysis, Request, config};
use crate::configure::{Configured, configure};
use crate::event::Event;
use crate::fast::{FastMap, FastSet};
use crate::load::Loaded;
use crate::plan::{self, Plan};
use crate::toolchain::Toolchain;
use crate::workspace::OUT_FOLDER;

/// How far to go.
#[derive(Clone, Copy)]
pub(super) struct Going<'a> {
    pub(super) request: &'a Request<'a>,
    /// On with what is not wrong.
    pub(super) keep_going: bool,
    pub(super) cancelled: &'a AtomicBool,
}

/// What came of the configurations that go on, and what is wrong; nothing is, unless told to keep going.
pub(super) struct Kept<'a, T> {
    pub(super) of: Vec<(&'a Configuration, T)>,
    pub(super) findings: Vec<Diagnostic>,
}

/// What was loaded, for each configuration of the request.
pub(super) fn configured<'a, 'l>(going: Going<'a>, loaded: &'l Loaded) -> Result<Kept<'a, Configured<'l>>, Vec<Diagnostic>> {
    let (mut of, mut found) = (Vec::new(), Vec::new());
    for configuration in going.request.configurations {
        match configure(loaded, configuration) {
            Ok(configured) => of.push((configuration, configured)),
            Err(more) => found.push((configuration, more)),
        }
    }
    going.on(of, found, &loaded.findings)
}

/// What it means, for each configuration of the request.
pub(super) fn analysed<'a, 'c>(
    going: Going<'a>,
    configured: &'c Kept<'a, Configured<'_>>,
    toolchain: &Toolchain,
    events: &dyn Fn(Event),
) -> Result<Kept<'a, Analysis<'c>>, Vec<Diagnostic>> {
    let (mut of, mut found) = (Vec::new(), Vec::new());
    for (configuration, configured) in &configured.of {
        let workspace = going.request.workspace;
        let config = config(workspace, configuration, toolchain.of_folder(&configuration.folder).facts());
        let how = (going.keep_going, going.cancelled);
        let (analysis, more) = Analysis::told(&workspace.root, configured, &config, how, events);
        of.extend(analysis.map(|analysis| (*configuration, analysis)));
        found.push((*configuration, more));
    }
    going.on(of, found, &configured.findings)
}

impl<'a> Going<'a> {
    /// On with these, if with any.
    fn on<T>(
        self,
        of: Vec<(&'a Configuration, T)>,
        found: Vec<(&Configuration, Vec<Diagnostic>)>,
        before: &[Diagnostic],
    ) -> Result<Kept<'a, T>, Vec<Diagnostic>> {
        let found = whose(&found, self.request.configurations.len());
        let findings = sorted(before.iter().cloned().chain(found).collect());
        let goes_on = findings.is_empty() || self.keep_going && !of.is_empty();
        if goes_on { Ok(Kept { of, findings }) } else { Err(findings) }
    }
}

/// What was found, each thing once; what only some of all configurations have says of which.
fn whose(found: &[(&Configuration, Vec<Diagnostic>)], all: usize) -> Vec<Diagnostic> {
    let each =
        || found.iter().flat_map(|(configuration, findings)| findings.iter().map(|finding| (&*configuration.folder, finding)));
    let mut having: FastMap<&Diagnostic, Vec<&str>> = FastMap::default();
    each().for_each(|(folder, finding)| having.entry(finding).or_default().push(folder));
    let told = each().filter_map(|(_, finding)| {
        let folders = having.remove(finding)?;
        let finding = finding.clone();
        Some(if folders.len() < all { finding.note(format!("in the configuration `{}`", folders.join("`, `"))) } else { finding })
    });
    sorted(told.collect())
}

/// What was said while loading and analysing, each thing once.
pub(crate) fn warnings(loaded: &Loaded, analyses: &[Analysis<'_>]) -> Vec<Diagnostic> {
    let analysed = analyses.iter().flat_map(|analysis| analysis.analysed.warnings());
    once(loaded.warnings.iter().cloned().chain(analysed))
}

/// Each finding where it stands first.
fn once(findings: impl Iterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut seen: FastSet<Diagnostic> = FastSet::default();
    findings.filter(|finding| seen.insert(finding.clone())).collect()
}

/// One plan of all configurations.
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// The place of each configuration's first action.
    starts: Vec<usize>,
}

/// Plans all of them. Each has an output folder of its own, so no two make the same file. `before` is what was found so far.
pub(super) fn planned(
    request: &Request<'_>,
    configurations: &[&Configuration],
    analyses: &[Analysis<'_>],
    before: &[Diagnostic],
) -> Result<Planned, Vec<Diagnostic>> {
    let (mut planned, mut found) = (Planned { plan: Plan::default(), starts: Vec::new() }, Vec::new());
    for (configuration, analysis) in configurations.iter().zip(analyses) {
        match plan::plan(&analysis.graph, &analysis.analysed) {
            Ok(plan) => {
                planned.starts.push(planned.plan.actions.len());
                planned.plan.append(plan);
            }
            Err(more) => found.push((*configuration, more)),
        }
    }
    if found.is_empty() {
        return Ok(planned);
    }
    Err(sorted(whose(&found, request.configurations.len()).into_iter().chain(before.iter().cloned()).collect()))
}

impl Planned {
    /// Which configuration an action belongs to, by its place among them.
    pub(super) fn configuration_of(&self, action: usize) -> usize {
        self.starts.partition_point(|start| *start <= action).saturating_sub(1)
    }

    /// Tells whose the actions are, when several configurations are asked for.
    pub(super) fn tell(&self, request: &Request<'_>, configurations: &[&Configuration], events: &dyn Fn(Event)) {
        if request.configurations.len() > 1 {
            tell(configurations.iter().copied(), self.starts.iter().copied(), events);
        }
    }
}

/// Tells whose actions are that stand from `first` on, those of each configuration together and in its turn, by an output of each.
pub(super) fn tell_whose(configurations: &[Configuration], first: usize, outputs: &[Arc<str>], events: &dyn Fn(Event)) {
    let is_of = |output: &str, one: &Configuration| {
        let below = output.strip_prefix(OUT_FOLDER).and_then(|path| path.strip_prefix('/')?.strip_prefix(one.folder.as_str()));
        below.is_some_and(|path| path.starts_with('/'))
    };
    let place = |output: &Arc<str>| configurations.iter().position(|one| is_of(output, one));
    let starts = (0..configurations.len()).map(|own| first + outputs.partition_point(|output| place(output) < Some(own)));
    if configurations.len() > 1 {
        tell(configurations.iter(), starts, events);
    }
}

/// Tells the place of each configuration's first action.
fn tell<'c>(
    configurations: impl Iterator<Item = &'c Configuration>,
    starts: impl Iterator<Item = usize>,
    events: &dyn Fn(Event),
) {
    let told = configurations.zip(starts);
    told.for_each(|(one, first)| events(Event::Configured { name: one.folder.as_str().into(), first }));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn fifty_thousand_findings_are_told_once_in_their_order() {
        let start = Instant::now();
        let told = once((0..100_000).map(|n| Diagnostic::bare(format!("{}", n % 50_000))));
        assert!(told.iter().map(|finding| &*finding.message).eq((0..50_000).map(|n| n.to_string())));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
