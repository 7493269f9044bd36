//! One run of a test: in folders of its own that are gone afterwards, within its time.
//!
//! Knows nothing of earlier runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::case::Case;
use super::interpreter;
use super::judge::named;
use crate::execute::process::run_watched;
use crate::execute::sandbox::{Confinement, Needs, Walls};
use crate::execute::spawn::Command;
use crate::execute::{key, open_plain};
use crate::runfiles::{self, WORKSPACE_FOLDER};

/// As much of a log as reports for other programs hold; its end says more than its beginning.
const LONGEST_REPORTED: u64 = 1 << 20;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) end: End,
    pub(super) took: Duration,
    /// The end of what it printed.
    pub(super) printed: String,
    /// What the test wrote of itself.
    pub(super) xml: Option<String>,
}

/// The ends of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    /// With the reason.
    Failed(String),
    TimedOut,
    /// Because all tests were.
    Cancelled,
}

/// Where and how it is run.
pub(super) struct Place<'a> {
    /// The root of the workspace.
    pub(super) root: &'a Path,
    /// Where folders for what is temporary are made.
    pub(super) temp: &'a Path,
    pub(super) confinement: &'a Confinement<'a>,
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// Is given what the test printed since the last time.
    pub(super) printed: Option<&'a dyn Fn(String)>,
}

/// Runs a test once; what it prints is added to `log`.
pub(super) fn attempt(place: &Place<'_>, test: &Case, log: &Path) -> io::Result<Attempt> {
    let output = File::options().append(true).create(true).open(log)?;
    let mut follow = Follow { file: File::open(log)?, rest: Vec::new() };
    let start = follow.file.seek(SeekFrom::End(0))?;
    let began = Instant::now();
    let own = TempDir::with_prefix_in("ouro-test-", place.temp).map_err(named("make its folder"))?;
    let end = in_folder(place, test, own.path(), &output, &mut follow).unwrap_or_else(|error| End::Failed(error.to_string()));
    let xml = open_plain(&own.path().join("test.xml")).and_then(io::read_to_string).ok();
    Ok(Attempt { end, took: began.elapsed(), printed: tail(log, start)?, xml })
}

fn in_folder(place: &Place<'_>, test: &Case, own: &Path, output: &File, follow: &mut Follow) -> io::Result<End> {
    let sources = own.join("runfiles");
    let laid = runfiles::lay(place.root, &sources, &test.action.inputs);
    laid.and_then(|()| fs::create_dir(own.join("tmp"))).map_err(named("fill its folder"))?;
    let (folder, (args, env)) = (sources.join(WORKSPACE_FOLDER), test.command());
    let (program, env) = (folder.join(&**test.executable.path()), environment(own, env)?);
    let command = Command::new(&program, args.iter(), key::environment(&env), &folder).map_err(named("start it"))?;
    let command = command.within(walls(place, test, own, output).map_err(named("make its sandbox"))?);
    let (began, mut stopped) = (Instant::now(), None);
    let status = run_watched(&command, output, &mut || {
        place.printed.iter().for_each(|printed| follow.lines().into_iter().for_each(printed));
        stopped = match began.elapsed() > test.timeout {
            _ if (place.cancelled)() => Some(End::Cancelled),
            true => Some(End::TimedOut),
            false => None,
        };
        stopped.is_some()
    });
    let status = status.map_err(|error| reason(test, &error))?;
    place.printed.iter().for_each(|printed| follow.all().into_iter().for_each(printed));
    Ok(stopped.unwrap_or_else(|| end(status)))
}

/// A test sees what it declares and its own folders. It may use the network, to talk to itself; and one that says that it looks at
/// the machine is not kept from anything.
fn walls(place: &Place<'_>, test: &Case, own: &Path, output: &File) -> io::Result<Walls> {
    if test.info.unconfined {
        return Ok(Walls::default());
    }
    let work = own.join("sandbox");
    fs::create_dir(&work)?;
    let files = test.action.inputs.iter().map(|input| place.root.join(&**input.path())).collect();
    let runs = interpreter::of(&place.root.join(&**test.executable.path()), test.search_path())?;
    let places = runs.iter().flat_map(|program| place.confinement.beside(Path::new(&**program))).collect();
    let (own, log) = (vec![own.to_owned()], Some(output.as_fd()));
    Ok(place.confinement.cage(&Needs { files, places, own, log, network: true, work, ..Needs::default() })?.walls)
}

fn end(status: ExitStatus) -> End {
    match status.code() {
        Some(0) => End::Passed,
        Some(code) => End::Failed(format!("exit code {code}")),
        None => End::Failed(status.signal().map_or_else(|| status.to_string(), |_| format!("ended by {status}"))),
    }
}

/// What the test finds in its environment: also where its folders are.
fn environment(own: &Path, env: &BTreeMap<String, String>) -> io::Result<BTreeMap<String, String>> {
    let own =
        own.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the temporary folder's name is not UTF-8"))?;
    let places = [
        ("HOME", "tmp"),
        ("TMPDIR", "tmp"),
        ("TEST_TMPDIR", "tmp"),
        ("TEST_SRCDIR", "runfiles"),
        ("RUNFILES_DIR", "runfiles"),
        ("XML_OUTPUT_FILE", "test.xml"),
    ];
    let places = places.into_iter().map(|(name, place)| (name.to_owned(), format!("{own}/{place}")));
    Ok(env.clone().into_iter().chain(places).collect())
}

/// Why a program could not be started, with what to do.
fn reason(test: &Case, error: &io::Error) -> io::Error {
    let path = test.executable.path();
    io::Error::other(match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::PermissionDenied, _) => format!("`{path}` may not be run; make it executable (`chmod +x {path}`)"),
        (io::ErrorKind::NotFound, _) => format!("`{path}` cannot be run: what its first line names is not there"),
        (_, Some(libc::ENOEXEC)) => format!("`{path}` is no program; a script begins with a line such as `#!/bin/sh`"),
        _ => format!("cannot run `{path}`: {error}"),
    })
}

/// What was added to a file, as it grows.
struct Follow {
    file: File,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follow {
    /// The whole lines that are new.
    fn lines(&mut self) -> Option<String> {
        // What cannot be read now is read later, or else from the file itself.
        let _ = self.file.read_to_end(&mut self.rest);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n')? + 1;
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        Some(String::from_utf8_lossy(&lines).into_owned())
    }

    /// Everything that is new.
    fn all(&mut self) -> Option<String> {
        let lines = self.lines().unwrap_or_default();
        let all = lines + &String::from_utf8_lossy(&std::mem::take(&mut self.rest));
        (!all.is_empty()).then_some(all)
    }
}

/// The end of a file, from `start` at the earliest.
fn tail(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = start.max(length.saturating_sub(LONGEST_REPORTED));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let cut = if from > start { "[the beginning is in test.log]\n" } else { "" };
    Ok(cut.to_owned() + &String::from_utf8_lossy(&bytes))
}
