//! One action after the other: is it current, is it in the cache, else do it.
//!
//! Knows nothing of the order of actions, nor of how processes are run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ouro_cache::{Absent, ActionResult, Digest, Entry, Output, Read};
use ouro_rules::native::Memory;
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, Tool};

use super::files::{Files, seen};
use super::key::{self, Input};
use super::note::Note;
use super::process::{Processes, without_colors};
use super::sandbox::Scratch;
use super::schedule::End;
use super::sight::Sight;
use super::{Options, SCRATCH, Site, Step, Summary, outputs, priority};
use crate::event::{self, Event, How};
use crate::fast::{FastSet, Lists};
use crate::plan::Plan;
use crate::state::journal::{Batch, Ended};
use crate::state::{File, Remembered, Stamp, State};
use crate::toolchain;

/// How often an action is run when its inputs change while it runs.
const ATTEMPTS: usize = 3;

/// Processes that do not end when asked kindly are killed after this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The work of one build, shared by its threads.
pub(super) struct Work<'a> {
    pub(super) site: &'a Site<'a>,
    plan: &'a Plan,
    pub(super) options: &'a Options<'a>,
    pub(super) before: &'a State,
    pub(super) events: &'a (dyn Fn(Event) + Sync),
    pub(super) files: Files<'a>,
    pub(super) processes: Processes,
    /// What functions share.
    pub(super) memory: Memory,
    pub(super) sight: Sight<'a>,
    pub(super) scratch: Scratch,
    /// Set by the first failure that ends the build.
    given_up: AtomicBool,
    /// All outputs of the plan, once somebody asked.
    outputs: OnceLock<FastSet<Arc<str>>>,
    /// What actions read, and looked for in vain.
    reads: Mutex<Lists<Read>>,
    absent: Mutex<Lists<Absent>>,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    summary: Summary,
    /// New results by first output; nothing for those that were remembered already.
    results: Vec<(Arc<str>, Option<Remembered>)>,
    /// What is known of each action that was tried, by its place.
    notes: Vec<(usize, Note)>,
}

/// What a build adds to the state, and to the journal.
pub(super) struct Learnt {
    files: Vec<(Arc<str>, Option<File>)>,
    results: Vec<(Arc<str>, Option<Remembered>)>,
    batch: Batch,
}

/// An action that ended well.
struct Done {
    how: How,
    printed: String,
}

/// An input as it was found.
pub(super) type Found = (Arc<str>, File);

/// Why an action did not end well.
pub(super) enum Stop {
    Failed { printed: String, findings: Vec<Diagnostic> },
    Cancelled,
}

