//! The store: blobs under `cas/`, action results under `ac/`, files being written under `tmp/`.
//!
//! Knows nothing of what the blobs are. Every blob appears by a rename, whole or not at all, and a name tells its content,
//! so processes that share a store cannot get into each other's way. Nothing in it is trusted: a blob is checked against
//! its name whenever it is read, and a bad one is removed and counts as missing.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::digest::each_piece;
use crate::records::Records;
use crate::result::Entry;
use crate::{CacheError, Digest};

/// Files up to this size are read at once; bigger ones in pieces.
const SMALL: u64 = 4 << 20;

/// What a killed process left under `tmp/` is removed after this long: no write takes a day.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of blobs and action results.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    records: Records,
}

impl Store {
    /// Opens the store in this folder; makes it if there is none.
    pub fn open(dir: &Path) -> Result<Store, CacheError> {
        for part in ["cas", "ac", "tmp"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(CacheError::at("create the folder", &path))?;
        }
        sweep(&dir.join("tmp"));
        Ok(Store { dir: dir.to_owned(), records: Records::new(&dir.join("ac")) })
    }

    /// Keeps these bytes.
    pub fn insert(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        let path = self.blob(&digest);
        if !has_size(&path, bytes.len() as u64) {
            let writing = CacheError::at("write", &path);
            let mut file = temporary(&self.dir.join("tmp"), 0o444).map_err(&writing)?;
            file.write_all(bytes).map_err(&writing)?;
            persist(file, &path)?;
        }
        Ok(digest)
    }

    /// Keeps a file that its owner will replace but not write to: by a link where the file system allows, which costs neither a
    /// copy nor a new inode. Should someone write to it all the same, that shows when the blob is next read, as any damage.
    pub fn adopt(&self, source: &Path) -> Result<Digest, CacheError> {
        let digest = Digest::of_file(source).map_err(CacheError::at("read", source))?;
        let blob = self.blob(&digest);
        let size = fs::metadata(source).map_err(CacheError::at("read", source))?.len();
        if has_size(&blob, size) || link(source, &blob) { Ok(digest) } else { self.insert_file(source) }
    }

    /// Keeps a copy of a file.
    pub fn insert_file(&self, source: &Path) -> Result<Digest, CacheError> {
        let reading = CacheError::at("read", source);
        let mut file = File::open(source).map_err(&reading)?;
        let size = file.metadata().map_err(&reading)?.len();
        if size <= SMALL {
            let mut bytes = Vec::with_capacity(size as usize);
            file.read_to_end(&mut bytes).map_err(&reading)?;
            return self.insert(&bytes);
        }
        let digest = Digest::of_reader(&mut file).map_err(&reading)?;
        if has_size(&self.blob(&digest), size) { Ok(digest) } else { self.copy_in(source) }
    }

    /// Whether there is a blob of this digest. Its bytes are checked only when they are read.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob(digest).exists()
    }

    /// A blob's bytes; nothing when it is missing or was damaged.
    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.blob(digest);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == *digest => Ok(Some(bytes)),
            Ok(_) => discard(&path).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CacheError::at("read", &path)(error)),
        }
    }

    /// Puts a read-only copy of a blob at `path`, replacing what is there; its folder must exist. False when the blob is
    /// missing or was damaged. A copy, never a link: whoever changes the file changes nothing here.
    pub fn materialise(&self, digest: &Digest, path: &Path, executable: bool) -> Result<bool, CacheError> {
        let blob = self.blob(digest);
        let mut source = match File::open(&blob) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(CacheError::at("read", &blob)(error)),
        };
        let writing = CacheError::at("write", path);
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut copy = temporary(folder, if executable { 0o555 } else { 0o444 }).map_err(&writing)?;
        if copy_hashed(&mut source, copy.as_file_mut()).map_err(&writing)? != *digest {
            return discard(&blob).map(|()| false);
        }
        copy.persist(path).map_err(|error| writing(error.error))?;
        Ok(true)
    }

    /// The first result under `key` that holds: `holds` says whether the files of an entry are still the same.
    pub fn lookup(&self, key: &Digest, mut holds: impl FnMut(&Entry) -> bool) -> Option<Entry> {
        self.entries(key).into_iter().find(|entry| holds(entry))
    }

    /// Adds a result under `key`.
    pub fn record(&self, key: &Digest, entry: &Entry) -> Result<(), CacheError> {
        self.records.add(key, entry)
    }

    /// All results under `key`, the newest first. A record that cannot be read is none.
    pub fn entries(&self, key: &Digest) -> Vec<Entry> {
        self.records.entries(key)
    }

    /// Where the blob of this digest is kept.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.dir.join("cas").join(&hex[..2]).join(&hex[2..])
    }

    fn copy_in(&self, source: &Path) -> Result<Digest, CacheError> {
        let tmp = self.dir.join("tmp");
        let mut file = File::open(source).map_err(CacheError::at("read", source))?;
        let mut copy = temporary(&tmp, 0o444).map_err(CacheError::at("write", &tmp))?;
        let digest = copy_hashed(&mut file, copy.as_file_mut()).map_err(CacheError::at("write", &tmp))?;
        persist(copy, &self.blob(&digest)).map(|()| digest)
    }
}

/// A file without a place yet; it vanishes unless it is given one.
fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".ouro-").permissions(Permissions::from_mode(mode)).tempfile_in(folder)
}

/// Renames a file into its place, whose folder is made only when it turns out to be missing.
fn persist(file: NamedTempFile, path: &Path) -> Result<(), CacheError> {
    let writing = CacheError::at("write", path);
    let Err(error) = file.persist(path) else { return Ok(()) };
    if error.error.kind() != io::ErrorKind::NotFound {
        return Err(writing(error.error));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(CacheError::at("create the folder", folder))?;
    }
    error.file.persist(path).map(drop).map_err(|error| writing(error.error))
}

/// False when it cannot be done: another disk, too many links, a damaged blob in the way.
fn link(source: &Path, blob: &Path) -> bool {
    let folder_is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let made = blob.parent().map(|folder| {
        fs::hard_link(source, blob).or_else(|error| match folder_is_missing(&error) {
            true => fs::create_dir_all(folder).and_then(|()| fs::hard_link(source, blob)),
            false => Err(error),
        })
    });
    made.is_some_and(|made| made.is_ok())
}

fn copy_hashed(source: &mut File, target: &mut File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    each_piece(source, |piece| {
        hasher.update(piece);
        target.write_all(piece)
    })?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// A cheap test that also replaces blobs cut short by a crash.
fn has_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == size)
}

/// Removes a damaged blob; another process may have been faster.
fn discard(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::at("remove the damaged", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what killed processes left behind. Best effort: what cannot be removed now is tried again next time.
fn sweep(tmp: &Path) {
    let old = |entry: &fs::DirEntry| {
        let written = entry.metadata().and_then(|found| found.modified());
        written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED))
    };
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten().filter(old) {
        let _ = fs::remove_file(entry.path());
    }
}
