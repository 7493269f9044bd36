//! BTF: the types of an object, as the kernel's BTF documentation lays them out.
//!
//! Knows types and their names, not what they are used for.

use super::unreadable::Unreadable;

/// Longer chains of typedefs and qualifiers than C has use for; also ends those that bite their tail.
const MAX_CHAIN: usize = 64;
/// No name or path is longer; a damaged file must not make every name a search through all of it.
const MAX_TEXT: usize = 4096;
const HEADER_BYTES: usize = 24;
const MAGIC: u16 = 0xeb9f;

/// The types of an object. A type's id is its place; 0 is `void`.
pub(super) struct Btf<'a> {
    types: Vec<Type<'a>>,
    strings: &'a [u8],
}

/// One type.
#[derive(Clone, Copy)]
pub(super) struct Type<'a> {
    name: u32,
    pub kind: Kind,
    /// Bytes, or the id of another type, as `kind` has it.
    pub size_or_type: u32,
    /// What follows the fixed part.
    extra: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Void,
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    /// Typedefs, qualifiers and tags: another name for another type.
    Modifier,
    Function,
    Prototype,
    Variable,
    Section,
    /// Nothing anybody here asks about.
    Other,
}

impl<'a> Btf<'a> {
    /// Reads the section `.BTF`.
    pub fn read(data: &'a [u8]) -> Result<Btf<'a>, Unreadable> {
        let cut_short = || Unreadable::damaged("its BTF is cut short");
        if u16_at(data, 0) != Some(MAGIC) {
            return Err(Unreadable::damaged("its BTF has no header"));
        }
        let [header, type_off, type_len, str_off, str_len] = words(data, 4).ok_or_else(cut_short)?;
        if (header as usize) < HEADER_BYTES {
            return Err(cut_short());
        }
        let body = data.get(header as usize..).ok_or_else(cut_short)?;
        let types = slice(body, type_off, type_len).ok_or_else(cut_short)?;
        let strings = slice(body, str_off, str_len).ok_or_else(cut_short)?;
        Ok(Btf { types: read_types(types).ok_or_else(cut_short)?, strings })
    }

    /// The text at an offset of the string section; empty when there is none.
    pub fn text(&self, offset: u32) -> &'a str {
        let bytes = self.strings.get(offset as usize..).unwrap_or_default();
        let end = bytes.iter().take(MAX_TEXT).position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&bytes[..end]).unwrap_or_default()
    }

    /// A type's name.
    pub fn name(&self, ty: Type<'a>) -> &'a str {
        self.text(ty.name)
    }

    /// The type of this id.
    pub fn get(&self, id: u32) -> Option<Type<'a>> {
        self.types.get(id as usize).copied()
    }

    /// The type behind typedefs, qualifiers and tags.
    pub fn resolve(&self, id: u32) -> Option<Type<'a>> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            if ty.kind != Kind::Modifier {
                return Some(ty);
            }
            ty = self.get(ty.size_or_type)?;
        }
        None
    }

    /// Bytes of a type.
    pub fn size(&self, id: u32) -> Option<u32> {
        let (mut id, mut count) = (id, 1u32);
        for _ in 0..MAX_CHAIN {
            let ty = self.resolve(id)?;
            match ty.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum => return count.checked_mul(ty.size_or_type),
                Kind::Pointer => return count.checked_mul(8),
                Kind::Array => {
                    let (element, elements) = ty.array()?;
                    (id, count) = (element, count.checked_mul(elements)?);
                }
                _ => return None,
            }
        }
        None
    }

    /// The ids of the variables of a section.
    pub fn variables(&self, section: &str) -> Vec<u32> {
        let is_it = |ty: &&Type<'a>| ty.kind == Kind::Section && self.name(**ty) == section;
        let found = self.types.iter().filter(is_it);
        found.flat_map(|ty| ty.extra.chunks_exact(12)).filter_map(|variable| u32_at(variable, 0)).collect()
    }

    /// The names and type ids of a struct's members.
    pub fn members(&self, ty: Type<'a>) -> Vec<(&'a str, u32)> {
        if ty.kind != Kind::Struct {
            return Vec::new();
        }
        let member = |record: &'a [u8]| Some((self.text(u32_at(record, 0)?), u32_at(record, 4)?));
        ty.extra.chunks_exact(12).filter_map(member).collect()
    }

    /// What `type` points to.
    pub fn pointee(&self, id: u32) -> Option<u32> {
        let ty = self.resolve(id)?;
        (ty.kind == Kind::Pointer).then_some(ty.size_or_type)
    }
}

