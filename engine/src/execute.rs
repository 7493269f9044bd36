//! Execution: brings the outputs of a plan up to date, by what is in place, by the cache, or by running actions.
//!
//! Knows actions as data, not what they are for. An action runs when the bytes of what it reads, its command or its tool
//! are not the ones of an earlier run; times of files decide nothing but whether bytes must be read again.

pub mod key;

mod priority;
mod schedule;

mod action;
mod current;
mod files;
mod note;
mod outputs;
mod plain;

mod depfile;
mod discovered;
mod fallback;
mod includes;
mod looked_for;
pub(crate) mod orphans;
pub(crate) mod process;
mod run;
pub mod sandbox;
mod sight;
pub(crate) mod spawn;
mod undeclared;
mod view;
mod warm;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use action::input;
pub(crate) use files::Files;
pub(crate) use note::{READ, identity};
use ouro_cache::Store;
use ouro_rules::Label;
pub(crate) use outputs::open_plain;
pub(crate) use sight::Sight;
pub(crate) use warm::HeadStart;

pub use self::current::Keys;
pub use self::process::without_colors;
pub use self::sandbox::{Sandbox, SandboxMode};
pub use self::warm::{Warmth, warm_trouble};

use self::process::Processes;
use crate::event::Event;
use crate::plan::Plan;
use crate::state::{Lock, Seen, State, StateError, journal};
use crate::testing;
use crate::toolchain::{Toolchain, ToolchainError};

/// Where processes have their temporary folders, from the root.
const SCRATCH: &str = ".ouro/sandbox";

/// How often a store that someone else has alone is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where a plan is executed.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The lock of the workspace, whose root all paths start from.
    pub lock: &'a Lock,
    /// The tools.
    pub toolchain: &'a Toolchain,
    /// Where results are kept.
    pub store: &'a Store,
}

/// How a plan is executed. None of it changes what is built.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// How many actions run at once; at least one.
    pub jobs: usize,
    /// Whether to go on, after a failure, with what does not depend on it.
    pub keep_going: bool,
    /// Whether printed output keeps the compiler's colours.
    pub color: bool,
    /// Whether compilers are kept warm: linked and initialised once, copied for each run.
    pub warm: bool,
    /// How processes are kept from what they do not declare.
    pub sandbox: Sandbox<'a>,
    /// Set it to stop: running processes are ended, their outputs removed.
    pub cancelled: &'a AtomicBool,
}

/// What execution did.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Processes that ran.
    pub ran: usize,
    /// Actions done in this process: files written, functions whose outputs were not in place.
    pub made: usize,
    /// Actions answered from the cache.
    pub cached: usize,
    /// Actions whose outputs were in place and current.
    pub up_to_date: usize,
    /// Actions that failed.
    pub failed: usize,
    /// Actions not tried, or stopped, because of failures.
    pub skipped: usize,
    /// Of those, the ones that were stopped.
    pub stopped: usize,
    /// The chain of actions, each needing the one before, that took longest: with any number of jobs the build takes as long.
    pub critical_path: Vec<Step>,
    /// Every file that was looked at, outputs and tools too, each with the stamp from before it was read.
    pub seen: Vec<Seen>,
    /// What became of keeping compilers warm.
    pub warmth: Warmth,
    /// Whether a file changed while an action read it: then `seen` may not be what every action saw.
    pub disturbed: bool,
}

/// An action of the critical path.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does.
    pub mnemonic: Arc<str>,
    /// Whose it is.
    pub owner: Label,
    /// How long it took, its way from the cache included.
    pub took: Duration,
}

/// Why execution ended without a summary.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// [`Options::cancelled`] was set.
    #[error("interrupted")]
    Cancelled,
    /// A tool that the plan needs is missing.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The state could not be written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Executes `plan`. Failures of actions are told by events and counted; what was learnt is added to `state` and saved,
