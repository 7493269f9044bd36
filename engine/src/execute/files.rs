//! The files of one build: each looked at once, hashed only when its stamp is not one known from before.
//!
//! Knows nothing of what the files are for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ouro_cache::{Absent, Digest, Output, Read};

use super::includes::Asked;
use crate::fast::{FastMap, FastSet};
use crate::state::journal::Displaced;
use crate::state::{File, Seen, Stamp, State};

/// What is known of files, by path from the root or absolute.
pub(crate) struct Files<'a> {
    root: &'a Path,
    before: &'a State,
    known: Mutex<FastMap<Arc<str>, Option<File>>>,
    /// What files ask for, by their bytes.
    asked: Mutex<FastMap<Digest, Arc<Asked>>>,
    /// Names outside of the workspace that are still absent: nearly all compilers look for the same.
    absent: Mutex<FastSet<Absent>>,
    /// Files that were looked for, and that no action makes.
    glimpsed: Mutex<FastMap<Box<str>, Option<Stamp>>>,
}

impl<'a> Files<'a> {
    /// Nothing but what earlier builds knew.
    pub(crate) fn new(root: &'a Path, before: &'a State) -> Files<'a> {
        let (known, asked, absent, glimpsed) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Files { root, before, known, asked, absent, glimpsed }
    }

    /// Where a file is.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A file as it is; nothing when there is none.
    pub(crate) fn get(&self, path: &Arc<str>) -> io::Result<Option<File>> {
        if let Some(known) = self.known().get(path) {
            return Ok(*known);
        }
        let file = self.look(path)?;
        Ok(*self.known().entry(path.clone()).or_insert(file))
    }

    /// Whether a file has the bytes it had when it was read.
    pub(super) fn is_same(&self, read: &Read) -> bool {
        matches!(self.get(&read.path), Ok(Some(file)) if file.digest == read.digest)
    }

    /// Whether none of these names is a file, but for some that `matters` says no of.
    pub(super) fn lacks(&self, absent: &Absent, matters: &dyn Fn(&str) -> bool) -> bool {
        let shared = absent.folder.starts_with('/');
        if shared && lock(&self.absent).contains(absent) {
            return true;
        }
        let folder = self.place(&absent.folder);
        let is_file =
            |name: &&str| !matches!(Stamp::of(&folder.join(name)), Ok(found) if found.is_none_or(|stamp| !stamp.is_file()));
        let mut there = absent.names.lines().filter(is_file).peekable();
        if shared && there.peek().is_none() {
            lock(&self.absent).insert(absent.clone());
        }
        !there.any(matters)
    }

    /// The stamp of a plain file, which is not read.
    pub(super) fn glimpse(&self, path: &str) -> Option<Stamp> {
        Stamp::of(&self.place(path)).ok().flatten().filter(Stamp::is_file)
    }

    /// What was glimpsed of a file that stays as it is while this build runs.
    pub(super) fn glimpsed(&self, path: &str) -> Option<Option<Stamp>> {
        lock(&self.glimpsed).get(path).copied()
    }

    /// Says what was glimpsed.
    pub(super) fn set_glimpsed(&self, path: &str, found: Option<Stamp>) {
        lock(&self.glimpsed).insert(path.into(), found);
    }

    /// What a file with these bytes asks for, if it was read already.
    pub(super) fn asked(&self, digest: &Digest) -> Option<Arc<Asked>> {
        lock(&self.asked).get(digest).cloned()
    }

    /// Says what a file with these bytes asks for.
    pub(super) fn set_asked(&self, digest: Digest, asked: &Arc<Asked>) {
        lock(&self.asked).insert(digest, asked.clone());
    }

    /// Whether an output is as its action left it.
    pub(crate) fn in_place(&self, path: &Arc<str>, output: &Output) -> bool {
        let found = self.get(path);
        matches!(found, Ok(Some(file)) if file.digest == output.digest && file.stamp.is_executable() == output.executable)
    }

    /// An output that is not in place, with what is there.
    pub(super) fn displaced(&self, path: &Arc<str>) -> Displaced {
        let found = self.get(path).ok().flatten().map(|file| file.digest);
        Displaced { path: path.clone(), found }
    }

    /// Says what a file is, because this build just made it, or found it gone.
    pub(super) fn set(&self, path: &Arc<str>, file: Option<File>) {
        self.known().insert(path.clone(), file);
    }

    /// Has a file looked at anew when it is next asked for.
    pub(super) fn forget(&self, path: &str) {
        self.known().remove(path);
    }

    /// Whether a file is still what it was. Its bytes are compared again where the stamp leaves a doubt: it had changed just
    /// before it was read, so that one more change may not show, or it got a link or other permissions.
    pub(crate) fn unchanged(&self, path: &str, file: &File) -> bool {
        let place = self.place(path);
        let Ok(Some(now)) = Stamp::of(&place) else { return false };
        let sure = now.same(&file.stamp) && !file.stamp.is_racy();
        sure || (now.written_alike(&file.stamp) && Digest::of_file(&place).is_ok_and(|digest| digest == file.digest))
    }

    /// Everything known, sorted by path.
    pub(crate) fn into_known(self) -> Vec<(Arc<str>, Option<File>)> {
        let known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<_> = known.into_iter().collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        known
    }

    fn look(&self, path: &str) -> io::Result<Option<File>> {
        let place = self.place(path);
        let Some(stamp) = Stamp::of(&place)? else { return Ok(None) };
        if let Some(digest) = self.before.file(path, &stamp).filter(|_| !stamp.is_racy()) {
            return Ok(Some(File { stamp, digest }));
        }
        if !stamp.is_file() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is no plain file"));
        }
        let mut file = std::fs::File::open(&place)?;
        let stamp = Stamp::of_file(&file)?;
        Ok(Some(File { stamp, digest: Digest::of_open(&mut file)? }))
    }

    fn known(&self) -> MutexGuard<'_, FastMap<Arc<str>, Option<File>>> {
        lock(&self.known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a snapshot needs of known files.
pub(super) fn seen(known: &[(Arc<str>, Option<File>)]) -> Vec<Seen> {
    let seen = |(path, file): &(Arc<str>, Option<File>)| Seen {
        path: path.clone(),
        stamp: file.map(|file| file.stamp),
        digest: file.map(|file| file.digest),
    };
    known.iter().map(seen).collect()
}
