//! The snapshot of a build: everything it read and made, by stamp, so that the next one can see that nothing changed
//! without doing anything else.
//!
//! Knows neither what the files are nor what the build said: that is a payload the caller gives and gets back.
//!
//! # Layout
//! A checksum that stands for format and version (see [`ouro_cache::seal`]), then, in little-endian numbers:
//!
//! | what | bytes |
//! |---|---|
//! | digest of the request | 32 |
//! | number of folders, of files, bytes of text | 3 × 8 |
//! | folders: place of the name in the text, number of files | each 2 × 4 |
//! | stamps: mtime, ctime, size, inode | each 4 × 8 |
//! | files: place of the name in the text, mode (0: absent) | each 2 × 4 |
//! | text: names, each ended by a zero byte | |
//! | payload | the rest |
//!
//! The files of a folder stand together, so that each is looked up in its folder and not from the root. Opening a folder for
//! a file or two would cost more than it saves: they stand in the root, with their whole paths as names.

use std::ffi::CStr;
use std::fs;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ouro_cache::Digest;

use super::stamp::nanos;
use super::{STATE_FOLDER, Seen, Stamp, StateError};

const KIND: &str = concat!("ouro snapshot v1 of ", env!("CARGO_PKG_VERSION"));

/// Snapshots kept, one for each request; the one not written for longest goes first.
const KEPT: usize = 8;

/// Folders with fewer files are not opened: a look from the root costs less than opening and closing.
const WORTH_OPENING: usize = 4;

/// Below this number of files another thread costs more than it saves.
const FILES_PER_THREAD: usize = 2000;

/// The payload of the last build with this request, if everything it saw is still the same.
pub fn check(root: &Path, request: &Digest) -> Option<Vec<u8>> {
    let bytes = fs::read(place(root, request)).ok()?;
    let snapshot = Snapshot::parse(ouro_cache::unseal(KIND, &bytes)?)?;
    (snapshot.request == request.as_bytes() && snapshot.holds(root)).then(|| snapshot.payload.to_vec())
}

/// Writes a snapshot of these files. When one was still changing as it was seen, nothing can be said about it later: then
/// no snapshot is written, an old one is removed, and the answer is false.
pub fn write(root: &Path, request: &Digest, seen: &[Seen], payload: &[u8]) -> Result<bool, StateError> {
    let path = place(root, request);
    if seen.iter().any(|seen| seen.stamp.is_some_and(|stamp| stamp.is_racy())) {
        // Nothing is lost when it cannot be removed: its own stamps no longer hold, or it is right.
        let _ = fs::remove_file(&path);
        return Ok(false);
    }
    super::replace(&path, &ouro_cache::seal(KIND, &encode(request, seen, payload)))?;
    prune(&folder(root));
    Ok(true)
}

fn folder(root: &Path) -> PathBuf {
    root.join(STATE_FOLDER).join("snapshots")
}

fn place(root: &Path, request: &Digest) -> PathBuf {
    folder(root).join(&request.to_string()[..16])
}

fn prune(folder: &Path) {
    let written = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut found: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(written).collect();
    found.sort();
    for (_, path) in found.iter().rev().skip(KEPT) {
        let _ = fs::remove_file(path);
    }
}

/// A path as folder and name. The name of a folder that is its own place is `.`.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", "")) => ("/", "."),
        Some(("", name)) => ("/", name),
        Some((folder, "")) => (folder, "."),
        Some((folder, name)) => (folder, name),
        None if path.is_empty() => (".", "."),
        None => (".", path),
    }
}

/// Every file as folder and name, the files of a folder together.
fn grouped(seen: &[Seen]) -> Vec<((&str, &str), Option<Stamp>)> {
    let mut entries: Vec<_> = seen.iter().map(|seen| (split(&seen.path), &*seen.path, seen.stamp)).collect();
    entries.sort_by_key(|(place, ..)| *place);
    let groups = entries.chunk_by(|a, b| a.0.0 == b.0.0);
    let placed = groups.flat_map(|group| {
        let opened = group.len() >= WORTH_OPENING;
        group.iter().map(move |(place, path, stamp)| (if opened || place.1 == "." { *place } else { (".", *path) }, *stamp))
    });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.dedup_by(|a, b| a.0 == b.0 && alike(a.1, b.1));
    placed
}

