//! BPF_PROG_LOAD.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::Attr;

const PROG_LOAD: u32 = 5;

/// The kernel gives up a verification when a signal comes, and wants to be asked again.
const TRIES: usize = 5;

/// What a program is loaded with.
#[derive(Default)]
pub(in crate::kernel) struct Program<'a> {
    /// `enum bpf_prog_type`.
    pub(in crate::kernel) ty: u32,
    /// `enum bpf_attach_type`; for a function of a struct, the number of its member.
    pub(in crate::kernel) attach_type: u32,
    /// `BPF_F_*` bits.
    pub(in crate::kernel) flags: u32,
    /// Eight bytes each.
    pub(in crate::kernel) insns: &'a [u8],
    pub(in crate::kernel) license: &'a CStr,
    /// The kernel keeps 15 bytes.
    pub(in crate::kernel) name: &'a str,
    pub(in crate::kernel) btf: Option<BorrowedFd<'a>>,
    /// `struct bpf_func_info`.
    pub(in crate::kernel) functions: &'a [[u32; 2]],
    /// `struct bpf_line_info`.
    pub(in crate::kernel) lines: &'a [[u32; 4]],
    /// What it attaches to, by its type in the BTF of the kernel, or of a module.
    pub(in crate::kernel) attach_btf_id: u32,
    pub(in crate::kernel) attach_btf: Option<BorrowedFd<'a>>,
    /// The BTF of modules whose functions it calls, from place 1 on.
    pub(in crate::kernel) modules: &'a [i32],
    /// The device whose card it is for; 0 for the kernel.
    pub(in crate::kernel) card: u32,
}

/// Loads a program; the verifier writes to `log` what the bits of `level` ask for.
pub(in crate::kernel) fn prog_load(program: &Program<'_>, level: u32, log: &mut [u8]) -> io::Result<OwnedFd> {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let name = &program.name.as_bytes()[..program.name.len().min(15)];
    let mut attr = Attr::new()
        .u32(0, program.ty)
        .u32(4, count(program.insns.len() / 8))
        .pointer(8, program.insns.as_ptr())
        .pointer(16, program.license.as_ptr())
        .u32(44, program.flags)
        .bytes(48, name)
        .u32(64, program.card)
        .u32(68, program.attach_type)
        .u32(108, program.attach_btf_id);
    if level > 0 {
        attr = attr.u32(24, level).u32(28, count(log.len())).pointer(32, log.as_mut_ptr());
    }
    if let Some(btf) = program.btf.filter(|_| !program.functions.is_empty()) {
        attr = attr.fd(72, btf).u32(76, 8).pointer(80, program.functions.as_ptr()).u32(88, count(program.functions.len()));
        attr = attr.u32(92, 16).pointer(96, program.lines.as_ptr()).u32(104, count(program.lines.len()));
    }
    if let Some(btf) = program.attach_btf {
        attr = attr.fd(112, btf);
    }
    if !program.modules.is_empty() {
        attr = attr.pointer(120, program.modules.as_ptr());
    }
    for _ in 1..TRIES {
        match attr.clone().call_fd(PROG_LOAD) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            result => return result,
        }
    }
    attr.call_fd(PROG_LOAD)
}
