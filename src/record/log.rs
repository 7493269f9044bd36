//! The events of a build as JSON, one object a line, each written when it happens. `docs/explain.md` lists every field.
//!
//! Names here are stable: fields and events may be added, none is renamed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ouro_engine::build::{BuildError, Built};
use ouro_engine::event::{Event, How, Work};
use ouro_engine::execute::{Step, Summary, without_colors};
use ouro_rules::Diagnostic;
use serde::Serialize;

use crate::error::CliError;
use crate::files;
use crate::render::output::Output;
use crate::render::{compiler, diagnostic};

/// A log being written.
pub struct Log<'o> {
    path: PathBuf,
    began: Instant,
    state: Mutex<State<'o>>,
}

/// Where lines go.
enum Sink<'o> {
    File(File),
    Standard(&'o Output),
}

struct State<'o> {
    sink: Sink<'o>,
    /// When actions that run began, by their places.
    running: HashMap<usize, Instant>,
    /// The first trouble with the file; after it nothing more is written.
    trouble: Option<io::Error>,
}

#[derive(Serialize)]
struct Stamped<'a> {
    /// Microseconds since the build began.
    at_us: u64,
    #[serde(flatten)]
    line: Line<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started {
        version: &'a str,
    },
    Waiting {
        pid: Option<u32>,
    },
    WaitingForCache,
    PhaseBegan {
        phase: &'a str,
    },
    PhaseEnded {
        phase: &'a str,
    },
    Configured {
        configuration: &'a str,
        first: usize,
    },
    Planned {
        actions: usize,
    },
    ActionStarted(Action<'a>),
    ActionFinished {
        #[serde(flatten)]
        action: Action<'a>,
        work: &'a str,
        how: &'a str,
        took_us: u64,
        #[serde(flatten)]
        said: Said<'a>,
    },
    ActionFailed {
        #[serde(flatten)]
        action: Action<'a>,
        took_us: u64,
        #[serde(flatten)]
        said: Said<'a>,
    },
    ActionStopped(Action<'a>),
    Restored {
        files: usize,
    },
    Troubled {
        findings: Vec<diagnostic::Json<'a>>,
    },
    Finished(Finished<'a>),
}

#[derive(Serialize)]
struct Action<'a> {
    action: usize,
    mnemonic: &'a str,
    label: String,
}

#[derive(Serialize)]
struct Said<'a> {
    output: String,
    findings: Vec<diagnostic::Json<'a>>,
}

#[derive(Serialize)]
struct Finished<'a> {
    ok: bool,
    targets: Vec<Target<'a>>,
    /// Null when the build ended before anything was executed, or nothing had to be.
    summary: Option<Counts>,
    critical_path: Vec<Longest<'a>>,
    findings: Vec<diagnostic::Json<'a>>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Target<'a> {
    label: String,
    files: &'a [String],
}

#[derive(Serialize)]
struct Counts {
    ran: usize,
    made: usize,
    cached: usize,
    up_to_date: usize,
    failed: usize,
    skipped: usize,
    stopped: usize,
}

#[derive(Serialize)]
struct Longest<'a> {
    mnemonic: &'a str,
    label: String,
    took_us: u64,
}

impl Longest<'_> {
    fn of(step: &Step) -> Longest<'_> {
        Longest { mnemonic: &step.mnemonic, label: step.owner.to_string(), took_us: micros(step.took) }
    }
}

impl Sink<'_> {
    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(line.as_bytes()),
            Sink::Standard(output) => output.fact(line),
        }
    }
}

