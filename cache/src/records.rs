//! Action results on disk: sixteen files to whose ends entries are appended, chosen by the first digit of the key.
//!
//! Knows nothing of blobs. A file for each key would be simpler, but making a file costs more than all else that is done for
//! a result (30 µs on ext4 at best, and near a millisecond while the file system steps around inodes deleted in the last
//! minutes, as after cleaning). Appending costs 5 µs, and two processes cannot lose each other's entries: the kernel appends
//! one `write` after the other.
//!
//! An entry is framed as: mark (8 bytes), length of the body (4, little-endian), key (32), sealed body. What a full disk or a
//! crash left unfinished is skipped by searching the next mark. What an entry has in common with others is a frame of its own,
//! under its digest: of the two thousand bytes that tell which headers of the system a program read, each entry has 32.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::place::appendable;
use crate::result::{self, Entry, MAX_ENTRIES, Output, Own, Shared};
use crate::{CacheError, Digest};

const MARK: &[u8; 8] = b"\x7fouroAC1";
const HEADER: usize = MARK.len() + 4 + 32;
const SHARDS: usize = 16;

/// A file that grew beyond this loses its older half: results no one asked for in thousands of builds.
const FULL: usize = 32 << 20;

/// The action results of a store. What another process adds is seen by stores opened later.
#[derive(Debug)]
pub(crate) struct Records {
    shards: [Shard; SHARDS],
    /// What entries have in common, as far as it was asked for or written.
    shared: Mutex<HashMap<Digest, Option<Arc<Shared>>>>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Read when first asked for.
    loaded: Mutex<Option<Loaded>>,
}

/// A file's content, and where in it the frames under each key are, the oldest first.
#[derive(Debug, Default)]
struct Loaded {
    bytes: Vec<u8>,
    bodies: HashMap<Digest, Vec<Range<usize>>>,
}

/// What is in all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

impl Records {
    /// The records in this folder, which must exist.
    pub(crate) fn new(folder: &Path) -> Records {
        let shard = |n: usize| Shard { path: folder.join(format!("{n:x}")), loaded: Mutex::default() };
        Records { shards: std::array::from_fn(shard), shared: Mutex::default() }
    }

    /// All entries under `key`, the newest first; of those that depend on the same files the newest alone.
    pub(crate) fn entries(&self, key: &Digest) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for own in self.shard(key).newest(key) {
            let Some(entry) = self.shared(&own.shared).map(|shared| own.with(&shared)) else { continue };
            if entries.iter().all(|newer| (&newer.reads, &newer.absent) != (&entry.reads, &entry.absent)) {
                entries.push(entry);
            }
        }
        entries.truncate(MAX_ENTRIES);
        entries
    }

    /// Adds an entry under `key`.
    pub(crate) fn add(&self, key: &Digest, entry: &Entry) -> Result<(), CacheError> {
        let (own, digest, shared) = result::encode(entry);
        // Written once by each process that needs it: looking whether it is there would take reading all that is.
        let is_known = lock(&self.shared).get(&digest).is_some_and(Option::is_some);
        if !is_known {
            self.append(&digest, &shared)?;
            lock(&self.shared).insert(digest, result::decode_shared(&shared).map(Arc::new));
        }
        self.append(key, &own)
    }

    /// What there is.
    pub(crate) fn count(&self) -> Count {
        let of = |shard: &Shard| {
            let loaded = shard.load();
            Count { entries: loaded.entries().count(), bytes: loaded.bytes.len() as u64 }
        };
        self.shards.iter().map(of).fold(Count::default(), Count::and)
    }

    /// Writes all files anew without the entries whose outputs are not kept, those that newer ones took the place of, and what no
    /// entry needs any more. Only while nobody else uses the store.
    pub(crate) fn compact(&self, is_kept: &dyn Fn(&Output) -> bool) -> Result<Count, CacheError> {
        let files: Vec<Loaded> = self.shards.iter().map(Shard::load).collect();
        let live: Vec<Vec<(&Digest, Own, &[u8])>> = files.iter().map(|file| file.live(is_kept)).collect();
        let wanted: HashSet<Digest> = live.iter().flatten().map(|(_, own, _)| own.shared).collect();
        let mut left = Count::default();
        for ((shard, file), live) in self.shards.iter().zip(&files).zip(&live) {
            let shared = wanted.iter().filter_map(|digest| Some((digest, file.shared(digest)?)));
            let frames = shared.chain(live.iter().map(|(key, _, body)| (*key, *body)));
            let bytes: Vec<u8> = frames.flat_map(|(key, body)| framed(key, body)).collect();
            left = left.and(Count { entries: live.len(), bytes: bytes.len() as u64 });
            shard.replace(&bytes).map_err(CacheError::at("write", &shard.path))?;
            *lock(&shard.loaded) = None;
        }
        Ok(left)
    }

    fn append(&self, key: &Digest, body: &[u8]) -> Result<(), CacheError> {
        let (shard, frame) = (self.shard(key), framed(key, body));
        shard.append(&frame).map_err(CacheError::at("write", &shard.path))?;
        if let Some(loaded) = lock(&shard.loaded).as_mut() {
            loaded.add(&frame);
        }
        Ok(())
    }

    fn shared(&self, digest: &Digest) -> Option<Arc<Shared>> {
        if let Some(known) = lock(&self.shared).get(digest) {
            return known.clone();
        }
        let found = self.shard(digest).with_loaded(|loaded| result::decode_shared(loaded.shared(digest)?)).map(Arc::new);
        lock(&self.shared).insert(*digest, found.clone());
        found
    }

    fn shard(&self, key: &Digest) -> &Shard {
        &self.shards[usize::from(key.as_bytes()[0]) % SHARDS]
    }
}

