//! Sockets of other processes: which one a descriptor means, and what is attached to it.
//!
//! A socket's number is given once, so neither a recycled process nor a recycled descriptor is ever taken for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use ouro_rules::manifest::{Attach, Socket};

use super::holders::{Unseen, copy, failed, find, find_all, not_permitted};
use super::places::{Found, Missing};
use super::refusal::{self, changed, not_attached};
use super::sys::{self, SocketFilter};
use crate::Error;
use crate::hook::{Hook, Port, SocketId};

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

/// Which sockets the descriptors mean now, or why they mean none.
pub(crate) fn sockets(attach: &[Attach]) -> BTreeMap<(u32, u32), Found<SocketId>> {
    let places = attach.iter().filter_map(|point| match point {
        Attach::Socket(place) => Some(place),
        _ => None,
    });
    places.map(|place| ((place.pid, place.fd), identity(place))).collect()
}

/// Why nothing can be attached there.
pub(super) fn look_at(place: &Socket, id: SocketId) -> Found<()> {
    let socket = find(place, id)?.ok_or_else(|| closed(place))?;
    if sys::is_filter_locked(socket.as_fd()).unwrap_or(false) {
        return Err(locked());
    }
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

/// What sockets run, by the names of their hooks, or why nobody here can tell.
pub(crate) fn socket_states<'a>(hooks: impl Iterator<Item = &'a Hook>) -> BTreeMap<String, Result<SocketState, Unseen>> {
    let known = |hook: &'a Hook| match hook {
        Hook::Socket { place, id: Some(id) } => Some((hook.name(), (place, *id))),
        _ => None,
    };
    let places: Vec<(String, (&Socket, SocketId))> = hooks.filter_map(known).collect();
    let found = find_all(places.iter().map(|(_, place)| *place));
    let states = places.into_iter().map(|(name, (place, id))| {
        let state = match &found[&id.cookie] {
            Ok(Some(socket)) => state(place, socket.as_fd()),
            Ok(None) => Ok(SocketState::Closed),
            Err(why) => Err(why.clone()),
        };
        (name, state)
    });
    states.collect()
}

fn state(place: &Socket, socket: BorrowedFd<'_>) -> Result<SocketState, Unseen> {
    if place.shared_port {
        return Ok(SocketState::Program);
    }
    let untold = |error| failed(format!("the kernel does not tell what filters it: {error}"));
    Ok(match sys::socket_filter(socket).map_err(untold)? {
        SocketFilter::Nothing => SocketState::Nothing,
        SocketFilter::Program => SocketState::Program,
        SocketFilter::Classic => SocketState::Foreign,
    })
}

/// Whether a socket has a program, of which nobody can tell whose it is; of a port that is shared not even whether there is one.
pub(crate) fn has_program(hook: &Hook) -> bool {
    let states = socket_states([hook].into_iter());
    !hook.is_mute() && states.into_values().any(|state| state == Ok(SocketState::Program))
}

/// That a socket of ours is closed.
pub(crate) fn closed_socket(hook: &Hook) -> Option<Missing> {
    if let Hook::Socket { place, .. } = hook { Some(closed(place)) } else { None }
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

/// Attaches a program in the place of whatever is attached, at one instant.
pub(super) fn take(hook: &Hook, program: BorrowedFd<'_>) -> Result<(), Error> {
    let (place, socket) = require(hook)?;
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
    match take_off(place, &socket) {
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => Err(refused(hook, error)),
        _ => Ok(()),
    }
}

/// Detaches whatever is attached; no error if nothing is.
pub(crate) fn clear_socket(hook: &Hook) -> Result<(), Error> {
    let Some((place, socket)) = still_there(hook)? else { return Ok(()) };
    take_off(place, &socket).map_err(|error| refused(hook, error))
}

/// A socket that left its port, and shares no other, is told apart from one that has no program (`reuseport_detach_prog`).
fn take_off(place: &Socket, socket: &OwnedFd) -> io::Result<()> {
    match sys::socket_detach(socket.as_fd(), place.shared_port) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && place.shared_port => Ok(()),
        done => done,
    }
}

fn still_there(hook: &Hook) -> Result<Option<(&Socket, OwnedFd)>, Error> {
    let Hook::Socket { place, id: Some(id) } = hook else { return Ok(None) };
    let found = find(place, *id).map_err(|why| refusal::missing(hook, why.into()))?;
    Ok(found.map(|socket| (place, socket)))
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
        Some(libc::EPERM) => refusal::missing(hook, locked()),
        Some(libc::EINVAL | libc::EOPNOTSUPP) | None if place.shared_port => refusal::missing(hook, alone(place)),
        _ => not_attached(hook, error),
    }
}

/// Which socket a descriptor means.
fn identity(place: &Socket) -> Found<SocketId> {
    let failed = |error| why(place, &error);
    let socket = copy(place.pid, place.fd).map_err(failed)?;
    let cookie = sys::socket_cookie(socket.as_fd()).map_err(failed)?;
    let inode = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).map_err(failed)?.ino();
    let port = if place.shared_port { port(socket).map_err(failed)? } else { None };
    Ok(SocketId { inode, cookie, port })
}

/// The port that a socket is bound to; none before it is, or of a family that has none.
fn port(socket: OwnedFd) -> io::Result<Option<Port>> {
    let protocol = sys::protocol(socket.as_fd())?;
    let device = sys::bound_device(socket.as_fd())?;
    let namespace = File::from(sys::namespace_of(socket.as_fd())?).metadata()?.ino();
    // It need not be one of UDP to be asked for its address.
    let address = UdpSocket::from(socket).local_addr().ok().filter(|address| address.port() != 0);
    Ok(address.map(|address| Port { namespace, protocol, device, address }))
}

fn why(place: &Socket, error: &io::Error) -> Missing {
    let Socket { pid, fd, .. } = place;
    match error.raw_os_error() {
        Some(libc::ESRCH) => Missing::new(format!("there is no process {pid}")),
        Some(libc::EBADF) => Missing::new(format!("process {pid} has no descriptor {fd}")).help(lists(place)),
        Some(libc::ENOTSOCK) => Missing::new(format!("descriptor {fd} of process {pid} is no socket")).help(lists(place)),
        Some(libc::EPERM) => not_permitted(format!("process {pid} lets this one take no descriptors")).into(),
        Some(libc::ENOSYS) => {
            Missing::new("the kernel gives nobody the sockets of others").help("pidfd_getfd came with Linux 5.6")
        }
        _ => Missing::new(format!("cannot open descriptor {fd} of process {pid}: {error}")),
    }
}

fn lists(place: &Socket) -> String {
    format!("`ls -l /proc/{}/fd` lists them", place.pid)
}

fn closed(place: &Socket) -> Missing {
    Missing::new(format!("the socket that was descriptor {} of process {} is closed", place.fd, place.pid))
}

fn locked() -> Missing {
    Missing::new("its process locked its filter (SO_LOCK_FILTER)")
        .help("nobody can open that lock: have it make a new socket, and lock that one after the deploy if at all")
}

fn alone(place: &Socket) -> Missing {
    Missing::new("it cannot share its port").help(format!(
        "have process {} call `setsockopt({}, SOL_SOCKET, SO_REUSEPORT, ...)` before it binds a TCP or UDP socket",
        place.pid, place.fd
    ))
}
