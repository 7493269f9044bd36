//! What is in a folder, as the kernel tells it.
//!
//! `std::fs::read_dir` asks the kernel once more whether it is a folder, and makes several objects of each name; a workspace has tens
//! of thousands of folders. Knows nothing of packages.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Room for the entries that one call tells of: for all of a folder of some hundred files.
const ROOM: usize = 16 << 10;

/// A record of the kernel's: inode (8 bytes), position (8), its own length (2), kind (1), name, a zero byte, and room up to the next.
const LENGTH: usize = 16;
const KIND: usize = 18;
const NAME: usize = 19;

/// What a name in a folder is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    File,
    Folder,
    Link,
    Other,
    /// This file system does not say.
    Untold,
}

/// Calls `visit` with every name in a folder but `.` and `..`, in no order.
pub(super) fn each(path: &Path, mut visit: impl FnMut(&CStr, Found)) -> io::Result<()> {
    let folder = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
    let mut buffer = [0; ROOM];
    loop {
        let mut rest = next(&folder, &mut buffer)?;
        if rest.is_empty() {
            return Ok(());
        }
        while let Some((name, found, after)) = first(rest) {
            if name != c"." && name != c".." {
                visit(name, found);
            }
            rest = after;
        }
    }
}

/// The next records of an open folder; none at its end.
fn next<'b>(folder: &File, buffer: &'b mut [u8; ROOM]) -> io::Result<&'b [u8]> {
    // SAFETY: the descriptor is open, and the call writes no more than `ROOM` bytes, which there is room for.
    let length = unsafe { libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), buffer.as_mut_ptr(), ROOM) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(&buffer[..length])
}

/// The first of some records, and those after it.
fn first(records: &[u8]) -> Option<(&CStr, Found, &[u8])> {
    let length = records.get(LENGTH..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))?;
    let (record, after) = records.split_at_checked(usize::from(length))?;
    let name = CStr::from_bytes_until_nul(record.get(NAME..)?).ok()?;
    let found = match *record.get(KIND)? {
        libc::DT_REG => Found::File,
        libc::DT_DIR => Found::Folder,
        libc::DT_LNK => Found::Link,
        libc::DT_UNKNOWN => Found::Untold,
        _ => Found::Other,
    };
    Some((name, found, after))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn every_name_is_told_once_with_its_kind() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut expected = BTreeSet::new();
        for number in 0..2_000 {
            let name = format!("a file with quite a long name, so that one call cannot tell of all {number}");
            fs::write(dir.path().join(&name), "").unwrap();
            expected.insert((name, "File".to_owned()));
        }
        fs::create_dir(dir.path().join("ä")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join(".link")).unwrap();
        let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        for (name, found) in [("ä", "Folder"), (".link", "Link"), ("socket", "Other")] {
            expected.insert((name.to_owned(), found.to_owned()));
        }
        let (mut found, mut count) = (BTreeSet::new(), 0);
        each(dir.path(), |name, kind| {
            count += 1;
            found.insert((name.to_str().unwrap().to_owned(), format!("{kind:?}")));
        })
        .unwrap();
        assert_eq!((found, count), (expected, 2_003));
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let kind = |name: &str| each(&dir.path().join(name), |_, _| panic!("nothing is there")).unwrap_err().kind();
        assert_eq!((kind("file"), kind("nothing")), (io::ErrorKind::NotADirectory, io::ErrorKind::NotFound));
    }
}
