//! The whole way from patterns to files: load, graph, analyse, plan, execute, and the snapshot that makes doing nothing cheap.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use ouro_cache::{CacheError, Digest, Hasher, Store};
use ouro_rules::provider::Providers;
use ouro_rules::{ActionKind, Artifact, Config, Diagnostic, Label, Pattern, RuleTable};
use serde::{Deserialize, Serialize};

use crate::analyse::{self, Analysed};
use crate::event::Event;
use crate::execute::{self, ExecuteError, Options, Site, Summary};
use crate::fast::FastMap;
use crate::graph::{self, Graph, Node, NodeId};
use crate::load::{self, Loaded, Reads};
use crate::plan::{self, Plan};
use crate::state::snapshot;
use crate::state::{Lock, Seen, Stamp, State, StateError};
use crate::toolchain::{Toolchain, ToolchainError};
use crate::workspace::{OUT_FOLDER, Workspace};

/// What is asked of the engine.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The targets.
    pub patterns: &'a [Pattern],
    /// What BUILD files can call.
    pub rules: &'a RuleTable,
    /// Where tools are searched: a `PATH`.
    pub search_path: &'a OsStr,
    /// The program that asks, when it can tell: another one may mean something else by the same request.
    pub program: Option<&'a Path>,
}

/// Why a build ended without its files.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Something is wrong with the workspace.
    #[error("{} findings", .0.len())]
    Findings(Vec<Diagnostic>),
    /// Actions failed; each has been told as an event.
    #[error("{} actions failed", .0.failed)]
    Failed(Summary),
    /// The tools are not there.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The workspace's state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Execution ended early.
    #[error(transparent)]
    Execute(ExecuteError),
}

impl From<Vec<Diagnostic>> for BuildError {
    fn from(findings: Vec<Diagnostic>) -> BuildError {
        BuildError::Findings(findings)
    }
}

impl From<ExecuteError> for BuildError {
    fn from(error: ExecuteError) -> BuildError {
        match error {
            ExecuteError::Toolchain(error) => BuildError::Toolchain(error),
            ExecuteError::State(error) => BuildError::State(error),
            ExecuteError::Cancelled => BuildError::Execute(error),
        }
    }
}

/// A build's result.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// What was asked for, with its files.
    pub targets: Vec<BuiltTarget>,
    /// What execution did; none when the snapshot told that nothing changed.
    pub summary: Option<Summary>,
    /// Findings that did not stop it.
    pub warnings: Vec<Diagnostic>,
}

/// A target that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuiltTarget {
    /// Its label.
    pub label: Label,
    /// Its files, from the workspace root.
    pub files: Vec<String>,
}

/// Builds what is asked for. Starts with the snapshot: when nothing changed since a build of the same request, nothing else
/// is even initialised.
pub fn build(
    request: &Request<'_>,
    cache: &Path,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Built, BuildError> {
    let root = &request.workspace.root;
    let key = request_key(request, cache);
    if let Some(payload) = snapshot::check(root, &key)
        && let Ok(targets) = postcard::from_bytes(&payload)
    {
        return Ok(Built { targets, ..Built::default() });
    }
    let toolchain = Toolchain::find(root, &request.workspace.settings.toolchain, request.search_path)?;
    let lock = Lock::acquire(root, options.cancelled, events)?;
    let began = SystemTime::now();
    let loaded = load::load(request.workspace, request.patterns, request.rules)?;
    let analysis = Analysis::of(request, &loaded, &config(request.workspace, &toolchain))?;
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    let store = Store::open(cache)?;
    let mut state = State::load(root);
    let site = Site { lock: &lock, toolchain: &toolchain, store: &store };
    let printed = AtomicBool::new(false);
    let told = |event| {
        printed.fetch_or(has_output(&event), Ordering::Relaxed);
        events(with_places(event, &analysis.graph));
    };
    let mut summary = execute::execute(&site, &plan, options, &mut state, &told)?;
    if summary.failed + summary.skipped > 0 {
        return Err(BuildError::Failed(summary));
    }
    let targets = analysis.targets();
    let warnings = loaded.warnings.clone();
    // A build that had something to warn of, or whose compiler had, is not replaced by silence the next time.
    if warnings.is_empty()
        && !printed.into_inner()
        && let Some(read) = seen_before_load(request, &loaded.reads, began)
        && let Some(looked_for) = analysis.seen_again(root)
    {
        summary.seen.extend(read.into_iter().chain(looked_for));
        let payload = postcard::to_stdvec(&targets).expect("BUG: labels and paths are plain data");
        snapshot::write(root, &key, &summary.seen, &payload)?;
    }
    Ok(Built { targets, summary: Some(summary), warnings })
}

/// The loaded workspace with what its targets mean.
pub struct Analysis<'l> {
    /// The targets.
    pub graph: Graph<'l>,
    /// What they mean.
    pub analysed: Analysed,
    /// Every path from the root that was looked for, and whether it was a file.
    looked_for: FastMap<Arc<str>, bool>,
}

