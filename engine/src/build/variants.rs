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
use crate::fast::FastSet;
use crate::load::Loaded;
use crate::plan::{self, Plan};
use crate::toolchain::Toolchain;
use crate::workspace::OUT_FOLDER;

/// What was loaded, for each configuration of the request.
pub(super) fn configured<'l>(request: &Request<'_>, loaded: &'l Loaded) -> Result<Vec<Configured<'l>>, Vec<Diagnostic>> {
    each(request.configurations, |configuration| configure(loaded, configuration))
}

/// What it means, for each configuration of the request.
pub(super) fn analysed<'c>(
    request: &Request<'_>,
    configured: &'c [Configured<'_>],
    toolchain: &Toolchain,
    cancelled: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<Vec<Analysis<'c>>, Vec<Diagnostic>> {
    let pairs: Vec<_> = request.configurations.iter().zip(configured).collect();
    each(&pairs, |(configuration, configured)| {
        Analysis::told(
            &request.workspace.root,
            configured,
            &config(request.workspace, configuration, toolchain.of_folder(&configuration.folder).facts()),
            cancelled,
            events,
        )
    })
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

/// Plans all of them. Each has an output folder of its own, so no two make the same file.
pub(super) fn planned(analyses: &[Analysis<'_>]) -> Result<Planned, Vec<Diagnostic>> {
    let mut planned = Planned { plan: Plan::default(), starts: Vec::new() };
    for plan in each(analyses, |analysis| plan::plan(&analysis.graph, &analysis.analysed))? {
        planned.starts.push(planned.plan.actions.len());
        planned.plan.append(plan);
    }
    Ok(planned)
}

impl Planned {
    /// Which configuration an action belongs to, by its place among them.
    pub(super) fn configuration_of(&self, action: usize) -> usize {
        self.starts.partition_point(|start| *start <= action).saturating_sub(1)
    }

    /// Tells whose the actions are, when there are several configurations.
    pub(super) fn tell(&self, configurations: &[Configuration], events: &dyn Fn(Event)) {
        tell(configurations, self.starts.iter().copied(), events);
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
    tell(configurations, starts, events);
}

/// Tells the place of each configuration's first action, when there are several configurations.
fn tell(configurations: &[Configuration], starts: impl Iterator<Item = usize>, events: &dyn Fn(Event)) {
    if configurations.len() > 1 {
        let told = configurations.iter().zip(starts);
        told.for_each(|(one, first)| events(Event::Configured { name: one.folder.as_str().into(), first }));
    }
}

/// All results, or the findings of all; those that several configurations have are told once.
fn each<T, R>(items: &[T], work: impl Fn(&T) -> Result<R, Vec<Diagnostic>>) -> Result<Vec<R>, Vec<Diagnostic>> {
    let (mut results, mut findings) = (Vec::new(), Vec::new());
    for item in items {
        match work(item) {
            Ok(result) => results.push(result),
            Err(more) => findings.extend(more),
        }
    }
    if findings.is_empty() { Ok(results) } else { Err(sorted(findings)) }
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
