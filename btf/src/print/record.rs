//! What stands between braces: members where they belong, with everything that C would not put there by itself, and enumerators.

use std::fmt::Write as _;

use super::{DEFINED, MAX_DEPTH, Printer};
use crate::Damaged;
use crate::layout::Field;
use crate::types::{Kind, Member, Type};
use crate::word;

/// The widest bitfield.
const WORD: u64 = 64;
/// Gaps are filled with bitfields without a name, which are no members. Kernels have gaps of almost a page; one of more bytes than
/// these is filled with an array.
const MOST_FILLED: u64 = 1 << 16;

impl Printer<'_> {
    /// A struct or union, without the semicolon.
    pub(super) fn record(&mut self, id: u32, ty: Type, depth: usize) -> Result<(), Damaged> {
        let names = self.names;
        self.named_record(id, ty, names.name(self.btf, id), depth)
    }

    /// The same under another name, or none.
    fn named_record(&mut self, id: u32, ty: Type, name: &str, depth: usize) -> Result<(), Damaged> {
        let btf = self.btf;
        self.spend(btf.members(ty).len() + 1)?;
        if depth > MAX_DEPTH {
            return Err(Damaged::TooDeep);
        }
        let is_packed = self.layout.is_packed(id);
        let mut place = Place { is_union: ty.kind == Kind::Union, is_packed, end: 0 };
        self.text.push_str(if place.is_union { "union " } else { "struct " });
        self.text.push_str(name);
        self.text.push_str(if name.is_empty() { "{\n" } else { " {\n" });
        for member in btf.members(ty) {
            self.member(ty, member, &mut place, depth + 1)?;
        }
        self.fill_end(id, ty, &place, depth + 1)?;
        self.indent(depth);
        self.text.push_str(if is_packed { "} __attribute__((packed))" } else { "}" });
        Ok(())
    }

    /// A member; none where C could put it nowhere, as in damaged BTF alone.
    fn member(&mut self, record: Type, member: &Member, place: &mut Place, depth: usize) -> Result<(), Damaged> {
        let Some(field) = self.layout.field(record, member) else { return Ok(()) };
        let natural = place.next(&field);
        if field.offset < place.end || (place.is_union && field.offset > 0) {
            return Ok(());
        }
        if natural != field.offset {
            self.fill(place.end, field.offset, depth)?;
        }
        place.end = if place.is_union { 0 } else { field.offset + field.bits.unwrap_or(field.size) };
        self.indent(depth);
        let name = self.btf.member_name(member);
        match (name, self.record_behind(member.ty)) {
            // Kernels from 6.19 on have members of types that have a name, without one of their own. C has none.
            ("", Some((id, ty))) => self.named_record(id, ty, "", depth)?,
            (name, _) if name.is_empty() || word::is_plain(name) => self.declare(member.ty, name, depth)?,
            (name, _) => self.declare(member.ty, &word::plain(name), depth)?,
        }
        if let Some(bits) = field.bits {
            let _ = write!(self.text, ": {bits}");
        }
        self.text.push_str(";\n");
        Ok(())
    }

    /// The record behind typedefs and qualifiers.
    fn record_behind(&self, id: u32) -> Option<(u32, Type)> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let ty = self.btf.get(id)?;
            match ty.kind {
                Kind::Struct | Kind::Union => return Some((id, ty)),
                kind if kind.is_modifier() => id = ty.size_or_type,
                _ => return None,
            }
        }
        None
    }

    /// What a record has behind its last member.
    fn fill_end(&mut self, id: u32, ty: Type, place: &Place, depth: usize) -> Result<(), Damaged> {
        let (size, align) = (8 * u64::from(ty.size_or_type), self.layout.align(id));
        if !place.is_union {
            let is_reached = place.end.next_multiple_of(align) == size;
            return if is_reached { Ok(()) } else { self.fill(place.end, size, depth) };
        }
        let btf = self.btf;
        let sizes = btf.members(ty).iter().filter_map(|member| self.layout.field(ty, member));
        let widest = sizes.map(|field| field.bits.unwrap_or(field.size)).max().unwrap_or(0);
        if widest.next_multiple_of(align) < size {
            self.filler(size / 8, depth);
        }
        Ok(())
    }

    /// Fills the bits of a struct between two places.
    fn fill(&mut self, from: u64, to: u64, depth: usize) -> Result<(), Damaged> {
        let bytes = to.saturating_sub(from.next_multiple_of(8)) / 8;
        if bytes <= MOST_FILLED {
            return self.fill_bits(from, to, depth);
        }
        self.fill_bits(from, from.next_multiple_of(8), depth)?;
        self.filler(bytes, depth);
        self.fill_bits(to / 8 * 8, to, depth)
    }

    /// A bitfield that lies within one word stands exactly behind what is before it, and without a name it is no member and moves
    /// nothing else.
    fn fill_bits(&mut self, from: u64, to: u64, depth: usize) -> Result<(), Damaged> {
        let mut at = from;
        while at < to {
            self.spend(1)?;
            let end = to.min((at / WORD + 1) * WORD);
            self.indent(depth);
            let _ = writeln!(self.text, "long: {};", end - at);
            at = end;
        }
        Ok(())
    }

    fn filler(&mut self, bytes: u64, depth: usize) {
        self.fillers += 1;
        self.indent(depth);
        let _ = writeln!(self.text, "char __filler_{}[{bytes}];", self.fillers);
    }

    /// An enum, without the semicolon.
    pub(super) fn enumeration(&mut self, id: u32, ty: Type, depth: usize) -> Result<(), Damaged> {
        let btf = self.btf;
        let enumerators = btf.enumerators(ty);
        self.spend(enumerators.len() + 1)?;
        self.set(id, DEFINED);
        self.text.push_str("enum ");
        self.text.push_str(self.names.name(btf, id));
        self.text.push_str(if btf.name(ty).is_empty() { "{\n" } else { " {\n" });
        for (place, enumerator) in (ty.first..).zip(enumerators) {
            self.indent(depth + 1);
            self.text.push_str(self.names.enumerator(btf, place));
            self.text.push_str(" = ");
            self.value(enumerator.value, ty);
            self.text.push_str(",\n");
        }
        self.indent(depth);
        self.text.push('}');
        self.text.push_str(mode(ty.size_or_type, enumerators.iter().all(|one| fits_int(one.value, ty.flag))));
        Ok(())
    }

    fn value(&mut self, value: i64, ty: Type) {
        let _ = match (ty.flag, value) {
            // Its amount is no number that C can write down.
            (true, i64::MIN) => write!(self.text, "({} - 1LL)", i64::MIN + 1),
            (true, value) if ty.size_or_type > 4 => write!(self.text, "{value}LL"),
            (false, value) if ty.size_or_type > 4 => write!(self.text, "{}ULL", value.cast_unsigned()),
            (_, value) => write!(self.text, "{value}"),
        };
    }
}

/// The place behind the members printed so far.
struct Place {
    is_union: bool,
    is_packed: bool,
    /// In bits.
    end: u64,
}

impl Place {
    /// Where C would put this one.
    fn next(&self, field: &Field) -> u64 {
        match field.bits {
            Some(_) if self.is_packed => self.end,
            Some(bits) if self.end % field.size.max(1) + bits <= field.size => self.end,
            Some(_) => self.end.next_multiple_of(field.size.max(1)),
            None if self.is_packed => self.end.next_multiple_of(8),
            None => self.end.next_multiple_of(field.align),
        }
    }
}

/// Whether C makes the enum of such a value no larger than an int.
fn fits_int(value: i64, is_signed: bool) -> bool {
    if is_signed { i32::try_from(value).is_ok() } else { u32::try_from(value.cast_unsigned()).is_ok() }
}

/// What makes an enum as large as it is.
fn mode(size: u32, fits_int: bool) -> &'static str {
    match (size, fits_int) {
        (1, _) => " __attribute__((mode(byte)))",
        (2, _) => " __attribute__((mode(HI)))",
        (8, true) => " __attribute__((mode(DI)))",
        _ => "",
    }
}
