//! The BPF file system: that it is one, the lock on a deployment's folder, and folders.
//!
//! Knows no kernel objects.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sys;
use crate::Error;

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Fails unless `path` lies on a bpffs.
pub(crate) fn require(path: &Path) -> Result<(), Error> {
    match sys::file_system(path) {
        Ok(BPF_FS_MAGIC) => Ok(()),
        Ok(_) => Err(Error::NoBpffs(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoBpffs(path.to_owned())),
        Err(error) => Err(Error::io(format!("cannot look at `{}`", path.display()), error)),
    }
}

/// The exclusive right to change one deployment, until dropped or the process ends. A folder left empty is removed.
pub(crate) struct Lock {
    folder: PathBuf,
    file: File,
}

impl Lock {
    /// Creates the folder where missing and locks it.
    pub(crate) fn take(folder: &Path) -> Result<Lock, Error> {
        // Another may remove the folder in between, or the one above it; hardly more than once.
        for _ in 0..100 {
            let created = create_folder(folder);
            if let Some(lock) = Lock::existing(folder)? {
                return Ok(lock);
            }
            match created {
                Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Err(Error::Busy(folder.to_owned()))
    }

    /// Locks the folder; `None` if there is none.
    pub(crate) fn existing(folder: &Path) -> Result<Option<Lock>, Error> {
        let failed = |error| Error::io(format!("cannot lock `{}`", folder.display()), error);
        let file = match File::open(folder) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !sys::try_lock(file.as_fd()).map_err(failed)? {
            return Err(Error::Busy(folder.to_owned()));
        }
        let locked = file.metadata().map_err(failed)?;
        let same = fs::metadata(folder).is_ok_and(|now| now.ino() == locked.ino());
        Ok(same.then(|| Lock { folder: folder.to_owned(), file }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only empty folders can be removed this way.
        if fs::remove_dir(&self.folder).is_ok() {
            let _ = self.folder.parent().map(fs::remove_dir);
        }
        // Closing is not enough: a process another thread has just forked holds a copy of the descriptor until it executes.
        sys::unlock(self.file.as_fd());
    }
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|error| Error::io(format!("cannot create `{}`", path.display()), error))
}

/// Removes a pin; no error if there is none.
pub(crate) fn remove_pin(path: &Path) -> Result<(), Error> {
    tolerate(fs::remove_file(path), path)
}

/// Removes a folder if nothing of others is in it; no error if it stays or is missing.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => tolerate(other, path),
    }
}

fn tolerate(result: io::Result<()>, path: &Path) -> Result<(), Error> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove `{}`", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The names in a folder, sorted, each with whether it is a folder itself; none if the folder is missing.
pub(crate) fn entries(path: &Path) -> Result<Vec<(String, bool)>, Error> {
    let failed = |error| Error::io(format!("cannot list `{}`", path.display()), error);
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        found.push((entry.file_name().to_string_lossy().into_owned(), is_folder));
    }
    found.sort();
    Ok(found)
}
