//! What a relocation comes to, and how it is written into an instruction.
//!
//! Knows places in types, not how they were found.

use ouro_btf::{Btf, Kind};

use super::What;
use super::spec::Spec;
use crate::object::Reason;
use crate::object::insn::{Class, Insn};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    /// None if the kernel has no such place: then nobody may come there.
    number: Option<u64>,
    /// Of a place that is read or written, how many bytes that is.
    access: Access,
}

/// How many bytes are read or written at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// As the instruction says.
    AsItIs,
    /// So many; both are numbers without a sign.
    Bytes(u32),
    /// Another number, in a way that no single instruction can make good.
    Unlike,
}

impl Value {
    pub(super) fn number(number: u64) -> Value {
        Value { number: Some(number), access: Access::AsItIs }
    }

    fn flag(holds: bool) -> Value {
        Value::number(holds.into())
    }

    /// Writes it.
    pub(super) fn write(self, insns: &mut [Insn], at: usize) -> Result<(), Reason> {
        let damaged = || "it is damaged: its instruction is none that can be changed".to_owned();
        let insn = insns.get_mut(at).ok_or_else(damaged)?;
        let (class, is_wide) = (insn.class(), insn.is_wide_load());
        let number = self.number.filter(|_| self.access != Access::Unlike || class != Class::Memory);
        match (number, class) {
            (None, _) => {
                insn.poison();
                insns.get_mut(at + 1).filter(|_| is_wide).into_iter().for_each(Insn::poison);
            }
            (Some(number), Class::Arithmetic) if insn.is_immediate() => insn.set_imm(number as u32 as i32),
            (Some(number), Class::Memory) => {
                let offset = i16::try_from(number).map_err(|_| format!("it lies {number} bytes behind the begin, too far"))?;
                insn.set_offset(offset);
                if let Access::Bytes(bytes) = self.access {
                    insn.set_bytes(bytes).ok_or_else(|| format!("its {bytes} bytes cannot be read at once"))?;
                }
            }
            (Some(number), Class::Load) if is_wide => {
                insn.set_imm(number as u32 as i32);
                insns.get_mut(at + 1).ok_or_else(damaged)?.set_imm((number >> 32) as u32 as i32);
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }
}

/// What is asked, of a place that was found or not.
pub(super) fn value(what: What, local: &Spec<'_>, found: Option<&Spec<'_>>) -> Result<Value, Reason> {
    let nothing = Value { number: None, access: Access::AsItIs };
    Ok(match (what, found) {
        (What::FieldExists | What::EnumeratorExists | What::TypeExists | What::Matches, _) => Value::flag(found.is_some()),
        (What::OwnId, _) => Value::number(local.root.into()),
        (What::Id | What::Size, None) => Value::number(0),
        (What::Id, Some(found)) => Value::number(found.root.into()),
        (What::Size, Some(found)) => found.types.size(found.root).map_or(nothing, |size| Value::number(size.into())),
        (What::Enumerator, Some(found)) => enumerator(found).map_or(nothing, Value::number),
        (_, None) => nothing,
        (What::Offset, Some(found)) => {
            let (place, was) = (field(found)?, field(local)?);
            Value { number: Some(place.byte), access: access(&was, local.types, &place, found.types) }
        }
        (_, Some(found)) => Value::number(of_field(what, &field(found)?)?),
    })
}

fn enumerator(found: &Spec<'_>) -> Option<u64> {
    let ty = found.types.resolve(found.root)?;
    found.types.enumerators(ty).get(found.steps.first()?.index as usize).map(|number| number.value.cast_unsigned())
}

/// Where a field is, and what.
struct Field {
    /// The first byte of those that are read for it.
    byte: u64,
    /// How many these are.
    bytes: u32,
    /// Its own place and size in bits, from the root's begin.
    bit: u64,
    bits: u64,
    /// Whether it is a part of a number.
    is_part: bool,
    is_element: bool,
    is_signed: bool,
    ty: u32,
}

fn field(spec: &Spec<'_>) -> Result<Field, Reason> {
    let unsized_ = || "nothing says how large it is".to_owned();
    let Some((record, member)) = spec.member() else {
        let ty = spec.steps.last().map_or(spec.root, |step| step.ty);
        let bytes = spec.types.size(ty).ok_or_else(unsized_)?;
        let bits = u64::from(bytes) * 8;
        let byte = spec.bits / 8;
        return Ok(Field { byte, bytes, bit: spec.bits, bits, is_part: false, is_element: true, is_signed: false, ty });
    };
    let numbers = spec.types.resolve(member.ty).filter(|ty| matches!(ty.kind, Kind::Int | Kind::Enum));
    let (bit, is_signed, ty) = (spec.bits, numbers.is_some_and(ouro_btf::Type::is_signed), member.ty);
    let of = |bytes, bits, byte, is_part| Field { byte, bytes, bit, bits, is_part, is_element: false, is_signed, ty };
    match spec.types.place(record, &member).1 {
        None => {
            let bytes = spec.types.size(member.ty).ok_or_else(unsized_)?;
            Ok(of(bytes, u64::from(bytes) * 8, spec.bits / 8, false))
        }
        Some(bits) => {
            let mut bytes = spec.types.size(member.ty).filter(|bytes| *bytes > 0).ok_or_else(unsized_)?;
            let begin = |bytes: u32| spec.bits / 8 / u64::from(bytes) * u64::from(bytes);
            while spec.bits + bits - begin(bytes) * 8 > u64::from(bytes) * 8 {
                if bytes >= 8 {
                    return Err("its bits lie in more than eight bytes".to_owned());
                }
                bytes *= 2;
            }
            Ok(of(bytes, bits, begin(bytes), true))
        }
    }
}

/// Whether what was read as one can be read as the other.
fn access(was: &Field, own: &Btf, now: &Field, kernel: &Btf) -> Access {
    if was.is_part == now.is_part && (was.is_part || was.bytes == now.bytes) {
        return Access::AsItIs;
    }
    let is_part = was.is_part || now.is_part;
    let (Some(was), Some(found)) = (own.resolve(was.ty), kernel.resolve(now.ty)) else { return Access::Unlike };
    match (was.kind, found.kind) {
        (Kind::Int, Kind::Int) if !is_part && !was.is_signed() && !found.is_signed() => Access::Bytes(now.bytes),
        _ => Access::Unlike,
    }
}

fn of_field(what: What, field: &Field) -> Result<u64, Reason> {
    let from_begin = field.bit - field.byte * 8;
    match what {
        What::Bytes => Ok(field.bytes.into()),
        _ if field.is_element => Err("it is an element of an array, which has no bits of its own".to_owned()),
        What::RightShift => Ok(64u64.wrapping_sub(field.bits)),
        What::LeftShift if cfg!(target_endian = "little") => Ok(64u64.wrapping_sub(field.bits + from_begin)),
        What::LeftShift => Ok((8u64.wrapping_sub(field.bytes.into())).wrapping_mul(8).wrapping_add(from_begin)),
        _ => Ok(u64::from(field.is_signed)),
    }
}
