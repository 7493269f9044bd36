//! The whole way from patterns to files: load, configure, graph, analyse, plan, execute, and the snapshot that makes doing nothing
//! cheap.

mod variants;

mod again;
mod book;
mod map_types;
mod memory;
pub mod near_files;
mod owners;
mod recall;
mod record;
mod targets;
mod tools;
mod unlisted;
mod watch;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use ouro_cache::{Digest, Hasher, Store};
use ouro_rules::provider::Providers;
use ouro_rules::rule::FirstWords;
use ouro_rules::{ActionKind, Artifact, Config, Configuration, Diagnostic, Label, Pattern, RuleTable, Span};

use self::again::Place;
use self::memory::Memory;
use self::record::Finished;
use crate::analyse::{self, Analysed};
use crate::configure::Configured;
use crate::event::{Event, Phase};
use crate::execute::{self, ExecuteError, Options, Site, Summary};
use crate::graph::{self, Graph, NodeId};
use crate::load::{self, Loaded, Recall};
use crate::looked_for::LookedFor;
use crate::plan::Plan;
use crate::state::{Lock, State, StateError, make_fresh};
use crate::toolchain::{Toolchain, ToolchainError, ToolchainFacts, kernel_btf, system_includes};
use crate::workspace::{OUT_FOLDER, Workspace};

pub(crate) use self::again::{is_same, loads_alike, look_again};
pub(crate) use self::owners::Owners;
pub(crate) use self::recall::{Recalled, recall};
pub(crate) use self::record::{looked_for, reads};
pub use self::targets::{BuiltTarget, Targets};
pub use self::tools::tools;
pub(crate) use self::variants::warnings;

/// What is asked of the engine.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The targets.
    pub patterns: &'a [Pattern],
    /// What it is built for; one at least, no two with the same folder.
    pub configurations: &'a [Configuration],
    /// What BUILD files can call; made when one is read.
    pub rules: &'a LazyLock<RuleTable>,
    /// Where tools are searched: a `PATH`.
    pub search_path: &'a OsStr,
    /// The program that asks, when it can tell: another one may mean something else by the same request.
    pub program: Option<&'a Path>,
}

/// Why a build ended without its files.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Something is wrong with the workspace.
    #[error("{}", counted(.0.len(), "finding"))]
    Findings(Vec<Diagnostic>),
    /// Actions failed; each has been told as an event.
    #[error("{}", failed(.0))]
    Failed(Summary),
    /// Something is wrong with some targets, and what does not need them was built.
    #[error("{}", partly(.0, .1))]
    Partly(Vec<Diagnostic>, Summary),
    /// The tools are not there.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The workspace's state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Execution ended early.
    #[error(transparent)]
    Execute(ExecuteError),
}

/// `build failed: 1 action failed, 2 not tried`.
fn failed(summary: &Summary) -> String {
    let skipped = if summary.skipped > 0 { format!(", {} not tried", summary.skipped) } else { String::new() };
    format!("build failed: {} failed{skipped}", counted(summary.failed, "action"))
}

fn partly(findings: &[Diagnostic], summary: &Summary) -> String {
    let found = counted(findings.len(), "finding");
    if summary.failed + summary.skipped > 0 { format!("{found}; {}", failed(summary)) } else { found }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
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
    pub targets: Targets,
    /// What execution did; none when the snapshot told that nothing changed.
    pub summary: Option<Summary>,
    /// Findings that did not stop it.
    pub warnings: Vec<Diagnostic>,
}

