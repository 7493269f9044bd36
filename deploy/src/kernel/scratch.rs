//! A BPF file system of our own: what is pinned there nobody else sees, and it is gone with the process, however that ends.
//!
//! Knows nothing of what is pinned in it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::sys;
use crate::Error;

/// A mounted BPF file system that is attached to no folder; unmounted when dropped.
pub(crate) struct Scratch {
    mount: OwnedFd,
}

impl Scratch {
    /// Mounts it. Needs CAP_SYS_ADMIN, and kernel 5.2.
    pub(crate) fn new() -> Result<Scratch, Error> {
        let mount = sys::detached_bpffs().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Error::NoScratch,
            _ => Error::io("cannot mount a BPF file system to try programs in", error),
        })?;
        Ok(Scratch { mount })
    }

    /// A path that leads to it, from this process alone.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.mount.as_raw_fd()))
    }
}
