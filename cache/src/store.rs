//! The store: blobs under `cas/`, action results under `ac/`, files being written under `tmp/`.
//!
//! Knows nothing of what the blobs are. Every blob appears by a rename or a link, whole or not at all, and a name tells its content,
//! so processes that share a store cannot get into each other's way. Nothing in it is trusted: a blob is compared with its name
//! whenever it is read or given away, and a bad one is removed and counts as missing. Nor is anything flushed to the disk: what a
//! crash of the machine loses or leaves half written is found out by the same comparison.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read as _, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::digest::each_piece;
use crate::lease::Lease;
use crate::place::{Placing, temporary};
use crate::records::Records;
use crate::result::Entry;
use crate::trouble::{Trouble, Troubles};
use crate::usage::Usage;
use crate::{CacheError, Digest};

/// Files up to this size are read at once; bigger ones in pieces.
const SMALL: u64 = 4 << 20;

/// What a killed process left under `tmp/` is removed after this long: no write takes a day.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// The folders of a store.
pub(crate) const BLOBS: &str = "cas";
pub(crate) const RESULTS: &str = "ac";
const UNFINISHED: &str = "tmp";

/// A folder of blobs and action results. While it is open, nothing of it is collected.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    records: Records,
    placing: Placing,
    usage: Usage,
    troubles: Troubles,
    _lease: Option<Lease>,
}

impl Store {
    /// Opens the store in this folder; makes it if there is none. Waits while somebody collects.
    pub fn open(dir: &Path) -> Result<Store, CacheError> {
        make_folders(dir)?;
        Ok(Store::with(dir, Lease::shared(dir)))
    }

    /// The same for those who want to do something while they wait: `wait` is called again and again, takes as long as it likes, and
    /// says whether to go on. None when it says no. A store that cannot be made keeps nothing, and that is a trouble.
    pub fn open_unless(dir: &Path, wait: &mut dyn FnMut() -> bool) -> Option<Store> {
        let made = make_folders(dir);
        loop {
            match Lease::shared_now(dir) {
                Ok(None) if !wait() => return None,
                Ok(None) => {}
                // Where there are no locks nobody can collect.
                lease => {
                    let store = Store::with(dir, lease.ok().flatten());
                    made.unwrap_or_else(|error| store.troubles.add(Trouble::Unusable(error)));
                    return Some(store);
                }
            }
        }
    }

    fn with(dir: &Path, lease: Option<Lease>) -> Store {
        sweep(&dir.join(UNFINISHED));
        Store {
            dir: dir.to_owned(),
            records: Records::new(&dir.join(RESULTS)),
            placing: Placing::of(&dir.join(BLOBS)),
            usage: Usage::default(),
            troubles: Troubles::default(),
            _lease: lease,
        }
    }

