//! Who uses a store: builds share it, collecting has it alone.
//!
//! Knows nothing of what is in it. The kernel frees a lock when its owner dies, however that happens.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::place::appendable;

/// A held lock on a store.
#[derive(Debug)]
pub(crate) struct Lease {
    _file: File,
}

impl Lease {
    /// To use the store beside others; waits while somebody collects, which takes seconds at most. None on a disk that knows no
    /// locks or cannot be written to: nobody else can collect there.
    pub(crate) fn shared(dir: &Path) -> Option<Lease> {
        let file = open(dir).ok()?;
        flock(&file, libc::LOCK_SH).ok()?;
        Some(Lease { _file: file })
    }

    /// The same without waiting; none while somebody collects.
    pub(crate) fn shared_now(dir: &Path) -> io::Result<Option<Lease>> {
        now(dir, libc::LOCK_SH)
    }

    /// To have the store alone; none while others use it.
    pub(crate) fn alone(dir: &Path) -> io::Result<Option<Lease>> {
        now(dir, libc::LOCK_EX)
    }
}

fn now(dir: &Path, how: libc::c_int) -> io::Result<Option<Lease>> {
    let file = open(dir)?;
    match flock(&file, how | libc::LOCK_NB) {
        Ok(()) => Ok(Some(Lease { _file: file })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whoever may only read the store can lock it, too.
fn open(dir: &Path) -> io::Result<File> {
    let path = dir.join("lock");
    appendable(&path).or_else(|error| File::open(&path).map_err(|_| error))
}

fn flock(file: &File, how: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the length of the call, which touches no memory of ours.
        if unsafe { libc::flock(file.as_raw_fd(), how) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}
