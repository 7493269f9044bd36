//! One test after the other: does an earlier pass hold, else how does it end now.
//!
//! Knows nothing of the order of tests.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ouro_cache::{ActionResult, CacheError, Digest, Entry, Output, Store};
use ouro_rules::Artifact;

use super::attempt::{Attempt, End, Place, attempt};
use super::case::Case;
use super::{Manner, Report, Status, TestEvent, interpreter, junit};
use crate::execute::Options;
use crate::execute::key::{self, Input};
use crate::execute::sandbox::Confinement;
use crate::execute::{Files, input};
use crate::state::journal::{Batch, Deed, Ended};
use crate::state::{File, State, write_renamed};

/// Whoever looks after a CI machine reads the files of tests, too.
const READABLE: u32 = 0o644;

/// What all tests share.
pub(super) struct Judge<'a> {
    root: &'a Path,
    store: &'a Store,
    files: Files<'a>,
    confinement: Confinement<'a>,
    options: &'a Options<'a>,
    manner: &'a Manner,
    events: &'a (dyn Fn(TestEvent) + Sync),
    /// What is written down of those that ran.
    ran: Mutex<Batch>,
}

/// What a test depends on.
struct Known {
    key: Digest,
    tool: Option<Digest>,
    files: Vec<(Arc<str>, File)>,
}

