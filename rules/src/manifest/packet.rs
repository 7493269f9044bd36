//! The packets a chain is tried with before it goes live.

use serde::{Deserialize, Serialize};

/// Bytes of an Ethernet header; the kernel runs programs on nothing shorter (`bpf_prog_test_run_skb`).
pub const MIN_PACKET: usize = 14;

/// Bytes that fit a page of 4 KiB with the room the kernel takes before and behind a packet (`bpf_prog_test_run_xdp`).
pub const MAX_PACKET: usize = 3520;

/// A packet, and what the chain must say to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketTest {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes in hex, from the link layer header on.
    pub data: String,
    /// The verdict.
    pub verdict: i32,
}

impl PacketTest {
    /// Its bytes; `None` if they are no hex.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let digits: Vec<u8> =
            self.data.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        let bytes = |data: &str| PacketTest { name: String::new(), data: data.to_owned(), verdict: 0 }.bytes();
        assert_eq!(bytes("00fF1a"), Some(vec![0, 255, 26]));
        for wrong in ["0", "0g", "é", " 00"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
