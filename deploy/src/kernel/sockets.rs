//! Sockets of other processes: which one a descriptor means, where it is later, and what is attached to it.
//!
//! A socket's number is given once, so neither a recycled process nor a recycled descriptor is ever taken for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ouro_rules::manifest::{Attach, Socket};

use super::places::{Found, Missing};
use super::refusal::{self, changed, not_attached};
use super::sys::{self, SocketFilter};
use crate::Error;
use crate::hook::{Hook, SocketId};

/// What a socket runs, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// It is closed.
    Closed,
    /// Nothing.
    Nothing,
    /// A program, ours or another; what shares a port never tells more.
    Program,
    /// What is no program, and so not ours.
    Foreign,
}

/// Which sockets the descriptors mean now; none for those that mean none.
pub(crate) fn sockets(attach: &[Attach]) -> BTreeMap<(u32, u32), SocketId> {
    let places = attach.iter().filter_map(|point| match point {
        Attach::Socket(place) => Some(place),
        _ => None,
    });
    places.filter_map(|place| Some(((place.pid, place.fd), identity(open(place).ok()?.as_fd()).ok()?))).collect()
}

/// Why nothing can be attached there.
pub(super) fn look_at(place: &Socket, id: Option<SocketId>) -> Found<()> {
    let Some(id) = id else { return open(place).map(drop) };
    let found = find(place, id).map_err(not_permitted)?;
    let socket = found.ok_or_else(|| closed(place))?;
    if place.shared_port {
        let shares = sys::shares_port(socket.as_fd()).unwrap_or(false);
        return if shares { Ok(()) } else { Err(alone(place)) };
    }
    match sys::socket_filter(socket.as_fd()) {
        // Whose a program is, others tell.
        Ok(SocketFilter::Nothing | SocketFilter::Program) => Ok(()),
        _ => Err(Missing::new("its process gave it a filter, which would be lost for good").help(format!(
            "have process {} call `setsockopt({}, SOL_SOCKET, SO_DETACH_FILTER, ...)` first",
            place.pid, place.fd
        ))),
    }
}

/// What a socket runs.
pub(crate) fn socket_state(place: &Socket, id: SocketId) -> Result<SocketState, Error> {
    let Some(socket) = find(place, id)? else { return Ok(SocketState::Closed) };
    if place.shared_port {
        return Ok(SocketState::Program);
    }
    let failed =
        |error| Error::io(format!("cannot ask for the filter of descriptor {} of process {}", place.fd, place.pid), error);
    Ok(match sys::socket_filter(socket.as_fd()).map_err(failed)? {
        SocketFilter::Nothing => SocketState::Nothing,
        SocketFilter::Program => SocketState::Program,
        SocketFilter::Classic => SocketState::Foreign,
    })
}

/// Attaches a program where nothing is attached, as far as it can be told.
pub(super) fn attach(hook: &Hook, program: BorrowedFd<'_>) -> Result<(), Error> {
    let (place, socket) = require(hook)?;
    expect(hook, place, &socket, SocketFilter::Nothing)?;
    sys::socket_attach(socket.as_fd(), program, place.shared_port).map_err(|error| refused(hook, error))
}

/// Puts a program in the place of another, at one instant.
pub(super) fn replace(hook: &Hook, program: BorrowedFd<'_>) -> Result<(), Error> {
    let (place, socket) = require(hook)?;
    expect(hook, place, &socket, SocketFilter::Program)?;
    sys::socket_attach(socket.as_fd(), program, place.shared_port).map_err(|error| refused(hook, error))
}

/// Detaches a program; no error if nothing is attached any more, or the socket is closed.
pub(super) fn detach(hook: &Hook) -> Result<(), Error> {
    let Some((place, socket)) = still_there(hook)? else { return Ok(()) };
    if !place.shared_port && sys::socket_filter(socket.as_fd()).is_ok_and(|filter| filter == SocketFilter::Classic) {
        return Err(changed(hook));
    }
    // A process can lock its filter, and nobody opens that lock. A stub that stays then finds no program in its table once that is gone,
    // and lets everything pass.
    match sys::socket_detach(socket.as_fd(), place.shared_port) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPERM)) => Err(refused(hook, error)),
        _ => Ok(()),
    }
}

/// Detaches whatever is attached; no error if nothing is.
pub(crate) fn clear_socket(hook: &Hook) -> Result<(), Error> {
    let Some((place, socket)) = still_there(hook)? else { return Ok(()) };
    match sys::socket_detach(socket.as_fd(), place.shared_port) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(refused(hook, error)),
        _ => Ok(()),
    }
}

