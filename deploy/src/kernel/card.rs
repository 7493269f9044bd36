//! Network cards that run programs themselves: whether a device has one, and why it does not take what it is given.
//!
//! Knows one device at a time, by its index as the kernel does.

use std::io;

use super::places::{Found, Missing};
use super::{attach_type, numbers, sys};

/// `r0 = XDP_PASS; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Whether the device's card takes the smallest program. What else is wrong with asking is told when the chain is loaded.
pub(super) fn look_at(interface: &str) -> Found<()> {
    let Ok(card) = sys::device_index(interface) else { return Ok(()) };
    let ty = numbers::program_type("xdp").unwrap_or_default();
    let (insns, license, attach_type) = (&PASS[..], c"GPL", attach_type::XDP);
    let program = sys::Program { ty, attach_type, insns, license, name: "ouro_probe", card, ..sys::Program::default() };
    match sys::prog_load(&program, 0, &mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            let help =
                "use `mode = \"native\"`, in which the device's driver runs the chain; or `generic`, which every device has";
            Err(Missing { what: format!("`{interface}` has no network card that runs programs"), help: Some(help.to_owned()) })
        }
        _ => Ok(()),
    }
}

/// Why a card does not take a program or a map, where the kernel says no more than a number.
pub(super) fn refused(card: u32, error: &io::Error) -> String {
    let device = sys::device_name(card).unwrap_or_else(|_| format!("device {card}"));
    format!(
        "the network card of `{device}` does not take it ({error}); it may lack something, or the room: use `mode = \"native\"`"
    )
}
