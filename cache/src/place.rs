//! Having a file's bytes in a second place: by a clone where the file system shares blocks, else by a link, else by a copy.
//!
//! Knows nothing of digests. A clone costs nothing and is a file of its own. A link costs less still, but is the same file: whoever
//! writes to one writes to both, so what was linked must be compared with its digest before it is used again.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

/// `ioctl` to share the blocks of a file: `FICLONE` of linux/fs.h.
const CLONE: libc::Ioctl = 0x4004_9409;

/// File systems that share blocks, by the numbers `statfs` gives them: btrfs, xfs, bcachefs, overlayfs (which asks the one below).
const SHARING: [u64; 4] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e, 0x794c_7630];

/// How a store gives and takes files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placing {
    /// Whether it is worth trying to clone.
    clones: bool,
    /// Who gives and takes.
    user: libc::uid_t,
}

impl Placing {
    /// As the file system of this folder allows.
    pub(crate) fn of(folder: &Path) -> Placing {
        let clones = file_system(folder).is_some_and(|number| SHARING.contains(&number));
        // SAFETY: the call only tells a number.
        Placing { clones, user: unsafe { libc::geteuid() } }
    }

    /// Whether what is put is a file of its own.
    pub(crate) fn clones(&self) -> bool {
        self.clones
    }

    /// Puts the file `source`, which is open and of which this is known, at `target` without a copy, with this mode; replaces what is
    /// there. False when only a copy will do: another disk, too many links, another mode, or someone else's file: its owner could write to
    /// it at any moment, under whatever name.
    pub(crate) fn put(&self, source: &Path, (file, found): (&File, &Metadata), target: &Path, mode: u32) -> bool {
        found.uid() == self.user
            && (self.clones && cloned(file, target, mode).is_ok() || has_mode(found, mode) && linked(source, target).is_ok())
    }
}

fn has_mode(found: &Metadata, mode: u32) -> bool {
    found.mode() & 0o7777 == mode
}

fn linked(source: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(source, target) {
        // Renaming a new link over it would leave the new name where both are the same file already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(target)?;
            fs::hard_link(source, target)
        }
        other => other,
    }
}

fn cloned(file: &File, target: &Path, mode: u32) -> io::Result<()> {
    let beside = temporary(target.parent().unwrap_or(Path::new(".")), mode)?;
    // SAFETY: both descriptors are open for the length of the call, which touches no memory of ours.
    if unsafe { libc::ioctl(beside.as_file().as_raw_fd(), CLONE, file.as_raw_fd()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    beside.persist(target).map(drop).map_err(|error| error.error)
}

/// A file without a place yet, which vanishes unless it is given one. Its mode is this one, whatever the caller's mask.
pub(crate) fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(".ouro-").permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    if !has_mode(&file.as_file().metadata()?, mode) {
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// A file to whose end can be written. Where others may write to its folder they may write to it, too.
pub(crate) fn appendable(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            let folder = fs::metadata(path.parent().unwrap_or(Path::new(".")))?.mode();
            if folder & 0o022 != 0 {
                // Someone else may have made it just now, and owns it.
                let _ = file.set_permissions(Permissions::from_mode(folder & 0o666));
            }
            Ok(file)
        }
        other => other,
    }
}

fn file_system(folder: &Path) -> Option<u64> {
    let folder = File::open(folder).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the buffer has room for one `statfs`.
    let result = unsafe { libc::fstatfs(folder.as_raw_fd(), found.as_mut_ptr()) };
    // SAFETY: the call succeeded, so it filled the buffer.
    (result == 0).then(|| unsafe { found.assume_init() }.f_type as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(target: &Path, mode: u32) -> bool {
        let source = target.with_file_name("source");
        let file = File::open(&source).unwrap();
        Placing { clones: false, ..Placing::of(target) }.put(&source, (&file, &file.metadata().unwrap()), target, mode)
    }

    #[test]
    fn a_link_replaces_what_is_there_and_only_one_of_its_mode() {
        let dir = tempfile::TempDir::new().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::write(&source, "bytes").unwrap();
        fs::set_permissions(&source, Permissions::from_mode(0o444)).unwrap();
        for _ in 0..2 {
            assert!(put(&target, 0o444));
            assert_eq!(fs::metadata(&target).unwrap().ino(), fs::metadata(&source).unwrap().ino());
        }
        fs::remove_file(&target).unwrap();
        fs::write(&target, "other").unwrap();
        assert!(!put(&target, 0o555) && fs::read(&target).unwrap() == b"other");
        assert!(put(&target, 0o444) && fs::read(&target).unwrap() == b"bytes");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_of_someone_else_is_neither_linked_nor_cloned() {
        let dir = tempfile::TempDir::new().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::write(&source, "bytes").unwrap();
        let file = File::open(&source).unwrap();
        let (found, own) = (file.metadata().unwrap(), Placing::of(dir.path()));
        assert!(own.put(&source, (&file, &found), &target, found.mode() & 0o7777));
        fs::remove_file(&target).unwrap();
        let other = Placing { user: own.user + 1, ..own };
        assert!(!other.put(&source, (&file, &found), &target, found.mode() & 0o7777) && !target.exists());
    }
}
