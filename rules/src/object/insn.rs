//! BPF instructions as the kernel's instruction set documentation defines them.
//!
//! Knows single instructions, not how they hang together.

/// The helper `bpf_tail_call`.
const TAIL_CALL: i32 = 12;
/// In the source register of a call or a wide load: the immediate names a function, not a helper or a number.
const PSEUDO_CALL: u8 = 1;

pub(super) const FRAME_POINTER: u8 = 10;

/// One 8-byte instruction; a wide load takes two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Insn {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

/// What an instruction does, as far as anybody here asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `dst = src` or `dst = imm`; `wide` is 64 bits.
    Move { wide: bool, by_register: bool },
    /// `dst += imm`, 64 bits, or `dst -= imm` as its opposite.
    Shift(i64),
    /// Any other arithmetic on `dst`.
    Arithmetic { by_register: bool },
    /// The first half of `dst = imm64`.
    WideLoad,
    /// Its second half.
    Half,
    /// `dst = *(src + off)` of so many bytes; `plain` is without sign extension.
    Load { bytes: u8, plain: bool },
    /// `*(dst + off) = src` or `= imm`.
    Store { bytes: u8, by_register: bool },
    /// An atomic operation on `*(dst + off)` with `src`.
    Atomic,
    /// The packet loads of classic BPF; they set r0 and forget r1 to r5.
    PacketLoad,
    /// An unconditional jump by so many instructions.
    Goto(i64),
    /// A jump by so many instructions if a comparison holds.
    Branch { by: i64, by_register: bool },
    /// A call of a function of the object.
    CallFunction,
    /// `bpf_tail_call`.
    TailCall,
    /// A call of any other helper or kernel function.
    CallHelper,
    /// A call of whatever a register points to; no kernel runs it.
    CallPointer,
    /// The end of a function.
    Exit,
}

impl Insn {
    /// Reads the first 8 bytes of `bytes`.
    pub fn read(bytes: &[u8; 8]) -> Insn {
        let [code, registers, off0, off1, imm @ ..] = *bytes;
        Insn {
            code,
            dst: registers & 15,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes(imm),
        }
    }

    /// What it does; none when it is no instruction this reader knows, or names a register there is not.
    pub fn kind(self) -> Option<Kind> {
        if self.dst > FRAME_POINTER {
            return None;
        }
        let is_register = self.code & 8 != 0;
        let kind = match self.code & 7 {
            0 => self.special_load()?,
            1 => Kind::Load { bytes: self.bytes(), plain: self.code & 0xe0 == 0x60 },
            2 => Kind::Store { bytes: self.bytes(), by_register: false },
            3 if self.code & 0xe0 == 0xc0 => Kind::Atomic,
            3 => Kind::Store { bytes: self.bytes(), by_register: true },
            4 => self.arithmetic(false, is_register),
            7 => self.arithmetic(true, is_register),
            class => self.jump(class == 6, is_register)?,
        };
        let names_source = self.reads(self.src, kind) || matches!(kind, Kind::Load { .. });
        (self.src <= FRAME_POINTER || !names_source).then_some(kind)
    }

    fn special_load(self) -> Option<Kind> {
        match self.code {
            0x18 => Some(Kind::WideLoad),
            0x00 => Some(Kind::Half),
            _ if matches!(self.code & 0xe0, 0x20 | 0x40) => Some(Kind::PacketLoad),
            _ => None,
        }
    }

    fn arithmetic(self, wide: bool, by_register: bool) -> Kind {
        match self.code & 0xf0 {
            // An offset makes it a sign extension.
            0xb0 if self.off == 0 => Kind::Move { wide, by_register },
            0x00 if wide && !by_register => Kind::Shift(i64::from(self.imm)),
            0x10 if wide && !by_register => Kind::Shift(-i64::from(self.imm)),
            _ => Kind::Arithmetic { by_register },
        }
    }

    fn jump(self, narrow: bool, by_register: bool) -> Option<Kind> {
        Some(match (self.code & 0xf0, narrow) {
            (0x00, _) if by_register => return None,
            (0x00, false) => Kind::Goto(i64::from(self.off)),
            (0x00, true) => Kind::Goto(i64::from(self.imm)),
            (0x80, false) if by_register => Kind::CallPointer,
            (0x80, false) if self.src == PSEUDO_CALL => Kind::CallFunction,
            (0x80, false) if self.src == 0 && self.imm == TAIL_CALL => Kind::TailCall,
            (0x80, false) => Kind::CallHelper,
            (0x90, false) => Kind::Exit,
            (0x80 | 0x90, true) => return None,
            _ => Kind::Branch { by: i64::from(self.off), by_register },
        })
    }