/// also after failures and when cancelled.
pub fn execute(
    site: &Site<'_>,
    plan: &Plan,
    options: &Options<'_>,
    state: &mut State,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Summary, ExecuteError> {
    execute_ahead(site, plan, options, state, None, events)
}

/// The same with a compiler that waits for its first command.
pub(crate) fn execute_ahead(
    site: &Site<'_>,
    plan: &Plan,
    options: &Options<'_>,
    state: &mut State,
    ahead: Option<HeadStart>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Summary, ExecuteError> {
    // A missing tool is one error, not one for each action.
    site.toolchain.serves(&plan.actions)?;
    events(Event::Planned { actions: plan.actions.len() });
    let urgencies = priority::urgencies(plan, state);
    let warm_threads = if options.warm { options.jobs } else { 0 };
    let processes = match ahead {
        Some(ahead) => Processes::ahead(warm_threads, ahead),
        None => Processes::new(warm_threads),
    };
    let work = action::Work::new(site, plan, options, state, processes, events);
    let stopped_at = std::cell::OnceCell::new();
    let interrupt = || {
        let stopping = work.is_stopping();
        match stopping {
            true => work.interrupt(stopped_at.get_or_init(Instant::now).elapsed()),
            false => work.processes.tend(),
        }
        stopping
    };
    let perform = |place| work.perform(place);
    let untried = schedule::run(&plan.needs, &urgencies, options.jobs, options.keep_going, &perform, &interrupt);
    let (mut summary, learnt) = work.finish();
    tell_troubles(site.store, events);
    let batch = learnt.add_to(state);
    state.save()?;
    journal::append(site.lock.root(), &batch, &is_known(site.lock.root(), state))?;
    summary.skipped = untried + summary.stopped;
    if options.cancelled.load(Ordering::Relaxed) && summary.skipped + summary.failed > 0 {
        return Err(ExecuteError::Cancelled);
    }
    summary.seen.extend(site.toolchain.seen.iter().cloned().chain(site.toolchain.programs_seen()));
    Ok(summary)
}

/// Whether an action with this first output is one of late, as the state tells. Tests leave a log and nothing in it, and a state that
/// is never written cannot tell: then what is there counts.
pub(crate) fn is_known<'a>(root: &'a Path, state: &'a State) -> impl Fn(&str) -> bool + 'a {
    move |output: &str| {
        let told = state.knows(output).filter(|known| *known || !testing::is_log(output));
        told.unwrap_or_else(|| root.join(output).exists())
    }
}

/// Opens the store in this folder. While somebody else has it alone this waits, says so once, and can be interrupted.
pub fn open_store(dir: &Path, cancelled: &AtomicBool, events: &(dyn Fn(Event) + Sync)) -> Result<Store, ExecuteError> {
    let mut told = false;
    let mut wait = || {
        if !std::mem::replace(&mut told, true) {
            events(Event::WaitingForCache);
        }
        std::thread::sleep(LOOK_AGAIN);
        !cancelled.load(Ordering::Relaxed)
    };
    Store::open_unless(dir, &mut wait).ok_or(ExecuteError::Cancelled)
}

/// Tells what was wrong with the store.
pub(crate) fn tell_troubles(store: &Store, events: &dyn Fn(Event)) {
    store.troubles().into_iter().for_each(|trouble| events(Event::Troubled(outputs::told(trouble))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a target that is no more had made lay on the disk still, and the journal told of it for ever.
    #[test]
    fn what_only_lies_there_is_not_known_but_for_logs_of_tests() {
        let root = tempfile::tempdir().unwrap();
        for file in ["ouro-out/x86/gone.o", "ouro-out/testlogs/a/test.log"] {
            std::fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(file), "").unwrap();
        }
        let (written, unwritten) = (State::load(root.path()), State::unwritten());
        let told = |state: &State| {
            let outputs = ["ouro-out/x86/gone.o", "ouro-out/testlogs/a/test.log", "ouro-out/testlogs/b/test.log"];
            outputs.map(is_known(root.path(), state))
        };
        assert_eq!((told(&written), told(&unwritten)), ([false, true, false], [true, true, false]));
    }
}