impl<'o> Log<'o> {
    /// Makes the file, if it is one, and writes the first line.
    pub fn create(path: &Path, began: Instant, output: &'o Output) -> Result<Log<'o>, CliError> {
        let sink = match files::is_standard_output(path) {
            true => Sink::Standard(output),
            false => Sink::File(File::create(path).map_err(files::unwritable(path))?),
        };
        let log = Log { path: path.to_owned(), began, state: Mutex::new(State { sink, running: HashMap::new(), trouble: None }) };
        log.write(Line::Started { version: env!("CARGO_PKG_VERSION") });
        Ok(log)
    }

    /// Writes one event.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Waiting { pid } => self.write(Line::Waiting { pid: *pid }),
            Event::WaitingForCache => self.write(Line::WaitingForCache),
            Event::Began(phase) => self.write(Line::PhaseBegan { phase: phase.name() }),
            Event::Ended(phase) => self.write(Line::PhaseEnded { phase: phase.name() }),
            Event::Configured { name, first } => self.write(Line::Configured { configuration: name, first: *first }),
            Event::Planned { actions } => self.write(Line::Planned { actions: *actions }),
            Event::Started { action, mnemonic, owner } => {
                self.lock().running.insert(*action, Instant::now());
                self.write(Line::ActionStarted(Action { action: *action, mnemonic, label: owner.to_string() }));
            }
            Event::Finished { action, mnemonic, owner, work, how, took, output } => {
                let action = Action { action: *action, mnemonic, label: owner.to_string() };
                let findings = compiler::findings(output);
                let said = Said { output: without_colors(output), findings: jsons(&findings) };
                self.write(Line::ActionFinished {
                    action,
                    work: work_name(*work),
                    how: how_name(*how),
                    took_us: micros(*took),
                    said,
                });
            }
            Event::Failed { action, mnemonic, owner, output, findings } => {
                // One whose inputs are missing fails without having begun.
                let took_us = self.lock().running.remove(action).map_or(0, |began| micros(began.elapsed()));
                let action = Action { action: *action, mnemonic, label: owner.to_string() };
                let mut all = compiler::findings(output);
                all.extend(findings.iter().cloned());
                self.write(Line::ActionFailed {
                    action,
                    took_us,
                    said: Said { output: without_colors(output), findings: jsons(&all) },
                });
            }
            Event::Stopped { action, mnemonic, owner } => {
                self.write(Line::ActionStopped(Action { action: *action, mnemonic, label: owner.to_string() }));
            }
            Event::Restored { files } => self.write(Line::Restored { files: *files }),
            Event::Troubled(finding) => self.write(Line::Troubled { findings: jsons(std::slice::from_ref(finding)) }),
        }
    }

    /// Writes the last line; tells of the first trouble there was.
    pub fn finish(self, result: &Result<Built, BuildError>) -> Result<(), CliError> {
        self.write(Line::Finished(finished(result)));
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.trouble.map_or(Ok(()), Err).map_err(files::unwritable(&self.path))
    }

    fn write(&self, line: Line<'_>) {
        let mut state = self.lock();
        // Under the lock, so that times never go back.
        let stamped = Stamped { at_us: micros(self.began.elapsed()), line };
        let mut text = serde_json::to_string(&stamped).expect("BUG: events are plain data");
        text.push('\n');
        if state.trouble.is_none() {
            state.trouble = state.sink.write(&text).err();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'o>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finished(result: &Result<Built, BuildError>) -> Finished<'_> {
    let (summary, targets, findings): (Option<&Summary>, &[_], &[Diagnostic]) = match result {
        Ok(built) => (built.summary.as_ref(), &built.targets, &built.warnings),
        Err(BuildError::Failed(summary)) => (Some(summary), &[], &[]),
        Err(BuildError::Partly(findings, summary)) => (Some(summary), &[], findings),
        Err(BuildError::Findings(findings)) => (None, &[], findings),
        Err(_) => (None, &[], &[]),
    };
    let path = summary.map(|summary| summary.critical_path.as_slice()).unwrap_or_default();
    Finished {
        ok: result.is_ok(),
        targets: targets.iter().map(|built| Target { label: built.label.to_string(), files: &built.files }).collect(),
        summary: summary.map(counts),
        critical_path: path.iter().map(Longest::of).collect(),
        findings: jsons(findings),
        error: result.as_ref().err().map(BuildError::to_string),
    }
}

fn counts(summary: &Summary) -> Counts {
    let Summary { ran, made, cached, up_to_date, failed, skipped, stopped, .. } = *summary;
    Counts { ran, made, cached, up_to_date, failed, skipped, stopped }
}

fn jsons(findings: &[Diagnostic]) -> Vec<diagnostic::Json<'_>> {
    findings.iter().map(diagnostic::Json::of).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn work_name(work: Work) -> &'static str {
    match work {
        Work::Process => "process",
        Work::Function => "function",
        Work::Write => "write",
    }
}

fn how_name(how: How) -> &'static str {
    match how {
        How::Ran => "ran",
        How::Cached => "cached",
        How::UpToDate => "up_to_date",
    }
}
