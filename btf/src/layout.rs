//! Where C puts members: alignments, bitfields, and which records only `packed` ones can be.
//!
//! The rules are those of clang for BPF, which are those of every 64-bit kernel. BTF says where members are and not what attributes
//! put them there, so attributes are inferred: a record is packed when its members could not stand where they stand.

use crate::types::{Btf, Kind, Member, Type};

/// Deeper nesting than C has use for.
const MAX_DEPTH: usize = 64;
const PACKED: u8 = 0x80;
const IN_PROGRESS: u8 = 0x7f;

/// Alignments, each found once.
pub(crate) struct Layout<'a> {
    btf: &'a Btf,
    /// By id: the alignment in bytes, and [`PACKED`]; 0 while not known.
    known: Vec<u8>,
}

/// Where a member is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// In bits.
    pub offset: u64,
    /// Of a bitfield, its bits.
    pub bits: Option<u64>,
    /// Bits of the member's type; of a bitfield, too.
    pub size: u64,
    /// Bits its type wants to begin at a multiple of.
    pub align: u64,
}

impl<'a> Layout<'a> {
    pub fn new(btf: &'a Btf) -> Layout<'a> {
        Layout { btf, known: vec![0; btf.types.len()] }
    }

    /// Whether a record must be declared `packed`.
    pub fn is_packed(&mut self, id: u32) -> bool {
        self.record(id, 0) & PACKED != 0
    }

    /// The alignment of a type, in bits.
    pub fn align(&mut self, id: u32) -> u64 {
        8 * u64::from(self.align_of(id, 0))
    }

    /// A member of a record as it is; nothing when its type has no size.
    pub fn field(&mut self, record: Type, member: &Member) -> Option<Field> {
        self.field_at(record, member, 0)
    }

    fn field_at(&mut self, record: Type, member: &Member, depth: usize) -> Option<Field> {
        let size = 8 * u64::from(self.btf.size(member.ty)?);
        let align = 8 * u64::from(self.align_of(member.ty, depth));
        let (offset, bits) = self.btf.place(record, member);
        Some(Field { offset, bits, size, align })
    }

    fn align_of(&mut self, id: u32, depth: usize) -> u8 {
        let mut id = id;
        // Arrays of arrays end where modifiers do.
        for _ in 0..MAX_DEPTH {
            let Some(ty) = self.btf.get(id) else { return 1 };
            match ty.kind {
                Kind::Array => id = ty.size_or_type,
                kind if kind.is_modifier() => id = ty.size_or_type,
                Kind::Struct | Kind::Union => return self.record(id, depth) & !PACKED,
                Kind::Pointer => return 8,
                Kind::Int | Kind::Enum | Kind::Float => return number_align(ty.size_or_type),
                _ => return 1,
            }
        }
        1
    }

    fn record(&mut self, id: u32, depth: usize) -> u8 {
        let Some(known) = self.known.get(id as usize) else { return 1 };
        match *known {
            0 if depth < MAX_DEPTH => {}
            0 | IN_PROGRESS => return 1,
            known => return known,
        }
        self.known[id as usize] = IN_PROGRESS;
        let found = self.btf.get(id).map_or(1, |ty| self.infer(ty, depth + 1));
        self.known[id as usize] = found;
        found
    }

    fn infer(&mut self, record: Type, depth: usize) -> u8 {
        let (mut align, mut is_packed) = (8, false);
        let btf = self.btf;
        for member in btf.members(record) {
            let Some(field) = self.field_at(record, member, depth) else { continue };
            is_packed |= match field.bits {
                None => !field.offset.is_multiple_of(field.align),
                // C never lets a bitfield reach over the end of what its type would fill.
                Some(bits) => field.offset % field.size.max(1) + bits > field.size,
            };
            align = align.max(field.align);
        }
        is_packed |= !(8 * u64::from(record.size_or_type)).is_multiple_of(align);
        if is_packed { 1 | PACKED } else { (align / 8) as u8 }
    }
}

/// Numbers are aligned to their size; other sizes are printed as arrays of bytes.
fn number_align(size: u32) -> u8 {
    match size {
        1 | 2 | 4 | 8 | 16 => size as u8,
        _ => 1,
    }
}