impl Count {
    fn and(self, other: Count) -> Count {
        Count { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }
}

impl Shard {
    fn append(&self, frame: &[u8]) -> io::Result<()> {
        appendable(&self.path)?.write_all(frame)
    }

    /// The entries under `key` that are whole, the newest first.
    fn newest(&self, key: &Digest) -> Vec<Own> {
        self.with_loaded(|loaded| loaded.under(key).rev().filter_map(result::decode).collect())
    }

    fn with_loaded<T>(&self, f: impl FnOnce(&Loaded) -> T) -> T {
        f(lock(&self.loaded).get_or_insert_with(|| self.load()))
    }

    /// A file that cannot be read has no entries.
    fn load(&self) -> Loaded {
        let mut bytes = fs::read(&self.path).unwrap_or_default();
        if bytes.len() > FULL {
            bytes = self.halve(bytes);
        }
        Loaded::index(bytes)
    }

    /// The newer half, which also takes the file's place. What others append meanwhile is lost, which costs runs and no more.
    fn halve(&self, bytes: Vec<u8>) -> Vec<u8> {
        let half = bytes.len() / 2;
        let newer = bytes[half + find(&bytes[half..], MARK).unwrap_or(bytes.len() - half)..].to_vec();
        // Too big a file is no reason to fail; the next process tries again.
        let _ = self.replace(&newer);
        newer
    }

    /// Puts these bytes in the file's place, if there is one.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let Ok(before) = fs::metadata(&self.path) else { return Ok(()) };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".ouro-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        // Who could append to it still can.
        file.as_file().set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

impl Loaded {
    fn index(bytes: Vec<u8>) -> Loaded {
        let mut loaded = Loaded { bytes, bodies: HashMap::new() };
        loaded.index_from(0);
        loaded
    }

    fn add(&mut self, frame: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend(frame);
        self.index_from(start);
    }

    fn index_from(&mut self, mut at: usize) {
        while let Some(found) = find(&self.bytes[at..], MARK) {
            at += found;
            match frame(&self.bytes, at) {
                Some((key, body)) => {
                    at = body.end;
                    self.bodies.entry(key).or_default().push(body);
                }
                None => at += MARK.len(),
            }
        }
    }

    /// What stands under a key, the oldest first.
    fn under(&self, key: &Digest) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.bodies.get(key).into_iter().flatten().map(|body| &self.bytes[body.clone()])
    }

    /// A shared record that is whole.
    fn shared(&self, digest: &Digest) -> Option<&[u8]> {
        self.under(digest).find(|body| result::decode_shared(body).is_some())
    }

    /// Every entry that is whole.
    fn entries(&self) -> impl Iterator<Item = (&Digest, Own, &[u8])> {
        let bodies = self.bodies.keys().flat_map(|key| self.under(key).map(move |body| (key, body)));
        bodies.filter_map(|(key, body)| Some((key, result::decode(body)?, body)))
    }

