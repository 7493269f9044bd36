//! Tests: which of them are meant, whether an earlier pass still holds, else runs them, each by itself.
//!
//! Knows tests by what targets offer (`Providers::test`), not by their rules. A test is an action that is run in a folder of its
//! own with its declared files and nothing else; its key has the same author as all keys. Only passes are kept.

mod case;
mod select;

mod attempt;
mod interpreter;
mod judge;

mod junit;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ouro_cache::{Digest, Store};
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, Label, Tool};
use serde::{Deserialize, Serialize};

use self::case::Case;
use self::judge::Judge;
use crate::build::{self, Analysis, BuildError, Owners, Request};
use crate::configure::configure;
use crate::event::Event;
use crate::execute::orphans::Orphans;
use crate::execute::{self, ExecuteError, Options, Site, Summary};
use crate::fast::FastMap;
use crate::plan::{self, Plan};
use crate::state::{Lock, State, journal};
use crate::workspace::OUT_FOLDER;

pub(crate) use self::judge::is_pass;
pub use junit::document as junit;
pub use select::Filter;

/// Where the logs of tests lie: in the folder of all outputs.
pub const LOGS_FOLDER: &str = "testlogs";

/// How long a test may take that does not say so.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How tests are run.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Only tests with such names.
    pub filter: Option<Filter>,
    /// Variables for every test, over its own.
    pub env: BTreeMap<String, String>,
    /// How often each is run; passes of earlier runs count only for one.
    pub runs: u32,
    /// Whether a pass of an earlier run may stand for one now.
    pub cached: bool,
    /// How long each may take, whatever it says itself.
    pub timeout: Option<Duration>,
    /// Whether what tests print is told while they run, one test after the other.
    pub streamed: bool,
    /// Where folders for what is temporary are made.
    pub temp: PathBuf,
}

/// What is told while tests run.
#[derive(Debug, Clone)]
pub enum TestEvent {
    /// What a test printed since the last time; only when streamed.
    Printed(String),
    /// A test is done.
    Done(Report),
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The test.
    pub label: Label,
    /// How it ended.
    pub status: Status,
    /// Whether that was an earlier run.
    pub cached: bool,
    /// How often it ran.
    pub runs: u32,
    /// How many of these runs did not pass.
    pub failed: u32,
    /// How long all runs took.
    #[serde(rename = "took_us", with = "microseconds")]
    pub took: Duration,
    /// Why it did not pass: `exit code 1`.
    pub why: Option<String>,
    /// The file with all it printed, from the root; none when it did not run.
    pub log: Option<String>,
}

/// The ends of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All runs ended with 0.
    Passed,
    /// Some run ended otherwise, or could not even begin.
    Failed,
    /// All runs that did not pass took too long.
    TimedOut,
    /// Something it needs could not be built.
    NotBuilt,
}

/// Tests that are built and wait to be run. The workspace stays locked meanwhile, so that nothing they use changes.
pub struct Ready {
    /// Findings that did not stop their build.
    pub warnings: Vec<Diagnostic>,
    /// What is wrong with tests that nothing is known of, or with what leads to tests.
    pub findings: Vec<Diagnostic>,
    tests: Vec<Case>,
    /// Those that nothing is known of.
    unknown: BTreeSet<Label>,
    /// Those whose build failed.
    unbuilt: BTreeSet<Label>,
    lock: Lock,
    store: Store,
    state: State,
}

