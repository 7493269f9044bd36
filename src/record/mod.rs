//! Records of a build that people asked for: a profile, and the events as they come.
//!
//! Draws nothing, and changes nothing of the build.

mod log;
mod trace;

use std::path::PathBuf;
use std::time::Instant;

use ouro_engine::build::{BuildError, Built};
use ouro_engine::event::Event;

use crate::cli::BuildFlags;
use crate::error::CliError;
use crate::files;
use crate::record::log::Log;
use crate::record::trace::Trace;

/// What is recorded of one build. Threads may share it.
pub struct Recorders {
    trace: Option<(PathBuf, Trace)>,
    log: Option<Log>,
}

impl Recorders {
    /// What the flags ask for; `began` is the moment all times count from.
    pub fn new(flags: &BuildFlags, began: Instant) -> Result<Recorders, CliError> {
        let trace = flags.profile.as_ref().map(|path| (path.clone(), Trace::new(began)));
        let log = flags.events.as_ref().map(|path| Log::create(path, began)).transpose()?;
        Ok(Recorders { trace, log })
    }

    /// Records one event. Call it on the thread it happens on.
    pub fn event(&self, event: &Event) {
        if let Some((_, trace)) = &self.trace {
            trace.event(event);
        }
        if let Some(log) = &self.log {
            log.event(event);
        }
    }

    /// Records the end and writes what is still to be written.
    pub fn finish(self, result: &Result<Built, BuildError>) -> Result<(), CliError> {
        let logged = self.log.map_or(Ok(()), |log| log.finish(result));
        if let Some((path, trace)) = self.trace {
            files::replace(&path, trace.finish().as_bytes())?;
        }
        logged
    }
}
