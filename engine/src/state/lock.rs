//! The lock on a workspace: builds that write to the same folders come one after the other.
//!
//! Knows nothing of what is done under it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::stamp::TICK;
use super::{STATE_FOLDER, StateError, leftover};
use crate::event::Event;
use crate::workspace::OUT_FOLDER;

/// How often a waiting process looks again. `flock` itself could not be interrupted.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A held lock. The kernel frees it when its owner dies, however that happens.
#[derive(Debug)]
pub struct Lock {
    root: PathBuf,
    waited: bool,
    _file: Held,
}

/// The locked file. It has its holder's number until it is given back: a number in a file that nobody holds is that of a process that
/// was killed.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever comes next searches for leftovers in vain if this fails.
        let _ = write_holder(&mut self.0, "");
    }
}

impl Lock {
    /// Waits for the lock of the workspace at `root`, and makes the folders builds write to. Take it before anything is
    /// read: making folders changes the stamp of the root. Says once with an event that it waits.
    pub fn acquire(root: &Path, cancelled: &AtomicBool, events: &(dyn Fn(Event) + Sync)) -> Result<Lock, StateError> {
        make_folders(root)?;
        Lock::acquire_as_is(root, cancelled, events)
    }

    /// The same, but leaves making the folder of all outputs to the caller, who has looked at the root already.
    pub fn acquire_as_is(root: &Path, cancelled: &AtomicBool, events: &(dyn Fn(Event) + Sync)) -> Result<Lock, StateError> {
        let mut told = false;
        loop {
            match Lock::attempt(root)? {
                Ok(lock) => return Ok(Lock { waited: told, ..lock }),
                Err(_) if cancelled.load(Ordering::Relaxed) => return Err(StateError::Cancelled),
                Err(pid) => {
                    if !std::mem::replace(&mut told, true) {
                        events(Event::Waiting { pid });
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
    }

    /// The lock, when nobody else has it.
    pub fn if_free(root: &Path) -> Option<Lock> {
        Lock::attempt(root).ok()?.ok()
    }

    /// Whether another process had it first, and may have changed what was looked at before.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// The root of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One try; the holder's process id if there is one and it is known.
    fn attempt(root: &Path) -> Result<Result<Lock, Option<u32>>, StateError> {
        let folder = root.join(STATE_FOLDER);
        make_folder(&folder)?;
        let path = root.join(STATE_FOLDER).join("lock");
        let locking = StateError::at("lock", &path);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = match open {
            // The holder is removing the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(None)),
            other => other.map_err(&locking)?,
        };
        if !try_flock(&file).map_err(&locking)? {
            return Ok(Err(holder(&mut file)));
        }
        // The file may have been removed with the whole folder while it was waited for; the lock of a removed file is none.
        if !is_at(&file, &path) {
            return Ok(Err(None));
        }
        let was_killed = holder(&mut file).is_some();
        write_holder(&mut file, &std::process::id().to_string()).map_err(&locking)?;
        if was_killed {
            leftover::remove(root);
        }
        Ok(Ok(Lock { root: root.to_owned(), waited: false, _file: Held(file) }))
    }
}

fn make_folders(root: &Path) -> Result<(), StateError> {
    let made = [STATE_FOLDER, OUT_FOLDER].iter().any(|folder| !root.join(folder).is_dir());
    let (state, out) = (root.join(STATE_FOLDER), root.join(OUT_FOLDER));
    make_folder(&state)?;
    // Whoever has the lock may be removing the state folder: nothing is made in it before it is ours.
    make_folder(&out)?;
    if made {
        // The root has just changed, and nobody could tell from its time whether it changes again: once for each checkout.
        std::thread::sleep(TICK + LOOK_AGAIN);
    }
    Ok(())
}

/// Makes a folder that somebody may be removing: it was there, and is not when it is looked at.
fn make_folder(folder: &Path) -> Result<(), StateError> {
    loop {
        match fs::create_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder_or_gone(folder) => {}
            other => return other.map_err(StateError::at("create the folder", folder)),
        }
    }
}

fn is_folder_or_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |found| found.is_dir())
}

fn try_flock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open for the length of the call, which touches no memory of ours.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, there) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    open.is_ok_and(|open| there.is_ok_and(|there| open == there))
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Always of the same length, so that one takes the place of another: to cut the file short first takes half a millisecond.
fn write_holder(file: &mut File, process: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(format!("{process:<10}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn the_second_waits_says_for_whom_and_goes_on() {
        let dir = tempfile::TempDir::new().unwrap();
        let first = Lock::acquire(dir.path(), &NEVER, &|_| panic!("nobody holds it")).unwrap();
        let waiting = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                Lock::acquire(dir.path(), &NEVER, &|event| match event {
                    Event::Waiting { pid } => waiting.lock().unwrap().push(pid),
                    other => panic!("{other:?}"),
                })
                .unwrap()
            });
            while waiting.lock().unwrap().is_empty() {
                std::thread::sleep(LOOK_AGAIN / 4);
            }
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap();
        });
        assert_eq!(*waiting.lock().unwrap(), [Some(std::process::id())]);
    }

    /// Only then: looking for it takes a walk through all outputs.
    #[test]
    fn what_a_killed_holder_left_is_removed_by_the_next() {
        let dir = tempfile::TempDir::new().unwrap();
        drop(Lock::acquire(dir.path(), &NEVER, &|_| {}).unwrap());
        let left =
            ["ouro-out/x/fw/.ouro-aB3dE6", ".ouro/.ouro-abcdef", ".ouro/snapshots/.ouro-abcdef", ".ouro/fresh/out-abcdef/x"];
        let kept = ["ouro-out/x/fw/a.o", ".ouro/snapshots/0123456789abcdef"];
        for path in left.iter().chain(&kept).map(|path| dir.path().join(path)) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let there = |paths: &[&str]| paths.iter().filter(|path| dir.path().join(path).exists()).count();
        drop(Lock::acquire(dir.path(), &NEVER, &|_| {}).unwrap());
        assert_eq!(there(&left), left.len(), "the last holder was not killed");
        fs::write(dir.path().join(".ouro/lock"), "4194304   \n").unwrap();
        drop(Lock::if_free(dir.path()).unwrap());
        assert_eq!((there(&left), there(&kept)), (0, kept.len()));
    }

    #[test]
    fn waiting_can_be_interrupted() {
        let dir = tempfile::TempDir::new().unwrap();
        let _first = Lock::acquire(dir.path(), &NEVER, &|_| {}).unwrap();
        let cancelled = Lock::acquire(dir.path(), &AtomicBool::new(true), &|_| {});
        assert!(matches!(cancelled, Err(StateError::Cancelled)));
    }

    #[test]
    fn a_lock_outlives_cleaning() {
        let dir = tempfile::TempDir::new().unwrap();
        let first = Lock::acquire(dir.path(), &NEVER, &|_| {}).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::acquire(dir.path(), &NEVER, &|_| {}).unwrap());
            super::super::clean(first).unwrap();
            let second = second.join().unwrap();
            assert!(is_at(&second._file.0, &dir.path().join(".ouro/lock")));
        });
    }
}