fn inputs(files: &[(Arc<str>, File)]) -> Vec<Input> {
    files.iter().map(|(path, file)| input(path, file)).collect()
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        root: &'a Path,
        store: &'a Store,
        before: &'a State,
        options: &'a Options<'a>,
        manner: &'a Manner,
        events: &'a (dyn Fn(TestEvent) + Sync),
    ) -> Judge<'a> {
        let confinement = Confinement::new(root, options.sandbox);
        Judge { root, store, files: Files::new(root, before), confinement, options, manner, events, ran: Mutex::default() }
    }

    /// How a test ends; nothing when it was interrupted.
    pub(super) fn judge(&self, test: &Case) -> Option<Report> {
        if self.is_cancelled() {
            return None;
        }
        let judged = self.known(test).and_then(|known| match self.recall(test, &known) {
            Some(report) => Ok(Some(report)),
            None => self.run(test, &known),
        });
        judged.unwrap_or_else(|error| Some(self.broken(test, error.to_string())))
    }

    /// The files that were looked at, and what is written down of the tests that ran.
    pub(super) fn learnt(self) -> (Vec<(Arc<str>, File)>, Batch) {
        let files = self.files.into_known().into_iter().filter_map(|(path, file)| Some((path, file?))).collect();
        (files, self.ran.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_cancelled(&self) -> bool {
        self.options.cancelled.load(Ordering::Relaxed)
    }

    fn known(&self, test: &Case) -> io::Result<Known> {
        let files: Vec<_> = test.action.inputs.iter().map(|input| self.file(input.path())).collect::<io::Result<_>>()?;
        let tool = self.interpreter(test)?;
        let key = key::digest(&key::ingredients(&test.action, tool, &inputs(&files)));
        Ok(Known { key, tool, files })
    }

    fn file(&self, path: &Arc<str>) -> io::Result<(Arc<str>, File)> {
        let file = self.files.get(path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()));
        file.map(|file| (path.clone(), file)).map_err(named(&format!("read `{path}`")))
    }

    /// The identity of what runs a script.
    fn interpreter(&self, test: &Case) -> io::Result<Option<Digest>> {
        let program = self.root.join(&**test.executable.path());
        interpreter::identity(&program, test.search_path(), |path| Some(self.file(path).ok()?.1.digest))
    }

    /// The report of a pass with the same key, its log and what else was told of it put in place.
    fn recall(&self, test: &Case, known: &Known) -> Option<Report> {
        if !self.manner.cached || test.info.uncached || self.manner.runs > 1 {
            return None;
        }
        let entry = self.store.lookup(&known.key, |_| true).filter(is_pass)?;
        let outputs = test.action.outputs.iter().zip(&entry.result.outputs);
        let placed: Option<Vec<Vec<u8>>> = outputs.map(|(file, output)| self.put_in_place(file, output).ok().flatten()).collect();
        let facts = placed?.pop()?;
        let report: Report = serde_json::from_slice(&facts).ok()?;
        Some(Report { cached: true, ..report })
    }

    /// The bytes of an output, which is in place; nothing when the cache lost them.
    fn put_in_place(&self, file: &Artifact, output: &Output) -> io::Result<Option<Vec<u8>>> {
        let place = self.root.join(&**file.path());
        match fs::read(&place) {
            Ok(bytes) if Digest::of(&bytes) == output.digest => return Ok(Some(bytes)),
            _ => place.parent().map_or(Ok(()), fs::create_dir_all)?,
        }
        let found = self.store.materialise(&output.digest, &place, false).map_err(|error| error.source)?;
        if found.is_some() { fs::read(&place).map(Some) } else { Ok(None) }
    }

    fn run(&self, test: &Case, known: &Known) -> io::Result<Option<Report>> {
        let began = SystemTime::now();
        let Some(attempts) = self.attempts(test)? else { return Ok(None) };
        let report = report(test, &attempts);
        self.write_down(test, known, &report, began);
        let outputs = test.outputs();
        write_renamed(&self.root.join(outputs.xml), &[junit::of_test(test.label(), &attempts)], READABLE)?;
        let facts = serde_json::to_string(&report).expect("BUG: reports are plain data");
        write_renamed(&self.root.join(outputs.facts), &[facts], READABLE)?;
        // What cannot be kept costs another run and nothing else.
        let _ = self.keep(test, known, &report);
        Ok(Some(report))
    }

    /// For whoever asks later why it ran.
    fn write_down(&self, test: &Case, known: &Known, report: &Report, began: SystemTime) {
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs = inputs(&known.files);
        let ingredients = key::ingredients(&test.action, known.tool, &inputs);
        let facts = ingredients.iter().map(|one| one.with_parts(|kind, parts| ran.fact(kind, parts))).collect();
        let ended = if report.status == Status::Passed { Ended::Ran } else { Ended::Failed };
        let output = Arc::clone(test.action.outputs[0].path());
        ran.add(&Deed { output, began, took: report.took, ended, displaced: Vec::new() }, facts);
    }

    /// Runs it as often as asked; nothing when interrupted.
    fn attempts(&self, test: &Case) -> io::Result<Option<Vec<Attempt>>> {
        let log = self.root.join(test.outputs().log);
        let made = log.parent().map_or(Ok(()), fs::create_dir_all);
        let cleared = made.and_then(|()| match fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        cleared.map_err(named(&format!("make room for its log `{}`", test.outputs().log)))?;
        let printed = |text: String| (self.events)(TestEvent::Printed(text));
        let (cancelled, printed) = (|| self.is_cancelled(), self.manner.streamed.then_some(&printed as &dyn Fn(String)));
        let (root, temp, confinement) = (self.root, &*self.manner.temp, &self.confinement);
        let place = Place { root, temp, confinement, cancelled: &cancelled, printed };
        let mut attempts = Vec::new();
        for run in 1..=self.manner.runs {
            self.head(&log, run)?;
            let attempt = attempt(&place, test, &log)?;
            if attempt.end == End::Cancelled {
                return Ok(None);
            }
            attempts.push(attempt);
        }
        Ok(Some(attempts))
    }

    /// Tells the runs in a log apart.
    fn head(&self, log: &Path, run: u32) -> io::Result<()> {
        if self.manner.runs == 1 {
            return Ok(());
        }
        let mut file = fs::File::options().append(true).create(true).open(log)?;
        writeln!(file, "==== run {run} of {} ====", self.manner.runs)
    }

    /// Keeps a pass. A failure takes away the pass that stood in its place: a test that fails now and then has not passed.
    fn keep(&self, test: &Case, known: &Known, report: &Report) -> Result<(), CacheError> {
        let outputs = match report.status {
            Status::Passed if self.manner.runs > 1 || test.info.uncached || !self.is_unchanged(known) => return Ok(()),
            Status::Passed => test.action.outputs.iter().map(|file| self.insert(file)).collect::<Result<_, _>>()?,
            _ if !self.store.lookup(&known.key, |_| true).is_some_and(|entry| is_pass(&entry)) => return Ok(()),
            _ => Vec::new(),
        };
        let result = ActionResult { outputs, printed: String::new() };
        self.store.record(&known.key, &Entry { reads: Arc::default(), absent: Arc::default(), result })
    }

    fn insert(&self, file: &Artifact) -> Result<Output, CacheError> {
        let digest = self.store.insert_file(&self.root.join(&**file.path()))?;
        Ok(Output { digest, executable: false })
    }

    /// Whether all it may have read is what its key says.
    fn is_unchanged(&self, known: &Known) -> bool {
        known.files.iter().all(|(path, file)| self.files.unchanged(path, file))
    }

    /// A test that could not even be tried.
    fn broken(&self, test: &Case, why: String) -> Report {
        let (runs, took) = (self.manner.runs, Duration::ZERO);
        let (label, status) = (test.label().clone(), Status::Failed);
        Report { label, status, cached: false, runs, failed: runs, took, why: Some(why), log: None }
    }
}

/// An error with what was tried.
pub(super) fn named(doing: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {doing}: {error}"))
}

/// A failure takes the place of a pass, and leaves nothing.
pub(crate) fn is_pass(entry: &Entry) -> bool {
    !entry.result.outputs.is_empty()
}

fn report(test: &Case, attempts: &[Attempt]) -> Report {
    let (label, log) = (test.label().clone(), Some(test.outputs().log.to_owned()));
    let ends = || attempts.iter().map(|attempt| &attempt.end);
    let failed = ends().filter(|end| **end != End::Passed).count();
    let why = ends().find_map(|end| if let End::Failed(why) = end { Some(why.clone()) } else { None });
    let status = match (failed, &why) {
        (0, _) => Status::Passed,
        (_, Some(_)) => Status::Failed,
        (_, None) => Status::TimedOut,
    };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let took = attempts.iter().map(|attempt| attempt.took).sum();
    Report { label, status, cached: false, runs: count(attempts.len()), failed: count(failed), took, why, log }
}
