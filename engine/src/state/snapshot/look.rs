//! Looking at every file of a snapshot: which no longer have their stamps?
//!
//! Reads no bytes. Several threads share the files when there are many.

use std::ffi::{CStr, CString};
use std::fs;
use std::mem::MaybeUninit;
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::files::{Files, Tables, UNSURE, pair};
use super::{FileId, Known, alike};
use crate::state::Stamp;
use crate::state::stamp::nanos;

/// Below this number of files another thread costs more than it saves.
const FILES_PER_THREAD: usize = 1000;

/// Threads take so many files at a time: one that is slowed down by other work leaves more to the others.
const SHARE: usize = 64;

/// The number of no file.
const NONE: usize = usize::MAX;

impl Files {
    pub(super) fn differing(&self, root: &Path, threads: usize, tell: &mut dyn FnMut(FileId) -> ControlFlow<()>) -> Vec<FileId> {
        let count = self.base_len();
        let all = || (0..self.len()).map(|file| FileId(file as u32)).collect();
        let Ok(root) = fs::File::open(root).map(OwnedFd::from) else { return all() };
        let (root, tables, next, found_elsewhere) = (&root, self.tables(), &AtomicUsize::new(0), &AtomicUsize::new(NONE));
        let shares = move || std::iter::from_fn(move || Some(next.fetch_add(SHARE, Relaxed)).filter(|start| *start < count));
        let look = move |share: usize| tables.differing(root, share..share + SHARE);
        let look_elsewhere = move || {
            let found = shares().flat_map(|share| {
                let found = look(share);
                found.first().inspect(|file| found_elsewhere.store(file.index(), Relaxed));
                found
            });
            found.collect::<Vec<_>>()
        };
        let threads = threads.clamp(1, count / FILES_PER_THREAD + 1);
        let mut found = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(look_elsewhere)).collect();
            let mut own = Vec::new();
            for share in shares() {
                let found = look(share);
                let elsewhere = found_elsewhere.swap(NONE, Relaxed);
                let elsewhere = Some(FileId(elsewhere as u32)).filter(|_| elsewhere != NONE);
                let told = found.iter().copied().chain(elsewhere).try_for_each(&mut *tell);
                own.extend(found);
                if told.is_break() && !others.is_empty() {
                    break;
                }
            }
            let others = others.into_iter().map(|other| other.join().expect("BUG: looking does not panic"));
            [own].into_iter().chain(others).flatten().collect::<Vec<_>>()
        });
        let new = self.new.iter().zip(count..);
        let differs = |((path, known), _): &(&(CString, Known), usize)| !known.sure || !alike(stat(root, path), known.stamp);
        found.extend(new.filter(differs).map(|(_, place)| FileId(place as u32)));
        found
    }
}

impl Tables<'_> {
    /// Those of the files with these numbers that differ.
    fn differing(&self, root: &OwnedFd, range: Range<usize>) -> Vec<FileId> {
        let mut found = Vec::new();
        let first = self.folders.partition_point(|folder| pair(folder).1 as usize <= range.start).saturating_sub(1);
        for folder in first..self.folders.len() {
            let files = self.files_of(folder);
            if files.start >= range.end {
                break;
            }
            let own = files.start.max(range.start)..files.end.min(range.end);
            self.differing_in(root, pair(&self.folders[folder]).0, own, &mut found);
        }
        found
    }

    fn differing_in(&self, root: &OwnedFd, folder: u32, files: Range<usize>, found: &mut Vec<FileId>) {
        let name = self.name(folder);
        let opened = name.filter(|name| *name != c".").map(|name| open_folder(root, name));
        let at = match &opened {
            None => Some(root),
            Some(opened) => opened.as_ref(),
        };
        let differs = |file: &usize| {
            let now = at.and_then(|at| stat(at, self.name(pair(&self.names[*file]).0)?));
            self.roles[*file] & UNSURE != 0 || !alike(now, self.stamp(*file))
        };
        found.extend(files.filter(differs).map(|file| FileId(file as u32)));
    }
}

fn open_folder(root: &OwnedFd, name: &CStr) -> Option<OwnedFd> {
    // SAFETY: `name` ends with a zero byte; the call keeps no pointer. An absolute name makes the kernel ignore `root`.
    let fd = unsafe { libc::openat(root.as_raw_fd(), name.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    // SAFETY: a descriptor that is not negative was just opened, and nobody else knows it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn stat(folder: &OwnedFd, name: &CStr) -> Option<Stamp> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `name` ends with a zero byte, and the buffer has room for one `stat`.
    let result = unsafe { libc::fstatat(folder.as_raw_fd(), name.as_ptr(), found.as_mut_ptr(), 0) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it filled the buffer.
    let found = unsafe { found.assume_init() };
    let (mtime, ctime) = (nanos(found.st_mtime, found.st_mtime_nsec), nanos(found.st_ctime, found.st_ctime_nsec));
    Some(Stamp::stored(mtime, ctime, found.st_size as u64, found.st_ino, found.st_mode))
}
