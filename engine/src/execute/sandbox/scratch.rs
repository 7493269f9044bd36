//! Folders for what processes do not keep: each process has one to itself while it runs, and finds it empty.
//!
//! Knows nothing of processes. Making and removing a folder for each would take longer than to look whether it is empty.

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
}

const HOME: &str = "home";
const WORK: &str = "work";

impl Scratch {
    pub(crate) fn new(folder: PathBuf) -> Scratch {
        Scratch { folder, state: Mutex::default() }
    }

    /// A folder that nobody else has.
    pub(crate) fn take(&self) -> io::Result<Slot<'_>> {
        let mut state = self.state();
        let free = state.free.pop();
        let folder = free.unwrap_or_else(|| {
            state.made += 1;
            self.folder.join(state.made.to_string())
        });
        drop(state);
        let slot = Slot { scratch: self, folder };
        // A build that was killed may have left something.
        [HOME, WORK].iter().try_for_each(|name| empty(&slot.folder.join(name)))?;
        Ok(slot)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// For what the process writes: its `$HOME` and `$TMPDIR`.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join(HOME)
    }

    /// For whoever starts the process.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join(WORK)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is tried again, and told, when the folder is taken the next time.
        let _ = [HOME, WORK].iter().try_for_each(|name| empty(&self.folder.join(name)));
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
        let (one, two) = (scratch.take().unwrap(), scratch.take().unwrap());
        assert_ne!(one.home(), two.home());
        let home = one.home();
        fs::create_dir(home.join("deep")).unwrap();
        fs::write(home.join("deep/file"), "").unwrap();
        drop(one);
        let again = scratch.take().unwrap();
        assert_eq!(again.home(), home);
        assert!(fs::read_dir(&home).unwrap().next().is_none());
        let left = Scratch::new(dir.path().join("scratch"));
        fs::write(two.home().join("of a build that was killed"), "").unwrap();
        assert_eq!((left.take().unwrap().home(), fs::read_dir(home).unwrap().count()), (again.home(), 0));
    }
}