/// Builds what is asked for. Starts with the snapshot of the last build of the same request: when nothing changed since, nothing
/// else is even initialised, and when only files that actions read did, only those actions are.
pub fn build(
    request: &Request<'_>,
    cache: &Path,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Built, BuildError> {
    let owners = Owners::new(request);
    let events = &|event| events(owners.told(event));
    let key = request_key(request, cache);
    let place = Place { request, cache, key: &key };
    match again::again(place, options, events)? {
        Some(built) => Ok(built),
        None => whole(place, options, events),
    }
}

/// The whole way.
fn whole(place: Place<'_>, options: &Options<'_>, events: &(dyn Fn(Event) + Sync)) -> Result<Built, BuildError> {
    let (request, root) = (place.request, place.root());
    let (lock, found) = locked(request, options, events)?;
    let store = stored(root, place.cache, options.cancelled, events)?;
    let began = SystemTime::now();
    let loaded = Phase::Load.told(events, || load(request, (options.keep_going, options.cancelled)))?;
    let toolchain = tools::tools(request, &loaded, found)?;
    let going = variants::Going { request, keep_going: options.keep_going, cancelled: options.cancelled };
    let configured = variants::configured(going, &loaded)?;
    let analysed = not_cancelled(options.cancelled, variants::analysed(going, &configured, &toolchain, events))?;
    let (configurations, analyses): (Vec<&Configuration>, Vec<Analysis<'_>>) = analysed.of.into_iter().unzip();
    let planned = Phase::Plan.told(events, || variants::planned(request, &configurations, &analyses, &analysed.findings))?;
    let mut state = State::load(root);
    let site = Site { lock: &lock, toolchain: &toolchain, store: &store };
    let told = |event| events(with_places(event, &|action| &analyses[planned.configuration_of(action)].graph));
    planned.tell(request, &configurations, &told);
    let summary = Phase::Execute.told(events, || execute::execute(&site, &planned.plan, options, &mut state, &told))?;
    if !analysed.findings.is_empty() {
        return Err(BuildError::Partly(analysed.findings, summary));
    }
    if summary.failed + summary.skipped > 0 {
        return Err(BuildError::Failed(summary));
    }
    let targets = analyses.iter().zip(request.configurations).flat_map(|(analysis, one)| analysis.targets(&one.folder));
    let targets: Vec<BuiltTarget> = targets.collect();
    let warnings = variants::warnings(&loaded, &analyses);
    let memory = Memory { targets: targets.into(), warnings, toolchain };
    let finished =
        Finished { request, began, loaded: &loaded, analyses: &analyses, planned: &planned, state: &state, summary: &summary };
    record::record(&finished, place.key, &memory)?;
    Ok(Built { targets: memory.targets, summary: Some(summary), warnings: memory.warnings })
}

/// The lock of the workspace, and the machine's own tools as they are under it, if any configuration uses them.
pub(crate) fn locked(
    request: &Request<'_>,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<(Lock, Option<Toolchain>), BuildError> {
    let root = &request.workspace.root;
    let find = || tools::own(request);
    let toolchain = find();
    let lock = Lock::acquire(root, options.cancelled, events)?;
    // They may be others by now.
    let toolchain = if lock.waited() { find() } else { toolchain };
    Ok((lock, toolchain))
}

/// The store, and the folder of all outputs: made before anything is looked at. Later they would change the root, which loading
/// lists, and the first build would leave no snapshot.
pub(crate) fn stored(
    root: &Path,
    cache: &Path,
    cancelled: &AtomicBool,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Store, BuildError> {
    let store = execute::open_store(cache, cancelled, events)?;
    // What cannot be made is told when the first output cannot be written.
    let _ = make_fresh(root, OUT_FOLDER);
    // All of them may have been made just now.
    let _ = again::settled(root);
    Ok(store)
}

/// Loads what a request needs, the packages of the flags it sets and of the toolchains it chooses among it; without those that
/// something is wrong with when told to keep going.
pub fn load(request: &Request<'_>, (keep_going, cancelled): (bool, &AtomicBool)) -> Result<Loaded, BuildError> {
    load_with(request, &[], (keep_going, cancelled), None)
}

/// The same, with more labels and what is known of packages.
fn load_with(
    request: &Request<'_>,
    besides: &[Label],
    (keep_going, cancelled): (bool, &AtomicBool),
    recall: Option<Recall<'_>>,
) -> Result<Loaded, BuildError> {
    let flags = request.configurations.iter().flat_map(|one| &one.flags);
    let flags = flags.map(|(label, given)| (label.clone(), given.span.clone()));
    let toolchains = request.configurations.iter().filter_map(|one| one.toolchain.as_ref());
    let more = toolchains.chain(besides).map(|label| (label.clone(), None));
    let also: Vec<(Label, Option<Span>)> = flags.chain(more).collect();
    let options = load::Options { also: &also, cancelled, recall, keep_going };
    let loaded = load::load_with(request.workspace, request.patterns, request.rules, &options);
    not_cancelled(cancelled, loaded)
}

/// What a phase came to. When it was stopped, what was found until then means nothing.
fn not_cancelled<T>(cancelled: &AtomicBool, result: Result<T, Vec<Diagnostic>>) -> Result<T, BuildError> {
    if cancelled.load(Ordering::Relaxed) { Err(ExecuteError::Cancelled.into()) } else { Ok(result?) }
}

/// What was loaded with what its targets mean in one configuration.
pub struct Analysis<'l> {
    /// The targets.
    pub graph: Graph<'l>,
    /// What they mean.
    pub analysed: Analysed,
    /// Every path from the root that was looked for, and whether it was a file.
    looked_for: Vec<(Arc<str>, bool)>,
}

impl<'l> Analysis<'l> {
    /// Builds the graph of what was configured and analyses it; set `cancelled` to stop.
    pub fn of(
        root: &Path,
        configured: &'l Configured<'_>,
        config: &Config,
        cancelled: &AtomicBool,
    ) -> Result<Analysis<'l>, BuildError> {
        Ok(Analysis::sound(root, configured, config, (false, cancelled))?.0)
    }

    /// The same, with what is wrong with the targets that are not analysed, and those that need them, when told to keep going.
    pub fn sound(
        root: &Path,
        configured: &'l Configured<'_>,
        config: &Config,
        (keep_going, cancelled): (bool, &AtomicBool),
    ) -> Result<(Analysis<'l>, Vec<Diagnostic>), BuildError> {
        let (analysis, findings) = Analysis::told(root, configured, config, (keep_going, cancelled), &|_| {});
        not_cancelled(
            cancelled,
            match analysis {
                Some(analysis) => Ok((analysis, findings)),
                None => Err(findings),
            },
        )
    }

    /// The same, telling of its phases; none when there is nothing to go on with.
    fn told(
        root: &Path,
        configured: &'l Configured<'_>,
        config: &Config,
        (keep_going, cancelled): (bool, &AtomicBool),
        events: &dyn Fn(Event),
    ) -> (Option<Analysis<'l>>, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let loaded = configured.loaded();
        let looked_for = LookedFor::default();
        let is_file = |path: &str| looked_for.is_file(path, || loaded.reads.is_listed(path) || root.join(path).is_file());
        let mut go_on = |found: Vec<Diagnostic>| {
            let goes_on = keep_going || found.is_empty();
            findings.extend(found);
            goes_on.then_some(()).ok_or(())
        };
        let graph = Phase::Graph.told(events, || {
            let (graph, found) = graph::sound(configured, &is_file);
            go_on(near_files::complete(root, found)).map(|()| graph)
        });
        let Ok(graph) = graph else { return (None, findings) };
        let analysed = Phase::Analyse.told(events, || {
            let (analysed, found) = analyse::sound(&graph, &loaded.rules, config, cancelled);
            go_on(found).and(analysed.ok_or(()))
        });
        let analysis = analysed.map(|analysed| Analysis { graph, analysed, looked_for: looked_for.into_all() });
        (analysis.ok(), findings)
    }

    /// What a target offers.
    pub fn providers(&self, label: &Label) -> Option<&Providers> {
        self.analysed.providers(&self.graph, label)
    }

    fn targets(&self, configuration: &str) -> Vec<BuiltTarget> {
        let run =
            |providers: &Providers| providers.run.as_ref().map(|run| (Arc::clone(run), providers.wanted().cloned().collect()));
        let built = |node: &NodeId| {
            let providers = self.analysed.get(*node).map(|analysis| &analysis.providers);
            BuiltTarget {
                label: self.graph.node(*node).label().clone(),
                configuration: configuration.to_owned(),
                files: providers.map(|providers| paths(&providers.files)).unwrap_or_default(),
                run: providers.and_then(run),
            }
        };
        self.graph.requested().iter().map(built).collect()
    }
}

fn paths(files: &[Artifact]) -> Vec<String> {
    files.iter().map(|file| file.path().to_string()).collect()
}

/// What rules see of a configuration and of its toolchain.
pub fn config(workspace: &Workspace, configuration: &Configuration, toolchain: ToolchainFacts) -> Config {
    let ToolchainFacts { target, version, clang_flags, compile_args } = toolchain;
    Config {
        workspace: workspace.settings.workspace.name.clone(),
        out_dir: format!("{OUT_FOLDER}/{}", configuration.folder),
        arch: configuration.platform.arch.to_owned(),
        system_includes: system_includes(configuration.platform),
        clang_flags,
        target: configuration.platform.target().to_owned(),
        toolchain: target,
        clang_version: version,
        compile_args: compile_args.into_iter().chain(configuration.compile_args()).collect(),
        oldest_kernel: configuration.min_kernel,
        kernel_btf: kernel_btf(configuration.platform),
        repositories: workspace.settings.repositories.clone(),
        first_words: FirstWords::default(),
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
    let mut hasher = Hasher::new("ouro request v3");
    hasher.field(format!("{:?}", request.patterns).as_bytes());
    hasher.field(format!("{:?}", request.workspace.settings).as_bytes());
    hasher.field(format!("{:?}", request.configurations).as_bytes());
    hasher.field(request.search_path.as_encoded_bytes());
    hasher.field(cache.as_os_str().as_encoded_bytes());
    hasher.field(request.program.unwrap_or(Path::new("")).as_os_str().as_encoded_bytes());
    hasher.finish()
}

/// Findings of actions that have no place get their target's.
pub(crate) fn with_places<'g>(event: Event, graph_of: &dyn Fn(usize) -> &'g Graph<'g>) -> Event {
    let Event::Failed { action, mnemonic, owner, output, mut findings } = event else { return event };
    let span = graph_of(action).place(&owner).cloned();
    findings.iter_mut().filter(|finding| finding.span.is_none()).for_each(|finding| finding.span = span.clone());
    Event::Failed { action, mnemonic, owner, output, findings }
}
