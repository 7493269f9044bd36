//! Which blobs were of use lately, and how much a store grew: what collecting goes by.
//!
//! Knows nothing of collecting. The times files were read are not kept by most disks, and setting a time for each blob would cost
//! more than restoring it. So each process adds one record at its end to the file `used`, framed as: mark (8 bytes), seconds since
//! 1970 (8, little-endian), number of blobs (4), the beginnings of their digests (12 each), and a checksum of all that (8). What is
//! damaged is skipped by searching the next mark. The file `grown`, which every build reads, has nothing but numbers of 8 bytes:
//! by how much the store grew each time.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Digest;
use crate::place::appendable;

const MARK: &[u8; 8] = b"\x7fouroUS1";
const HEADER: usize = MARK.len() + 8 + 4;
const SUM: usize = 8;

/// The beginning of a digest: enough to tell the blobs of one store apart.
pub(crate) type Short = [u8; 12];

/// What this process used, until it is written down.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    used: Mutex<Vec<Short>>,
    grown: AtomicU64,
}

/// When each blob was last of use, in seconds since 1970.
pub(crate) type Used = HashMap<Short, u64>;

pub(crate) fn short(digest: &Digest) -> Short {
    let mut short = Short::default();
    short.copy_from_slice(&digest.as_bytes()[..12]);
    short
}

impl Usage {
    pub(crate) fn used(&self, digest: &Digest) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(short(digest));
    }

    pub(crate) fn grew(&self, bytes: u64) {
        self.grown.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes down what was used since the last time. What cannot be written makes blobs look older than they are.
    pub(crate) fn flush(&self, dir: &Path) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let grown = self.grown.swap(0, Ordering::Relaxed);
        let append = |path: PathBuf, bytes: &[u8]| appendable(&path)?.write_all(bytes);
        if !used.is_empty() {
            let _ = append(place(dir), &record(now(), &used));
        }
        if grown > 0 {
            let _ = append(growth(dir), &grown.to_le_bytes());
        }
    }
}

/// Bytes the store grew by since it was last collected, and what it had then.
pub(crate) fn grown(dir: &Path) -> u64 {
    let bytes = fs::read(growth(dir)).unwrap_or_default();
    bytes.as_chunks::<8>().0.iter().fold(0, |sum, grown| sum.saturating_add(u64::from_le_bytes(*grown)))
}

/// Reads all records.
pub(crate) fn read(dir: &Path) -> Used {
    let bytes = fs::read(place(dir)).unwrap_or_default();
    let (mut all, mut rest) = (Used::new(), &bytes[..]);
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        rest = &rest[at..];
        rest = match frame(rest) {
            Some((time, used, after)) => {
                for short in used {
                    let last = all.entry(*short).or_default();
                    *last = time.max(*last);
                }
                after
            }
            None => &rest[MARK.len()..],
        };
    }
    all
}

/// How many bytes the records take: a long list is a reason to collect.
pub(crate) fn size(dir: &Path) -> u64 {
    fs::metadata(place(dir)).map_or(0, |found| found.len())
}

/// Replaces all records by these, of a store of this size. Only while nobody else uses it.
pub(crate) fn rewrite(dir: &Path, size: u64, last: &Used) -> io::Result<()> {
    let mut by_time: Vec<(u64, Short)> = last.iter().map(|(short, time)| (*time, *short)).collect();
    by_time.sort_unstable();
    let mut bytes = Vec::new();
    for group in by_time.chunk_by(|a, b| a.0 == b.0) {
        let shorts: Vec<Short> = group.iter().map(|(_, short)| *short).collect();
        bytes.extend(record(group[0].0, &shorts));
    }
    replace(dir, &place(dir), &bytes)?;
    replace(dir, &growth(dir), &size.to_le_bytes())
}

/// Whoever could append to the file still can.
fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".ouro-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    if let Ok(before) = fs::metadata(path) {
        file.as_file().set_permissions(before.permissions())?;
    }
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn place(dir: &Path) -> PathBuf {
    dir.join("used")
}

fn growth(dir: &Path) -> PathBuf {
    dir.join("grown")
}

fn record(time: u64, used: &[Short]) -> Vec<u8> {
    let count = (used.len() as u32).to_le_bytes();
    let mut record = [&MARK[..], &time.to_le_bytes(), &count, used.as_flattened()].concat();
    record.extend(sum(&record));
    record
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    sum.copy_from_slice(&Digest::of(bytes).as_bytes()[..SUM]);
    sum
}

/// The record that begins here, and what follows it; nothing when it is not whole.
fn frame(bytes: &[u8]) -> Option<(u64, &[Short], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (time, count) = header[MARK.len()..].split_first_chunk::<8>()?;
    let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
    let (used, rest) = rest.split_at_checked(count.checked_mul(size_of::<Short>())?)?;
    let (found, rest) = rest.split_at_checked(SUM)?;
    let whole = found == sum(&bytes[..HEADER + used.len()]);
    whole.then_some((u64::from_le_bytes(*time), used.as_chunks().0, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_hides_no_other() {
        let dir = tempfile::TempDir::new().unwrap();
        let (a, b) = (short(&Digest::of(b"a")), short(&Digest::of(b"b")));
        let (first, second) = (record(7, &[a, b]), record(9, &[a]));
        let both = Used::from([(a, 9), (b, 7)]);
        fs::write(place(dir.path()), [&first[..], &second].concat()).unwrap();
        assert_eq!(read(dir.path()), both);
        for at in 0..first.len() {
            let mut bad = first.clone();
            bad[at] ^= 1;
            fs::write(place(dir.path()), [&bad[..], &second].concat()).unwrap();
            assert_eq!(read(dir.path()), Used::from([(a, 9)]), "byte {at}");
            fs::write(place(dir.path()), [&first[..at], &second].concat()).unwrap();
            assert_eq!(read(dir.path()), Used::from([(a, 9)]), "cut to {at}");
        }
        rewrite(dir.path(), 50, &both).unwrap();
        assert_eq!((read(dir.path()), grown(dir.path())), (both, 50));
    }

    #[test]
    fn each_flush_adds_and_an_idle_one_writes_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let usage = Usage::default();
        usage.flush(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        usage.used(&Digest::of(b"a"));
        usage.grew(10);
        usage.flush(dir.path());
        usage.grew(5);
        usage.flush(dir.path());
        assert!(grown(dir.path()) == 15 && read(dir.path())[&short(&Digest::of(b"a"))] + 5 > now());
    }
}
