//! Putting back outputs that are gone with their folders, as after `rm -rf ouro-out`: straight from the store, by the digests that the
//! snapshot has of them, without looking at any action.
//!
//! Runs nothing. What the store has not any more counts as changed, and is made again.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use ouro_cache::Store;

use super::{Look, Place};
use crate::build::BuildError;
use crate::event::Event;
use crate::execute::{self, ExecuteError, Options};
use crate::state::snapshot::{FileId, Known, Roles, Snapshot};
use crate::state::{Stamp, make_fresh};
use crate::workspace::OUT_FOLDER;

/// Threads take so many files at a time.
const SHARE: usize = 64;

/// What no file is that is put back.
const OTHERS: [Roles; 5] = [Roles::LOAD, Roles::FOLDER, Roles::LOOKED_FOR, Roles::TOOL, Roles::INPUT];

/// Parts the files that differ: outputs whose folders are gone, and all others.
pub(super) fn gone(snapshot: &Snapshot, root: &Path, differing: Vec<FileId>) -> (Vec<FileId>, Vec<FileId>) {
    let mut folders = Folders { root, known: HashMap::new() };
    let is_gone = |file: &FileId| {
        let (path, roles) = (|| snapshot.path(*file), snapshot.roles(*file));
        // What was something else besides may decide what is loaded.
        let is_output = roles.any(Roles::MADE) && !OTHERS.iter().any(|other| roles.any(*other));
        is_output && folders.lacks_all().unwrap_or_else(|| path().is_some_and(|path| folders.lack(parent(&path))))
    };
    differing.into_iter().partition(is_gone)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Folders of outputs, each looked at once.
struct Folders<'a> {
    root: &'a Path,
    known: HashMap<String, bool>,
}

impl Folders<'_> {
    /// True when there is no output at all; nothing when there may be.
    fn lacks_all(&mut self) -> Option<bool> {
        self.lack(OUT_FOLDER).then_some(true)
    }

    /// Whether a folder is not there. What lies below one that is not is not looked at.
    fn lack(&mut self, folder: &str) -> bool {
        if let Some(known) = self.known.get(folder) {
            return *known;
        }
        let above = parent(folder);
        let lacks = (!above.is_empty() && self.lack(above)) || !self.root.join(folder).is_dir();
        self.known.insert(folder.to_owned(), lacks);
        lacks
    }
}

impl Look {
    /// Puts back what is gone, but for what nobody makes any more, and writes down how it is now. Only under the lock, and when it is
    /// known what is obsolete.
    pub(super) fn restore(
        &mut self,
        place: Place<'_>,
        obsolete: &BTreeSet<FileId>,
        options: &Options<'_>,
        events: &(dyn Fn(Event) + Sync),
    ) -> Result<(), BuildError> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let store = execute::open_store(place.cache, options.cancelled, events)?;
        let (obsolete, gone): (Vec<_>, Vec<_>) = self.gone.drain(..).partition(|file| obsolete.contains(file));
        // What cannot be made is told when the first output cannot be written.
        let _ = make_fresh(place.root(), OUT_FOLDER);
        let known = self.snapshot.all_known(&gone);
        let files: Vec<(FileId, Known)> = gone.iter().zip(known).filter_map(|(file, known)| Some((*file, known?))).collect();
        let is_gone = |file: &FileId| Some((*file, Known { stamp: None, digest: None, ..self.snapshot.known(*file)? }));
        self.changed.extend(obsolete.iter().filter_map(is_gone));
        let found = restored(&self.snapshot, place.root(), &store, &files, options);
        if options.cancelled.load(Relaxed) {
            return Err(ExecuteError::Cancelled.into());
        }
        let back: Vec<(FileId, Known)> = found.iter().filter(|(_, known)| known.stamp.is_some()).copied().collect();
        self.changed.extend(found.into_iter().filter(|(_, known)| known.stamp.is_none()));
        execute::tell_troubles(&store, events);
        events(Event::Restored { files: back.len() });
        Ok(self.snapshot.restamp(&back)?)
    }
}

/// Each file with its new stamp, or none when it could not be put back. One thread makes the folders, and the others put back the
/// files of those that are there: a file system makes the folders of one folder in turn, however many threads ask.
fn restored(
    snapshot: &Snapshot,
    root: &Path,
    store: &Store,
    files: &[(FileId, Known)],
    options: &Options<'_>,
) -> Vec<(FileId, Known)> {
    let (ready, shares) = mpsc::channel::<&[(FileId, Known)]>();
    let shares = Mutex::new(shares);
    let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).recv().ok().filter(|_| !options.cancelled.load(Relaxed));
    let put = |(file, known): &(FileId, Known)| (*file, restore(snapshot, root, store, *file, known));
    let work = || std::iter::from_fn(next).flat_map(|share| share.iter().map(put)).collect::<Vec<_>>();
    let threads = options.jobs.clamp(1, files.len().div_ceil(SHARE));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        make_folders(snapshot, root, files, ready);
        let own = work();
        let others = others.into_iter().map(|other| other.join().expect("BUG: restoring does not panic"));
        [own].into_iter().chain(others).flatten().collect()
    })
}

/// Makes the folders of these files, and hands on each share of files that have theirs. Where one cannot be made no file can be put.
fn make_folders<'a>(snapshot: &Snapshot, root: &Path, files: &'a [(FileId, Known)], ready: Sender<&'a [(FileId, Known)]>) {
    let mut last = String::new();
    for share in files.chunks(SHARE) {
        for path in share.iter().filter_map(|(file, _)| snapshot.path(*file)) {
            let folder = parent(&path);
            if folder != last {
                let _ = fs::create_dir_all(root.join(folder));
                folder.clone_into(&mut last);
            }
        }
        if ready.send(share).is_err() {
            return;
        }
    }
}

fn restore(snapshot: &Snapshot, root: &Path, store: &Store, file: FileId, known: &Known) -> Known {
    let put = || {
        let (path, digest, before) = (snapshot.path(file)?, known.digest?, known.stamp?);
        let found = store.materialise(&digest, &root.join(&*path), before.is_executable()).ok()??;
        // This process put it there, under the lock, and knows its bytes from that.
        Some(Stamp::new(&found).settled())
    };
    let stamp = put();
    Known { stamp, sure: true, digest: known.digest.filter(|_| stamp.is_some()), roles: known.roles }
}
