//! Landlock: lists of what may be touched, each a descriptor that a process enters for good before it starts a program.
//!
//! Knows nothing of actions. Three system calls (Linux 5.13, `security/landlock/`), for which libc has numbers and no functions.

use std::fs;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;

const VERSION_FLAG: libc::c_long = 1;
const PATH_BENEATH: libc::c_long = 1;

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// All kinds of making and removing.
const CHANGE_DIR: u64 = 0b1_1111_1111 << 4;
/// Renames and links from one folder to another; since version 2.
const REFER: u64 = 1 << 13;
/// Since version 3.
const TRUNCATE: u64 = 1 << 14;

/// Since version 4: serving on TCP, and calling.
const TCP: u64 = 0b11;

/// The kernel's version of Landlock; none when it has none, or does not use it.
pub fn version() -> Option<u32> {
    // SAFETY: with this flag the call reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, VERSION_FLAG) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// What may be done with a place and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Look.
    Read,
    /// Read and write what is there: for devices and logs.
    ReadWrite,
    /// Make, write and remove, without looking at what others made.
    Write,
    /// Everything.
    All,
}

#[repr(C)]
struct RulesetAttributes {
    files: u64,
    /// Kernels before version 4 do not know it.
    network: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

/// A list of what may be touched. What is not on it may not.
#[derive(Debug)]
pub(super) struct Ruleset {
    fd: OwnedFd,
    handled: u64,
}

impl Ruleset {
    /// An empty one; without `network` it refuses TCP, too, where the kernel can (6.7).
    pub(super) fn new(version: u32, network: bool) -> io::Result<Ruleset> {
        let since = |first: u32, rights: u64| if version >= first { rights } else { 0 };
        let handled = WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR | since(2, REFER) | since(3, TRUNCATE);
        let tcp = if network { 0 } else { since(4, TCP) };
        let attributes = RulesetAttributes { files: handled, network: tcp };
        let size = if version >= 4 { size_of::<RulesetAttributes>() } else { size_of::<u64>() };
        // SAFETY: the structure is as long as is said, and read only during the call.
        let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0 as libc::c_long) };
        // SAFETY: the descriptor was just made, and nobody else knows it.
        checked(fd).map(|fd| Ruleset { fd: unsafe { OwnedFd::from_raw_fd(fd) }, handled })
    }

    /// Adds a place.
    pub(super) fn allow(&self, place: &Place, rights: Rights) -> io::Result<()> {
        let rights = match rights {
            Rights::Read => READ_FILE | READ_DIR,
            Rights::ReadWrite => READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE,
            Rights::Write => self.handled & !READ_FILE & !READ_DIR,
            Rights::All => self.handled,
        };
        // Of a file the kernel refuses to hear what only folders have.
        let possible = if place.is_folder { self.handled } else { self.handled & (READ_FILE | WRITE_FILE | TRUNCATE) };
        let rule = PathBeneath { allowed: rights & possible, parent: place.fd.as_raw_fd() };
        let (kind, flags) = (PATH_BENEATH, 0 as libc::c_long);
        // SAFETY: the structure is read only during the call.
        let added = unsafe { libc::syscall(libc::SYS_landlock_add_rule, self.fd.as_raw_fd(), kind, &raw const rule, flags) };
        checked(added).map(drop)
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

fn checked(result: libc::c_long) -> io::Result<RawFd> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

/// A file or folder, held open without being read: whatever becomes of its name, it stays the same.
#[derive(Debug)]
pub(super) struct Place {
    fd: OwnedFd,
    is_folder: bool,
}

impl Place {
    /// What is at this path, links followed.
    pub(super) fn open(path: &Path) -> io::Result<Place> {
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
        let is_folder = file.metadata()?.is_dir();
        Ok(Place { fd: file.into(), is_folder })
    }

    /// The file at this path, which is known to be one.
    pub(super) fn file(path: &Path) -> io::Result<Place> {
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Place { fd: file.into(), is_folder: false })
    }

    /// A file that is open already.
    pub(super) fn of_open(file: BorrowedFd<'_>) -> io::Result<Place> {
        Ok(Place { fd: file.try_clone_to_owned()?, is_folder: false })
    }
}

/// From now on this thread, and what it starts, touches only what is on the list; whether that worked. `errno` says why not.
///
/// # Safety
/// Only makes system calls, so that it may stand between `vfork` and `execve`; it is for the child, for it cannot be undone.
pub(super) unsafe fn enter(ruleset: RawFd) -> bool {
    // SAFETY: neither call touches memory.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0 as libc::c_long) == 0
    }
}
