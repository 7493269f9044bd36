//! One action after the other: is it current, is it in the cache, else run it, and check what it did.
//!
//! Knows nothing of the order of actions.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ouro_cache::{ActionResult, Digest, Entry, Output, Read};
use ouro_rules::native::{self, Native};
use ouro_rules::{Action, ActionKind, Diagnostic, Tool};

use super::files::{Files, seen};
use super::key::{self, Input};
use super::process::{Ended, Processes, without_colors};
use super::schedule::End;
use super::spawn::Command;
use super::{Options, Site, Summary, depfile, outputs};
use crate::event::{Event, How};
use crate::plan::Plan;
use crate::state::{File, Remembered, State};

/// How often an action is run when its inputs change while it runs.
const ATTEMPTS: usize = 3;

/// Processes that do not end when asked kindly are killed after this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The work of one build, shared by its threads.
pub(super) struct Work<'a> {
    site: &'a Site<'a>,
    /// Canonical, as compilers may write it.
    root: std::path::PathBuf,
    plan: &'a Plan,
    options: &'a Options<'a>,
    before: &'a State,
    events: &'a (dyn Fn(Event) + Sync),
    files: Files<'a>,
    processes: Processes,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    summary: Summary,
    /// New results by first output; nothing for those that were remembered already.
    results: Vec<(Arc<str>, Option<Remembered>)>,
}

/// What a build adds to the state.
pub(super) struct Learnt {
    files: Vec<(Arc<str>, Option<File>)>,
    results: Vec<(Arc<str>, Option<Remembered>)>,
}

/// An action that ended well.
struct Done {
    how: How,
    printed: String,
}

/// Why an action did not end well.
enum Stop {
    Failed { printed: String, findings: Vec<Diagnostic> },
    Cancelled,
}

/// What running an action gave.
enum Ran {
    Well(Entry),
    /// What it read changed meanwhile: the result belongs to no key.
    InputsChanged,
}

impl From<Diagnostic> for Stop {
    fn from(finding: Diagnostic) -> Stop {
        Stop::from(vec![finding])
    }
}

impl From<Vec<Diagnostic>> for Stop {
    fn from(findings: Vec<Diagnostic>) -> Stop {
        Stop::Failed { printed: String::new(), findings }
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(
        site: &'a Site<'a>,
        plan: &'a Plan,
        options: &'a Options<'a>,
        before: &'a State,
        events: &'a (dyn Fn(Event) + Sync),
    ) -> Work<'a> {
        let root = site.lock.root();
        Work {
            site,
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
            plan,
            options,
            before,
            events,
            files: Files::new(root, before),
            processes: Processes::default(),
            tally: Mutex::default(),
        }
    }

    /// Brings the outputs of the action at `place` up to date.
    pub(super) fn perform(&self, place: usize) -> End {
        let action = &self.plan.actions[place];
        let start = Instant::now();
        let (mnemonic, owner) = (action.mnemonic, action.owner.clone());
        match self.bring_up_to_date(place, action) {
            Ok(Done { how, printed }) => {
                self.count(action, how);
                let output = self.printed(action, printed);
                (self.events)(Event::Finished { action: place, mnemonic, owner, how, took: start.elapsed(), output });
                End::Done
            }
            Err(Stop::Failed { printed, findings }) => {
                self.tally().summary.failed += 1;
                let output = self.printed(action, printed);
                (self.events)(Event::Failed { action: place, mnemonic, owner, output, findings });
                End::Failed
            }
            Err(Stop::Cancelled) => {
                self.tally().summary.failed += 1;
                End::Failed
            }
        }
    }

    /// Ends running processes; `for_long` is the time since the interruption.
    pub(super) fn interrupt(&self, for_long: Duration) {
        self.processes.stop(for_long > PATIENCE);
    }

    /// What was done, and what was learnt by it.
    pub(super) fn finish(self) -> (Summary, Learnt) {
        let Tally { mut summary, results } = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.into_known();
        summary.seen = seen(&files);
        (summary, Learnt { files, results })
    }

    fn bring_up_to_date(&self, place: usize, action: &Action) -> Result<Done, Stop> {
        if let ActionKind::Write(bytes) = &action.kind {
            return Ok(self.write(action, bytes)?);
        }
        for _ in 0..ATTEMPTS {
            let inputs = self.inputs(action)?;
            let key = self.key(action, &inputs);
            if let Some(done) = self.recall(action, &key)? {
                return Ok(done);
            }
            if let Ran::Well(entry) = self.run(place, action, &inputs)? {
                let printed = entry.result.printed.clone();
                self.site.store.record(&key, entry.clone()).map_err(|error| outputs::store_trouble(&error))?;
                self.remember(action, Some(Remembered { key, entry }));
                return Ok(Done { how: How::Ran, printed });
            }
            inputs.iter().for_each(|(path, _)| self.files.forget(path));
        }
        let finding = Diagnostic::bare(format!("files that `{}` reads change again and again while it runs", action.owner));
        Err(finding.help("build again when nothing writes to them").into())
    }

