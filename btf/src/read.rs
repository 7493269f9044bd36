//! Bytes to types, as the kernel's documentation lays BTF out.
//!
//! Knows nothing of what types mean. Whatever the bytes are, the work is bounded by their number.

use object::{Object as _, ObjectSection as _};

use crate::Damaged;
use crate::types::{Btf, Enumerator, FORWARD_ENUM, Kind, Member, Type};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: u32 = 24;
const SECTION: &str = ".BTF";

impl Btf {
    /// Reads BTF: as a kernel offers it, or the section `.BTF` of an ELF file.
    pub fn read(bytes: &[u8]) -> Result<Btf, Damaged> {
        let void = Type { name: 0, kind: Kind::Void, flag: false, size_or_type: 0, first: 0, count: 0 };
        let mut btf = Btf { types: vec![void], members: Vec::new(), enumerators: Vec::new(), strings: String::new() };
        btf.extend(bytes)?;
        Ok(btf)
    }

    /// Reads the BTF of a module on top of that of its kernel, whose types it goes on counting from.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        if bytes.starts_with(b"\x7fELF") {
            let file = object::File::parse(bytes).map_err(|error| Damaged::Elf(error.to_string()))?;
            let section = file.section_by_name(SECTION).ok_or(Damaged::NoSection)?;
            return self.read_raw(section.data().map_err(|error| Damaged::Elf(error.to_string()))?);
        }
        self.read_raw(bytes)
    }

    /// Looks at the types of a module, and at its kernel's before them; they are gone afterwards.
    pub fn with_module<T>(&mut self, bytes: &[u8], look: impl FnOnce(&Btf) -> T) -> Result<T, Damaged> {
        let (types, members, enumerators) = (self.types.len(), self.members.len(), self.enumerators.len());
        let strings = self.strings.len();
        let looked = self.extend(bytes).map(|()| look(self));
        self.types.truncate(types);
        self.members.truncate(members);
        self.enumerators.truncate(enumerators);
        self.strings.truncate(strings);
        looked
    }

    fn read_raw(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let order = Order::of(bytes).ok_or(Damaged::NoBtf)?;
        let [header, type_off, type_len, string_off, string_len] = order.words(bytes, 4).ok_or(Damaged::CutShort)?;
        if header < HEADER_BYTES {
            return Err(Damaged::CutShort);
        }
        let body = bytes.get(header as usize..).ok_or(Damaged::CutShort)?;
        let types = slice(body, type_off, type_len).ok_or(Damaged::CutShort)?;
        let strings = slice(body, string_off, string_len).ok_or(Damaged::CutShort)?;
        self.read_types(types, order)?;
        self.strings.push_str(&ascii(strings));
        Ok(())
    }

    fn read_types(&mut self, mut bytes: &[u8], order: Order) -> Result<(), Damaged> {
        // Most types of a kernel have 12 bytes and little behind them.
        self.types.reserve(bytes.len() / 32);
        self.members.reserve(bytes.len() / 24);
        while !bytes.is_empty() {
            let [name, info, size_or_type] = order.words(bytes, 0).ok_or(Damaged::CutShort)?;
            let number = info >> 24 & 31;
            let (kind, size) = kind(number).ok_or(Damaged::UnknownKind(number))?;
            let mut ty = Type { name, kind, flag: info >> 31 == 1, size_or_type, first: 0, count: info & 0xffff };
            let len = if takes_many(kind) { size * ty.count as usize } else { size };
            let extra = bytes.get(12..12 + len).ok_or(Damaged::CutShort)?;
            self.read_extra(&mut ty, extra, size, order).ok_or(Damaged::CutShort)?;
            self.types.push(only_named(ty));
            bytes = &bytes[12 + len..];
        }
        Ok(())
    }

    /// What stands behind the fixed part of a type: records of `size` bytes.
    fn read_extra(&mut self, ty: &mut Type, extra: &[u8], size: usize, order: Order) -> Option<()> {
        match ty.kind {
            Kind::Int => ty.first = order.word(extra, 0)?,
            Kind::Array => [ty.size_or_type, _, ty.count] = order.words(extra, 0)?,
            Kind::Enum => {
                ty.first = self.enumerators.len() as u32;
                self.enumerators.extend(extra.chunks_exact(size).filter_map(|record| enumerator(record, ty.flag, order)));
            }
            Kind::Struct | Kind::Union | Kind::Prototype => {
                ty.first = self.members.len() as u32;
                let has_bits = ty.kind.is_record() && ty.flag;
                self.members.extend(extra.chunks_exact(size).filter_map(|record| member(record, has_bits, order)));
            }
            Kind::Section => {
                ty.first = self.members.len() as u32;
                self.members.extend(extra.chunks_exact(size).filter_map(|record| variable(record, order)));
            }
            _ => {}
        }
        Some(())
    }
}

