//! Single instructions, as far as a loader changes them.
//!
//! Knows the layout of `struct bpf_insn` on this machine, not what programs mean.

/// `BPF_LD | BPF_DW | BPF_IMM`: the first half of `dst = imm64`.
const WIDE_LOAD: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// What code compiled for types calls where the kernel has nothing there: no helper, and what libbpf writes.
const NOTHING: i32 = 0xbad_2310;
/// `BPF_PSEUDO_CALL`: the immediate is the distance to a function.
const PSEUDO_CALL: u8 = 1;

/// What a loader writes into the source register, to say what the immediate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pseudo {
    /// A number.
    Number = 0,
    /// A map.
    Map = 1,
    /// A place in the value of a map.
    MapValue = 2,
    /// A variable of the kernel, by the number of its type.
    Variable = 3,
    /// A function of the program.
    Function = 4,
}

/// What an instruction does, as far as that matters for its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It loads a constant.
    Load,
    /// It reads or writes memory.
    Memory,
    /// It computes.
    Arithmetic,
    /// It goes somewhere else.
    Jump,
}

/// `BPF_PSEUDO_KFUNC_CALL`.
const KERNEL_CALL: u8 = 2;

/// An instruction of eight bytes, in the machine's own byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Insn([u8; 8]);

impl Insn {
    /// Bytes of an instruction.
    pub(crate) const BYTES: u64 = 8;

    /// From its bytes.
    pub(crate) fn new(bytes: [u8; 8]) -> Insn {
        Insn(bytes)
    }

    /// The bytes.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0
    }

    fn code(self) -> u8 {
        self.0[0]
    }

    fn src(self) -> u8 {
        if cfg!(target_endian = "little") { self.0[1] >> 4 } else { self.0[1] & 15 }
    }

    fn set_src(&mut self, src: u8) {
        self.0[1] = if cfg!(target_endian = "little") { self.0[1] & 15 | src << 4 } else { self.0[1] & 0xf0 | src };
    }

    /// The immediate.
    pub(crate) fn imm(self) -> i32 {
        i32::from_ne_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// Sets the immediate.
    pub(crate) fn set_imm(&mut self, imm: i32) {
        self.0[4..].copy_from_slice(&imm.to_ne_bytes());
    }

    pub(super) fn class(self) -> Class {
        match self.code() & 7 {
            0 => Class::Load,
            1..=3 => Class::Memory,
            4 | 7 => Class::Arithmetic,
            _ => Class::Jump,
        }
    }

    /// Whether its second operand is its immediate: `BPF_K`.
    pub(super) fn is_immediate(self) -> bool {
        self.code() & 8 == 0
    }

    /// Sets the place in memory behind the register's.
    pub(super) fn set_offset(&mut self, offset: i16) {
        self.0[2..4].copy_from_slice(&offset.to_ne_bytes());
    }

    /// Sets how much memory is read or written: `BPF_W`, `BPF_H`, `BPF_B` and `BPF_DW`.
    pub(super) fn set_bytes(&mut self, bytes: u32) -> Option<()> {
        let size = [4, 2, 1, 8].iter().position(|known| *known == bytes)? as u8;
        self.0[0] = self.code() & !0x18 | size << 3;
        Some(())
    }

    /// Makes it a call of nothing: verified only if it cannot be reached.
    pub(super) fn poison(&mut self) {
        *self = Insn([CALL, 0, 0, 0, 0, 0, 0, 0]);
        self.set_imm(NOTHING);
    }

    /// Whether it calls a function of the object.
    pub(super) fn is_local_call(self) -> bool {
        self.code() == CALL && self.src() == PSEUDO_CALL
    }

    /// Whether it is the first half of a wide load.
    pub(crate) fn is_wide_load(self) -> bool {
        self.code() == WIDE_LOAD
    }

    /// Says what the immediate of a wide load is.
    pub(crate) fn load(&mut self, what: Pseudo, imm: i32) {
        self.set_src(what as u8);
        self.set_imm(imm);
    }

    /// Makes a call one of a function of the kernel: the number of its type, and the place of its BTF in the list given along.
    pub(crate) fn call_kernel(&mut self, function: i32, list_place: i16) {
        self.set_src(KERNEL_CALL);
        self.0[2..4].copy_from_slice(&list_place.to_ne_bytes());
        self.set_imm(function);
    }

    /// Makes a call one of a helper that no kernel has: verified only if it can be reached.
    pub(crate) fn call_nothing(&mut self, number: i32) {
        self.set_src(0);
        self.set_imm(number);
    }
}
