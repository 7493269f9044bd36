//! Stamps: what the file system says of a file, to tell whether it can have changed since its bytes were read.
//!
//! Knows nothing of content.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

/// Two changes of a file closer together than this may leave the same times: file systems take them from a clock that
/// ticks every 10 ms at worst (`HZ=100`), and 20 leave room.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// A file's identity and times. Links are followed: what counts is the file that is read.
///
/// The time of the last change (`ctime`) cannot be set by programs, so a forged `mtime` does not hide a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub(super) mtime: i64,
    pub(super) ctime: i64,
    pub(super) size: u64,
    pub(super) inode: u64,
    pub(super) mode: u32,
    #[serde(skip)]
    racy: bool,
}

/// A path and what was there before it was read; nothing for a path that did not exist.
#[derive(Debug, Clone)]
pub struct Seen {
    /// From the workspace root, or absolute.
    pub path: Arc<str>,
    /// Its stamp.
    pub stamp: Option<Stamp>,
    /// Of its bytes, when they were read.
    pub digest: Option<Digest>,
}

impl Stamp {
    /// The stamp of what is at `path` now; nothing when nothing is there. Take it before reading the bytes.
    pub fn of(path: &Path) -> io::Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Stamp::new(&metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The stamp of an open file.
    pub fn of_file(file: &File) -> io::Result<Stamp> {
        file.metadata().map(|metadata| Stamp::new(&metadata))
    }

    /// From what the file system said.
    pub fn new(metadata: &Metadata) -> Stamp {
        let stamp = Stamp {
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            racy: false,
        };
        Stamp { racy: !stamp.older_than(SystemTime::now()), ..stamp }
    }

    /// A stamp read back from where only trusted ones are written.
    pub(super) fn stored(mtime: i64, ctime: i64, size: u64, inode: u64, mode: u32) -> Stamp {
        Stamp { mtime, ctime, size, inode, mode, racy: false }
    }

    /// Whether both say the same; then, unless one is racy, the bytes are the same.
    pub fn same(&self, other: &Stamp) -> bool {
        let facts = |stamp: &Stamp| (stamp.mtime, stamp.ctime, stamp.size, stamp.inode, stamp.mode);
        facts(self) == facts(other)
    }

    /// Whether both say that the same file was written to at the same time: a new name, a link or other permissions do not
    /// count. Unlike [`Stamp::same`] it can be forged.
    pub fn written_alike(&self, other: &Stamp) -> bool {
        (self.mtime, self.size, self.inode) == (other.mtime, other.size, other.inode)
    }

    /// Whether the file had changed so shortly before the stamp was taken that one more change might not show.
    pub fn is_racy(&self) -> bool {
        self.racy
    }

    /// The same, never racy: for a file this process wrote itself, under the lock, and whose bytes it knows from that.
    pub fn settled(self) -> Stamp {
        Stamp { racy: false, ..self }
    }

    /// Whether the last change lies clearly before `moment`.
    pub fn older_than(&self, moment: SystemTime) -> bool {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(TICK);
        i128::from(self.ctime) < since.as_nanos() as i128
    }

    /// Whether it is a plain file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether its owner may run it.
    pub fn is_executable(&self) -> bool {
        self.mode & libc::S_IXUSR != 0
    }
}

/// Nanoseconds since 1970; times beyond the year 2262 wrap, which still tells them apart.
pub(super) fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_time_shows_and_a_fresh_file_is_racy() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.c");
        fs::write(&path, "x").unwrap();
        let fresh = Stamp::of(&path).unwrap().unwrap();
        assert!(fresh.is_racy() && fresh.is_file() && !fresh.is_executable());
        std::thread::sleep(3 * TICK);
        let old = Stamp::of(&path).unwrap().unwrap();
        assert!(!old.is_racy() && old.same(&fresh));
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "y").unwrap();
        File::open(&path).unwrap().set_modified(written).unwrap();
        assert!(!Stamp::of(&path).unwrap().unwrap().same(&old));
        assert!(Stamp::of(&path.join("below a file")).unwrap().is_none());
    }
}
