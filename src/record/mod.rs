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
use crate::render::output::Output;

/// What is recorded of one build. Threads may share it.
pub struct Recorders<'o> {
    output: &'o Output,
    trace: Option<(PathBuf, Trace)>,
    log: Option<Log<'o>>,
}

impl<'o> Recorders<'o> {
    /// What the flags ask for; `began` is the moment all times count from. What could not be written at the end fails now.
    pub fn new(flags: &BuildFlags, began: Instant, output: &'o Output) -> Result<Recorders<'o>, CliError> {
        flags.profile.as_deref().map_or(Ok(()), files::check)?;
        let trace = flags.profile.as_ref().map(|path| (path.clone(), Trace::new(began)));
        let log = flags.events.as_ref().map(|path| Log::create(path, began, output)).transpose()?;
        Ok(Recorders { output, trace, log })
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
            files::write(self.output, &path, &trace.finish())?;
        }
        logged
    }
}
