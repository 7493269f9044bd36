//! The registers of machines, and where the context of a program of probes holds them.
//!
//! Knows names and offsets (`struct pt_regs`, `user_pt_regs` and `user_regs_struct` of Linux), not what stands in registers.

/// A machine whose operands are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// `x86_64`
    X86,
    /// `aarch64`
    Arm,
    /// `riscv64`
    Riscv,
}

/// Those without a number, by their names of 64, 32, 16 and 8 bits.
const X86: [(&[&str], u16); 9] = [
    (&["rip", "eip"], 128),
    (&["rax", "eax", "ax", "al"], 80),
    (&["rbx", "ebx", "bx", "bl"], 40),
    (&["rcx", "ecx", "cx", "cl"], 88),
    (&["rdx", "edx", "dx", "dl"], 96),
    (&["rsi", "esi", "si", "sil"], 104),
    (&["rdi", "edi", "di", "dil"], 112),
    (&["rbp", "ebp", "bp", "bpl"], 32),
    (&["rsp", "esp", "sp", "spl"], 152),
];
/// `r8` to `r15`.
const X86_NUMBERED: [u16; 8] = [72, 64, 56, 48, 24, 16, 8, 0];

/// In the order of their places, eight bytes each.
const RISCV: [&str; 32] = [
    "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4",
    "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

impl Machine {
    /// The one this is. Where the largest byte comes first members lie otherwise.
    pub(crate) fn this() -> Option<Machine> {
        match std::env::consts::ARCH {
            _ if cfg!(target_endian = "big") => None,
            "x86_64" => Some(Machine::X86),
            "aarch64" => Some(Machine::Arm),
            "riscv64" => Some(Machine::Riscv),
            _ => None,
        }
    }

    /// Where the context holds the register of this name.
    pub(super) fn register(self, name: &str) -> Result<u16, String> {
        let found = match self {
            Machine::X86 => name.strip_prefix('%').and_then(x86),
            Machine::Arm => arm(name),
            Machine::Riscv => riscv(name),
        };
        found.ok_or_else(|| format!("stands in `{name}`, which is no register that programs can read"))
    }
}

fn x86(name: &str) -> Option<u16> {
    if let Some((_, offset)) = X86.iter().find(|(names, _)| names.contains(&name)) {
        return Some(*offset);
    }
    let number = name.strip_prefix('r')?;
    let number = numbered(number.strip_suffix(['d', 'w', 'b']).unwrap_or(number))?;
    X86_NUMBERED.get(usize::from(number).checked_sub(8)?).copied()
}

fn arm(name: &str) -> Option<u16> {
    const STACK: u16 = 31 * 8;
    if name == "sp" {
        return Some(STACK);
    }
    let number = numbered(name.strip_prefix(['x', 'w'])?)?;
    (number < 31).then_some(number * 8)
}

fn numbered(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

fn riscv(name: &str) -> Option<u16> {
    let place = RISCV.iter().position(|known| *known == name)?;
    u16::try_from(place * 8).ok()
}
