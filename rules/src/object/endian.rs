//! Big-endian objects as little-endian ones, so that everything else reads one kind.
//!
//! Turns every number it knows of where it stands and leaves all else; what is damaged stays damaged. Nothing is moved, so
//! offsets in the file are the same.

use std::borrow::Cow;

use ::object::elf::{SHF_EXECINSTR, SHT_REL, SHT_RELA, SHT_SYMTAB};

/// The place of a number and its size.
type Field = (usize, usize);

/// The ELF header behind its magic.
const HEADER: [Field; 13] = fields([2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2], 16);
const SECTION: [Field; 10] = fields([4, 4, 8, 8, 8, 8, 4, 4, 8, 8], 0);
const SECTION_BYTES: usize = 64;
/// A symbol's name, section, value and size; two single bytes stand behind the name.
const SYMBOL: [Field; 4] = [(0, 4), (6, 2), (8, 8), (16, 8)];
const SYMBOL_BYTES: usize = 24;
/// An instruction's offset and immediate.
const INSN: [Field; 2] = [(2, 2), (4, 4)];
const INSN_BYTES: usize = 8;
/// BTF begins with a number of two bytes and two of one; the rest, but for strings, are numbers of four.
const BTF_MAGIC: Field = (0, 2);
const BTF_HEADER: usize = 24;

const fn fields<const N: usize>(sizes: [usize; N], start: usize) -> [Field; N] {
    let (mut fields, mut at, mut index) = ([(0, 0); N], start, 0);
    while index < N {
        fields[index] = (at, sizes[index]);
        at += sizes[index];
        index += 1;
    }
    fields
}

/// Whether a file says it is a big-endian 64-bit ELF file.
pub(super) fn is_big(object: &[u8]) -> bool {
    object.starts_with(&[0x7f, b'E', b'L', b'F', 2, 2])
}

/// The object in little-endian.
pub(super) fn little(object: &[u8]) -> Cow<'_, [u8]> {
    if !is_big(object) {
        return Cow::Borrowed(object);
    }
    let mut turned = Turned { from: object, to: object.to_vec(), left: object.len() };
    turned.to[5] = 1;
    turned.record(0, &HEADER);
    let (start, count) = (turned.number(40, 8), turned.number(60, 2));
    let names = turned.section(start.saturating_add(turned.number(62, 2).saturating_mul(SECTION_BYTES)));
    for index in 0..count {
        let at = start.saturating_add(index * SECTION_BYTES);
        turned.record(at, &SECTION);
        turned.contents(at, names);
    }
    Cow::Owned(turned.to)
}

struct Turned<'a> {
    from: &'a [u8],
    to: Vec<u8>,
    /// Bytes of sections not turned yet: sections that share theirs would make much work out of a small file.
    left: usize,
}

impl Turned<'_> {
    /// A number of the original; 0 where there is none.
    fn number(&self, at: usize, size: usize) -> usize {
        let bytes = at.checked_add(size).and_then(|end| self.from.get(at..end)).unwrap_or_default();
        bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// Where a section's bytes are.
    fn section(&self, at: usize) -> (usize, usize) {
        (self.number(at.saturating_add(24), 8), self.number(at.saturating_add(32), 8))
    }

    fn field(&mut self, at: usize, (offset, size): Field) {
        let range = at.checked_add(offset).and_then(|at| Some(at..at.checked_add(size)?));
        let Some(from) = range.clone().and_then(|range| self.from.get(range)) else { return };
        let Some(to) = range.and_then(|range| self.to.get_mut(range)) else { return };
        to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
    }

    fn record(&mut self, at: usize, fields: &[Field]) {
        fields.iter().for_each(|field| self.field(at, *field));
    }

    /// Every record of a stretch of the file, as far as there is one.
    fn records(&mut self, (at, length): (usize, usize), bytes: usize, fields: &[Field]) {
        let end = at.saturating_add(length).min(self.from.len());
        for place in (at..end).step_by(bytes) {
            self.record(place, fields);
        }
    }

    fn contents(&mut self, at: usize, names: (usize, usize)) {
        let (kind, flags) = (self.number(at.saturating_add(4), 4), self.number(at.saturating_add(8), 8));
        let (start, length) = self.section(at);
        let bytes = (start, length.min(self.left));
        self.left -= bytes.1;
        match u32::try_from(kind) {
            Ok(SHT_SYMTAB) => self.records(bytes, SYMBOL_BYTES, &SYMBOL),
            Ok(SHT_REL | SHT_RELA) => self.records(bytes, 8, &[(0, 8)]),
            _ if flags & SHF_EXECINSTR as usize != 0 => self.instructions(bytes),
            _ => match self.name(names.0.saturating_add(self.number(at, 4))) {
                b".BTF" => {
                    // Strings, the last part, are no numbers.
                    let strings = self.number(bytes.0.saturating_add(4), 4) + self.number(bytes.0.saturating_add(16), 4);
                    self.btf((bytes.0, bytes.1.min(strings.max(BTF_HEADER))));
                }
                b".BTF.ext" => self.btf(bytes),
                _ => {}
            },
        }
    }

    fn btf(&mut self, bytes: (usize, usize)) {
        self.records((bytes.0.saturating_add(4), bytes.1.saturating_sub(4)), 4, &[(0, 4)]);
        self.field(bytes.0, BTF_MAGIC);
    }

    /// Their registers share a byte, in the order of the rest.
    fn instructions(&mut self, bytes: (usize, usize)) {
        self.records(bytes, INSN_BYTES, &INSN);
        let end = bytes.0.saturating_add(bytes.1).min(self.to.len());
        for place in (bytes.0.saturating_add(1)..end).step_by(INSN_BYTES) {
            self.to[place] = self.from[place].rotate_left(4);
        }
    }

    fn name(&self, at: usize) -> &[u8] {
        let rest = self.from.get(at..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