    fn write(&self, action: &Action, bytes: &[u8]) -> Result<Done, Diagnostic> {
        let path = action.outputs[0].path();
        let output = Output { digest: Digest::of(bytes), executable: false };
        let how = if self.in_place(path, &output) { How::UpToDate } else { How::Ran };
        if how == How::Ran {
            let stamp = outputs::write(self.site.lock.root(), path, bytes)?;
            self.files.set(path, Some(File { stamp, digest: output.digest }));
        }
        Ok(Done { how, printed: String::new() })
    }

    /// The inputs as they are; everything that is missing is told at once.
    fn inputs(&self, action: &Action) -> Result<Vec<(Arc<str>, File)>, Vec<Diagnostic>> {
        let mut inputs = Vec::with_capacity(action.inputs.len());
        let mut findings = Vec::new();
        for path in action.inputs.iter().map(|input| input.path()) {
            match self.files.get(path) {
                Ok(Some(file)) => inputs.push((path.clone(), file)),
                Ok(None) => {
                    let finding = Diagnostic::bare(format!("`{path}` does not exist, and `{}` reads it", action.owner));
                    findings.push(finding.help(format!("create it, or remove it from `{}`", action.owner)));
                }
                Err(error) => findings.push(outputs::trouble("read", path, &error)),
            }
        }
        if findings.is_empty() { Ok(inputs) } else { Err(findings) }
    }

    fn key(&self, action: &Action, inputs: &[(Arc<str>, File)]) -> Digest {
        let tool = match &action.kind {
            ActionKind::Run { tool, .. } => self.site.toolchain.tool(*tool).ok().map(|found| found.identity),
            ActionKind::Write(_) | ActionKind::Native(_) => None,
        };
        let inputs: Vec<Input> = inputs.iter().map(|(path, file)| Input { path: path.clone(), digest: file.digest }).collect();
        key::digest(&key::ingredients(action, tool, &inputs))
    }

    /// Answers from what the workspace remembers, or else from the cache.
    fn recall(&self, action: &Action, key: &Digest) -> Result<Option<Done>, Diagnostic> {
        let remembered = self.before.result(action.outputs[0].path());
        let entry = match remembered.filter(|last| last.key == *key && self.holds(&last.entry)) {
            Some(last) => (last.entry.clone(), None),
            None => match self.site.store.lookup(key, |entry| self.holds(entry)) {
                Some(entry) => (entry.clone(), Some(Remembered { key: *key, entry })),
                None => return Ok(None),
            },
        };
        let (Entry { result, .. }, new) = entry;
        let Some(how) = self.put_in_place(action, &result)? else { return Ok(None) };
        self.remember(action, new);
        Ok(Some(Done { how, printed: result.printed }))
    }

    /// Whether everything an entry read is still the same.
    fn holds(&self, entry: &Entry) -> bool {
        let same = |read: &Read| matches!(self.files.get(&read.path), Ok(Some(file)) if file.digest == read.digest);
        entry.reads.iter().all(same)
    }

    /// Nothing when the cache lost a blob.
    fn put_in_place(&self, action: &Action, result: &ActionResult) -> Result<Option<How>, Diagnostic> {
        if result.outputs.len() != action.outputs.len() {
            return Ok(None);
        }
        let mut how = How::UpToDate;
        for (path, output) in action.outputs.iter().map(|output| output.path()).zip(&result.outputs) {
            if self.in_place(path, output) {
                continue;
            }
            how = How::Cached;
            if !self.materialise(path, output)? {
                return Ok(None);
            }
        }
        Ok(Some(how))
    }

    fn in_place(&self, path: &Arc<str>, output: &Output) -> bool {
        let found = self.files.get(path);
        matches!(found, Ok(Some(file)) if file.digest == output.digest && file.stamp.is_executable() >= output.executable)
    }

    fn materialise(&self, path: &Arc<str>, output: &Output) -> Result<bool, Diagnostic> {
        let root = self.site.lock.root();
        let place = root.join(&**path);
        outputs::make_folder(root, path)?;
        if place.is_dir() {
            outputs::remove(root, path).map_err(|error| outputs::trouble("remove", path, &error))?;
        }
        let found = self.site.store.materialise(&output.digest, &place, output.executable);
        if !found.map_err(|error| outputs::store_trouble(&error))? {
            return Ok(false);
        }
        let stamp = outputs::own_stamp(&place).map_err(|error| outputs::trouble("write", path, &error))?;
        self.files.set(path, Some(File { stamp, digest: output.digest }));
        Ok(true)
    }

