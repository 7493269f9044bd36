//! A slot read from frozen read-only data is a constant to the kernel, which then patches a direct jump.

use crate::chain::Chain;
use crate::deployed;
use crate::raw::machine_code;
use crate::support::{Lab, lab};

/// Whether the program jumps into another by `jmp rel32`; its tail call is an indirect jump otherwise.
#[cfg(target_arch = "x86_64")]
fn jumps_directly(lab: &Lab, from: &str, to: &str) -> bool {
    let programs = lab.bpffs.join("ouro/fw/gen-1/progs");
    let (address, code) = machine_code(&programs.join(from));
    let (start, target) = machine_code(&programs.join(to));
    assert!(address != 0 && start != 0 && !code.is_empty(), "the kernel tells root where programs are");
    let range = start..start + target.len() as u64;
    let lands_there = |(place, window): (usize, &[u8])| {
        let distance = i32::from_le_bytes(window[1..].try_into().unwrap());
        window[0] == 0xe9 && range.contains(&(address + place as u64 + 5).wrapping_add_signed(distance.into()))
    };
    code.windows(5).enumerate().any(lands_there)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_linked_slot_becomes_a_direct_jump() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        assert!(jumps_directly(lab, "parse", "allow"));
        assert!(jumps_directly(lab, "parse", "block"));
        assert!(!jumps_directly(lab, "allow", "block"), "who declares no jump has none");
    });
}

/// The same instructions, but the slots lie in memory that can change: the check above must fail, or it would prove nothing.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_slot_that_can_change_does_not() {
    lab(|lab| {
        let chain = Chain { slot_section: ".data.ouro", ..Chain::firewall() };
        deployed(lab, &chain.bundle(lab.folder()));
        assert_eq!(lab.ping(3), 3, "it works all the same");
        assert!(!jumps_directly(lab, "parse", "allow"));
    });
}
