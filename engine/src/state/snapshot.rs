//! The snapshot of a build: every file it read or made, by stamp and digest, and every action, so that the next build sees
//! that nothing changed at the cost of looking, or else does what the changes reach and nothing more.
//!
//! Knows neither what actions do nor what the build said: those are bytes the caller gives and gets back.
//!
//! A snapshot says: while these files have these digests, everything that was asked for is made. That stays true for ever; a
//! stamp only spares reading a file again. So an old snapshot, or one whose last words were lost, costs work and no more.
//!
//! # Layout
//! All numbers are little-endian. Sealed parts begin with a checksum that stands for format and version (see
//! [`ouro_cache::seal`]); each is checked before it is used.
//!
//! | what | bytes |
//! |---|---|
//! | length of the head | 8 |
//! | head, sealed: all that a look at the files takes (see `files`) | |
//! | body, sealed: digests, and the actions (see `steps`) | |
//! | book: bytes of the caller, read in parts, each of which proves itself | |
//! | tail: what later builds changed, sealed one by one, each after its length (see `tail`) | 4 + each |

mod encode;
mod files;
mod look;
mod restamp;
mod steps;
mod tail;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::{BitOr, ControlFlow, Range};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use self::files::Files;
use super::leftover::{self, is_temporary};
use super::{STATE_FOLDER, Stamp, StateError};

pub use self::encode::{Draft, Step};
pub use self::steps::Steps;
pub use self::tail::{Acted, Added, Patch};

const HEAD: &str = concat!("ouro snapshot v6 of ", env!("CARGO_PKG_VERSION"));
const BODY: &str = concat!("ouro snapshot body v5 of ", env!("CARGO_PKG_VERSION"));
const TAIL: &str = concat!("ouro snapshot tail v6 of ", env!("CARGO_PKG_VERSION"));

/// Builds' snapshots kept, one for each request; the one of no use for longest goes first.
const KEPT_BUILDS: usize = 8;

/// The same for questions, of which there are more kinds.
const KEPT_QUESTIONS: usize = 32;

/// Who keeps snapshots: they do not push each other's out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Builds.
    Builds,
    /// Commands that only look.
    Questions,
}

/// The checksum in front of what is sealed.
const SUM: usize = 32;

/// A tail longer than this and than a quarter of what stands before it is not added to: the next build writes all anew.
const LONG_TAIL: u64 = 256 * 1024;

/// A use is written down when the last one that was lies further back: it costs a write.
const USE: Duration = Duration::from_secs(60);

/// The number of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(u32);

/// The number of an action. [`Steps::ids`] has them in an order in which each comes after those it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(u32);

impl FileId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl StepId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The number after it.
    pub fn after(self) -> StepId {
        StepId(self.0.saturating_add(1))
    }
}

/// What a file was to a build; one may have been several things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles(u8);

impl Roles {
    /// Its bytes decided what was loaded: BUILD files, modules, settings, and those that were looked for in vain.
    pub const LOAD: Roles = Roles(1);
    /// A folder whose entries decided what was loaded.
    pub const FOLDER: Roles = Roles(2);
    /// It was asked whether it is a file.
    pub const LOOKED_FOR: Roles = Roles(4);
    /// A part of the tools, or the program itself.
    pub const TOOL: Roles = Roles(8);
    /// A source that is an input of an action.
    pub const INPUT: Roles = Roles(16);
    /// An output of an action.
    pub const MADE: Roles = Roles(32);
    /// An action read it without having declared it: a header.
    pub const READ: Roles = Roles(64);

    /// Whether it was one of these.
    pub fn any(self, of: Roles) -> bool {
        self.0 & of.0 != 0
    }
}

impl BitOr for Roles {
    type Output = Roles;
    fn bitor(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Nothing when it was not there.
    pub stamp: Option<Stamp>,
    /// Whether the stamp tells that the file is unchanged. A racy one does not: then its bytes are compared.
    pub sure: bool,
    /// Of its bytes, or of a folder's entries, where they matter.
    pub digest: Option<Digest>,
    /// What it was.
    pub roles: Roles,
}

impl Known {
    /// A file as it was found.
    pub fn new(stamp: Option<Stamp>, digest: Option<Digest>, roles: Roles) -> Known {
        let sure = stamp.is_none_or(|stamp| !stamp.is_racy());
        Known { stamp: stamp.map(Stamp::settled), sure, digest, roles }
    }

