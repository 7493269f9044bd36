//! Action results on disk: sixteen files to whose ends entries are appended, chosen by the first digit of the key.
//!
//! Knows nothing of blobs. A file for each key would be simpler, but making a file costs more than all else that is done for
//! a result (30 µs on ext4 at best, and near a millisecond while the file system steps around inodes deleted in the last
//! minutes, as after cleaning). Appending costs 5 µs, and two processes cannot lose each other's entries: the kernel appends
//! one `write` after the other.
//!
//! An entry is framed as: mark (8 bytes), length of the body (4, little-endian), key (32), sealed body. What a full disk or a
//! crash left unfinished is skipped by searching the next mark.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::result::{self, Entry, MAX_ENTRIES};
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
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Read when first asked for.
    loaded: Mutex<Option<Loaded>>,
}

/// A file's content, and where in it the entries of each key are, the oldest first.
#[derive(Debug, Default)]
struct Loaded {
    bytes: Vec<u8>,
    bodies: HashMap<Digest, Vec<Range<usize>>>,
}

impl Records {
    /// The records in this folder, which must exist.
    pub(crate) fn new(folder: &Path) -> Records {
        let shard = |n: usize| Shard { path: folder.join(format!("{n:x}")), loaded: Mutex::default() };
        Records { shards: std::array::from_fn(shard) }
    }

    /// All entries under `key`, the newest first; each set of files read once.
    pub(crate) fn entries(&self, key: &Digest) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for entry in self.shard(key).newest(key) {
            if entries.iter().all(|newer| newer.reads != entry.reads) {
                entries.push(entry);
            }
        }
        entries.truncate(MAX_ENTRIES);
        entries
    }

    /// Adds an entry under `key`.
    pub(crate) fn add(&self, key: &Digest, entry: &Entry) -> Result<(), CacheError> {
        let body = result::encode(entry);
        let length = (body.len() as u32).to_le_bytes();
        let frame = [&MARK[..], &length, key.as_bytes(), &body].concat();
        let shard = self.shard(key);
        shard.append(&frame).map_err(CacheError::at("write", &shard.path))?;
        if let Some(loaded) = shard.lock().as_mut() {
            loaded.add(&frame);
        }
        Ok(())
    }

    fn shard(&self, key: &Digest) -> &Shard {
        &self.shards[usize::from(key.as_bytes()[0]) % SHARDS]
    }
}

impl Shard {
    fn append(&self, frame: &[u8]) -> io::Result<()> {
        File::options().append(true).create(true).open(&self.path)?.write_all(frame)
    }

    /// The entries under `key` that are whole, the newest first.
    fn newest(&self, key: &Digest) -> Vec<Entry> {
        let mut loaded = self.lock();
        let loaded = loaded.get_or_insert_with(|| self.load());
        let bodies = loaded.bodies.get(key).map(Vec::as_slice).unwrap_or_default();
        bodies.iter().rev().filter_map(|body| result::decode(&loaded.bytes[body.clone()])).collect()
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
        let replaced = self.path.parent().map(|folder| {
            let mut file = tempfile::Builder::new().prefix(".ouro-").tempfile_in(folder)?;
            file.write_all(&newer)?;
            file.persist(&self.path).map(drop).map_err(|error| error.error)
        });
        // Too big a file is no reason to fail; the next process tries again.
        drop(replaced);
        newer
    }

    fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
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
        Entry { reads, result: ActionResult { outputs: Vec::new(), printed: n.to_string() } }
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
