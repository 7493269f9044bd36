//! Folders for what processes do not keep: each process has one to itself while it runs, and finds it empty.
//!
//! Knows nothing of processes. Making and removing a folder for each would take longer than to look whether it is empty, and what is
//! not asked for is not looked at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The folders below one folder, which only one build uses at a time.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: usize,
    free: Vec<PathBuf>,
}

/// A folder of one process.
#[derive(Debug)]
pub(crate) struct Slot<'s> {
    scratch: &'s Scratch,
    folder: PathBuf,
    /// What of it was asked for.
    used: Vec<PathBuf>,
}

const HOME: &str = "home";
const WORK: &str = "work";

impl Scratch {
    pub(crate) fn new(folder: PathBuf) -> Scratch {
        Scratch { folder, state: Mutex::default() }
    }

    /// A folder that nobody else has.
    pub(crate) fn take(&self) -> Slot<'_> {
        let mut state = self.state();
        let free = state.free.pop();
        let folder = free.unwrap_or_else(|| {
            state.made += 1;
            self.folder.join(state.made.to_string())
        });
        Slot { scratch: self, folder, used: Vec::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// For what the process writes: its `$HOME` and `$TMPDIR`.
    pub(crate) fn home(&mut self) -> io::Result<PathBuf> {
        self.found_empty(HOME)
    }

    /// For whoever starts the process.
    pub(crate) fn work(&mut self) -> io::Result<PathBuf> {
        self.found_empty(WORK)
    }

    /// A build that was killed may have left something.
    fn found_empty(&mut self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(name);
        empty(&folder)?;
        self.used.push(folder.clone());
        Ok(folder)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is tried again, and told, when the folder is taken the next time.
        let _ = self.used.iter().try_for_each(|folder| empty(folder));
        self.scratch.state().free.push(std::mem::take(&mut self.folder));
    }
}

/// Has an empty folder at this path.
fn empty(folder: &Path) -> io::Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => fs::remove_dir_all(folder)?,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shares_a_folder_and_each_is_found_empty() {
        let dir = tempfile::TempDir::new().unwrap();
        let scratch = Scratch::new(dir.path().join("scratch"));
        let (mut one, mut two) = (scratch.take(), scratch.take());
        let (home, other) = (one.home().unwrap(), two.home().unwrap());
        assert_ne!(home, other);
        assert!(!dir.path().join("scratch/1/work").exists(), "nobody asked for it");
        fs::create_dir(home.join("deep")).unwrap();
        fs::write(home.join("deep/file"), "").unwrap();
        drop(one);
        assert!(fs::read_dir(&home).unwrap().next().is_none());
        assert_eq!(scratch.take().home().unwrap(), home);
        fs::write(home.join("of a build that was killed"), "").unwrap();
        let left = Scratch::new(dir.path().join("scratch"));
        assert_eq!((left.take().home().unwrap(), fs::read_dir(&home).unwrap().count()), (home, 0));
    }
}