    /// Those of use: the newest under each key whose outputs are kept, the oldest first.
    fn live(&self, is_kept: &dyn Fn(&Output) -> bool) -> Vec<(&Digest, Own, &[u8])> {
        let mut keys: Vec<&Digest> = self.bodies.keys().collect();
        keys.sort_unstable();
        let mut live = Vec::new();
        for key in keys {
            let mut own: Vec<(&Digest, Own, &[u8])> = Vec::new();
            for body in self.under(key).rev() {
                let Some(entry) = result::decode(body) else { continue };
                let is_new = own.len() < MAX_ENTRIES && own.iter().all(|(_, newer, _)| !newer.depends_alike(&entry));
                if is_new && entry.result.outputs.iter().all(is_kept) {
                    own.push((key, entry, body));
                }
            }
            live.extend(own.into_iter().rev());
        }
        live
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn framed(key: &Digest, body: &[u8]) -> Vec<u8> {
    [&MARK[..], &(body.len() as u32).to_le_bytes(), key.as_bytes(), body].concat()
}

/// The key and the place of the body of the frame whose mark is at `at`, if it is as long as it says and the next one, or the
/// end, follows.
fn frame(bytes: &[u8], at: usize) -> Option<(Digest, Range<usize>)> {
    let header = bytes.get(at + MARK.len()..at + HEADER)?;
    let (length, key) = header.split_first_chunk::<4>()?;
    let body = at + HEADER..(at + HEADER).checked_add(u32::from_le_bytes(*length) as usize)?;
    let rest = bytes.get(body.end..)?;
    let whole = rest.is_empty() || rest.starts_with(MARK) || MARK.starts_with(rest);
    whole.then_some((Digest::from_bytes(key.try_into().ok()?), body))
}

/// Where `mark` is first.
fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    if bytes.starts_with(mark) {
        return Some(0);
    }
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActionResult, Read};

    fn entry(n: u32) -> Entry {
        let reads = vec![Read { path: "a.h".into(), digest: Digest::of(&n.to_le_bytes()) }];
        Entry {
            reads: reads.into(),
            absent: Arc::default(),
            result: ActionResult { outputs: Vec::new(), printed: n.to_string() },
        }
    }

    fn printed(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.result.printed.as_str()).collect()
    }

    fn folder_with(entries: u32) -> (tempfile::TempDir, Digest) {
        let (dir, key) = (tempfile::TempDir::new().unwrap(), Digest::of(b"key"));
        let records = Records::new(dir.path());
        (0..entries).for_each(|n| records.add(&key, &entry(n)).unwrap());
        (dir, key)
    }

    #[test]
    fn the_newest_come_first_each_once_and_not_too_many() {
        let (dir, key) = folder_with(20);
        let records = Records::new(dir.path());
        records.add(&key, &entry(7)).unwrap();
        for records in [&records, &Records::new(dir.path())] {
            let entries = records.entries(&key);
            assert_eq!(printed(&entries)[..3], ["7", "19", "18"]);
            assert_eq!(entries.len(), MAX_ENTRIES);
            assert!(records.entries(&Digest::of(b"other")).is_empty());
        }
    }

    #[test]
    fn what_is_added_after_loading_is_seen() {
        let (dir, key) = folder_with(1);
        let records = Records::new(dir.path());
        assert_eq!(printed(&records.entries(&key)), ["0"]);
        records.add(&key, &entry(1)).unwrap();
        assert_eq!(printed(&records.entries(&key)), ["1", "0"]);
    }

    #[test]
    fn an_unfinished_entry_hides_no_other() {
        let (dir, key) = folder_with(1);
        let records = Records::new(dir.path());
        let path = &records.shard(&key).path;
        let whole = fs::read(path).unwrap();
        for cut in 0..whole.len() {
            fs::write(path, [&whole[..cut], &whole].concat()).unwrap();
            assert_eq!(printed(&Records::new(dir.path()).entries(&key)), ["0"], "cut at {cut}");
        }
        for cut in 0..whole.len() {
            fs::write(path, [&whole, &whole[..cut]].concat()).unwrap();
            assert_eq!(printed(&Records::new(dir.path()).entries(&key)), ["0"], "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let (dir, key) = folder_with(1);
        let records = Records::new(dir.path());
        let path = &records.shard(&key).path;
        let whole = fs::read(path).unwrap();
        for place in 0..whole.len() {
            let mut bad = whole.clone();
            bad[place] ^= 0x21;
            fs::write(path, bad).unwrap();
            assert!(Records::new(dir.path()).entries(&key).is_empty(), "byte {place}");
        }
    }

    #[test]
    fn a_full_file_keeps_its_newer_half() {
        let (dir, key) = folder_with(0);
        let records = Records::new(dir.path());
        let big = |n: u32| {
            let mut entry = entry(n);
            entry.result.printed = format!("{n} {}", "x".repeat(FULL / 8));
            entry
        };
        (0..10).for_each(|n| records.add(&key, &big(n)).unwrap());
        let path = &records.shard(&key).path;
        let before = fs::metadata(path).unwrap().len();
        let entries = Records::new(dir.path()).entries(&key);
        assert!(entries.len() >= 4 && entries[0].result.printed.starts_with("9 "), "{}", entries.len());
        assert!(fs::metadata(path).unwrap().len() <= before / 2);
        assert_eq!(Records::new(dir.path()).entries(&key).len(), entries.len());
    }
}
