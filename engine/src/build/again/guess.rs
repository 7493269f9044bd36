//! Guessing from the first changed file that a compiler will be needed.
//!
//! Knows nothing of actions: those are read only when all files have been looked at.

use std::ops::ControlFlow;
use std::path::Path;

use ouro_rules::Tool;

use super::{is_same, look_again};
use crate::build::memory::Memory;
use crate::execute::{HeadStart, Options, SandboxMode};
use crate::state::snapshot::{FileId, Known, Roles, Snapshot};

/// Whether something will have to be compiled: then the compiler is linked while files are still being looked at.
pub(super) struct Guess {
    /// How many more files are read for it.
    tries: usize,
    pub(super) ahead: Option<HeadStart>,
}

impl Guess {
    /// Files that were touched and are the same may be many.
    const TRIES: usize = 4;

    pub(super) fn new(options: &Options<'_>) -> Guess {
        let may_wait = options.warm && options.sandbox.mode != SandboxMode::Namespace;
        Guess { tries: if may_wait { Guess::TRIES } else { 0 }, ahead: None }
    }

    /// Starts the compiler for the first source that has other bytes, and leaves it a core.
    pub(super) fn saw(&mut self, file: FileId, snapshot: &Snapshot, memory: &Memory, root: &Path) -> ControlFlow<()> {
        let Some(before) = snapshot.known(file).filter(|before| self.tries > 0 && is_source(before)) else {
            return ControlFlow::Continue(());
        };
        self.tries -= 1;
        let now = snapshot.path(file).and_then(|path| look_again(root, &path, &before));
        if now.is_some_and(|now| now.stamp.is_some() && !is_same(&before, &now)) {
            self.tries = 0;
            let clang = memory.toolchain.tool(&Tool::Clang).ok();
            self.ahead = clang.and_then(|clang| HeadStart::new(&clang.path, root));
        }
        if self.ahead.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Whether only actions read the file: most of those compile.
fn is_source(known: &Known) -> bool {
    known.roles.any(Roles::INPUT | Roles::READ) && !known.roles.any(Roles::LOAD | Roles::FOLDER | Roles::TOOL | Roles::MADE)
}
