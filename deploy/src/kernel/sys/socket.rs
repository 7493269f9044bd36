//! Sockets of processes: how to come to them, what tells them apart, and the options that attach programs.
//!
//! Knows numbers (include/uapi/asm-generic/socket.h), not hooks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{
    SO_ATTACH_BPF, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_EBPF, SO_BINDTOIFINDEX, SO_COOKIE, SO_DETACH_FILTER,
    SO_DETACH_REUSEPORT_BPF, SO_LOCK_FILTER, SO_PROTOCOL, SO_REUSEPORT, SOL_SOCKET,
};

/// include/uapi/linux/sockios.h
const SIOCGSKNS: u32 = 0x894c;

/// What filters a socket's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum SocketFilter {
    Nothing,
    /// Instructions of the classic BPF.
    Classic,
    /// A program; the kernel does not tell which.
    Program,
}

/// A process, for as long as the descriptor is open: another one with its number is not it. Linux 5.3.
pub(in crate::kernel) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; gives a new file descriptor that nobody else has.
    opened(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of a process's descriptor. Linux 5.6.
pub(in crate::kernel) fn descriptor_of(process: BorrowedFd<'_>, fd: u32) -> io::Result<OwnedFd> {
    // SAFETY: as above.
    opened(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

fn opened(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the calls above give new file descriptors that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number the kernel gave the socket, and gives to no other before the machine starts again (global since Linux 5.4).
pub(in crate::kernel) fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = [0; 8];
    get(socket, SO_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// Whether it can share its port.
pub(in crate::kernel) fn shares_port(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(number(socket, SO_REUSEPORT)? != 0)
}

/// Whether its process has given up changing its filter, for itself and for all others.
pub(in crate::kernel) fn is_filter_locked(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(number(socket, SO_LOCK_FILTER)? != 0)
}

/// The number of its protocol: 6 of TCP, 17 of UDP.
pub(in crate::kernel) fn protocol(socket: BorrowedFd<'_>) -> io::Result<u32> {
    number(socket, SO_PROTOCOL)
}

/// The index of the device that its packets must come from; 0 if any will do.
pub(in crate::kernel) fn bound_device(socket: BorrowedFd<'_>) -> io::Result<u32> {
    number(socket, SO_BINDTOIFINDEX)
}

/// The network namespace it is in. Linux 4.9.
pub(in crate::kernel) fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; gives a new file descriptor that nobody else has.
    opened(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) }.into())
}

fn number(socket: BorrowedFd<'_>, option: i32) -> io::Result<u32> {
    let mut value = [0; 4];
    get(socket, option, &mut value)?;
    Ok(u32::from_ne_bytes(value))
}

/// SO_GET_FILTER, which has the number of SO_ATTACH_FILTER, tells how many instructions of the classic BPF there are, and refuses where
/// the filter never was classic (`sk_get_filter`).
pub(in crate::kernel) fn socket_filter(socket: BorrowedFd<'_>) -> io::Result<SocketFilter> {
    match get(socket, SO_ATTACH_FILTER, &mut []) {
        Ok(0) => Ok(SocketFilter::Nothing),
        Ok(_) => Ok(SocketFilter::Classic),
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(SocketFilter::Program),
        Err(error) => Err(error),
    }
}

/// Attaches a program, in place of whatever is attached; `group` to all sockets that share the port.
pub(in crate::kernel) fn socket_attach(socket: BorrowedFd<'_>, program: BorrowedFd<'_>, group: bool) -> io::Result<()> {
    set(socket, if group { SO_ATTACH_REUSEPORT_EBPF } else { SO_ATTACH_BPF }, program.as_raw_fd())
}

/// Detaches whatever is attached; ENOENT if nothing is.
pub(in crate::kernel) fn socket_detach(socket: BorrowedFd<'_>, group: bool) -> io::Result<()> {
    set(socket, if group { SO_DETACH_REUSEPORT_BPF } else { SO_DETACH_FILTER }, 0)
}

/// Reads an option; how long it is.
fn get(socket: BorrowedFd<'_>, option: i32, value: &mut [u8]) -> io::Result<u32> {
    let mut length = libc::socklen_t::try_from(value.len()).unwrap_or_default();
    // SAFETY: the kernel writes into `value` within its length.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), SOL_SOCKET, option, value.as_mut_ptr().cast(), &raw mut length) };
    if done == 0 { Ok(length) } else { Err(io::Error::last_os_error()) }
}

fn set(socket: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or_default();
    // SAFETY: the kernel reads the value within its length.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), SOL_SOCKET, option, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(super::last_error()) }
}
