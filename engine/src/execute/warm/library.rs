//! What is preloaded into programs to keep them warm: compiled with the engine, carried in its program, handed out as a file in
//! memory.
//!
//! Knows nothing of what it does there.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};

/// Empty when it could not be compiled.
const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/warm.so"));

/// The library as a file.
#[derive(Debug)]
pub(super) struct Library(File);

impl Library {
    /// Why there is none.
    pub(super) fn missing() -> Option<&'static str> {
        BYTES.is_empty().then_some("this ouro was built without a C compiler, or for another C library than glibc")
    }

    /// Puts it into a file.
    pub(super) fn new() -> io::Result<Library> {
        // SAFETY: the name ends with a zero byte; the call keeps no pointer.
        let fd = unsafe { libc::memfd_create(c"ouro-warm".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened, and nobody else knows it.
        let mut file = unsafe { File::from_raw_fd(fd) };
        file.write_all(BYTES)?;
        Ok(Library(file))
    }

    /// Where programs that we start find it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