/// Builds the tests that are asked for, in the request's first configuration. A failure ends it, unless told to keep going: then
/// only the tests it matters to are not run.
pub fn prepare(
    request: &Request<'_>,
    cache: &Path,
    options: &Options<'_>,
    manner: &Manner,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Ready, BuildError> {
    let owners = Owners::new(request);
    let events = &|event| events(owners.told(event));
    let root = &request.workspace.root;
    let (lock, found) = build::locked(request, options, events)?;
    let store = build::stored(root, cache, options.cancelled, events)?;
    let mut loaded = build::load(request, (options.keep_going, options.cancelled))?;
    let toolchain = build::tools(request, &loaded, found)?;
    let selected = select::select(&loaded, request.patterns, manner.filter.as_ref())?;
    loaded.requested = selected.tests.union(&selected.through).cloned().collect();
    let configuration = &request.configurations[0];
    let configured = configure(&loaded, configuration)?;
    let config = build::config(request.workspace, configuration, toolchain.of_folder(&configuration.folder).facts());
    let how = (options.keep_going, options.cancelled);
    let (analysis, found) = Analysis::sound(root, &configured, &config, how)?;
    let findings: Vec<Diagnostic> = loaded.findings.iter().cloned().chain(found).collect();
    let (known, unknown): (BTreeSet<Label>, BTreeSet<Label>) =
        selected.tests.into_iter().partition(|test| findings.is_empty() || analysis.providers(test).is_some());
    let tests = case::cases(&analysis, &known, manner)?;
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    let mut state = State::load(root);
    let site = Site { lock: &lock, toolchain: &toolchain, store: &store };
    let (built, failed) =
        execute(&site, &plan, options, &mut state, &|event| events(build::with_places(event, &|_| &analysis.graph)))?;
    if built.failed + built.skipped > 0 && !options.keep_going {
        return Err(BuildError::Failed(built));
    }
    let unbuilt = unbuilt(&plan, failed, &tests);
    let warnings = build::warnings(&loaded, slice::from_ref(&analysis));
    Ok(Ready { warnings, findings, tests, unknown, unbuilt, lock, store, state })
}

/// Executes a plan; tells the places of the actions that failed, too.
fn execute(
    site: &Site<'_>,
    plan: &Plan,
    options: &Options<'_>,
    state: &mut State,
    events: &(dyn Fn(Event) + Sync),
) -> Result<(Summary, BTreeSet<usize>), ExecuteError> {
    let failed = Mutex::new(BTreeSet::new());
    let told = |event| {
        if let Event::Failed { action, .. } = &event {
            failed.lock().unwrap_or_else(PoisonError::into_inner).insert(*action);
        }
        events(event);
    };
    let summary = execute::execute(site, plan, options, state, &told)?;
    Ok((summary, failed.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// The tests that need what failed actions would have made, however far.
fn unbuilt(plan: &Plan, mut failed: BTreeSet<usize>, tests: &[Case]) -> BTreeSet<Label> {
    // Each action stands after those it needs.
    for (place, needs) in plan.needs.iter().enumerate() {
        if needs.iter().any(|needed| failed.contains(&(*needed as usize))) {
            failed.insert(place);
        }
    }
    let missing: BTreeSet<_> = failed.iter().flat_map(|place| &plan.actions[*place].outputs).collect();
    let lacks = |test: &&Case| test.action.inputs.iter().any(|input| missing.contains(input));
    tests.iter().filter(lacks).map(|test| test.label().clone()).collect()
}

impl Ready {
    /// The tests.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.tests.iter().map(Case::label).chain(&self.unknown)
    }

    /// Runs all tests, those that want to be alone at the end. The reports are sorted by label.
    pub fn run(
        self,
        options: &Options<'_>,
        manner: &Manner,
        events: &(dyn Fn(TestEvent) + Sync),
    ) -> Result<Vec<Report>, BuildError> {
        let Ready { tests, unknown, unbuilt, lock, store, mut state, .. } = self;
        let orphans = Orphans::adopt();
        let judge = Judge::new(lock.root(), &store, &state, options, manner, events);
        let reports = Mutex::new(BTreeMap::new());
        let done = |report: Report| {
            events(TestEvent::Done(report.clone()));
            reports.lock().unwrap_or_else(PoisonError::into_inner).insert(report.label.clone(), report);
        };
        for label in &unknown {
            done(Report::not_built(label));
        }
        let judged = |test: &Case| {
            let is_built = !unbuilt.contains(test.label());
            let report = if is_built { judge.judge(test) } else { Some(Report::not_built(test.label())) };
            report.into_iter().for_each(&done);
        };
        let (alone, beside): (Vec<&Case>, Vec<&Case>) = tests.iter().partition(|test| test.info.exclusive);
        let jobs = if manner.streamed { 1 } else { options.jobs };
        each(&beside, jobs, &judged);
        each(&alone, 1, &judged);
        orphans.end();
        let (files, ran) = judge.learnt();
        files.into_iter().for_each(|(path, file)| state.set_file(path, file));
        state.save()?;
        journal::append(lock.root(), &ran, &execute::is_known(lock.root(), &state))?;
        let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        match reports.len() < tests.len() + unknown.len() {
            true => Err(BuildError::Execute(ExecuteError::Cancelled)),
            false => Ok(reports.into_values().collect()),
        }
    }
}

/// Adds the tests among what was asked for to a plan that makes what they need: each as the action that runs it, were it asked to in
/// no special manner. Gives those for which no earlier pass ever stands.
pub fn add_to(plan: &mut Plan, analysis: &Analysis<'_>) -> BTreeSet<Label> {
    let asked: BTreeSet<Label> =
        analysis.graph.requested().iter().map(|node| analysis.graph.node(*node).label().clone()).collect();
    let offers = |label: &Label| analysis.providers(label).is_some_and(|offered| offered.run.is_some() && offered.test.is_some());
    let tests: BTreeSet<Label> = asked.into_iter().filter(offers).collect();
    let manner = Manner {
        filter: None,
        env: BTreeMap::new(),
        runs: 1,
        cached: true,
        timeout: None,
        streamed: false,
        temp: PathBuf::new(),
    };
    let places = (0..).zip(&plan.actions);
    let outputs = places.flat_map(|(place, action)| action.outputs.iter().map(move |output| (output.clone(), place)));
    let makers: FastMap<Artifact, u32> = outputs.collect();
    let mut uncached = BTreeSet::new();
    for test in case::cases(analysis, &tests, &manner).into_iter().flatten() {
        if test.info.uncached {
            uncached.insert(test.label().clone());
        }
        let needs: BTreeSet<u32> = test.action.inputs.iter().filter_map(|input| makers.get(input)).copied().collect();
        plan.needs.push(needs.into_iter().collect());
        plan.actions.push(Arc::new(test.action));
    }
    uncached
}

/// Whether an action is a test: only those leave logs of tests.
pub(crate) fn is_test(action: &Action) -> bool {
    action.outputs.first().is_some_and(|output| is_log(output.path()))
}

/// Whether an output is something that a test leaves.
pub(crate) fn is_log(output: &str) -> bool {
    output.starts_with(&format!("{OUT_FOLDER}/{LOGS_FOLDER}/"))
}

/// What runs a test that is a script; `bytes` gives those of a file.
pub(crate) fn interpreter(root: &Path, action: &Action, bytes: impl Fn(&Arc<str>) -> Option<Digest>) -> Option<Digest> {
    let ActionKind::Run { tool: Tool::File(program), env, .. } = &action.kind else { return None };
    interpreter::identity(&root.join(&**program.path()), case::search_path(env), bytes).ok().flatten()
}

/// Calls `work` for every test, on as many threads.
fn each(tests: &[&Case], threads: usize, work: &(dyn Fn(&Case) + Sync)) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tests.len().max(1)) {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(test);
                }
            });
        }
    });
}

impl Report {
    fn not_built(label: &Label) -> Report {
        let (status, took) = (Status::NotBuilt, Duration::ZERO);
        Report { label: label.clone(), status, cached: false, runs: 0, failed: 0, took, why: None, log: None }
    }
}

/// Durations as programs read them.
mod microseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