    fn bytes(self) -> u8 {
        match self.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        }
    }

    /// Whether it reads `register` as a value or an address. A call is taken to read its arguments and not r0.
    pub fn reads(self, register: u8, kind: Kind) -> bool {
        let (dst, src) = (self.dst == register, self.src == register);
        match kind {
            Kind::Move { by_register, .. } => by_register && src,
            Kind::Shift(_) => dst,
            Kind::Arithmetic { by_register } | Kind::Branch { by_register, .. } => dst || (by_register && src),
            Kind::Load { .. } => src,
            Kind::Store { by_register, .. } => dst || (by_register && src),
            // A compare-and-exchange compares with r0; the others ignore it, which a reader of r0 may be told anyway.
            Kind::Atomic => dst || src || register == 0,
            Kind::PacketLoad => src || register == 6,
            Kind::CallFunction | Kind::TailCall | Kind::CallHelper | Kind::CallPointer => (1..=5).contains(&register),
            Kind::Exit => register == 0,
            Kind::WideLoad | Kind::Half | Kind::Goto(_) => false,
        }
    }

    /// Whether it sets r0 to something that does not depend on what r0 was.
    pub fn sets_r0(self, kind: Kind) -> bool {
        match kind {
            Kind::Move { .. } | Kind::Load { .. } | Kind::WideLoad => self.dst == 0,
            Kind::PacketLoad | Kind::CallFunction | Kind::TailCall | Kind::CallHelper | Kind::CallPointer => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: [u8; 8]) -> Option<Kind> {
        Insn::read(&bytes).kind()
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(kind([0xbf, 0x16, 0, 0, 0, 0, 0, 0]), Some(Kind::Move { wide: true, by_register: true }));
        assert_eq!(kind([0xbf, 0x16, 8, 0, 0, 0, 0, 0]), Some(Kind::Arithmetic { by_register: true }), "a sign extension");
        assert_eq!(kind([0x17, 2, 0, 0, 8, 0, 0, 0]), Some(Kind::Shift(-8)));
        assert_eq!(kind([0x61, 0x33, 0, 0, 0, 0, 0, 0]), Some(Kind::Load { bytes: 4, plain: true }));
        assert_eq!(kind([0x81, 0x33, 0, 0, 0, 0, 0, 0]), Some(Kind::Load { bytes: 4, plain: false }));
        assert_eq!(kind([0x06, 0, 0, 0, 9, 0, 0, 0]), Some(Kind::Goto(9)));
        assert_eq!(kind([0x05, 0, 0xff, 0xff, 0, 0, 0, 0]), Some(Kind::Goto(-1)));
        assert_eq!(kind([0x85, 0, 0, 0, 12, 0, 0, 0]), Some(Kind::TailCall));
        assert_eq!(kind([0x85, 0x10, 0, 0, 12, 0, 0, 0]), Some(Kind::CallFunction));
        assert_eq!(kind([0x85, 0x20, 0, 0, 12, 0, 0, 0]), Some(Kind::CallHelper), "a kernel function");
        assert_eq!(kind([0x8d, 0, 0, 0, 0, 0, 0, 0]), Some(Kind::CallPointer));
    }

    #[test]
    fn registers_beyond_r10_are_no_instruction() {
        assert_eq!(kind([0xbf, 0xb6, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(kind([0xb7, 0x0b, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(kind([0x61, 0xb3, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn r0_is_read_and_set_where_the_kernel_says() {
        let access = |bytes: [u8; 8]| {
            let insn = Insn::read(&bytes);
            let kind = insn.kind().unwrap();
            (insn.reads(0, kind), insn.sets_r0(kind))
        };
        assert_eq!(access([0x95, 0, 0, 0, 0, 0, 0, 0]), (true, false), "exit");
        assert_eq!(access([0xb7, 0, 0, 0, 1, 0, 0, 0]), (false, true), "r0 = 1");
        assert_eq!(access([0x07, 0, 0, 0, 1, 0, 0, 0]), (true, false), "r0 += 1");
        assert_eq!(access([0xbf, 0x06, 0, 0, 0, 0, 0, 0]), (true, false), "r6 = r0");
        assert_eq!(access([0xbf, 0x60, 0, 0, 0, 0, 0, 0]), (false, true), "r0 = r6");
        assert_eq!(access([0x85, 0, 0, 0, 1, 0, 0, 0]), (false, true), "call");
        assert_eq!(access([0x15, 0, 0, 0, 0, 0, 0, 0]), (true, false), "if r0 == 0");
    }
}
