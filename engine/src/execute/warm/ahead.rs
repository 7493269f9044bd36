//! A program that is started before it is known what it is to do, and linked while that is being found out.
//!
//! Knows nothing of how its command is guessed. It serves one; a command that differs in more than its arguments is none of its.

use std::fs::File;
use std::path::Path;

use super::server::{Serves, Starting};
use super::{Library, Linked};
use crate::execute::key::FIXED_ENVIRONMENT;
use crate::execute::orphans::Orphans;
use crate::execute::spawn::Command;

/// A program that waits for its arguments. Without any it ends with this value.
#[derive(Debug)]
pub(crate) struct HeadStart {
    pub(in crate::execute) waiting: Waiting,
    /// From before it was started: it is no orphan.
    pub(in crate::execute) orphans: Orphans,
}

/// The program, and what of its command is known.
#[derive(Debug)]
pub(in crate::execute) struct Waiting {
    like: Command,
    starting: Starting,
}

impl HeadStart {
    /// Starts a program in this folder, as actions run it that add nothing to its environment; nothing where that cannot be. The
    /// calling thread must outlive its process: that is killed when it ends.
    pub(crate) fn new(program: &Path, folder: &Path) -> Option<HeadStart> {
        Library::missing().is_none().then_some(())?;
        let like = Command::new(program, [], FIXED_ENVIRONMENT, folder).ok()?;
        let orphans = Orphans::adopt();
        let starting = Starting::new(&like, Serves::Once).ok()?;
        Some(HeadStart { waiting: Waiting { like, starting }, orphans })
    }
}

impl Waiting {
    /// Whether it is the program of this command.
    pub(super) fn is_for(&self, command: &Command) -> bool {
        self.like.differs_in_arguments_alone(command)
    }

    /// Becomes the process of this command; nothing when it did not come so far.
    pub(super) fn become_process(self, command: &Command, words: &[u8], output: &File) -> Option<Linked> {
        let server = self.starting.finish(self.like.program()).ok()?;
        let (process, end) = server.run_once(words, output, command.walls().ruleset()).ok()?;
        Some(Linked { process, end: Some(end) })
    }
}
