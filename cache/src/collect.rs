//! What a store holds, and bringing it back to its size: what was of no use for longest goes first.
//!
//! Knows nothing of builds. Collecting has the store alone, so nothing goes that a running build relies on; one that comes later
//! and misses a blob does the work again.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::lease::Lease;
use crate::limits::Limits;
use crate::records::Records;
use crate::store::{BLOBS, RESULTS};
use crate::usage::{self, Short};
use crate::{CacheError, Digest};

/// Collecting leaves this part of the greatest size, so that not every build after it collects again.
const LEFT: (u64, u64) = (9, 10);

/// A list of uses longer than this is a reason to collect, which makes it short.
const LONG_USAGE: u64 = 32 << 20;

/// How often a store with a greatest age is collected for it.
const AGE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stat {
    /// Blobs.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Action results.
    pub results: usize,
    /// The bytes of their records.
    pub result_bytes: u64,
    /// When the blob that was of no use for longest was last of use, in seconds since 1970.
    pub oldest: Option<u64>,
}

/// What collecting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that went.
    pub removed: usize,
    /// Their bytes.
    pub freed: u64,
    /// Bytes of records that said of blobs which are gone, or were replaced by newer ones.
    pub freed_results: u64,
    /// What is left.
    pub left: Stat,
}

/// What comparing every blob with its name found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that were read.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those that had other bytes and were removed.
    pub damaged: Vec<Digest>,
    /// Files that are no blobs, and were removed.
    pub strange: Vec<PathBuf>,
}

/// A blob as it lies there.
struct Blob {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    used: u64,
}

/// What the store in this folder holds; nothing when there is none.
pub fn stat(dir: &Path) -> Result<Stat, CacheError> {
    let _lease = Lease::shared(dir);
    let results = Records::new(&dir.join(RESULTS)).count();
    Ok(Stat { results: results.entries, result_bytes: results.bytes, ..sum(&blobs(dir)?.0) })
}

/// Whether the store outgrew its limits, as far as that can be told without looking at its blobs.
pub fn is_due(dir: &Path, limits: &Limits) -> bool {
    let old = |found: fs::Metadata| {
        let since = found.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        since.is_some_and(|since| since > AGE_EVERY)
    };
    let aged = || limits.age.is_some() && fs::metadata(stamp(dir)).map_or(true, old);
    usage::size(dir) > LONG_USAGE || usage::grown(dir) > limits.size || aged()
}

/// Brings the store within its limits; nothing when others use it now.
pub fn collect(dir: &Path, limits: &Limits) -> Result<Option<Collected>, CacheError> {
    let lock = dir.join("lock");
    let Some(_lease) = Lease::alone(dir).map_err(CacheError::at("lock", &lock))? else { return Ok(None) };
    let (mut blobs, _) = blobs(dir)?;
    let before = sum(&blobs);
    blobs.sort_by_key(|blob| (blob.used, blob.digest));
    let oldest = limits.age.map_or(0, |age| usage::now().saturating_sub(age.as_secs()));
    let most = if before.bytes > limits.size { limits.size / LEFT.1 * LEFT.0 } else { limits.size };
    let (mut bytes, mut kept) = (before.bytes, Vec::new());
    for blob in blobs {
        if blob.used < oldest || bytes > most {
            remove(&blob.path)?;
            bytes -= blob.bytes;
        } else {
            kept.push(blob);
        }
    }
    let results = Records::new(&dir.join(RESULTS)).count().bytes;
    let left = settle(dir, &kept)?;
    let (removed, freed) = (before.blobs - left.blobs, before.bytes - left.bytes);
    Ok(Some(Collected { removed, freed, freed_results: results.saturating_sub(left.result_bytes), left }))
}

/// Drops what the records say of blobs that are gone, and writes down what is left.
fn settle(dir: &Path, kept: &[Blob]) -> Result<Stat, CacheError> {
    let digests: HashSet<Digest> = kept.iter().map(|blob| blob.digest).collect();
    let results = Records::new(&dir.join(RESULTS)).compact(&|output| digests.contains(&output.digest))?;
    let stat = Stat { results: results.entries, result_bytes: results.bytes, ..sum(kept) };
    let last = kept.iter().map(|blob| (usage::short(&blob.digest), blob.used)).collect();
    usage::rewrite(dir, stat.bytes, &last).map_err(CacheError::at("write", dir))?;
    let stamp = stamp(dir);
    fs::write(&stamp, "").map_err(CacheError::at("write", &stamp))?;
    Ok(stat)
}

/// Compares every blob with its name, and removes those that have other bytes. Others may use the store meanwhile: a bad blob is of
/// no use to them either.
pub fn verify(dir: &Path) -> Result<Verified, CacheError> {
    let _lease = Lease::shared(dir);
    let (blobs, strange) = blobs(dir)?;
    let mut verified = Verified { strange, ..Verified::default() };
    for path in &verified.strange {
        remove(path)?;
    }
    for blob in blobs {
        match Digest::of_file(&blob.path) {
            Ok(digest) if digest == blob.digest => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(_) => {
                remove(&blob.path)?;
                verified.damaged.push(blob.digest);
            }
            Err(error) => return Err(CacheError::at("read", &blob.path)(error)),
        }
        verified.blobs += 1;
        verified.bytes += blob.bytes;
    }
    Ok(verified)
}

/// Every blob, and every file that is none.
fn blobs(dir: &Path) -> Result<(Vec<Blob>, Vec<PathBuf>), CacheError> {
    let used = usage::read(dir);
    let last_use = |short: Short, made: u64| used.get(&short).copied().unwrap_or(0).max(made);
    let (mut blobs, mut strange) = (Vec::new(), Vec::new());
    for folder in entries(&dir.join(BLOBS))? {
        for path in entries(&folder)? {
            // Another process may have removed it.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            match digest_of(&path).filter(|_| found.is_file()) {
                Some(digest) => {
                    let used = last_use(usage::short(&digest), u64::try_from(found.mtime()).unwrap_or(0));
                    blobs.push(Blob { path, digest, bytes: found.len(), used });
                }
                None => strange.push(path),
            }
        }
    }
    blobs.sort_by_key(|blob| blob.digest);
    Ok((blobs, strange))
}

fn digest_of(path: &Path) -> Option<Digest> {
    let (name, folder) = (path.file_name()?.to_str()?, path.parent()?.file_name()?.to_str()?);
    format!("{folder}{name}").parse().ok()
}

/// The paths in a folder, sorted; none when it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let reading = CacheError::at("read", folder);
    match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(reading(error)),
        Ok(found) => {
            let mut paths: Vec<PathBuf> =
                found.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(reading)?;
            paths.sort();
            Ok(paths)
        }
    }
}

fn sum(blobs: &[Blob]) -> Stat {
    let bytes = blobs.iter().map(|blob| blob.bytes).sum();
    Stat { blobs: blobs.len(), bytes, oldest: blobs.iter().map(|blob| blob.used).min(), ..Stat::default() }
}

fn remove(path: &Path) -> Result<(), CacheError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Its time tells when the store was last collected.
fn stamp(dir: &Path) -> PathBuf {
    dir.join("collected")
}
