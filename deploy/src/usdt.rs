//! Where the arguments of a declared probe are: from the words that its authors' compiler left (`-4@%edi 8@-16(%rbp) 8@$5`) to the
//! element of the table that libbpf's `usdt.bpf.h` reads them by.
//!
//! Pure; knows no files and no maps.

mod operand;
mod registers;

pub(crate) use registers::Machine;

use ouro_rules::manifest::{Arguments, Bits};

/// An element of the table: all that programs are told of one place of a probe. Without arguments it is all zero.
pub(crate) type Spec = Vec<u8>;

/// An argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Bytes: 1, 2, 4 or 8.
    bytes: u8,
    is_signed: bool,
    operand: Operand,
}

/// Where a value is. Registers are told by their offsets in the context of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    /// It is this.
    Constant(u64),
    /// In a register.
    Register(u16),
    /// In memory, so many bytes behind what a register tells.
    Memory { register: u16, offset: u64 },
    /// In memory, an index further, which is another register shifted by so many bits.
    Indexed { register: u16, offset: u64, index: u16, shift: u8 },
}

/// Reads what a note says of arguments. The error names the one that is not understood, and says why.
pub(crate) fn parse(text: &str, machine: Machine) -> Result<Vec<Argument>, String> {
    let argument = |(number, word): (usize, &str)| {
        argument(word, machine).map_err(|why| format!("argument {number}, `{}`, {why}", word.escape_default()))
    };
    split(text).into_iter().enumerate().map(argument).collect()
}

/// At blanks, but for those within brackets: `-4@[sp, 60]`.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let is_end = |c: char| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c.is_ascii_whitespace()
    };
    text.split(is_end).filter(|word| !word.is_empty()).collect()
}

/// `<size>@<operand>`; a size below zero is one with a sign.
fn argument(word: &str, machine: Machine) -> Result<Argument, String> {
    let (size, operand) = word.split_once('@').ok_or("has no `@` behind its size")?;
    let operand = operand.trim();
    if size.ends_with('f') {
        return Err("is a floating-point number, which no program can read".to_owned());
    }
    let number: i8 = size.trim().parse().map_err(|_| "has a size that is no number")?;
    let bytes = number.unsigned_abs();
    if ![1, 2, 4, 8].contains(&bytes) {
        return Err(format!("has a size of {bytes} bytes, and 1, 2, 4 and 8 can be read"));
    }
    Ok(Argument { bytes, is_signed: number < 0, operand: machine.operand(operand)? })
}

/// The element for these arguments, in a table that lies so in memory.
pub(crate) fn spec(arguments: &[Argument], table: &Arguments) -> Result<Spec, String> {
    if arguments.len() > table.most as usize {
        return Err(format!("it has {} arguments, and programs can read {} of one", arguments.len(), table.most));
    }
    let mut spec = vec![0; table.size as usize];
    for (argument, start) in arguments.iter().zip((table.first as usize..).step_by(table.step.max(1) as usize)) {
        let place = spec.get_mut(start..start + table.step as usize).ok_or("its table has no room for them")?;
        argument.members(table)?.into_iter().for_each(|(bits, value)| write(place, bits, value));
    }
    write(&mut spec, table.count, arguments.len() as u64);
    Ok(spec)
}

impl Argument {
    /// The members of an argument, with what is to stand there.
    fn members(self, table: &Arguments) -> Result<Vec<(Bits, u64)>, String> {
        let (kind, value, register) = match self.operand {
            Operand::Constant(value) => (0, value, 0),
            Operand::Register(register) => (1, 0, register),
            Operand::Memory { register, offset } => (2, offset, register),
            Operand::Indexed { register, offset, .. } => (3, offset, register),
        };
        let (sign, shift) = (self.is_signed.into(), 64 - 8 * u64::from(self.bytes));
        let mut members = vec![(table.value, value), (table.kind, kind), (table.register, register.into())];
        members.extend([(table.sign, sign), (table.shift, shift)]);
        if let Operand::Indexed { index, shift, .. } = self.operand {
            let old = "one is found by an index, of which libbpf's `usdt.bpf.h` knows since 1.7";
            let (place, scale) = table.index.ok_or(old)?;
            members.extend([(place, index.into()), (scale, shift.into())]);
        }
        Ok(members)
    }
}

