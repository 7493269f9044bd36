//! Operands of instructions, as the assemblers of three machines write them.
//!
//! Knows how they are written; which registers there are is [`super::registers`]'s business.

use super::Operand;
use super::registers::Machine;

type Found = Result<Operand, String>;

impl Machine {
    /// Where an operand says that a value is.
    pub(super) fn operand(self, text: &str) -> Found {
        match self {
            Machine::X86 => self.x86(text),
            Machine::Arm => self.arm(text),
            Machine::Riscv => self.riscv(text),
        }
    }

    /// `$5`, `%rax`, `-16(%rbp)`, `8(%rax,%rbx,4)`.
    fn x86(self, text: &str) -> Found {
        if let Some(constant) = text.strip_prefix('$') {
            return number(constant).map(Operand::Constant);
        }
        let Some((offset, inside)) = enclosed(text, '(', ')') else {
            return if text.starts_with('%') && !text.contains(':') { self.plain(text) } else { Err(nowhere()) };
        };
        let offset = offset_of(offset)?;
        let scale = match *inside {
            [base] => return Ok(Operand::Memory { register: self.register(base)?, offset }),
            [_, _] => "1",
            [_, _, scale] => scale,
            _ => return Err(nowhere()),
        };
        let shift = ["1", "2", "4", "8"].iter().position(|known| *known == scale);
        let shift = shift.ok_or_else(|| format!("has a scale of `{scale}`"))?;
        let (register, index) = (self.register(inside[0])?, self.register(inside[1])?);
        Ok(Operand::Indexed { register, offset, index, shift: u8::try_from(shift).unwrap_or(0) })
    }

    /// `5`, `x0`, `[sp, 60]`.
    fn arm(self, text: &str) -> Found {
        match enclosed(text, '[', ']') {
            Some(("", inside)) => match *inside {
                [base] => Ok(Operand::Memory { register: self.register(base)?, offset: 0 }),
                [base, offset] => Ok(Operand::Memory { register: self.register(base)?, offset: offset_of(offset)? }),
                _ => Err(nowhere()),
            },
            Some(_) => Err(nowhere()),
            None => self.constant_or_register(text),
        }
    }

    /// `5`, `a0`, `-88(s0)`.
    fn riscv(self, text: &str) -> Found {
        match enclosed(text, '(', ')') {
            Some((offset, inside)) => match *inside {
                [base] => Ok(Operand::Memory { register: self.register(base)?, offset: offset_of(offset)? }),
                _ => Err(nowhere()),
            },
            None => self.constant_or_register(text),
        }
    }

    fn constant_or_register(self, text: &str) -> Found {
        match text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            true => number(text).map(Operand::Constant),
            false if text.starts_with(|c: char| c.is_ascii_alphabetic()) => self.plain(text),
            false => Err(nowhere()),
        }
    }

    fn plain(self, name: &str) -> Found {
        self.register(name).map(Operand::Register)
    }
}

fn nowhere() -> String {
    "stands in no place that ouro knows".to_owned()
}

/// What stands before brackets at the end, and what they enclose.
fn enclosed(text: &str, open: char, close: char) -> Option<(&str, Vec<&str>)> {
    let (before, inside) = text.strip_suffix(close)?.split_once(open)?;
    Some((before.trim(), inside.split(',').map(str::trim).collect()))
}

fn offset_of(text: &str) -> Result<u64, String> {
    if text.is_empty() { Ok(0) } else { number(text).map_err(|_| format!("stands behind `{text}`, which is no number")) }
}

/// In decimal or, behind `0x`, in hexadecimal; what is below zero as the bits of it.
fn number(text: &str) -> Result<u64, String> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    let number = Some(digits).filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
    let number = number.and_then(|digits| u64::from_str_radix(digits, radix).ok());
    let number =
        number.filter(|number| !is_negative || *number <= 1 << 63).ok_or_else(|| format!("is `{text}`, which is no number"))?;
    Ok(if is_negative { number.wrapping_neg() } else { number })
}