impl Type<'_> {
    /// The element's type id and the number of elements.
    pub fn array(self) -> Option<(u32, u32)> {
        if self.kind != Kind::Array {
            return None;
        }
        Some((u32_at(self.extra, 0)?, u32_at(self.extra, 8)?))
    }
}

fn read_types(mut data: &[u8]) -> Option<Vec<Type<'_>>> {
    let mut types = vec![Type { name: 0, kind: Kind::Void, size_or_type: 0, extra: &[] }];
    while !data.is_empty() {
        let [name, info, size_or_type] = words(data, 0)?;
        let (kind, extra_bytes) = kind(info >> 24 & 31, info as usize & 0xffff)?;
        let extra = data.get(12..12 + extra_bytes)?;
        types.push(Type { name, kind, size_or_type, extra });
        data = &data[12 + extra_bytes..];
    }
    Some(types)
}

/// The kind behind its number, and the bytes that follow the fixed part of such a type with `count` members.
fn kind(number: u32, count: usize) -> Option<(Kind, usize)> {
    Some(match number {
        1 => (Kind::Int, 4),
        2 => (Kind::Pointer, 0),
        3 => (Kind::Array, 12),
        4 => (Kind::Struct, 12 * count),
        5 => (Kind::Union, 12 * count),
        6 => (Kind::Enum, 8 * count),
        7 | 16 => (Kind::Other, 0),
        8..=11 | 18 => (Kind::Modifier, 0),
        12 => (Kind::Function, 0),
        13 => (Kind::Prototype, 8 * count),
        14 => (Kind::Variable, 4),
        15 => (Kind::Section, 12 * count),
        17 => (Kind::Other, 4),
        19 => (Kind::Enum, 12 * count),
        _ => return None,
    })
}

fn slice(data: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    data.get(offset as usize..)?.get(..len as usize)
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// `N` words from an offset on.
pub(super) fn words<const N: usize>(data: &[u8], at: usize) -> Option<[u32; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        *word = u32_at(data, at + 4 * index)?;
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONST: u32 = 10 << 24;
    const ARRAY: u32 = 3 << 24;
    const INT: u32 = 1 << 24;

    fn with_types(words: &[u32]) -> Vec<u8> {
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, 4 * words.len() as u32, 4 * words.len() as u32, 1];
        let words = header.iter().chain(words).flat_map(|word| word.to_le_bytes());
        words.chain([0]).collect()
    }

    #[test]
    fn sizes_go_through_arrays_and_qualifiers() {
        let data = with_types(&[0, INT, 4, 32, 0, ARRAY, 0, 1, 1, 6, 0, CONST, 2]);
        let btf = Btf::read(&data).unwrap();
        assert_eq!((btf.size(1), btf.size(2), btf.size(3)), (Some(4), Some(24), Some(24)));
        assert_eq!((btf.size(0), btf.size(4)), (None, None), "void, and no type at all");
    }

    #[test]
    fn circles_and_overflow_have_no_size() {
        let data = with_types(&[0, CONST, 2, 0, CONST, 1, 0, ARRAY, 0, 3, 1, 2, 0, INT, 4, 32, 0, ARRAY, 0, 4, 4, u32::MAX]);
        let btf = Btf::read(&data).unwrap();
        assert_eq!((btf.size(1), btf.size(3), btf.size(5)), (None, None, None));
    }

    #[test]
    fn a_type_cut_short_is_told() {
        assert!(Btf::read(&with_types(&[0, ARRAY, 0, 1])).is_err());
        assert!(Btf::read(&with_types(&[0, 31 << 24, 0])).is_err());
    }
}
