//! Stubs: programs of raw instructions that jump to the only slot of a root table.
//!
//! Knows their instructions, and no hooks.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::maps::{create_root_table, fill_slot};
use super::prepare::kind_of;
use super::types::{Found, KernelTypes};
use super::{bpffs, pins, sys};
use crate::Error;

/// Makes a root table with `entry` in its slot, and then a stub for programs of this section. Whatever a stopped one left is
/// replaced: nothing runs it.
pub(crate) fn create_root(section: &str, verdict: i32, stub: &Path, table: &Path, entry: &Path) -> Result<(), Error> {
    [stub, table].iter().try_for_each(|path| bpffs::remove_pin(path))?;
    create_root_table(table)?;
    fill_slot(table, 0, entry)?;
    let failed = |error| Error::io("cannot load the stub of the root table", error);
    let types = KernelTypes::default();
    let unknown = |reason| Error::Object { of: "the stub of the root table".to_owned(), reason };
    let (ty, attach_type, flags, attach) = kind_of(section, &types).map_err(unknown)?;
    let map = pins::require(table, pins::Kind::Map)?;
    let insns = instructions(map.as_raw_fd(), verdict);
    let program = sys::Program {
        ty,
        attach_type,
        flags,
        insns: &insns,
        license: c"GPL",
        name: "ouro_root",
        btf: None,
        functions: &[],
        lines: &[],
        attach_btf_id: attach.as_ref().map_or(0, |found| found.id),
        attach_btf: attach.as_ref().and_then(Found::module),
        modules: &[],
        card: 0,
    };
    let fd = sys::prog_load(&program, 0, &mut []).map_err(failed)?;
    sys::pin(fd.as_fd(), stub).map_err(|error| Error::io(format!("cannot pin `{}`", stub.display()), error))
}

/// `bpf_tail_call(ctx, table, 0); return verdict;` with the context still in register 1.
fn instructions(table: i32, verdict: i32) -> Vec<u8> {
    const LOAD_WIDE: u8 = 0x18;
    const SET: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const TAIL_CALL: i32 = 12;
    /// `BPF_PSEUDO_MAP_FD`, as the source register.
    const MAP: u8 = 1 << 4;
    let insn = |code: u8, registers: u8, number: i32| {
        let [a, b, c, d] = number.to_ne_bytes();
        [code, registers, 0, 0, a, b, c, d]
    };
    let all = [
        insn(LOAD_WIDE, 2 | MAP, table),
        insn(0, 0, 0),
        insn(SET, 3, 0),
        insn(CALL, 0, TAIL_CALL),
        insn(SET, 0, verdict),
        insn(EXIT, 0, 0),
    ];
    all.concat()
}