/// What doing an action gave.
pub(super) enum Ran {
    /// A result, and whether any file was written for it.
    Well(Entry, How),
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
        processes: Processes,
        events: &'a (dyn Fn(Event) + Sync),
    ) -> Work<'a> {
        let root = site.lock.root();
        Work {
            site,
            plan,
            options,
            before,
            events,
            files: Files::new(root, before),
            processes,
            memory: Memory::default(),
            sight: Sight::new(root, site.toolchain, options.sandbox),
            scratch: Scratch::new(root.join(SCRATCH)),
            given_up: AtomicBool::new(false),
            outputs: OnceLock::new(),
            reads: Mutex::default(),
            absent: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Brings the outputs of the action at `place` up to date.
    pub(super) fn perform(&self, place: usize) -> End {
        let action = &self.plan.actions[place];
        let mut note = Note::new();
        let result = self.bring_up_to_date(place, action, &mut note);
        note.took = note.start.elapsed();
        let (end, event) = match result {
            Ok(done) => (End::Done, self.finished(place, action, note.took, done)),
            Err(Stop::Failed { printed, findings }) => {
                note.ended = Some(Ended::Failed);
                (End::Failed, self.failed(place, action, printed, findings))
            }
            Err(Stop::Cancelled) => {
                note.ended = None;
                self.tally().summary.stopped += 1;
                let (mnemonic, owner) = (action.mnemonic.clone(), action.owner.clone());
                (End::Failed, Event::Stopped { action: place, mnemonic, owner })
            }
        };
        self.tally().notes.push((place, note));
        (self.events)(event);
        end
    }

    fn finished(&self, place: usize, action: &Action, took: Duration, Done { how, printed }: Done) -> Event {
        self.count(action, how);
        let (mnemonic, owner, work) = (action.mnemonic.clone(), action.owner.clone(), work_of(action));
        Event::Finished { action: place, mnemonic, owner, work, how, took, output: self.printed(action, printed) }
    }

    fn failed(&self, place: usize, action: &Action, printed: String, findings: Vec<Diagnostic>) -> Event {
        self.tally().summary.failed += 1;
        self.given_up.fetch_or(!self.options.keep_going, Ordering::Relaxed);
        let (mnemonic, owner) = (action.mnemonic.clone(), action.owner.clone());
        Event::Failed { action: place, mnemonic, owner, output: self.printed(action, printed), findings }
    }

    /// Whether an action of this build makes the file.
    pub(super) fn makes(&self, path: &str) -> bool {
        let outputs =
            || self.plan.actions.iter().flat_map(|action| &action.outputs).map(|output| output.path().clone()).collect();
        self.outputs.get_or_init(outputs).contains(path)
    }

    /// Whether nothing is to be started any more, and what runs is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.options.cancelled.load(Ordering::Relaxed) || self.given_up.load(Ordering::Relaxed)
    }

    /// Ends running processes; `for_long` is the time since the interruption.
    pub(super) fn interrupt(&self, for_long: Duration) {
        self.processes.stop(for_long > PATIENCE);
    }

    /// What was done, and what was learnt by it.
    pub(super) fn finish(self) -> (Summary, Learnt) {
        let Tally { mut summary, results, mut notes } = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.warmth = self.processes.warmth();
        let left = self.processes.finish();
        let mut files = self.files.into_known();
        summary.seen = seen(&files);
        if left {
            // What got away from its action may have written to any output, in the very tick in which it was looked at.
            summary.disturbed = true;
            files.clear();
        }
        notes.sort_by_key(|(place, _)| *place);
        summary.critical_path = critical_path(self.plan, &notes);
        let mut batch = Batch::default();
        for (place, note) in notes {
            note.add_to(&mut batch, &self.plan.actions[place], self.site.toolchain);
        }
        (summary, Learnt { files, results, batch })
    }

    fn bring_up_to_date(&self, place: usize, action: &Action, note: &mut Note) -> Result<Done, Stop> {
        if let ActionKind::Write { content, executable } = &action.kind {
            return Ok(self.write(action, content, *executable, note)?);
        }
        for _ in 0..ATTEMPTS {
            let inputs = self.inputs(action)?;
            let key = self.key(action, &inputs, note)?;
            if let Some(done) = self.recall(action, &key, note)? {
                return Ok(done);
            }
            if let Ran::Well(entry, how) = self.run(place, action, &inputs)? {
                return Ok(self.keep(action, key, entry, how, note)?);
            }
            self.tally().summary.disturbed = true;
            inputs.iter().for_each(|(path, _)| self.files.forget(path));
        }
        let finding = Diagnostic::bare(format!("files that `{}` reads change again and again while it runs", action.owner));
        Err(finding.help("build again when nothing writes to them").into())
    }

    fn write(&self, action: &Action, bytes: &[u8], executable: bool, note: &mut Note) -> Result<Done, Diagnostic> {
        let path = action.outputs[0].path();
        let before = self.files.displaced(path);
        let wrote = self.put(path, bytes, executable)?.1;
        if wrote {
            (note.inputs, note.ended) = (Some(Vec::new()), Some(Ended::Ran));
            note.displaced.push(before);
        }
        Ok(Done { how: if wrote { How::Ran } else { How::UpToDate }, printed: String::new() })
    }

    /// Has these bytes in place of an output; says whether they had to be written.
    pub(super) fn put(&self, path: &Arc<str>, bytes: &[u8], executable: bool) -> Result<(Output, bool), Diagnostic> {
        let output = Output { digest: Digest::of(bytes), executable };
        let missing = !self.files.in_place(path, &output);
        if missing {
            let stamp = outputs::write(self.site.lock.root(), path, bytes, executable)?;
            self.files.set(path, Some(File { stamp, digest: output.digest }));
            self.keep_made(path, &output.digest);
        }
        Ok((output, missing))
    }

    /// Keeps what this process made itself, so that it can be put back without making it again.
    fn keep_made(&self, path: &str, digest: &Digest) {
        let store = self.site.store;
        if let Err(error) = store.adopt_known(&self.files.place(path), digest) {
            store.note(error);
        }
    }

    fn keep(&self, action: &Action, key: Digest, entry: Entry, how: How, note: &mut Note) -> Result<Done, Diagnostic> {
        if is_cached(action)
            && let Err(error) = self.site.store.record(&key, &entry)
        {
            self.site.store.note(error);
        }
        let entry = self.shared(entry);
        let printed = entry.result.printed.clone();
        (note.ended, note.reads) = (Some(Ended::Ran), entry.reads.clone());
        self.remember(action, Some(Remembered { key, entry, took: Some(note.start.elapsed()) }));
        Ok(Done { how, printed })
    }

    /// The inputs as they are; everything that is missing is told at once.
    fn inputs(&self, action: &Action) -> Result<Vec<Found>, Vec<Diagnostic>> {
        let mut inputs = Vec::with_capacity(action.inputs.len());
        let mut findings = Vec::new();
        for path in action.inputs.iter().map(Artifact::path) {
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

    fn key(&self, action: &Action, inputs: &[Found], note: &mut Note) -> Result<Digest, Diagnostic> {
        let tool = match &action.kind {
            ActionKind::Run { tool, .. } => Some(self.tool(action, tool)?.identity),
            ActionKind::Write { .. } | ActionKind::Native(_) => None,
        };
        let inputs = inputs.iter().map(|(path, file)| input(path, file)).collect();
        Ok(key::digest(&key::ingredients(action, tool, note.inputs.insert(inputs))))
    }

    /// The program an action runs.
    pub(super) fn tool(&self, action: &Action, tool: &Tool) -> Result<toolchain::Found, Diagnostic> {
        self.site
            .toolchain
            .of(action)
            .tool(tool)
            .map_err(|error| Diagnostic::bare(format!("{error}; `{}` runs it", action.owner)).maybe_help(error.remedy()))
    }

    /// Answers from what the workspace remembers, or else from the cache.
    fn recall(&self, action: &Action, key: &Digest, note: &mut Note) -> Result<Option<Done>, Diagnostic> {
        let before = self.before.result(action.outputs[0].path());
        let holds = |entry: &Entry| self.sight.holds(action, entry, &self.files, &|read| self.files.is_same(read));
        let last = before.filter(|last| last.key == *key && holds(&last.entry));
        let (entry, new) = match last {
            Some(last) => (last.entry.clone(), false),
            None if !is_cached(action) => return Ok(None),
            None => match self.site.store.lookup(key, holds) {
                Some(entry) => (self.shared(entry), true),
                None => return Ok(None),
            },
        };
        let Some(how) = self.put_in_place(action, &entry.result, note)? else { return Ok(None) };
        let printed = entry.result.printed.clone();
        if new || how == How::Cached {
            (note.ended, note.reads) = (Some(Ended::Cached), entry.reads.clone());
        }
        let took = before.and_then(|before| before.took);
        self.remember(action, new.then_some(Remembered { key: *key, entry, took }));
        Ok(Some(Done { how, printed }))
    }

    /// Nothing when the cache lost a blob, or never had it.
    fn put_in_place(&self, action: &Action, result: &ActionResult, note: &mut Note) -> Result<Option<How>, Diagnostic> {
        if result.outputs.len() != action.outputs.len() {
            return Ok(None);
        }
        let mut how = How::UpToDate;
        for (path, output) in action.outputs.iter().map(Artifact::path).zip(&result.outputs) {
            if self.files.in_place(path, output) {
                continue;
            }
            note.displaced.push(self.files.displaced(path));
            how = How::Cached;
            if !is_cached(action) || !self.materialise(path, output)? {
                return Ok(None);
            }
        }
        Ok(Some(how))
    }

    fn materialise(&self, path: &Arc<str>, output: &Output) -> Result<bool, Diagnostic> {
        let root = self.site.lock.root();
        let place = root.join(&**path);
        outputs::make_folder(root, path)?;
        if place.is_dir() {
            outputs::remove(root, path).map_err(|error| outputs::trouble("remove", path, &error))?;
        }
        let found = self.site.store.materialise(&output.digest, &place, output.executable);
        let Some(found) = found.map_err(|error| outputs::store_trouble(&error))? else { return Ok(false) };
        let stamp = Stamp::new(&found).settled();
        self.files.set(path, Some(File { stamp, digest: output.digest }));
        Ok(true)
    }

    fn printed(&self, action: &Action, text: String) -> String {
        let colored = matches!(action.kind, ActionKind::Run { tool: Tool::Clang, .. });
        if colored && !self.options.color { without_colors(&text) } else { text }
    }

    /// Most actions read the same headers of the system, and looked for the same names.
    fn shared(&self, mut entry: Entry) -> Entry {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).one(&mut entry.reads);
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).one(&mut entry.absent);
        entry
    }

    fn remember(&self, action: &Action, new: Option<Remembered>) {
        self.tally().results.push((action.outputs[0].path().clone(), new));
    }

    fn count(&self, action: &Action, how: How) {
        let summary = &mut self.tally().summary;
        match how {
            How::UpToDate => summary.up_to_date += 1,
            How::Cached => summary.cached += 1,
            How::Ran if is_cached(action) => summary.ran += 1,
            How::Ran => summary.made += 1,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learnt {
    /// Adds to the state; the rest is for the journal.
    pub(super) fn add_to(self, state: &mut State) -> Batch {
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
        self.batch
    }
}

/// The chain of actions that bounded the build.
fn critical_path(plan: &Plan, notes: &[(usize, Note)]) -> Vec<Step> {
    let mut took = vec![Duration::ZERO; plan.actions.len()];
    notes.iter().for_each(|(place, note)| took[*place] = note.took);
    let step = |place: usize| {
        let action = &plan.actions[place];
        Step { mnemonic: action.mnemonic.clone(), owner: action.owner.clone(), took: took[place] }
    };
    priority::critical_path(&plan.needs, &took).into_iter().map(step).collect()
}

/// What a key has of an input.
pub(crate) fn input(path: &Arc<str>, file: &File) -> Input {
    Input { path: path.clone(), digest: file.digest, executable: file.stamp.is_executable() }
}

/// Whether results go to the cache. What this process does itself is done again in less time than a file of the cache takes.
fn is_cached(action: &Action) -> bool {
    matches!(action.kind, ActionKind::Run { .. })
}

fn work_of(action: &Action) -> event::Work {
    match action.kind {
        ActionKind::Run { .. } => event::Work::Process,
        ActionKind::Native(_) => event::Work::Function,
        ActionKind::Write { .. } => event::Work::Write,
    }
}
