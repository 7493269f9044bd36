//! The commands of bpf(2) that attach, and ask what is attached.
//!
//! Knows layouts (`link_create`, `query`, ... of `union bpf_attr`), not hooks.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::{Attr, LINK_CREATE, PROG_QUERY, path_text};

const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const RAW_TRACEPOINT_OPEN: u32 = 17;

const PERF_EVENT: u32 = 41;
const STRUCT_OPS: u32 = 44;
const NETFILTER: u32 = 45;
const TRACE_ITER: u32 = 28;

/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN`.
const RETURNS: u32 = 1;
/// `BPF_F_NETFILTER_IP_DEFRAG`.
const DEFRAG: u32 = 1;
/// `BPF_F_BEFORE`, `BPF_F_AFTER`, `BPF_F_ID` and `BPF_F_LINK`.
const BEFORE: u32 = 1 << 3;
const AFTER: u32 = 1 << 4;
const ID: u32 = 1 << 5;
const LINK: u32 = 1 << 13;

/// Another program or link that a place is named from.
#[derive(Debug)]
pub(in crate::kernel) enum Relative {
    /// Nothing: before or behind all.
    None,
    /// An open program.
    Program(OwnedFd),
    /// An open link.
    Link(OwnedFd),
    /// A program by its id.
    Id(u32),
}

/// A link of what has a number or a descriptor: devices, control groups, namespaces, maps, events.
pub(in crate::kernel) fn link_at(program: BorrowedFd<'_>, target: BorrowedFd<'_>, attach_type: u32) -> io::Result<OwnedFd> {
    Attr::new().fd(0, program).fd(4, target).u32(8, attach_type).call_fd(LINK_CREATE)
}

/// A link with a place among others. `before` tells which side of `other`; none leaves it to the kernel.
pub(in crate::kernel) fn link_in_order(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: u32,
    order: Option<(bool, Relative)>,
    revision: u64,
) -> io::Result<OwnedFd> {
    let attr = Attr::new().fd(0, program).u32(4, target).u32(8, attach_type).bytes(24, &revision.to_ne_bytes());
    let Some((before, other)) = order else { return attr.call_fd(LINK_CREATE) };
    let side = if before { BEFORE } else { AFTER };
    match &other {
        Relative::None => attr.u32(12, side).call_fd(LINK_CREATE),
        Relative::Program(fd) => attr.u32(12, side).u32(16, fd.as_raw_fd().cast_unsigned()).call_fd(LINK_CREATE),
        Relative::Link(fd) => attr.u32(12, side | LINK).u32(16, fd.as_raw_fd().cast_unsigned()).call_fd(LINK_CREATE),
        Relative::Id(id) => attr.u32(12, side | ID).u32(16, *id).call_fd(LINK_CREATE),
    }
}

pub(in crate::kernel) fn link_netfilter(
    program: BorrowedFd<'_>,
    family: u32,
    hook: u32,
    priority: i32,
    defrag: bool,
) -> io::Result<OwnedFd> {
    let attr = Attr::new().fd(0, program).u32(8, NETFILTER).u32(16, family).u32(20, hook);
    attr.bytes(24, &priority.to_ne_bytes()).u32(28, if defrag { DEFRAG } else { 0 }).call_fd(LINK_CREATE)
}

/// An iterator's link; `info` is a `union bpf_iter_link_info`.
pub(in crate::kernel) fn link_walk(program: BorrowedFd<'_>, info: Option<[u32; 4]>) -> io::Result<OwnedFd> {
    let attr = Attr::new().fd(0, program).u32(8, TRACE_ITER);
    match &info {
        None => attr.call_fd(LINK_CREATE),
        Some(info) => attr.pointer(16, info.as_ptr()).u32(24, 16).call_fd(LINK_CREATE),
    }
}

/// A link of all functions of the kernel with these names.
pub(in crate::kernel) fn link_kprobes(
    program: BorrowedFd<'_>,
    attach_type: u32,
    names: &[CString],
    returns: bool,
) -> io::Result<OwnedFd> {
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    let count = u32::try_from(names.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let attr = Attr::new().fd(0, program).u32(8, attach_type).u32(16, u32::from(returns) * RETURNS);
    attr.u32(20, count).pointer(24, pointers.as_ptr()).call_fd(LINK_CREATE)
}

/// Places in a file.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kernel) struct Uprobes<'a> {
    pub(in crate::kernel) offsets: &'a [u64],
    /// Empty, or an offset for each, 0 where there is none.
    pub(in crate::kernel) semaphores: &'a [u64],
    /// Empty, or a number for each that programs are given.
    pub(in crate::kernel) cookies: &'a [u64],
}

/// A link of all these places of a file.
pub(in crate::kernel) fn link_uprobes(
    program: BorrowedFd<'_>,
    attach_type: u32,
    file: &Path,
    Uprobes { offsets, semaphores, cookies }: Uprobes<'_>,
    pid: u32,
    returns: bool,
) -> io::Result<OwnedFd> {
    let path = path_text(file)?;
    let count = u32::try_from(offsets.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let attr = Attr::new().fd(0, program).u32(8, attach_type).pointer(16, path.as_ptr()).pointer(24, offsets.as_ptr());
    let attr = if semaphores.is_empty() { attr } else { attr.pointer(32, semaphores.as_ptr()) };
    let attr = if cookies.is_empty() { attr } else { attr.pointer(40, cookies.as_ptr()) };
    attr.u32(48, count).u32(52, u32::from(returns) * RETURNS).u32(56, pid).call_fd(LINK_CREATE)
}

/// A link of a table of functions, which is a map.
pub(in crate::kernel) fn link_map(map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Attr::new().fd(0, map).u32(8, STRUCT_OPS).call_fd(LINK_CREATE)
}

/// A link of the raw tracepoint of this name; without one of what the program was loaded for.
pub(in crate::kernel) fn raw_tracepoint(program: BorrowedFd<'_>, name: Option<&str>) -> io::Result<OwnedFd> {
    let name = name.map(CString::new).transpose()?;
    let attr = Attr::new().fd(8, program);
    match &name {
        None => attr.call_fd(RAW_TRACEPOINT_OPEN),
        Some(name) => attr.pointer(0, name.as_ptr()).call_fd(RAW_TRACEPOINT_OPEN),
    }
}

/// Attaches to a control group without a link; `flags` 0 or `BPF_F_ALLOW_OVERRIDE`. What was there is replaced.
pub(in crate::kernel) fn group_attach(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_type: u32,
    flags: u32,
) -> io::Result<()> {
    Attr::new().fd(0, group).fd(4, program).u32(8, attach_type).u32(12, flags).call(PROG_ATTACH).map(drop)
}

pub(in crate::kernel) fn group_detach(group: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_type: u32) -> io::Result<()> {
    Attr::new().fd(0, group).fd(4, program).u32(8, attach_type).call(PROG_DETACH).map(drop)
}

/// The ids of the programs attached to a device's index or a control group's descriptor, in the order they run in.
pub(in crate::kernel) fn query(target: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut programs = vec![0u32; 64];
    let mut attr = Attr::new().u32(0, target).u32(4, attach_type).pointer(16, programs.as_mut_ptr()).u32(24, 64);
    // More than fit: the kernel tells how many there are.
    if let Err(error) = attr.call_mut(PROG_QUERY) {
        if error.raw_os_error() != Some(libc::ENOSPC) {
            return Err(error);
        }
        let count = attr.word(24);
        programs = vec![0; count as usize];
        attr = Attr::new().u32(0, target).u32(4, attach_type).pointer(16, programs.as_mut_ptr()).u32(24, count);
        attr.call_mut(PROG_QUERY)?;
    }
    programs.truncate(attr.word(24) as usize);
    Ok(programs)
}

/// A link of an open event.
pub(in crate::kernel) fn link_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    link_event_with(program, event, 0)
}

/// The same, with a number that programs are given.
pub(in crate::kernel) fn link_event_with(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let attr = Attr::new().fd(0, program).fd(4, event).u32(8, PERF_EVENT);
    attr.bytes(16, &cookie.to_ne_bytes()).call_fd(LINK_CREATE)
}
