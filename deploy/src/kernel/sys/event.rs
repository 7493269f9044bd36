//! perf_event_open(2): the events that tracepoints, probes and counters are to programs.
//!
//! Knows the layout of `struct perf_event_attr`, not what is probed.

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// `PERF_ATTR_SIZE_VER5`, of kernel 4.1.
const SIZE: usize = 112;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;
/// The bit `freq`.
const FREQUENCY: u64 = 1 << 10;
const TRACEPOINT: u32 = 2;

/// What an event is opened with.
#[derive(Debug, Clone, Default)]
pub(in crate::kernel) struct Event {
    pub(in crate::kernel) ty: u32,
    pub(in crate::kernel) config: u64,
    pub(in crate::kernel) sample: u64,
    /// Whether `sample` is a frequency.
    pub(in crate::kernel) frequency: bool,
    /// A function's name or a file's path, and the offset there.
    pub(in crate::kernel) place: Option<(CString, u64)>,
}

/// Opens an event. Without a process it is one of all of them, on one CPU; events of tracepoints and probes run a program wherever they
/// happen, so there is never more than one.
pub(in crate::kernel) fn perf_event(event: &Event, pid: Option<u32>, cpu: Option<u32>) -> io::Result<OwnedFd> {
    let mut attr = [0u8; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| attr[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &event.ty.to_ne_bytes());
    put(4, &u32::try_from(SIZE).expect("BUG: 112").to_ne_bytes());
    put(8, &event.config.to_ne_bytes());
    put(16, &event.sample.to_ne_bytes());
    put(40, &(if event.frequency { FREQUENCY } else { 0 }).to_ne_bytes());
    if let Some((name, offset)) = &event.place {
        put(56, &(name.as_ptr() as u64).to_ne_bytes());
        put(64, &offset.to_ne_bytes());
    }
    let number = |number: Option<u32>| number.map_or(-1, u32::cast_signed);
    let cpu = cpu.or(if pid.is_none() { Some(0) } else { None });
    // SAFETY: the attribute is as large as it says, and its pointer leads to a string that lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), number(pid), number(cpu), -1, CLOEXEC) };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens the event of a tracepoint by its number.
pub(in crate::kernel) fn trace_event(id: u64) -> io::Result<OwnedFd> {
    perf_event(&Event { ty: TRACEPOINT, config: id, sample: 1, ..Event::default() }, None, None)
}
