//! The second way of a process whose first one failed.
//!
//! Knows nothing of what the two ways are. Which of them made a result is a fact of the inputs: the one that the first way failed
//! with counts among what was read, so a change of it tries the first way again.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ouro_rules::{Action, ActionKind, Fallback};

use super::action::{Stop, Work};
use super::process::Ended;

impl Work<'_> {
    /// Runs the action's process, and again in its second way if the first one fails. Then what is told is what that one says,
    /// and the path is of the input that the first one failed with.
    pub(super) fn start_with_fallback(&self, action: &Action, apart: bool) -> Result<(Ended, Option<Arc<str>>), Stop> {
        let first = self.start_and_wait(action, apart)?;
        let was_stopped = first.stopped || first.status.signal().is_some() || self.options.cancelled.load(Ordering::Relaxed);
        match second_way(action) {
            Some((second, fallback)) if !first.status.success() && !was_stopped => {
                let mut ended = self.start_and_wait(&second, apart)?;
                if ended.status.success() {
                    ended.printed.push_str(&format!("{}: {}\n", fallback.note, first_error(&first.printed)));
                }
                Ok((ended, Some(fallback.instead_of.path().clone())))
            }
            _ => Ok((first, None)),
        }
    }
}

/// The action as it is done the second way.
fn second_way(action: &Action) -> Option<(Action, &Fallback)> {
    let ActionKind::Run { fallback: Some(fallback), .. } = &action.kind else { return None };
    let mut second = action.clone();
    if let ActionKind::Run { args, fallback: third, .. } = &mut second.kind {
        *args = fallback.args.iter().map(String::as_str).chain(args.iter()).map(str::to_owned).collect::<Vec<_>>().into();
        *third = None;
    }
    Some((second, fallback))
}

/// The line that says what went wrong first.
fn first_error(printed: &str) -> &str {
    let lines = || printed.lines().map(str::trim);
    lines().find(|line| line.contains("error:")).or_else(|| lines().find(|line| !line.is_empty())).unwrap_or("no word why")
}