/// The kind behind its number, and the bytes of what follows the fixed part, or of each of those records.
fn kind(number: u32) -> Option<(Kind, usize)> {
    Some(match number {
        1 => (Kind::Int, 4),
        2 => (Kind::Pointer, 0),
        3 => (Kind::Array, 12),
        4 => (Kind::Struct, 12),
        5 => (Kind::Union, 12),
        6 => (Kind::Enum, 8),
        7 => (Kind::Forward, 0),
        8 => (Kind::Typedef, 0),
        9 => (Kind::Volatile, 0),
        10 => (Kind::Const, 0),
        11 => (Kind::Restrict, 0),
        12 => (Kind::Function, 0),
        13 => (Kind::Prototype, 8),
        14 => (Kind::Variable, 4),
        15 => (Kind::Section, 12),
        16 => (Kind::Float, 0),
        17 => (Kind::DeclTag, 4),
        18 => (Kind::TypeTag, 0),
        19 => (Kind::Enum, 12),
        _ => return None,
    })
}

/// An enum without enumerators is one that is defined elsewhere; if it has no name either, it is but a number.
fn only_named(ty: Type) -> Type {
    match (ty.kind, ty.count, ty.name) {
        (Kind::Enum, 0, 0) => Type { kind: Kind::Int, first: 0, ..ty },
        (Kind::Enum, 0, _) => Type { kind: Kind::Forward, first: FORWARD_ENUM, ..ty },
        _ => ty,
    }
}

fn takes_many(kind: Kind) -> bool {
    matches!(kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Prototype | Kind::Section)
}

/// A prototype's parameter has a name and a type alone.
fn member(record: &[u8], has_bits: bool, order: Order) -> Option<Member> {
    let (name, ty) = (order.word(record, 0)?, order.word(record, 4)?);
    let place = order.word(record, 8).unwrap_or(0);
    let (offset, bits) = if has_bits { (place & 0xff_ffff, (place >> 24) as u8) } else { (place, 0) };
    Some(Member { name, ty, offset, bits })
}

fn variable(record: &[u8], order: Order) -> Option<Member> {
    Some(Member { name: 0, ty: order.word(record, 0)?, offset: 0, bits: 0 })
}

fn enumerator(record: &[u8], is_signed: bool, order: Order) -> Option<Enumerator> {
    let (name, low) = (order.word(record, 0)?, order.word(record, 4)?);
    let value = match order.word(record, 8) {
        Some(high) => i64::from(high) << 32 | i64::from(low),
        None if is_signed => i64::from(low.cast_signed()),
        None => i64::from(low),
    };
    Some(Enumerator { name, value })
}

/// Names are ASCII; of what is not, no byte may move the rest.
fn ascii(strings: &[u8]) -> String {
    match std::str::from_utf8(strings) {
        Ok(text) => text.to_owned(),
        Err(_) => strings.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '_' }).collect(),
    }
}

fn slice(bytes: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    bytes.get(offset as usize..)?.get(..len as usize)
}

/// The order of the bytes of a number.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(bytes: &[u8]) -> Option<Order> {
        let magic = *bytes.first_chunk()?;
        match (u16::from_le_bytes(magic), u16::from_be_bytes(magic)) {
            (MAGIC, _) => Some(Order::Little),
            (_, MAGIC) => Some(Order::Big),
            _ => None,
        }
    }

    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    /// `N` words from an offset on.
    fn words<const N: usize>(self, bytes: &[u8], at: usize) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(bytes, at + 4 * index)?;
        }
        Some(words)
    }
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
