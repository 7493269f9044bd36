//! Packets between two processes, with file descriptors attached: what the standard library does not offer.
//!
//! Knows nothing of what they say.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The most file descriptors that go with a packet.
const MOST_FILES: usize = 2;

/// Room for them as the kernel wants it.
type Room = [u64; 4];

/// The two ends of a connection. One end learns that the other is gone, which it would not with the standard library's own pair.
pub(super) fn pair() -> io::Result<[UnixDatagram; 2]> {
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: there is room for two numbers.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptors were just opened, and nobody else knows them.
    Ok(ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }.into()))
}

/// Whether a packet, or the other side's end, can be received without waiting longer than this.
pub(super) fn is_readable_within(end: &UnixDatagram, time: Duration) -> bool {
    let mut asked = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one entry.
    unsafe { libc::poll(&raw mut asked, 1, time.as_millis() as libc::c_int) == 1 }
}

/// Receives a packet of exactly this size.
pub(super) fn receive<const BYTES: usize>(end: &UnixDatagram) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let size = end.recv(&mut bytes)?;
    if size == BYTES { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Sends a packet with file descriptors: one at least, [`MOST_FILES`] at most.
pub(super) fn send(end: &UnixDatagram, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    assert!((1..=MOST_FILES).contains(&files.len()), "BUG: there is room for {MOST_FILES}");
    let mut room: Room = [0; 4];
    let mut bytes = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let size = (files.len() * size_of::<RawFd>()) as u32;
    // SAFETY: the header and its data lie in `room`, which is aligned for them and large enough for `MOST_FILES`; all that the
    // message points to outlives the call.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut bytes;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
        files.iter().enumerate().for_each(|(place, file)| numbers.add(place).write_unaligned(file.as_raw_fd()));
        libc::sendmsg(end.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
