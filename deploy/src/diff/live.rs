//! From a whole generation to a live one: what deploys, rollbacks and confirmations have in common, and what stays behind.
//!
//! Pure.

use std::collections::BTreeSet;

use ouro_rules::manifest::Manifest;

use super::moves::Moves;
use super::{maps, our_qdiscs, recorded_qdiscs};
use crate::dispatcher::Dispatcher;
use crate::hook::Hook;
use crate::observe::{Attachment, Observed};
use crate::root;
use crate::step::Step;

/// A generation that is to be live: one that is there, or that the steps before these make.
pub(super) struct Goal<'a> {
    pub(super) target: u32,
    pub(super) manifest: &'a Manifest,
    pub(super) hooks: &'a [Hook],
    /// Other hooks, by name, that stay as they are.
    pub(super) left: &'a BTreeSet<String>,
    /// What is copied once more when nothing runs that came before it.
    pub(super) catch_up: Vec<Step>,
    /// Seconds of the trial, if there is one.
    pub(super) confirm: Option<u64>,
    /// Whether places are taken back of which nobody can ask who has them.
    pub(super) retake: bool,
}

impl Goal<'_> {
    /// Leads every hook to it. With a trial it is not marked as live, and all that was there stays until it is confirmed.
    pub(super) fn steps(&self, observed: &Observed) -> Vec<Step> {
        let moves = self.moves(observed).steps(self.hooks);
        let trial = self.confirm.filter(|_| !is_last(observed, self.target));
        let mut steps: Vec<Step> = self.record_qdiscs(observed).into_iter().collect();
        // Before the first hook: whoever finds the new generation running finds that nobody has confirmed it.
        steps.extend(trial.map(|seconds| self.ask_confirmation(observed, seconds)));
        let replaces = moves.iter().any(Step::replaces);
        steps.extend(moves);
        let mut catch_up = maps::behind(observed, self.manifest, &self.catch_up);
        catch_up.extend(self.catch_up.iter().cloned());
        // What is marked has all it should have: if a kill comes first, the next command carries the rest over.
        let settles = !catch_up.is_empty();
        steps.extend(settles.then_some(Step::Settle));
        steps.extend(catch_up);
        let clean_up = if trial.is_some() { Vec::new() } else { self.accept(observed, &mut steps) };
        steps.extend((!settles && (replaces || !clean_up.is_empty())).then_some(Step::Settle));
        steps.extend(clean_up);
        steps
    }

    fn moves<'b>(&'b self, observed: &'b Observed) -> Moves<'b> {
        Moves::new(observed, self.manifest, self.hooks, self.left, self.target).retaking(self.retake)
    }

    /// A trial that is begun over another one leads back where that one does.
    fn ask_confirmation(&self, observed: &Observed, seconds: u64) -> Step {
        let before = observed.trial.map_or_else(|| observed.was_live(), |trial| trial.before);
        let (generation, before) = (self.target, before.filter(|number| *number != self.target));
        Step::AskConfirmation { generation, seconds, before, over: observed.trial }
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

    /// A generation that was there before may not know of qdiscs that others of ours needed, and those may go.
    fn record_qdiscs(&self, observed: &Observed) -> Option<Step> {
        let known = observed.generations.get(&self.target)?.meta.as_ref()?;
        let qdiscs = our_qdiscs(observed, self.hooks);
        let (generation, lacks) = (self.target, qdiscs.iter().any(|qdisc| !known.qdiscs.contains(qdisc)));
        lacks.then(|| Step::RecordQdiscs { generation, qdiscs: qdiscs.into_iter().collect() })
    }

    /// Qdiscs stay until the deployment is removed: adding or removing one stops the device's queues, which drops packets.
    /// Nothing goes while a hook that stays as it is may run it.
    fn clean_up(&self, observed: &Observed) -> Vec<Step> {
        if self.left.iter().filter_map(|hook| observed.attachments.get(hook)).any(Attachment::is_alive) {
            return Vec::new();
        }
        let kept = kept(observed, self.target);
        let mut steps = self.moves(observed).obsolete_roots();
        let removed_before = removed_first(observed, self.target);
        let gone = maps::abandoned(observed, &never_ran(observed, self.target));
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

/// Removes what stopped deploys left, before anything new is made. One that failed may have been killed before it had waited for
/// the packets inside of what it took back.
pub(super) fn leftovers(observed: &Observed, target: u32) -> Vec<Step> {
    let removed = removed_first(observed, target);
    let mut steps: Vec<Step> = second_links(observed).collect();
    let waits = !steps.is_empty() || !removed.is_empty();
    steps.extend(maps::abandoned(observed, &never_ran(observed, target)));
    steps.extend(sweep(observed));
    steps.extend(waits.then_some(Step::Wait));
    steps.extend(removed.into_iter().map(|generation| Step::RemoveGeneration { generation }));
    steps
}

/// Makes the deployment's folders, where one of them is missing.
pub(super) fn folders(observed: &Observed) -> Option<Step> {
    (!observed.has_folders).then_some(Step::CreateFolders)
}

/// Removes the links that no record names and no hook takes over.
pub(super) fn lost_links(observed: &Observed) -> impl Iterator<Item = Step> {
    let is_taken_over = |pin: &String, id| observed.attachments.get(pin).is_some_and(|attached| attached.link == Some(id));
    let others = observed.lost.iter().filter(move |(pin, facts)| !is_taken_over(pin, facts.id));
    others.map(|(pin, _)| Step::RemoveLost { pin: pin.clone() })
}

/// Removes the links that stopped commands left beside others. Each runs what its hook should not, also where that is what stays for a
/// rollback.
pub(super) fn second_links(observed: &Observed) -> impl Iterator<Item = Step> {
    observed.beside.values().map(|hook| Step::RemoveBeside { hook: hook.clone() })
}

/// Removes what stopped commands left of dispatchers, of whichever deployment.
pub(super) fn sweep(observed: &Observed) -> Option<Step> {
    observed.dispatchers.iter().any(Dispatcher::has_leftovers).then_some(Step::SweepDispatchers)
}

/// What stopped deploys left: no packet ever saw it, and nothing in its maps is missed.
fn never_ran(observed: &Observed, target: u32) -> BTreeSet<u32> {
    let ran = observed.ran();
    observed.generations.keys().copied().filter(|number| *number != target && !ran.contains(number)).collect()
}

/// Those of them that alone record nothing that stays, and to which no root leads: one that no hook runs yet is switched from what it
/// leads to. All others that go stay until the new one is live, and records what they do.
fn removed_first(observed: &Observed, target: u32) -> BTreeSet<u32> {
    let led_to: BTreeSet<u32> = observed.roots.values().filter_map(|root| root::generation(observed, root)).collect();
    let mut removed: BTreeSet<u32> = never_ran(observed, target).difference(&led_to).copied().collect();
    let elsewhere = recorded_qdiscs(observed, |number| !removed.contains(number));
    removed.retain(|number| recorded_qdiscs(observed, |other| other == number).is_subset(&elsewhere));
    removed
}

/// The generation that stays beside the target, for a rollback: of all others the one that was made live last.
fn kept(observed: &Observed, target: u32) -> Option<u32> {
    let others = observed.generations.iter().filter(|(number, _)| **number != target);
    others.filter_map(|(number, generation)| Some((generation.order()?, *number))).max().map(|(_, number)| number)
}

/// Whether it is the one that was made live last, and marked so.
pub(super) fn is_last(observed: &Observed, target: u32) -> bool {
    let order = |number: u32| observed.generations.get(&number).and_then(|generation| generation.went_live);
    order(target).is_some() && observed.generations.keys().all(|number| order(*number) <= order(target))
}