    /// Two sights of one file in one build. What differs is never taken for unchanged.
    pub fn and(self, other: Known) -> Known {
        let same_digest = self.digest.is_none() || other.digest.is_none() || self.digest == other.digest;
        Known {
            stamp: self.stamp,
            sure: self.sure && other.sure && same_digest && alike(self.stamp, other.stamp),
            digest: self.digest.or(other.digest).filter(|_| same_digest),
            roles: self.roles | other.roles,
        }
    }
}

fn alike(a: Option<Stamp>, b: Option<Stamp>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same(&b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// A snapshot, read.
pub struct Snapshot {
    path: PathBuf,
    /// Kept open, so that its number is given to no other file.
    file: File,
    length: u64,
    body: Range<u64>,
    book: Range<u64>,
    /// Whether the tail could be read to its end, and nobody found it too long since: then the file is gone.
    whole: bool,
    files: Files,
    said: Range<usize>,
    told: BTreeMap<StepId, Vec<u8>>,
    /// What the tail says instead of the head, the body and the book.
    later: Later,
}

/// What the tail of a snapshot says instead of what stands before it.
#[derive(Default)]
struct Later {
    digests: HashMap<FileId, Option<Digest>>,
    acted: HashMap<StepId, Acted>,
    removed: HashSet<StepId>,
    added: BTreeMap<StepId, Added>,
    said: Vec<Vec<u8>>,
    book: Vec<Vec<u8>>,
}

impl Snapshot {
    /// The snapshot of the last build with this request; none when there is none, or it is damaged.
    pub fn open(root: &Path, request: &Digest) -> Option<Snapshot> {
        Snapshot::open_on(Shelf::Builds, root, request)
    }

    /// The same, of a shelf.
    pub fn open_on(shelf: Shelf, root: &Path, request: &Digest) -> Option<Snapshot> {
        let snapshot = Snapshot::open_at(place(shelf, root, request), Some(request))?;
        snapshot.mark_used();
        Some(snapshot)
    }

    /// The snapshots of all builds' requests, the one last of use first.
    pub fn all(root: &Path) -> impl Iterator<Item = Snapshot> {
        written(&folder(Shelf::Builds, root)).into_iter().rev().filter_map(|(_, path)| Snapshot::open_at(path, None))
    }

    fn open_at(path: PathBuf, request: Option<&Digest>) -> Option<Snapshot> {
        let file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let head = u64::from_le_bytes(read(&file, 0..8, length)?.try_into().ok()?);
        let bytes = read(&file, 8..head.checked_add(8)?, length)?;
        let parsed = files::parse(bytes, HEAD, request)?;
        let body = head + 8..(head + 8).checked_add(parsed.body)?;
        let book = body.end..body.end.checked_add(parsed.book)?;
        let tail = read(&file, book.end..length, length)?;
        let (files, said, told, later) = (parsed.files, parsed.said, parsed.told, Later::default());
        let mut snapshot = Snapshot { path, file, length, body, book, whole: false, files, said, told, later };
        snapshot.whole = snapshot.take_tail(&tail);
        Some(snapshot)
    }

    /// Has pruning know of a use. What cannot be written down costs time later, and no more.
    fn mark_used(&self) {
        let (now, last) = (SystemTime::now(), self.file.metadata().and_then(|found| found.modified()));
        if last.is_ok_and(|last| now.duration_since(last).is_ok_and(|since| since > USE)) {
            let _ = self.file.set_modified(now);
        }
    }

    /// What the build had to say.
    pub fn said(&self) -> &[u8] {
        &self.files.bytes()[self.said.clone()]
    }

    /// What later builds had to say besides, the oldest first.
    pub fn said_later(&self) -> &[Vec<u8>] {
        &self.later.said
    }

    /// Some bytes of what the build kept for the next; none when there are not so many. They are not covered by a checksum.
    pub fn book(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let place = self.book.start.checked_add(range.start)?..self.book.start.checked_add(range.end)?;
        read(&self.file, place, self.book.end)
    }

    /// What later builds kept besides, the oldest first.
    pub fn book_later(&self) -> &[Vec<u8>] {
        &self.later.book
    }

    /// What actions had to say, those that had something.
    pub fn told(&self) -> &BTreeMap<StepId, Vec<u8>> {
        &self.told
    }

    /// The files that no longer have their stamps, and those whose stamps tell nothing. Some are told as soon as they are found, to
    /// whoever can do something meanwhile; with a break the others' threads do the rest, so that there is a core for that.
    pub fn differing(&self, root: &Path, threads: usize, found: &mut dyn FnMut(FileId) -> ControlFlow<()>) -> Vec<FileId> {
        self.files.differing(root, threads, found)
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it is of a build that looked at nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A file's path, from the root or absolute.
    pub fn path(&self, file: FileId) -> Option<Arc<str>> {
        self.files.path(file)
    }

    /// The file at this path.
    pub fn find(&self, path: &str) -> Option<FileId> {
        self.files.find(path)
    }

    /// What is known of a file.
    pub fn known(&self, file: FileId) -> Option<Known> {
        let known = self.files.known(file)?;
        Some(Known { digest: self.digest(file), ..known })
    }

    /// The actions; none when that part is damaged.
    pub fn steps(&self) -> Option<Steps<'_>> {
        steps::parse(read(&self.file, self.body.clone(), self.length)?, BODY, self.files.base_len(), &self.later)
    }

    /// Whether nobody replaced it or added to it since it was opened.
    pub fn is_current(&self) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino(), found.len());
        let now = fs::metadata(&self.path).map(identity).ok();
        now.is_some() && now == self.file.metadata().map(identity).ok().filter(|(.., length)| *length == self.length)
    }

    /// Adds what a later build changed. Only under the lock, and while it is current.
    pub fn append(&mut self, patch: &Patch) -> Result<(), StateError> {
        let record = tail::encode(patch, TAIL);
        let long = self.length + record.len() as u64 - self.book.end;
        if !self.whole || long > LONG_TAIL.max(self.book.end / 4) {
            return self.give_up();
        }
        let writing = StateError::at("write", &self.path);
        File::options().append(true).open(&self.path).and_then(|mut file| file.write_all(&record)).map_err(writing)?;
        self.length += record.len() as u64;
        self.take(patch.clone());
        Ok(())
    }

    /// Removes it: the next build goes the whole way and writes a new one. What this build adds later is lost with it.
    fn give_up(&mut self) -> Result<(), StateError> {
        self.whole = false;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::at("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }

    /// A digest is not covered by the checksum of what was read: a damaged one is that of no file, so it costs a run and no more.
    fn digest(&self, file: FileId) -> Option<Digest> {
        if let Some(known) = self.later.digests.get(&file) {
            return *known;
        }
        let mut bytes = [0; 32];
        let place = self.body.start + SUM as u64 + file.0 as u64 * 32;
        (file.index() < self.files.base_len()).then(|| self.file.read_exact_at(&mut bytes, place).ok())??;
        (bytes != [0; 32]).then(|| Digest::from_bytes(bytes))
    }
}

/// Writes a snapshot in place of the request's last one. One of more than 4 GiB is not written.
pub fn write(root: &Path, request: &Digest, draft: Draft<'_>) -> Result<(), StateError> {
    write_on(Shelf::Builds, root, request, draft)
}

/// The same, on a shelf.
pub fn write_on(shelf: Shelf, root: &Path, request: &Digest, draft: Draft<'_>) -> Result<(), StateError> {
    let Some(parts) = encode::encode(draft, request) else { return Ok(()) };
    super::replace(&place(shelf, root, request), &parts)?;
    super::hide_from_git(root);
    prune(shelf, root);
    Ok(())
}

fn folder(shelf: Shelf, root: &Path) -> PathBuf {
    let name = match shelf {
        Shelf::Builds => "snapshots",
        Shelf::Questions => "questions",
    };
    root.join(STATE_FOLDER).join(name)
}

fn place(shelf: Shelf, root: &Path, request: &Digest) -> PathBuf {
    folder(shelf, root).join(&request.to_string()[..16])
}

fn prune(shelf: Shelf, root: &Path) {
    let kept = match shelf {
        Shelf::Builds => KEPT_BUILDS,
        Shelf::Questions => KEPT_QUESTIONS,
    };
    let folder = folder(shelf, root);
    // What a killed command left; who writes to this shelf now has the lock, or only asks a question and can do without.
    leftover::remove_from(&folder);
    for (_, path) in written(&folder).iter().rev().skip(kept) {
        let _ = fs::remove_file(path);
    }
}

/// The snapshots in a folder with when they were written or last of use, the last one last.
fn written(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let written = |entry: fs::DirEntry| {
        let is_whole = !is_temporary(&entry.file_name());
        is_whole.then(|| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))?
    };
    let mut found: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(written).collect();
    found.sort();
    found
}

/// Bytes of a file that is `length` long; none when they are not there.
fn read(file: &File, range: Range<u64>, length: u64) -> Option<Vec<u8>> {
    let wanted = range.end.checked_sub(range.start).filter(|_| range.end <= length)?;
    let mut bytes = vec![0; usize::try_from(wanted).ok()?];
    file.read_exact_at(&mut bytes, range.start).ok()?;
    Some(bytes)
}

/// Takes so many bytes off the front.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// The places of sections of these lengths, one after the other from `start`; none when they are not `length` long together.
fn sections<const N: usize>(start: usize, lengths: [Option<usize>; N], length: usize) -> Option<[Range<usize>; N]> {
    let mut at = start;
    let mut ranges = [const { 0..0 }; N];
    for (range, length) in ranges.iter_mut().zip(lengths) {
        let end = at.checked_add(length?)?;
        *range = at..end;
        at = end;
    }
    (at == length).then_some(ranges)
}
