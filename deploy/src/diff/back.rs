//! The steps that make the previous generation live again, and those that end a trial well. Nothing is loaded by either.
//!
//! Pure.

use super::changes::changes;
use super::live::{Goal, folders, leftovers};
use super::{RemoveOptions, check, remove};
use crate::change::Plan;
use crate::conflict::Conflict;
use crate::observe::Observed;

/// What makes the generation live again that was live before. Of a first deploy on trial nothing stays.
pub fn way_back(observed: &Observed) -> Result<Plan, Vec<Conflict>> {
    match goal(observed) {
        Some(target) => make_live(observed, target),
        None if observed.trial.is_some() => {
            remove(observed, &RemoveOptions::default()).map(|steps| Plan { steps, ..Plan::default() })
        }
        None => Err(vec![Conflict::NothingBefore { name: observed.name.clone() }]),
    }
}

/// What makes the generation on trial live for good.
pub fn acceptance(observed: &Observed) -> Result<Plan, Vec<Conflict>> {
    match observed.trial.map(|trial| trial.generation).filter(|number| observed.live().contains(number)) {
        Some(target) => make_live(observed, target),
        None => Err(vec![Conflict::NothingOnTrial { name: observed.name.clone() }]),
    }
}

/// Where a rollback leads. From a trial it leads to what was live for good. If something else was stopped half-way, a rollback
/// goes on where it was stopped, and a deploy goes back.
fn goal(observed: &Observed) -> Option<u32> {
    let order = |number: &u32| observed.generations[number].order();
    let last = |numbers: &mut dyn Iterator<Item = u32>| numbers.filter(|number| order(number).is_some()).max_by_key(order);
    if let Some(trial) = observed.trial {
        return last(&mut observed.generations.keys().copied().filter(|number| *number != trial.generation));
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

fn make_live(observed: &Observed, target: u32) -> Result<Plan, Vec<Conflict>> {
    let meta = observed.generations.get(&target).and_then(|generation| generation.meta.as_ref());
    let Some(meta) = meta else { return Err(vec![Conflict::NothingBefore { name: observed.name.clone() }]) };
    let mut conflicts: Vec<Conflict> = check::unreadable(observed).collect();
    conflicts.extend(check::hooks(observed, &meta.hooks));
    conflicts.extend(check::attachments(observed));
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut steps = leftovers(observed, target);
    steps.extend(folders(observed));
    steps.extend(
        Goal { target, manifest: &meta.manifest, hooks: &meta.hooks, catch_up: Vec::new(), confirm: None }.steps(observed),
    );
    let changes = changes(observed, target, &meta.manifest, &steps);
    Ok(Plan { steps, changes, choices: Vec::new() })
}