/// Two sights of one file that differ both stay: then the snapshot never holds.
fn alike(a: Option<Stamp>, b: Option<Stamp>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same(&b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn encode(request: &Digest, seen: &[Seen], payload: &[u8]) -> Vec<u8> {
    let entries = grouped(seen);
    let mut text = Vec::new();
    let mut name = |name: &str| {
        let place = text.len() as u32;
        text.extend(name.as_bytes());
        text.push(0);
        place.to_le_bytes()
    };
    let (mut folders, mut stamps, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for group in entries.chunk_by(|a, b| a.0.0 == b.0.0) {
        folders.extend(name(group[0].0.0));
        folders.extend((group.len() as u32).to_le_bytes());
        for ((_, file), stamp) in group {
            let stamp = stamp.unwrap_or(Stamp::stored(0, 0, 0, 0, 0));
            let numbers = [stamp.mtime as u64, stamp.ctime as u64, stamp.size, stamp.inode];
            stamps.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            files.extend(name(file));
            files.extend(stamp.mode.to_le_bytes());
        }
    }
    let counts = [folders.len() / 8, files.len() / 8, text.len()];
    let header: Vec<u8> = counts.iter().flat_map(|count| (*count as u64).to_le_bytes()).collect();
    [request.as_bytes(), &header[..], &folders, &stamps, &files, &text, payload].concat()
}

/// A snapshot where it lies.
struct Snapshot<'a> {
    request: &'a [u8],
    folders: &'a [[u8; 8]],
    stamps: &'a [[u8; 32]],
    files: &'a [[u8; 8]],
    text: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Snapshot<'a> {
    fn parse(mut rest: &'a [u8]) -> Option<Snapshot<'a>> {
        let request = take(&mut rest, 32)?;
        let header = take(&mut rest, 24)?;
        let count = |place: usize| Some(u64::from_le_bytes(header[place * 8..][..8].try_into().ok()?) as usize);
        let (folders, files, text) = (count(0)?, count(1)?, count(2)?);
        let folders = take(&mut rest, folders.checked_mul(8)?)?.as_chunks().0;
        let stamps = take(&mut rest, files.checked_mul(32)?)?.as_chunks().0;
        let files = take(&mut rest, files * 8)?.as_chunks().0;
        let text = take(&mut rest, text)?;
        Some(Snapshot { request, folders, stamps, files, text, payload: rest })
    }

    /// Whether every file still has its stamp; looked at by several threads when there are many.
    fn holds(&self, root: &Path) -> bool {
        let Some(root) = open_root(root) else { return false };
        let threads = threads(self.files.len());
        let part = |n: usize| n * self.files.len() / threads..(n + 1) * self.files.len() / threads;
        let differs = AtomicBool::new(false);
        let look = |range: Range<usize>| {
            if !self.range_holds(&root, range, &differs) {
                differs.store(true, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for n in 1..threads {
                scope.spawn(move || look(part(n)));
            }
            look(part(0));
        });
        !differs.into_inner()
    }

    /// Looks at the files with these numbers, until someone finds a difference.
    fn range_holds(&self, root: &OwnedFd, range: Range<usize>, differs: &AtomicBool) -> bool {
        let mut first = 0;
        for folder in self.folders {
            let (name, count) = pair(folder);
            let own = first.max(range.start)..(first + count as usize).min(range.end);
            first += count as usize;
            if own.is_empty() {
                continue;
            }
            if differs.load(Ordering::Relaxed) || !self.folder_holds(root, name, own) {
                return false;
            }
        }
        first == self.files.len()
    }

    fn folder_holds(&self, root: &OwnedFd, name: u32, mut files: Range<usize>) -> bool {
        let Some(name) = self.name(name) else { return false };
        match open_folder(root, name) {
            Some(folder) => files.all(|file| self.file_holds(&folder, file)),
            None => files.all(|file| pair(&self.files[file]).1 == 0),
        }
    }

    fn file_holds(&self, folder: &OwnedFd, file: usize) -> bool {
        let (name, mode) = pair(&self.files[file]);
        let Some(name) = self.name(name) else { return false };
        match stat(folder, name) {
            Some(found) => mode != 0 && found.same(&self.stamp(file, mode)),
            None => mode == 0,
        }
    }

    fn stamp(&self, file: usize, mode: u32) -> Stamp {
        let [mtime, ctime, size, inode] = self.stamps[file].as_chunks().0 else {
            unreachable!("BUG: 32 bytes are four times eight")
        };
        let signed = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        Stamp::stored(signed(mtime), signed(ctime), u64::from_le_bytes(*size), u64::from_le_bytes(*inode), mode)
    }

    fn name(&self, place: u32) -> Option<&CStr> {
        CStr::from_bytes_until_nul(self.text.get(place as usize..)?).ok()
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn pair(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn threads(files: usize) -> usize {
    match files / FILES_PER_THREAD {
        0 => 1,
        more => std::thread::available_parallelism().map_or(1, usize::from).min(more + 1).min(8),
    }
}

fn open_root(root: &Path) -> Option<OwnedFd> {
    fs::File::open(root).ok().map(OwnedFd::from)
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
