//! The whole way from patterns to files: load, configure, graph, analyse, plan, execute, and the snapshot that makes doing nothing
//! cheap.

mod variants;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use ouro_cache::{CacheError, Digest, Hasher, Store};
use ouro_rules::provider::Providers;
use ouro_rules::{ActionKind, Artifact, Config, Configuration, Diagnostic, Label, Pattern, RuleTable, Span};
use serde::{Deserialize, Serialize};

use crate::analyse::{self, Analysed};
use crate::configure::Configured;
use crate::event::Event;
use crate::execute::{self, ExecuteError, Options, Site, Summary};
use crate::graph::{self, Graph, Node, NodeId};
use crate::load::{self, Loaded, Reads};
use crate::plan::Plan;
use crate::state::snapshot;
use crate::state::{Lock, Seen, Stamp, State, StateError};
use crate::toolchain::{Toolchain, ToolchainError, header_folders, system_includes};
use crate::workspace::{OUT_FOLDER, Workspace};

/// What is asked of the engine.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The targets.
    pub patterns: &'a [Pattern],
    /// What it is built for; one at least, no two with the same folder.
    pub configurations: &'a [Configuration],
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
    /// The configuration it was built for, by its folder.
    pub configuration: String,
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
    let loaded = load(request, options.cancelled)?;
    let configured = variants::configured(request, &loaded)?;
    let analyses = variants::analysed(request, &configured, &toolchain)?;
    let planned = variants::planned(&analyses)?;
    let store = Store::open(cache)?;
    let mut state = State::load(root);
    let site = Site { lock: &lock, toolchain: &toolchain, store: &store };
    let printed = AtomicBool::new(false);
    let told = |event| {
        printed.fetch_or(has_output(&event), Ordering::Relaxed);
        events(with_places(event, &|action| &analyses[planned.configuration_of(action)].graph));
    };
    planned.tell(request.configurations, &told);
    let mut summary = execute::execute(&site, &planned.plan, options, &mut state, &told)?;
    if summary.failed + summary.skipped > 0 {
        return Err(BuildError::Failed(summary));
    }
    let targets = analyses.iter().zip(request.configurations).flat_map(|(analysis, one)| analysis.targets(&one.folder)).collect();
    let warnings = loaded.warnings.clone();
    // A build that had something to warn of, or whose compiler had, is not replaced by silence the next time.
    if warnings.is_empty()
        && !printed.into_inner()
        && let Some(read) = seen_before_load(request, &loaded.reads, began)
        && let Some(looked_for) = analyses.iter().map(|analysis| analysis.seen_again(root)).collect::<Option<Vec<_>>>()
    {
        let headers = request.configurations.iter().flat_map(|one| header_folders(one.platform)).filter_map(|path| folder(&path));
        summary.seen.extend(read.into_iter().chain(looked_for.into_iter().flatten()).chain(headers));
        let payload = postcard::to_stdvec(&targets).expect("BUG: labels and paths are plain data");
        snapshot::write(root, &key, &summary.seen, &payload)?;
    }
    Ok(Built { targets, summary: Some(summary), warnings })
}

/// Loads what a request needs, the packages of the flags it sets among it.
pub fn load(request: &Request<'_>, cancelled: &AtomicBool) -> Result<Loaded, BuildError> {
    let flags = request.configurations.iter().flat_map(|one| &one.flags);
    let also: Vec<(Label, Option<Span>)> = flags.map(|(label, given)| (label.clone(), given.span.clone())).collect();
    let loaded = load::load_with(request.workspace, request.patterns, request.rules, &load::Options { also: &also, cancelled });
    // What was found until then means nothing.
    if cancelled.load(Ordering::Relaxed) { Err(ExecuteError::Cancelled.into()) } else { Ok(loaded?) }
}

/// What was loaded with what its targets mean in one configuration.
pub struct Analysis<'l> {
    /// The targets.
    pub graph: Graph<'l>,
    /// What they mean.
    pub analysed: Analysed,
    /// Every path from the root that was looked for, and whether it was a file.
    looked_for: BTreeMap<Arc<str>, bool>,
}

impl<'l> Analysis<'l> {
    /// Builds the graph of what was configured and analyses it.
    pub fn of(request: &Request<'_>, configured: &'l Configured<'_>, config: &Config) -> Result<Analysis<'l>, Vec<Diagnostic>> {
        let root = &request.workspace.root;
        let looked_for = RefCell::new(BTreeMap::new());
        let is_file = |path: &str| *looked_for.borrow_mut().entry(path.into()).or_insert_with(|| root.join(path).is_file());
        let graph = graph::build(configured, &is_file)?;
        let analysed = analyse::analyse(&graph, &configured.loaded().rules, config)?;
        Ok(Analysis { graph, analysed, looked_for: looked_for.into_inner() })
    }

    /// What a target offers.
    pub fn providers(&self, label: &Label) -> Option<&Providers> {
        self.analysed.providers(&self.graph, label)
    }

    fn targets(&self, configuration: &str) -> Vec<BuiltTarget> {
        let built = |node: &NodeId| BuiltTarget {
            label: self.graph.node(*node).label().clone(),
            configuration: configuration.to_owned(),
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

/// What rules see of a configuration, with what the compiler must be told besides.
pub fn config(workspace: &Workspace, configuration: &Configuration, clang_flags: Vec<String>) -> Config {
    Config {
        workspace: workspace.settings.workspace.name.clone(),
        out_dir: format!("{OUT_FOLDER}/{}", configuration.folder),
        arch: configuration.platform.arch.to_owned(),
        system_includes: system_includes(configuration.platform),
        clang_flags,
        target: configuration.platform.target().to_owned(),
        compile_args: configuration.compile_args(),
        repositories: workspace.settings.repositories.clone(),
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
    hasher.field(format!("{:?}", request.configurations).as_bytes());
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

/// A folder that decides what compilers are told by being there.
fn folder(path: &str) -> Option<Seen> {
    let stamp = Stamp::of(Path::new(path)).ok()?;
    Some(Seen { path: path.into(), stamp: stamp.map(Stamp::settled) })
}

/// Whether an action's tool had something to say.
fn has_output(event: &Event) -> bool {
    matches!(event, Event::Finished { output, .. } if !output.is_empty())
}

/// Findings of actions that have no place get their target's.
fn with_places<'g>(event: Event, graph_of: &dyn Fn(usize) -> &'g Graph<'g>) -> Event {
    let Event::Failed { action, mnemonic, owner, output, mut findings } = event else { return event };
    let graph = graph_of(action);
    let span = graph.find(&owner).and_then(|node| match graph.node(node) {
        Node::Target(target) => Some(target.span.clone()),
        Node::File(_) | Node::Generated(_) => None,
    });
    findings.iter_mut().filter(|finding| finding.span.is_none()).for_each(|finding| finding.span = span.clone());
    Event::Failed { action, mnemonic, owner, output, findings }
}