/// Writes a member. Bits are counted from the smallest one of the first byte on, as all machines do whose operands are known.
fn write(bytes: &mut [u8], (start, bits): Bits, value: u64) {
    for bit in 0..bits {
        let (byte, mask) = (((start + bit) / 8) as usize, 1 << ((start + bit) % 8));
        if value.checked_shr(bit).unwrap_or(0) & 1 != 0
            && let Some(byte) = bytes.get_mut(byte)
        {
            *byte |= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86(text: &str) -> Result<Vec<Argument>, String> {
        parse(text, Machine::X86)
    }

    fn signed(bytes: u8, operand: Operand) -> Argument {
        Argument { bytes, is_signed: true, operand }
    }

    fn plain(bytes: u8, operand: Operand) -> Argument {
        Argument { bytes, is_signed: false, operand }
    }

    #[test]
    fn all_forms_of_x86_are_read() {
        let minus = |number: u64| number.wrapping_neg();
        for (text, argument) in [
            ("-4@$-9", signed(4, Operand::Constant(minus(9)))),
            ("8@$5", plain(8, Operand::Constant(5))),
            ("8@$0x10", plain(8, Operand::Constant(16))),
            ("8@$18446744073709551615", plain(8, Operand::Constant(u64::MAX))),
            ("-8@$-9223372036854775808", signed(8, Operand::Constant(1 << 63))),
            ("-4@%edi", signed(4, Operand::Register(112))),
            ("8@%rax", plain(8, Operand::Register(80))),
            ("1@%r15b", plain(1, Operand::Register(0))),
            ("2@%r8w", plain(2, Operand::Register(72))),
            ("8@-16(%rbp)", plain(8, Operand::Memory { register: 32, offset: minus(16) })),
            ("-1@(%rsp)", signed(1, Operand::Memory { register: 152, offset: 0 })),
            ("4@12(%rip)", plain(4, Operand::Memory { register: 128, offset: 12 })),
            ("1@-96(%rbp,%rax,8)", plain(1, Operand::Indexed { register: 32, offset: minus(96), index: 80, shift: 3 })),
            ("8@(%rdx,%rcx)", plain(8, Operand::Indexed { register: 96, offset: 0, index: 88, shift: 0 })),
            ("4@8( %rdx , %rcx , 4 )", plain(4, Operand::Indexed { register: 96, offset: 8, index: 88, shift: 2 })),
        ] {
            assert_eq!(x86(text), Ok(vec![argument]), "{text}");
        }
        assert_eq!(x86("  "), Ok(Vec::new()));
        assert_eq!(x86("-4@%edi  8@$5").unwrap().len(), 2);
    }

    #[test]
    fn other_machines_have_forms_of_their_own() {
        let memory = |register, offset| Operand::Memory { register, offset };
        for (machine, text, argument) in [
            (Machine::Arm, "-4@[sp, 60]", signed(4, memory(248, 60))),
            (Machine::Arm, "8@[x29,-8]", plain(8, memory(232, 8_u64.wrapping_neg()))),
            (Machine::Arm, "8@[x1]", plain(8, memory(8, 0))),
            (Machine::Arm, "8@x0", plain(8, Operand::Register(0))),
            (Machine::Arm, "-4@w30", signed(4, Operand::Register(240))),
            (Machine::Arm, "4@5", plain(4, Operand::Constant(5))),
            (Machine::Arm, "8@sp", plain(8, Operand::Register(248))),
            (Machine::Riscv, "-8@-88(s0)", signed(8, memory(64, 88_u64.wrapping_neg()))),
            (Machine::Riscv, "8@a1", plain(8, Operand::Register(88))),
            (Machine::Riscv, "-4@-7", signed(4, Operand::Constant(7_u64.wrapping_neg()))),
        ] {
            assert_eq!(parse(text, machine), Ok(vec![argument]), "{text}");
        }
        assert_eq!(parse("-4@[sp, 60] 8@x0", Machine::Arm).unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (machine, text, words) in [
            (Machine::X86, "4@%eax what", "argument 1, `what`, has no `@`"),
            (Machine::X86, "8f@%xmm0", "floating-point"),
            (Machine::X86, "8@%xmm0", "`%xmm0`, which is no register that programs can read"),
            (Machine::X86, "1@%ah", "`%ah`, which is no register"),
            (Machine::X86, "3@%eax", "a size of 3 bytes"),
            (Machine::X86, "x@%eax", "a size that is no number"),
            (Machine::X86, "4@", "stands in no place that ouro knows"),
            (Machine::X86, "4@counter(%rip)", "stands behind `counter`, which is no number"),
            (Machine::X86, "4@(%rax,%rbx,3)", "a scale of `3`"),
            (Machine::X86, "4@(%rax,%rbx,8,1)", "stands in no place that ouro knows"),
            (Machine::X86, "4@(,%rax,8)", "``, which is no register"),
            (Machine::X86, "4@8(%rax", "stands in no place that ouro knows"),
            (Machine::X86, "4@$", "is no number"),
            (Machine::X86, "4@%fs:0(%rax)", "is no number"),
            (Machine::X86, "4@\u{fffd}\n4@%eax", "\\u{fffd}"),
            (Machine::Arm, "8@x31", "`x31`, which is no register"),
            (Machine::Arm, "8@[x0, x1]", "stands behind `x1`, which is no number"),
            (Machine::Arm, "8@[x0", "stands in no place that ouro knows"),
            (Machine::Riscv, "8@q1", "`q1`, which is no register"),
        ] {
            let error = parse(text, machine).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        let many = x86(&"8@%rax ".repeat(13)).unwrap();
        assert!(spec(&many, &direct()).unwrap_err().contains("13 arguments"));
        let by_index = x86("8@(%rax,%rbx)").unwrap();
        assert!(spec(&by_index, &direct()).unwrap_err().contains("since 1.7"));
    }

    /// Whatever a note holds, an answer comes of it.
    #[test]
    fn no_text_makes_it_panic() {
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let parts =
            ["8", "-4", "@", "%", "rax", "(", ")", "[", "]", ",", "$", "0x", "-", " ", "x1", "s0", "ü", "99999999999999999999"];
        for _ in 0..20_000 {
            let text: String = (0..random(9)).map(|_| parts[random(parts.len())]).collect();
            for machine in [Machine::X86, Machine::Arm, Machine::Riscv] {
                let _ = parse(&text, machine).map(|arguments| spec(&arguments, &direct()));
            }
        }
    }

    /// The table of libbpf 0.8.
    fn direct() -> Arguments {
        Arguments {
            size: 208,
            first: 0,
            step: 16,
            most: 12,
            count: (1600, 16),
            value: (0, 64),
            kind: (64, 32),
            register: (96, 16),
            sign: (112, 8),
            shift: (120, 8),
            index: None,
        }
    }

    /// The table of libbpf 1.7, as clang lays it out.
    fn indexed() -> Arguments {
        let (size, step, count, index) = (304, 24, (2368, 16), Some(((80, 12), (92, 4))));
        let (kind, register, sign, shift) = ((64, 8), (112, 16), (128, 8), (136, 8));
        Arguments { size, step, count, index, kind, register, sign, shift, ..direct() }
    }

    #[test]
    fn elements_are_as_the_header_defines_them() {
        let found = spec(&x86("-4@%edi 8@$-2").unwrap(), &direct()).unwrap();
        assert_eq!(found[..16], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 112, 0, 1, 32]);
        assert_eq!(found[16..32], [254, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((found.len(), found[200], found[32..200].iter().any(|byte| *byte != 0)), (208, 2, false));
        let found = spec(&x86("1@-96(%rbp,%rax,8)").unwrap(), &indexed()).unwrap();
        assert_eq!(found[..18], [160, 255, 255, 255, 255, 255, 255, 255, 3, 0, 80, 0x30, 0, 0, 32, 0, 0, 56]);
        assert_eq!((found.len(), found[296]), (304, 1));
        assert_eq!(spec(&[], &direct()).unwrap(), [0; 208]);
    }
}