    /// Keeps these bytes.
    pub fn insert(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        let path = self.blob(&digest);
        if !has_size(&path, bytes.len() as u64) {
            let writing = CacheError::at("write", &path);
            let mut file = temporary(&self.dir.join(UNFINISHED), 0o444).map_err(&writing)?;
            file.write_all(bytes).map_err(&writing)?;
            self.persist(file, &path, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Keeps a file that its owner will replace but not write to: without a copy where the file system allows. Should someone write
    /// to it all the same, that shows when the blob is next used, as any damage.
    pub fn adopt(&self, source: &Path) -> Result<Digest, CacheError> {
        let digest = Digest::of_file(source).map_err(CacheError::at("read", source))?;
        self.adopt_known(source, &digest).map(|()| digest)
    }

    /// The same, of a file whose digest is known.
    pub fn adopt_known(&self, source: &Path, digest: &Digest) -> Result<(), CacheError> {
        let reading = CacheError::at("read", source);
        let file = File::open(source).map_err(&reading)?;
        let found = file.metadata().map_err(&reading)?;
        let blob = self.blob(digest);
        if has_size(&blob, found.len()) {
            return Ok(());
        }
        let put = || self.placing.put(source, (&file, &found), &blob, found.mode() & 0o7777);
        if put() || (self.make_folder_of(&blob).is_ok() && put()) {
            self.usage.grew(found.len());
            return Ok(());
        }
        self.insert_file(source).map(drop)
    }

    /// Keeps a copy of a file.
    pub fn insert_file(&self, source: &Path) -> Result<Digest, CacheError> {
        let reading = CacheError::at("read", source);
        let mut file = File::open(source).map_err(&reading)?;
        let size = file.metadata().map_err(&reading)?.len();
        if size <= SMALL {
            let mut bytes = Vec::with_capacity(size as usize + 1);
            file.read_to_end(&mut bytes).map_err(&reading)?;
            return self.insert(&bytes);
        }
        let digest = Digest::of_reader(&mut file).map_err(&reading)?;
        if has_size(&self.blob(&digest), size) { Ok(digest) } else { self.copy_in(source) }
    }

    /// Whether there is a blob of this digest. Its bytes are checked only when they are used.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob(digest).exists()
    }

    /// A blob's bytes; nothing when it is missing or was damaged.
    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.blob(digest);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == *digest => {
                self.usage.used(digest);
                Ok(Some(bytes))
            }
            Ok(_) => self.discard(digest, &path).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CacheError::at("read", &path)(error)),
        }
    }

    /// Puts a blob's bytes at `path`, read-only, replacing what is there; its folder must exist. Gives what the file system says of
    /// the new file; nothing when the blob is missing, was damaged or cannot be read. The file may be the blob itself under another
    /// name: who writes to it all the same damages the blob, which shows when that is next used.
    pub fn materialise(&self, digest: &Digest, path: &Path, executable: bool) -> Result<Option<Metadata>, CacheError> {
        let blob = self.blob(digest);
        let mode = if executable { 0o555 } else { 0o444 };
        let mut source = match File::open(&blob) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Ok(self.cannot_read(&blob, error)),
        };
        match whole(&mut source, digest) {
            Ok(Some(before)) => self.give(&mut source, &before, digest, path, mode),
            Ok(None) => self.discard(digest, &blob).map(|()| None),
            Err(error) => Ok(self.cannot_read(&blob, error)),
        }
    }

    /// Puts a blob that was just found to be whole at `path`.
    fn give(
        &self,
        source: &mut File,
        before: &Metadata,
        digest: &Digest,
        path: &Path,
        mode: u32,
    ) -> Result<Option<Metadata>, CacheError> {
        let blob = self.blob(digest);
        let writing = CacheError::at("write", path);
        let linked = self.placing.put(&blob, (source, before), path, mode);
        if !linked {
            let mut copy = temporary(path.parent().unwrap_or(Path::new(".")), mode).map_err(&writing)?;
            let (copied, _) = source.rewind().and_then(|()| copy_hashed(source, copy.as_file_mut())).map_err(&writing)?;
            // Who owns the blob may write to it now, and have its times say nothing of that.
            if copied != *digest {
                return self.discard(digest, &blob).map(|()| None);
            }
            copy.persist(path).map_err(|error| writing(error.error))?;
        }
        let after = source.metadata().map_err(&writing)?;
        // Somebody may have written to it since it was compared.
        if written(&after) != written(before) {
            fs::remove_file(path).map_err(&writing)?;
            return self.discard(digest, &blob).map(|()| None);
        }
        self.usage.used(digest);
        let is_same = linked && !self.placing.clones();
        if is_same { Ok(Some(after)) } else { fs::metadata(path).map(Some).map_err(&writing) }
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
        blob(&self.dir, digest)
    }

    /// Says that something could not be kept, which costs time alone.
    pub fn note(&self, error: CacheError) {
        self.troubles.add(Trouble::Unusable(error));
    }

    /// What was wrong since this was last asked.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.take()
    }

    fn copy_in(&self, source: &Path) -> Result<Digest, CacheError> {
        let tmp = self.dir.join(UNFINISHED);
        let mut file = File::open(source).map_err(CacheError::at("read", source))?;
        let mut copy = temporary(&tmp, 0o444).map_err(CacheError::at("write", &tmp))?;
        let (digest, size) = copy_hashed(&mut file, copy.as_file_mut()).map_err(CacheError::at("write", &tmp))?;
        self.persist(copy, &self.blob(&digest), size).map(|()| digest)
    }

    /// Renames a file into its place, whose folder is made only when it turns out to be missing.
    fn persist(&self, file: NamedTempFile, path: &Path, size: u64) -> Result<(), CacheError> {
        let writing = CacheError::at("write", path);
        self.usage.grew(size);
        let Err(error) = file.persist(path) else { return Ok(()) };
        if error.error.kind() != io::ErrorKind::NotFound {
            return Err(writing(error.error));
        }
        self.make_folder_of(path)?;
        error.file.persist(path).map(drop).map_err(|error| writing(error.error))
    }

    fn make_folder_of(&self, blob: &Path) -> Result<(), CacheError> {
        let folder = blob.parent().unwrap_or(&self.dir);
        make_folder(&self.dir, folder).map_err(CacheError::at("create the folder", folder))
    }

    /// Removes a damaged blob; another process may have been faster.
    fn discard(&self, digest: &Digest, path: &Path) -> Result<(), CacheError> {
        self.troubles.add(Trouble::Damaged(*digest));
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.note(CacheError::at("remove the damaged", path)(error));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What cannot be read is as good as missing.
    fn cannot_read(&self, blob: &Path, error: io::Error) -> Option<Metadata> {
        self.note(CacheError::at("read", blob)(error));
        None
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.usage.flush(&self.dir);
    }
}

/// What tells whether a file was written to.
fn written(file: &Metadata) -> (i64, i64, u64) {
    (file.mtime(), file.mtime_nsec(), file.len())
}

/// What the file system says of a file that has the bytes of this digest; nothing of one that has not.
fn whole(file: &mut File, digest: &Digest) -> io::Result<Option<Metadata>> {
    let before = file.metadata()?;
    let found = if before.len() <= SMALL {
        // One call, where reading to the end takes four. Should there be more by now, its length shows that later.
        let mut bytes = Vec::with_capacity(before.len() as usize);
        file.take(before.len()).read_to_end(&mut bytes)?;
        Digest::of(&bytes)
    } else {
        Digest::of_reader(file)?
    };
    Ok((found == *digest).then_some(before))
}

/// Where a store keeps the blob of this digest.
pub(crate) fn blob(dir: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_string();
    dir.join(BLOBS).join(&hex[..2]).join(&hex[2..])
}

fn make_folders(dir: &Path) -> Result<(), CacheError> {
    ["", BLOBS, RESULTS, UNFINISHED].iter().map(|part| dir.join(part)).try_for_each(|path| {
        let making = CacheError::at("create the folder", &path);
        make_folder(dir, &path).map_err(making)
    })
}

/// Makes a folder of the store at `dir`. Where others may write to the store they may write to it, too.
fn make_folder(dir: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(dir)?.mode() & 0o7777;
    // Someone else may have made it.
    if folder != dir && mode & 0o022 != 0 {
        let _ = fs::set_permissions(folder, Permissions::from_mode(mode));
    }
    Ok(())
}

fn copy_hashed(source: &mut File, target: &mut File) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    each_piece(source, |piece| {
        hasher.update(piece);
        size += piece.len() as u64;
        target.write_all(piece)
    })?;
    Ok((Digest::from_bytes(hasher.finalize().into()), size))
}

/// A cheap test that also replaces blobs cut short by a crash.
fn has_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == size)
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