    fn run(&self, place: usize, action: &Action, inputs: &[(Arc<str>, File)]) -> Result<Ran, Stop> {
        if self.options.cancelled.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        (self.events)(Event::Started { action: place, mnemonic: action.mnemonic, owner: action.owner.clone() });
        let ran = match &action.kind {
            ActionKind::Native(work) => self.run_native(action, work, inputs),
            _ => self.run_process(action, inputs),
        };
        if !matches!(ran, Ok(Ran::Well(_))) {
            self.remove_outputs(action);
        }
        ran
    }

    fn run_native(&self, action: &Action, work: &Native, inputs: &[(Arc<str>, File)]) -> Result<Ran, Stop> {
        let mut contents = Vec::with_capacity(inputs.len());
        for (path, file) in inputs {
            let bytes = fs::read(self.files.place(path)).map_err(|error| outputs::trouble("read", path, &error))?;
            if Digest::of(&bytes) != file.digest {
                return Ok(Ran::InputsChanged);
            }
            contents.push(bytes);
        }
        let made = native::run(work, &contents)?;
        let mut result = ActionResult { outputs: Vec::with_capacity(made.len()), printed: String::new() };
        for (path, bytes) in action.outputs.iter().map(|output| output.path()).zip(made) {
            let digest = self.site.store.insert(&bytes).map_err(|error| outputs::store_trouble(&error))?;
            let output = Output { digest, executable: false };
            if !self.in_place(path, &output) {
                let stamp = outputs::write(self.site.lock.root(), path, &bytes)?;
                self.files.set(path, Some(File { stamp, digest }));
            }
            result.outputs.push(output);
        }
        Ok(Ran::Well(Entry { reads: Vec::new(), result }))
    }

    fn run_process(&self, action: &Action, inputs: &[(Arc<str>, File)]) -> Result<Ran, Stop> {
        let start = SystemTime::now();
        let ended = self.start_and_wait(action)?;
        if !ended.status.success() {
            return Err(self.bad_end(action, ended));
        }
        let failed = |findings| Stop::Failed { printed: ended.printed.clone(), findings };
        let reads = self.discovered(action).map_err(failed)?;
        let Some(reads) = self.digests(&reads, inputs, start).map_err(failed)? else { return Ok(Ran::InputsChanged) };
        let outputs = self.gather(action).map_err(failed)?;
        Ok(Ran::Well(Entry { reads, result: ActionResult { outputs, printed: ended.printed } }))
    }

    fn start_and_wait(&self, action: &Action) -> Result<Ended, Stop> {
        let ActionKind::Run { tool, args, env, depfile } = &action.kind else {
            unreachable!("BUG: only processes are started")
        };
        let root = self.site.lock.root();
        for path in action.outputs.iter().map(|output| output.path()).chain(depfile) {
            outputs::make_room(root, path)?;
            self.files.set(path, None);
        }
        let program = self.site.toolchain.tool(*tool).map_err(|error| Diagnostic::bare(error.to_string()))?;
        // Always with colours, so that the cache holds what a terminal shows; they are removed where nobody wants them.
        let colors = (*tool == Tool::Clang).then_some("-fcolor-diagnostics");
        let args = colors.into_iter().chain(args.iter().map(String::as_str));
        let trouble = |error| outputs::trouble("run", &program.path.display().to_string(), &error);
        let command = Command::new(&program.path, args, key::environment(env), root).map_err(trouble)?;
        Ok(self.processes.run(&command).map_err(trouble)?)
    }

    /// The files a dependency file names, besides the declared inputs that are in the key by their bytes.
    fn discovered(&self, action: &Action) -> Result<Vec<Arc<str>>, Vec<Diagnostic>> {
        let ActionKind::Run { depfile: Some(path), .. } = &action.kind else { return Ok(Vec::new()) };
        let place = self.files.place(path);
        let text = fs::read(&place).map_err(|error| vec![outputs::trouble("read", path, &error)])?;
        // It has said what it had to say; a leftover would do no harm.
        let _ = fs::remove_file(&place);
        let names = depfile::parse(&String::from_utf8_lossy(&text));
        let mut paths: Vec<Arc<str>> = names.iter().map(|name| depfile::normalise(&self.root, name).into()).collect();
        paths.sort();
        paths.dedup();
        let undeclared: Vec<Diagnostic> =
            paths.iter().filter(|path| !self.is_allowed(action, path)).map(|path| undeclared(action, path)).collect();
        if undeclared.is_empty() { Ok(paths) } else { Err(undeclared) }
    }