fn still_there(hook: &Hook) -> Result<Option<(&Socket, OwnedFd)>, Error> {
    let Hook::Socket { place, id: Some(id) } = hook else { return Ok(None) };
    Ok(find(place, *id)?.map(|socket| (place, socket)))
}

fn require(hook: &Hook) -> Result<(&Socket, OwnedFd), Error> {
    let gone = || Error::Attach { hook: hook.to_string(), reason: "the socket is closed".to_owned() };
    still_there(hook)?.ok_or_else(gone)
}

/// Of a port that is shared nobody can ask.
fn expect(hook: &Hook, place: &Socket, socket: &OwnedFd, expected: SocketFilter) -> Result<(), Error> {
    let is_expected =
        place.shared_port || sys::socket_filter(socket.as_fd()).map_err(|error| not_attached(hook, error))? == expected;
    if is_expected { Ok(()) } else { Err(changed(hook)) }
}

fn refused(hook: &Hook, error: io::Error) -> Error {
    let Hook::Socket { place, .. } = hook else { return not_attached(hook, error) };
    match error.raw_os_error() {
        Some(libc::EPERM) => refusal::missing(hook, Missing::new("its process locked its filter (SO_LOCK_FILTER)")),
        Some(libc::EINVAL | libc::EOPNOTSUPP) | None if place.shared_port => refusal::missing(hook, alone(place)),
        _ => not_attached(hook, error),
    }
}

/// Opens what a descriptor of a process means, which must be a socket.
fn open(place: &Socket) -> Found<OwnedFd> {
    let socket = copy(place.pid, place.fd).map_err(|error| why(place, &error))?;
    match sys::socket_cookie(socket.as_fd()) {
        Ok(_) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
            Err(Missing::new(format!("descriptor {} of process {} is no socket", place.fd, place.pid)).help(lists(place)))
        }
        Err(error) => Err(why(place, &error)),
    }
}

fn copy(pid: u32, fd: u32) -> io::Result<OwnedFd> {
    sys::descriptor_of(sys::open_process(pid)?.as_fd(), fd)
}

fn why(place: &Socket, error: &io::Error) -> Missing {
    let Socket { pid, fd, .. } = place;
    match error.raw_os_error() {
        Some(libc::ESRCH) => Missing::new(format!("there is no process {pid}")),
        Some(libc::EBADF) => Missing::new(format!("process {pid} has no descriptor {fd}")).help(lists(place)),
        Some(libc::EPERM) => not_permitted(Error::NoDescriptor(*pid)),
        Some(libc::ENOSYS) => {
            Missing::new("the kernel gives nobody the sockets of others").help("pidfd_getfd came with Linux 5.6")
        }
        _ => Missing::new(format!("cannot open descriptor {fd} of process {pid}: {error}")),
    }
}

fn not_permitted(error: Error) -> Missing {
    Missing { what: error.to_string(), help: error.help() }
}

fn lists(place: &Socket) -> String {
    format!("`ls -l /proc/{}/fd` lists them", place.pid)
}

fn closed(place: &Socket) -> Missing {
    Missing::new(format!("the socket that was descriptor {} of process {} is closed", place.fd, place.pid))
}

fn alone(place: &Socket) -> Missing {
    Missing::new("it cannot share its port").help(format!(
        "have process {} call `setsockopt({}, SOL_SOCKET, SO_REUSEPORT, ...)` before it binds a TCP or UDP socket",
        place.pid, place.fd
    ))
}

fn identity(socket: BorrowedFd<'_>) -> io::Result<SocketId> {
    let inode = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()))?.ino();
    Ok(SocketId { inode, cookie: sys::socket_cookie(socket)? })
}

/// A socket, wherever it is now: descriptors are copied and handed on, and processes leave them to their children. None if nobody has it.
fn find(place: &Socket, id: SocketId) -> Result<Option<OwnedFd>, Error> {
    let is_it = |socket: &OwnedFd| sys::socket_cookie(socket.as_fd()).is_ok_and(|cookie| cookie == id.cookie);
    match copy(place.pid, place.fd) {
        Ok(socket) if is_it(&socket) => return Ok(Some(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return Err(Error::NoDescriptor(place.pid));
        }
        _ => {}
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.flat_map(|pid| descriptors(pid, id.inode)).find(is_it))
}

/// The descriptors of a process that mean the socket with this number in their file system.
fn descriptors(pid: u32, inode: u64) -> Vec<OwnedFd> {
    let wanted = format!("socket:[{inode}]");
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let here = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|what| what == Path::new(&wanted)));
    here.filter_map(|entry| copy(pid, entry.file_name().to_str()?.parse().ok()?).ok()).collect()
}