impl<'l> Analysis<'l> {
    /// Builds the graph of what was loaded and analyses it.
    pub fn of(request: &Request<'_>, loaded: &'l Loaded, config: &Config) -> Result<Analysis<'l>, Vec<Diagnostic>> {
        let root = &request.workspace.root;
        let looked_for = RefCell::new(FastMap::<Arc<str>, bool>::default());
        let is_file = |path: &str| {
            if let Some(known) = looked_for.borrow().get(path) {
                return *known;
            }
            let found = loaded.reads.is_listed(path) || root.join(path).is_file();
            looked_for.borrow_mut().insert(path.into(), found);
            found
        };
        let graph = graph::build(loaded, &is_file)?;
        let analysed = analyse::analyse(&graph, &loaded.rules, config)?;
        Ok(Analysis { graph, analysed, looked_for: looked_for.into_inner() })
    }

    /// What a target offers.
    pub fn providers(&self, label: &Label) -> Option<&Providers> {
        self.analysed.providers(&self.graph, label)
    }

    fn targets(&self) -> Vec<BuiltTarget> {
        let built = |node: &NodeId| BuiltTarget {
            label: self.graph.node(*node).label().clone(),
            files: self.analysed.get(*node).map(|analysis| paths(&analysis.providers.files)).unwrap_or_default(),
        };
        self.graph.requested().iter().map(built).collect()
    }

    /// What was looked for, as it is now; none when some of it came or went since.
    fn seen_again(&self, root: &Path) -> Option<Vec<Seen>> {
        self.looked_for.iter().map(|(path, was_file)| seen_again(root, path, *was_file)).collect()
    }
}

fn paths(files: &[Artifact]) -> Vec<String> {
    files.iter().map(|file| file.path().to_string()).collect()
}

/// What this machine's tools build for.
pub fn config(workspace: &Workspace, toolchain: &Toolchain) -> Config {
    Config {
        workspace: workspace.settings.workspace.name.clone(),
        out_dir: format!("{OUT_FOLDER}/{}", toolchain.arch),
        arch: toolchain.arch.clone(),
        system_includes: toolchain.system_includes.clone(),
        clang_flags: toolchain.clang_flags(),
    }
}

/// The part of a plan that an editor needs: the files that compile actions read and other actions make.
pub fn headers_of(plan: &Plan) -> Plan {
    let compiles = |kind: &ActionKind| matches!(kind, ActionKind::Run { depfile: Some(_), .. });
    let wanted = plan.actions.iter().filter(|action| compiles(&action.kind)).flat_map(|action| action.inputs.iter().cloned());
    plan.prune(wanted.filter(|input| matches!(input, Artifact::Output(_))).collect())
}

/// Everything that decides what a request means, besides the files it reads. A newer ouro asks anew (its snapshots are of another
/// kind); so does another one beside it, and one with other folders to search for tools.
fn request_key(request: &Request<'_>, cache: &Path) -> Digest {
    let mut hasher = Hasher::new("ouro request v1");
    hasher.field(format!("{:?}", request.patterns).as_bytes());
    hasher.field(format!("{:?}", request.workspace.settings).as_bytes());
    hasher.field(request.search_path.as_encoded_bytes());
    hasher.field(cache.as_os_str().as_encoded_bytes());
    hasher.field(request.program.unwrap_or(Path::new("")).as_os_str().as_encoded_bytes());
    hasher.finish()
}

/// What loading read and the program itself, as they were when they were read: a file that changed after `began` may have changed
/// after it was read, too, and then there is nothing to go by.
fn seen_before_load(request: &Request<'_>, reads: &Reads, began: SystemTime) -> Option<Vec<Seen>> {
    let program = request.program.and_then(Path::to_str).map(Arc::from);
    let mut seen = Vec::new();
    for path in reads.files.iter().chain(&reads.folders).chain(&reads.absent).chain(&program) {
        let stamp = Stamp::of(&request.workspace.root.join(&**path)).ok()?;
        if stamp.is_some_and(|stamp| !stamp.older_than(began)) {
            return None;
        }
        seen.push(Seen { path: path.clone(), stamp: stamp.map(Stamp::settled) });
    }
    Some(seen)
}

/// A path that was looked for, as it is now; none when it came or went since. Its bytes were not read, so they may have changed:
/// who did read them saw them in time.
fn seen_again(root: &Path, path: &Arc<str>, was_file: bool) -> Option<Seen> {
    let stamp = Stamp::of(&root.join(&**path)).ok()?;
    let is_file = stamp.is_some_and(|stamp| stamp.is_file());
    (is_file == was_file).then(|| Seen { path: path.clone(), stamp: stamp.map(Stamp::settled) })
}

/// Whether an action's tool had something to say.
fn has_output(event: &Event) -> bool {
    matches!(event, Event::Finished { output, .. } if !output.is_empty())
}

/// Findings of actions that have no place get their target's.
fn with_places(event: Event, graph: &Graph<'_>) -> Event {
    let Event::Failed { action, mnemonic, owner, output, mut findings } = event else { return event };
    let span = graph.find(&owner).and_then(|node| match graph.node(node) {
        Node::Target(target) => Some(target.span.clone()),
        Node::File(_) | Node::Generated(_) => None,
    });
    findings.iter_mut().filter(|finding| finding.span.is_none()).for_each(|finding| finding.span = span.clone());
    Event::Failed { action, mnemonic, owner, output, findings }
}
