//! From a whole generation to a live one: what deploys, rollbacks and confirmations have in common, and what stays behind.
//!
//! Pure.

use std::collections::BTreeSet;

use ouro_rules::manifest::Manifest;

use super::maps;
use super::moves::Moves;
use crate::dispatcher::Dispatcher;
use crate::hook::Hook;
use crate::observe::Observed;
use crate::root;
use crate::step::Step;

/// A generation that is to be live: one that is there, or that the steps before these make.
pub(super) struct Goal<'a> {
    pub(super) target: u32,
    pub(super) manifest: &'a Manifest,
    pub(super) hooks: &'a [Hook],
    /// What is copied once more when nothing runs that came before it.
    pub(super) catch_up: Vec<Step>,
    /// Seconds of the trial, if there is one.
    pub(super) confirm: Option<u64>,
}

impl Goal<'_> {
    /// Leads every hook to it. With a trial it is not marked as live, and all that was there stays until it is confirmed.
    pub(super) fn steps(&self, observed: &Observed) -> Vec<Step> {
        let moves = self.moves(observed).steps(self.hooks);
        let trial = self.confirm.filter(|_| !is_last(observed, self.target));
        let mut steps = Vec::new();
        // Before the first hook: whoever finds the new generation running finds that nobody has confirmed it.
        steps.extend(trial.map(|seconds| Step::AskConfirmation { generation: self.target, seconds }));
        let replaces = moves.iter().any(Step::replaces);
        steps.extend(moves);
        let clean_up = if trial.is_some() { Vec::new() } else { self.accept(observed, &mut steps) };
        steps.extend((replaces || !self.catch_up.is_empty() || !clean_up.is_empty()).then_some(Step::Settle));
        steps.extend(self.catch_up.iter().cloned());
        steps.extend(clean_up);
        steps
    }

    fn moves<'b>(&'b self, observed: &'b Observed) -> Moves<'b> {
        Moves::new(observed, self.manifest, self.hooks, self.target)
    }

    /// Marks it as live for good; gives what is removed then.
    pub(super) fn accept(&self, observed: &Observed, steps: &mut Vec<Step>) -> Vec<Step> {
        let order = observed.generations.values().filter_map(|generation| generation.went_live).max().map_or(1, |last| last + 1);
        if !is_last(observed, self.target) {
            steps.push(Step::MarkLive { generation: self.target, order });
        }
        steps.extend(observed.trial.map(|_| Step::EndTrial));
        self.clean_up(observed)
    }

    /// Qdiscs stay until the deployment is removed: adding or removing one stops the device's queues, which drops packets.
    fn clean_up(&self, observed: &Observed) -> Vec<Step> {
        let kept = kept(observed, self.target);
        let mut steps = self.moves(observed).obsolete_roots();
        let removed_before = removed_first(observed, self.target);
        let gone = maps::abandoned(observed, &removed_before);
        let unused = maps::unused(observed, self.manifest, &kept.into_iter().collect());
        steps.extend(unused.into_iter().filter(|step| !gone.contains(step)));
        let obsolete = observed.generations.keys().filter(|number| **number != self.target && Some(**number) != kept);
        let obsolete = obsolete.filter(|number| !removed_before.contains(number));
        steps.extend(obsolete.map(|number| Step::RemoveGeneration { generation: *number }));
        if observed.kept.is_some() {
            steps.push(Step::DropKept);
        }
        steps
    }
}

/// Removes what stopped deploys left, before anything new is made.
pub(super) fn leftovers(observed: &Observed, target: u32) -> Vec<Step> {
    let removed = removed_first(observed, target);
    let mut steps = maps::abandoned(observed, &removed);
    steps.extend(sweep(observed));
    steps.extend(removed.into_iter().map(|generation| Step::RemoveGeneration { generation }));
    steps
}

/// Removes what stopped commands left of dispatchers, of whichever deployment.
pub(super) fn sweep(observed: &Observed) -> Option<Step> {
    observed.dispatchers.iter().any(Dispatcher::has_leftovers).then_some(Step::SweepDispatchers)
}

/// Generations that nothing runs or leads to, and nothing can go back to. The others that go stay until the new one is live.
fn removed_first(observed: &Observed, target: u32) -> BTreeSet<u32> {
    let live = observed.live();
    // A root that no hook runs yet, as its deploy was killed: it is switched from what it leads to.
    let led_to: BTreeSet<u32> = observed.roots.values().filter_map(|root| root::generation(observed, root)).collect();
    let useful =
        |number: &u32| live.contains(number) || led_to.contains(number) || observed.generations[number].order().is_some();
    observed.generations.keys().copied().filter(|number| *number != target && !useful(number)).collect()
}

/// The generation that stays beside the target, for a rollback: of all others the one that was made live last.
fn kept(observed: &Observed, target: u32) -> Option<u32> {
    let others = observed.generations.iter().filter(|(number, _)| **number != target);
    others.filter_map(|(number, generation)| Some((generation.order()?, *number))).max().map(|(_, number)| number)
}

/// Whether it is the one that was made live last, and marked so.
fn is_last(observed: &Observed, target: u32) -> bool {
    let order = |number: u32| observed.generations.get(&number).and_then(|generation| generation.went_live);
    order(target).is_some() && observed.generations.keys().all(|number| order(*number) <= order(target))
}
