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
            let what = format!("`{interface}` has no network card that runs programs, or it takes none now");
            Err(Missing { what, help: Some(help.to_owned()) })
        }
        _ => Ok(()),
    }
}

/// Why a card does not take a program or a map, where the kernel says no more than a number; none if it was the kernel itself that
/// refused it.
pub(super) fn refused(card: u32, error: &io::Error) -> Option<String> {
    let kernels = [libc::EPERM, libc::EACCES, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EINTR, libc::EAGAIN];
    if error.raw_os_error().is_none_or(|number| kernels.contains(&number)) {
        return None;
    }
    let device = sys::device_name(card).unwrap_or_else(|_| format!("device {card}"));
    Some(format!(
        "the network card of `{device}` does not take it ({error}); it may lack something, or the room: use `mode = \"native\"`"
    ))
}

/// What cannot be done to a map. Those of a card take more than others do (`bpf_map_offload_map_alloc`).
pub(super) fn not_done(what: String, card: Option<u32>, error: &io::Error) -> String {
    let is_short = card.is_some() && error.kind() == io::ErrorKind::PermissionDenied;
    if is_short { format!("{what} on a network card, which takes CAP_SYS_ADMIN") } else { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever went wrong was told as the card's doing: who lacked a capability, or memory for a moment, was sent to another mode.
    #[test]
    fn what_the_kernel_refuses_is_not_the_cards_affair() {
        let told = |errno: i32| refused(1, &io::Error::from_raw_os_error(errno));
        let device = sys::device_name(1).unwrap();
        for errno in [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSPC, libc::E2BIG, libc::EBUSY] {
            assert!(told(errno).is_some_and(|why| why.starts_with(&format!("the network card of `{device}`"))), "{errno}");
        }
        for errno in [libc::EPERM, libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            assert_eq!(told(errno), None, "{errno}");
        }
        let not_done = |card, errno| not_done("cannot create it".to_owned(), card, &io::Error::from_raw_os_error(errno));
        assert_eq!(not_done(Some(1), libc::EPERM), "cannot create it on a network card, which takes CAP_SYS_ADMIN");
        assert_eq!(
            (not_done(None, libc::EPERM), not_done(Some(1), libc::ENOMEM)),
            ("cannot create it".into(), "cannot create it".into())
        );
    }
}
