//! Why an action ran the last time, and why it would run now. Runs and writes nothing.
//!
//! Knows nothing of how to say it. What it compares are the facts that go into keys, so it cannot give another reason than the
//! one the engine goes by.

mod compare;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ouro_cache::{Digest, Store};
use ouro_rules::{Action, Label};

pub use compare::{Difference, Kind, Value};

use crate::build;
use crate::execute::Sandbox;
use crate::plan::Plan;
use crate::state::State;
use crate::state::journal::{self, Deed, Ended, Journal, Record};
use crate::testing;
use crate::toolchain::Toolchain;
use survey::{Gone, Outlook, Survey};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The root of the workspace.
    pub root: &'a Path,
    /// The tools.
    pub toolchain: &'a Toolchain,
    /// Where results are kept.
    pub store: &'a Store,
    /// How builds keep processes in: that decides which files they see.
    pub sandbox: Sandbox<'a>,
    /// The tests that run each time, whatever they depend on.
    pub uncached: &'a BTreeSet<Label>,
}

/// What can be said of one action.
#[derive(Debug, Clone)]
pub struct Explained {
    /// What the next build would do with it.
    pub now: Now,
    /// Why; empty when it is up to date.
    pub why_now: Vec<Reason>,
    /// The last time it was done; none when that is not known.
    pub last: Option<Deed>,
    /// Why it was done then.
    pub why_last: Vec<Reason>,
}

/// What the next build would do with an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Nothing: its outputs are there and current.
    UpToDate,
    /// Take its result from the cache.
    Cached,
    /// Run it.
    Runs,
    /// Run it only if files that other actions make come out different.
    Depends,
    /// Fail: it reads files that are not there.
    Fails,
}

/// One reason why an action is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known of an earlier time.
    First,
    /// Something it depends on is not what it was.
    Differs(Difference),
    /// An output was deleted, or edited: then with the digests of what the action had left and of what is there.
    Displaced {
        /// The output.
        path: Arc<str>,
        /// What the action had left, when that is known.
        left: Option<Digest>,
        /// What is there; nothing when it is gone.
        found: Option<Digest>,
    },
    /// The time before, it failed.
    Failed,
    /// All is as it was, and its result is neither remembered nor in the cache.
    Lost,
    /// All is as it was; it is a test that runs each time.
    Always,
    /// A file that another action makes, which comes first and may make other bytes.
    Waits(Arc<str>),
    /// A file it reads is not there, and nothing makes it.
    Missing(Arc<str>),
}

/// Explains every action of the plan, in its order.
pub fn explain(ground: &Ground<'_>, plan: &Plan) -> Vec<Explained> {
    let (state, journal) = (State::load(ground.root), journal::read(ground.root));
    let recalled = build::recall(ground.root, plan);
    let mut survey = Survey::new(ground, &state, &recalled);
    let explained = plan.actions.iter().map(|action| {
        let records = records(&journal, action.outputs[0].path());
        let outlook = survey.look(action, records.last());
        let otherwise = if ground.is_uncached(action) { Reason::Always } else { Reason::Lost };
        Explained {
            now: outlook.now,
            why_now: why_now(records.last(), outlook, &otherwise),
            last: records.last().map(|record| record.deed.clone()),
            why_last: why_last(records, &otherwise),
        }
    });
    explained.collect()
}

impl Ground<'_> {
    /// Whether the action is a test that runs each time.
    fn is_uncached(&self, action: &Action) -> bool {
        testing::is_test(action) && self.uncached.contains(&action.owner)
    }
}

/// The place of the action that makes each file of the plan.
pub fn makers(plan: &Plan) -> BTreeMap<&str, usize> {
    let outputs = |place: usize| plan.actions[place].outputs.iter().map(move |output| (&**output.path(), place));
    (0..plan.actions.len()).flat_map(outputs).collect()
}

fn records<'j>(journal: &'j Journal, output: &str) -> &'j [Record] {
    journal.get(output).map(Vec::as_slice).unwrap_or_default()
}

/// Why the last of these records was made, by comparing it with the one before.
fn why_last(records: &[Record], otherwise: &Reason) -> Vec<Reason> {
    match records {
        [.., before, last] => {
            let displaced = last.deed.displaced.iter().map(|one| (one.path.clone(), None, one.found));
            why(Some(before), &last.facts, displaced.collect(), &[], otherwise)
        }
        [_] => vec![Reason::First],
        [] => Vec::new(),
    }
}

fn why_now(last: Option<&Record>, outlook: Outlook, otherwise: &Reason) -> Vec<Reason> {
    match outlook.now {
        Now::UpToDate => Vec::new(),
        Now::Fails => outlook.missing.into_iter().map(Reason::Missing).collect(),
        Now::Depends => outlook.waits.into_iter().map(Reason::Waits).collect(),
        Now::Cached | Now::Runs => {
            let mut why = why(last, &outlook.facts, outlook.displaced, &outlook.waits, otherwise);
            // What was never done runs whatever its inputs come out as.
            let waits = outlook.waits.into_iter().filter(|_| last.is_some());
            why.extend(waits.map(Reason::Waits));
            why
        }
    }
}

/// What an action depends on comes first; only when all of it is the same, something else is to blame. Differences of files that
/// `wait` for other actions are not known yet. `otherwise` is what remains.
fn why(
    before: Option<&Record>,
    facts: &[Arc<journal::Fact>],
    displaced: Vec<Gone>,
    waits: &[Arc<str>],
    otherwise: &Reason,
) -> Vec<Reason> {
    let Some(before) = before else { return vec![Reason::First] };
    let differences = compare::compare(&before.facts, facts);
    let known = differences.into_iter().filter(|one| !waits.iter().any(|path| *one.name == **path));
    let mut reasons: Vec<Reason> = known.map(Reason::Differs).collect();
    if reasons.is_empty() && before.deed.ended == Ended::Failed {
        reasons.push(Reason::Failed);
    }
    if reasons.is_empty() {
        reasons.extend(displaced.into_iter().map(|(path, left, found)| Reason::Displaced { path, left, found }));
    }
    if reasons.is_empty() && waits.is_empty() {
        reasons.push(otherwise.clone());
    }
    reasons
}