    /// Files of the system may be read by all; those of the workspace only when they are inputs, under whatever name.
    fn is_allowed(&self, action: &Action, path: &str) -> bool {
        let declared = |path: &str| action.inputs.iter().any(|input| &**input.path() == path);
        let declared_elsewhere = || {
            let real = self.root.join(path).canonicalize().ok()?;
            Some(declared(real.strip_prefix(&self.root).ok()?.to_str()?))
        };
        Path::new(path).is_absolute() || declared(path) || declared_elsewhere().unwrap_or(false)
    }

    /// What was read, by digest; nothing when some of it, or an input, changed since `start` or since it was hashed.
    fn digests(
        &self,
        paths: &[Arc<str>],
        inputs: &[(Arc<str>, File)],
        start: SystemTime,
    ) -> Result<Option<Vec<Read>>, Vec<Diagnostic>> {
        let mut reads = Vec::with_capacity(paths.len());
        for path in paths {
            let found = self.files.get(path).map_err(|error| vec![outputs::trouble("read", path, &error)])?;
            let is_input = inputs.iter().any(|(input, _)| input == path);
            let Some(file) = found.filter(|file| is_input || file.stamp.older_than(start)) else {
                self.files.forget(path);
                return Ok(None);
            };
            reads.push(Read { path: path.clone(), digest: file.digest });
        }
        let unchanged = inputs.iter().all(|(path, file)| self.files.unchanged(path, file));
        Ok(unchanged.then_some(reads))
    }

    fn gather(&self, action: &Action) -> Result<Vec<Output>, Vec<Diagnostic>> {
        let mut gathered = Vec::with_capacity(action.outputs.len());
        let mut findings = Vec::new();
        for path in action.outputs.iter().map(|output| output.path()) {
            match outputs::gather(self.site.lock.root(), path, self.site.store) {
                Ok(Some((output, file))) => {
                    self.files.set(path, Some(file));
                    gathered.push(output);
                }
                Ok(None) => findings.push(
                    Diagnostic::bare(format!("`{}` ended well without making `{path}`", action.owner))
                        .help("make every declared output, or declare fewer"),
                ),
                Err(finding) => findings.push(finding),
            }
        }
        if findings.is_empty() { Ok(gathered) } else { Err(findings) }
    }

    fn bad_end(&self, action: &Action, ended: Ended) -> Stop {
        if self.options.cancelled.load(Ordering::Relaxed) {
            return Stop::Cancelled;
        }
        let silent = ended.printed.trim().is_empty();
        let finding = Diagnostic::bare(format!("{} of `{}` failed without a word: {}", action.mnemonic, action.owner, ended.status));
        let findings = match std::os::unix::process::ExitStatusExt::signal(&ended.status) {
            Some(libc::SIGKILL) => vec![finding.help("the machine may be out of memory: build with fewer jobs (`-j 1`)")],
            None if !silent => Vec::new(),
            _ => vec![finding],
        };
        Stop::Failed { printed: ended.printed, findings }
    }

    /// A failed action leaves nothing. What cannot be removed is taken for no output later: its bytes are in no result.
    fn remove_outputs(&self, action: &Action) {
        let depfile = match &action.kind {
            ActionKind::Run { depfile, .. } => depfile.as_ref(),
            ActionKind::Write(_) | ActionKind::Native(_) => None,
        };
        for path in action.outputs.iter().map(|output| output.path()).chain(depfile) {
            let _ = outputs::remove(self.site.lock.root(), path);
            self.files.forget(path);
        }
    }

    fn printed(&self, action: &Action, text: String) -> String {
        let colored = matches!(action.kind, ActionKind::Run { tool: Tool::Clang, .. });
        if colored && !self.options.color { without_colors(&text) } else { text }
    }

    fn remember(&self, action: &Action, new: Option<Remembered>) {
        self.tally().results.push((action.outputs[0].path().clone(), new));
    }

    fn count(&self, action: &Action, how: How) {
        let summary = &mut self.tally().summary;
        match how {
            How::UpToDate => summary.up_to_date += 1,
            How::Cached => summary.cached += 1,
            How::Ran => summary.ran += usize::from(!matches!(action.kind, ActionKind::Write(_))),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learnt {
    pub(super) fn add_to(self, state: &mut State) {
        for (path, file) in self.files {
            if let Some(file) = file {
                state.set_file(path, file);
            }
        }
        for (output, new) in self.results {
            match new {
                Some(remembered) => state.set_result(output, remembered),
                None => state.keep_result(&output),
            }
        }
    }
}

fn undeclared(action: &Action, path: &str) -> Diagnostic {
    Diagnostic::bare(format!("`{}` includes `{path}`, which is not among its declared files", action.owner))
        .note("a header that is not declared makes a build that works here and nowhere else")
        .help("add a `bpf_library` with it to `deps`")
}
