//! Netlink of routing, as little of it as deploying needs: dumps and one request, parsed into messages and attributes.
//!
//! Knows the wire format (include/uapi/linux/netlink.h), not what is asked for.

use std::io;
use std::os::fd::AsFd;

use super::sys;

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Nested attributes and byte order are flagged in the top bits of an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

/// The bodies of all messages the kernel answers a dump with.
pub(super) fn dump(message: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    exchange(message, NLM_F_REQUEST | NLM_F_DUMP, body)
}

/// Asks for a change and waits until it is done.
pub(super) fn request(message: u16, body: &[u8]) -> io::Result<()> {
    exchange(message, NLM_F_REQUEST | NLM_F_ACK, body).map(drop)
}

fn exchange(message: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let socket = sys::netlink_socket()?;
    sys::send(socket.as_fd(), &encode(message, flags, body))?;
    let mut bodies = Vec::new();
    // The kernel never sends more in one piece than 32 KiB, unless asked by a larger buffer.
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        sys::receive(socket.as_fd(), &mut buffer)?;
        if take(&buffer, &mut bodies)? {
            return Ok(bodies);
        }
    }
}

fn encode(message: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("BUG: requests are small");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(message.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // The sequence number and the port, which a socket with one question needs not tell apart.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Takes the messages of one packet; true when it was the last.
fn take(mut packet: &[u8], bodies: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(packet, 0), half(packet, 4)) {
        let body = packet.get(HEADER..length as usize).ok_or_else(cut_short)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return answer(body),
            _ => bodies.push(body.to_vec()),
        }
        packet = packet.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn answer(body: &[u8]) -> io::Result<bool> {
    match word(body, 0).ok_or_else(cut_short)?.cast_signed() {
        0 => Ok(true),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a netlink message is cut short")
}

/// The attribute of this type.
pub(super) fn attribute(attributes: &[u8], ty: u16) -> Option<&[u8]> {
    attributes_of(attributes, ty).into_iter().next()
}

/// All attributes of this type.
pub(super) fn attributes_of(mut attributes: &[u8], ty: u16) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else { break };
        found.extend((kind & TYPE_MASK == ty).then_some(value));
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The number at this offset.
pub(super) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(ty: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + u16::try_from(value.len()).unwrap()).to_ne_bytes().to_vec();
        bytes.extend(ty.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn attributes_are_found_behind_padding_and_nesting_flags() {
        let bytes = [attr(1, b"abcde"), attr(2 | 0x8000, b"x"), attr(3, &[7, 0, 0, 0])].concat();
        assert_eq!(attribute(&bytes, 2), Some(&b"x"[..]));
        assert_eq!(attribute(&bytes, 3).and_then(|value| word(value, 0)), Some(7u32.to_le()));
        assert_eq!(attribute(&bytes, 4), None);
    }

    #[test]
    fn nonsense_ends_the_search() {
        for bytes in [&[0u8; 4][..], &[3, 0, 1, 0], &[200, 0, 1, 0, 9], &[4], &[]] {
            assert_eq!(attribute(bytes, 9), None, "{bytes:?}");
        }
        assert!(take(&[255; 20], &mut Vec::new()).is_err());
        assert!(take(&[8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut Vec::new()).is_err());
    }

    #[test]
    fn the_loopback_device_is_dumped() {
        let devices = dump(libc::RTM_GETLINK, &[0; 16]).unwrap();
        assert!(devices.iter().any(|body| attribute(&body[16..], libc::IFLA_IFNAME) == Some(b"lo\0")));
    }
}
