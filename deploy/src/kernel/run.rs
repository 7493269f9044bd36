//! Runs programs on packets that never were on a wire (BPF_PROG_TEST_RUN).
//!
//! Knows nothing of what a verdict means.

use std::os::fd::AsFd;
use std::path::Path;

use super::pins::{self, Kind};
use super::sys;
use crate::Error;

/// What a pinned program says to a packet, which begins with its link layer header.
pub(crate) fn run_packet(program: &Path, packet: &[u8]) -> Result<i32, Error> {
    let fd = pins::require(program, Kind::Program)?;
    let verdict = sys::test_run(fd.as_fd(), packet);
    verdict.map(u32::cast_signed).map_err(|error| Error::io(format!("cannot run `{}` on a packet", path_end(program)), error))
}

fn path_end(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
