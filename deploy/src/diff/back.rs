//! The steps that make the previous generation live again, and those that end a trial well. Nothing is loaded by either.
//!
//! Pure.

use super::changes::changes;
use super::check;
use super::live::{Goal, folders, leftovers};
use super::remove::withdrawal;
use crate::change::{Change, Plan};
use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::observe::Observed;

/// What makes the generation live again that was live before. Of a first deploy on trial nothing stays but what was there before.
pub fn way_back(observed: &Observed) -> Result<Plan, Vec<Conflict>> {
    match (goal(observed), observed.trial) {
        (Some(target), _) => make_live(observed, target),
        (None, Some(trial)) => withdrawal(observed, trial.before).map(|steps| Plan { steps, ..Plan::default() }),
        (None, None) => Err(vec![Conflict::NothingBefore { name: observed.name.clone() }]),
    }
}

/// What makes the generation on trial live for good.
pub fn acceptance(observed: &Observed) -> Result<Plan, Vec<Conflict>> {
    match observed.trial.map(|trial| trial.generation).filter(|number| observed.live().contains(number)) {
        Some(target) => make_live(observed, target),
        None => Err(vec![Conflict::NothingOnTrial { name: observed.name.clone() }]),
    }
}

/// Where a rollback leads. From a trial it leads to what was live for good, whole or not as long as a hook can run it. If something
/// else was stopped half-way, a rollback goes on where it was stopped, and a deploy goes back.
fn goal(observed: &Observed) -> Option<u32> {
    let order = |number: &u32| observed.generations[number].order();
    let last = |numbers: &mut dyn Iterator<Item = u32>| numbers.filter(|number| order(number).is_some()).max_by_key(order);
    if let Some(trial) = observed.trial {
        let others = || observed.generations.keys().copied().filter(|number| *number != trial.generation);
        let before = others().find(|number| Some(*number) == trial.before && observed.generations[number].entry().is_some());
        return before.or_else(|| last(&mut others()));
    }
    let live = observed.live();
    let newest = observed.generations.keys().filter_map(order).max();
    let going_back = live.iter().filter(|number| order(number) < newest).min_by_key(|number| order(number));
    match going_back {
        Some(number) if live.iter().all(|number| order(number).is_some()) => Some(*number),
        _ if live.len() > 1 => last(&mut live.into_iter()),
        _ => observed.previous(),
    }
}

/// Leads every hook there that can be had; the others stay as they are. Refused only if none can.
fn make_live(observed: &Observed, target: u32) -> Result<Plan, Vec<Conflict>> {
    let meta = observed.generations.get(&target).and_then(|generation| generation.meta.as_ref());
    let Some(meta) = meta else { return Err(vec![Conflict::NothingBefore { name: observed.name.clone() }]) };
    let is_elsewhere = |conflict: &Conflict| matches!(conflict, Conflict::OtherNamespace { .. } | Conflict::Unseen { .. });
    let mut conflicts: Vec<Conflict> =
        check::unreadable(observed).chain(check::attachments(observed).filter(is_elsewhere)).collect();
    let stuck = check::stuck(observed, &meta.hooks);
    let hooks: Vec<Hook> =
        meta.hooks.iter().filter(|hook| !stuck.contains_key(&hook.name())).map(Hook::at_any_revision).collect();
    if hooks.is_empty() {
        conflicts.extend(stuck.values().cloned());
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut steps = leftovers(observed, target);
    steps.extend(folders(observed));
    let left = &stuck.keys().cloned().collect();
    let goal = Goal { target, manifest: &meta.manifest, hooks: &hooks, left, catch_up: Vec::new(), confirm: None, retake: false };
    steps.extend(goal.steps(observed));
    let mut changes = changes(observed, target, &meta.manifest, &steps);
    changes.extend(stuck.into_values().map(|why| Change::Left { why }));
    Ok(Plan { steps, changes, choices: Vec::new() })
}
