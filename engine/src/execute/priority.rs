//! What to do first: what the most time hangs on, by how long actions took the last time.
//!
//! Pure. Decides the order of work and nothing else; whatever it says, the same files come out.

use std::time::Duration;

use ouro_rules::{Action, ActionKind};

use crate::plan::Plan;
use crate::state::State;

/// Comes before everything else.
const AT_ONCE: u64 = u64::MAX;

/// For each action of the plan how urgent it is; greater is sooner.
///
/// Functions of this process take no longer than the start of a process, and their findings are waited for, so they come as
/// soon as they can. A process is as urgent as the time that passes from its start to the end of everything that needs it,
/// even if nothing has to wait for a free job.
pub(super) fn urgencies(plan: &Plan, state: &State) -> Vec<u64> {
    let took: Vec<Duration> = plan.actions.iter().map(|action| estimate(action, state)).collect();
    let ranks = ranks(&plan.needs, &took);
    let urgency = |(action, rank): (&std::sync::Arc<Action>, &Duration)| match action.kind {
        ActionKind::Native(_) => AT_ONCE,
        ActionKind::Run { .. } | ActionKind::Write { .. } => u64::try_from(rank.as_micros()).unwrap_or(AT_ONCE - 1),
    };
    plan.actions.iter().zip(&ranks).map(urgency).collect()
}

/// How long an action will take: as long as the last time. One that never ran is taken for a usual one of its kind, as measured
/// for small programs; a write takes nothing, so it is exactly as urgent as what reads the file.
fn estimate(action: &Action, state: &State) -> Duration {
    let measured = state.result(action.outputs[0].path()).and_then(|last| last.took);
    measured.unwrap_or(match (&action.kind, &*action.mnemonic) {
        (ActionKind::Write { .. }, _) => Duration::ZERO,
        (ActionKind::Native(_), _) => Duration::from_millis(1),
        (ActionKind::Run { .. }, "link") => Duration::from_millis(20),
        (ActionKind::Run { .. }, _) => Duration::from_millis(50),
    })
}

/// For each piece of work, which stands after what it needs: its own time and that of the longest chain that needs it.
fn ranks(needs: &[Vec<u32>], took: &[Duration]) -> Vec<Duration> {
    let mut ranks = vec![Duration::ZERO; needs.len()];
    for (place, needed) in needs.iter().enumerate().rev() {
        ranks[place] += took[place];
        for needed in needed {
            ranks[*needed as usize] = ranks[*needed as usize].max(ranks[place]);
        }
    }
    ranks
}

/// The chain of work, each piece needed by the next, that took longest: no number of jobs makes the whole take less.
pub(super) fn critical_path(needs: &[Vec<u32>], took: &[Duration]) -> Vec<usize> {
    let mut ends: Vec<Duration> = Vec::with_capacity(needs.len());
    for (place, needed) in needs.iter().enumerate() {
        let start = needed.iter().map(|needed| ends[*needed as usize]).max().unwrap_or_default();
        ends.push(start + took[place]);
    }
    let last = |places: &mut dyn Iterator<Item = usize>| places.reduce(|a, b| if ends[b] > ends[a] { b } else { a });
    let mut path: Vec<usize> = last(&mut (0..needs.len())).into_iter().collect();
    while let Some(before) = path.last().and_then(|place| last(&mut needs[*place].iter().map(|needed| *needed as usize))) {
        path.push(before);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 -> 2 -> 4 and 1 -> 3 -> 4; 5 stands alone.
    fn needs() -> Vec<Vec<u32>> {
        vec![vec![], vec![], vec![0], vec![1], vec![2, 3], vec![]]
    }

    fn times(millis: [u64; 6]) -> Vec<Duration> {
        millis.map(Duration::from_millis).to_vec()
    }

    #[test]
    fn a_rank_is_the_time_to_the_end() {
        assert_eq!(ranks(&needs(), &times([1, 2, 10, 3, 5, 7])), times([16, 10, 15, 8, 5, 7]));
        assert!(ranks(&[], &[]).is_empty());
    }

    #[test]
    fn the_critical_path_is_the_longest_chain() {
        assert_eq!(critical_path(&needs(), &times([1, 2, 10, 3, 5, 7])), [0, 2, 4]);
        assert_eq!(critical_path(&needs(), &times([1, 9, 1, 3, 5, 7])), [1, 3, 4]);
        assert_eq!(critical_path(&needs(), &times([1, 1, 1, 1, 1, 70])), [5]);
        assert_eq!(critical_path(&[], &[]), [0_usize; 0]);
    }
}
