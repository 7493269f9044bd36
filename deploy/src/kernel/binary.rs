//! Programs and libraries of user space: where in their files functions and declared probes are.
//!
//! Knows ELF64 of the machine's own byte order; what it does not understand is as good as not there.

use std::fs;
use std::io;
use std::path::Path;

/// Types and flags of sections and segments, and the type of a function's symbol.
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
const NOTE: u32 = 7;
const LOAD: u32 = 1;
const FUNCTION: u8 = 2;
const INDIRECT_FUNCTION: u8 = 10;
/// Of a symbol, for whom it is.
const LOCAL: u8 = 0;

/// Sizes of headers and symbols.
const SECTION: usize = 64;
const SEGMENT: usize = 56;
const SYMBOL: usize = 24;

/// A file.
pub(super) struct Binary {
    bytes: Vec<u8>,
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) address: u64,
    /// Whether others of its name may stand in other sources.
    pub(super) is_local: bool,
}

/// A place of a declared probe, in bytes from the file's begin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Probe {
    pub(super) offset: u64,
    /// What its authors look at to know whether somebody listens; 0 if they do not.
    pub(super) semaphore: u64,
    /// Where its arguments are, in words of the machine.
    pub(super) arguments: String,
}

#[derive(Clone, Copy)]
struct Section {
    name: u32,
    ty: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

impl Binary {
    pub(super) fn read(path: &Path) -> io::Result<Binary> {
        let bytes = fs::read(path)?;
        // EI_CLASS: 64 bit.
        if bytes.get(..5) == Some(b"\x7fELF\x02") {
            Ok(Binary { bytes })
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is no ELF file of 64 bits"))
        }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The functions, in no order. One may be there twice, and have several names.
    pub(super) fn functions(&self) -> Vec<Function<'_>> {
        let mut found = Vec::new();
        let tables = self.sections().filter(|section| matches!(section.ty, SYMTAB | DYNSYM));
        for (table, symbols) in self.contents(tables) {
            let Some(names) = self.section(table.link as usize).and_then(|section| self.data(section)) else { continue };
            for symbol in symbols.chunks_exact(SYMBOL) {
                let (Some(name), Some(address)) = (word(symbol, 0).and_then(|at| text(names, at as usize)), long(symbol, 8))
                else {
                    continue;
                };
                let is_function = matches!(symbol[4] & 0xf, FUNCTION | INDIRECT_FUNCTION) && half(symbol, 6) != Some(0);
                let is_local = symbol[4] >> 4 == LOCAL;
                found.extend((is_function && !name.is_empty()).then_some(Function { name, address, is_local }));
            }
        }
        found
    }

    /// The places of a declared probe (`.note.stapsdt`: addresses of probe, link base and semaphore, then provider, name and
    /// arguments).
    pub(super) fn probes(&self, provider: &str, name: &str) -> Vec<Probe> {
        let base = self.named(".stapsdt.base").map_or(0, |section| section.address);
        let mut found = Vec::new();
        let notes = self.sections().filter(|section| section.ty == NOTE && self.is_named(*section, ".note.stapsdt"));
        for note in self.contents(notes).flat_map(|(_, notes)| descriptions(notes)) {
            let (Some(at), Some(linked), Some(semaphore)) = (long(note, 0), long(note, 8), long(note, 16)) else { continue };
            let mut words = note[24..].split(|byte| *byte == 0);
            if words.next() != Some(provider.as_bytes()) || words.next() != Some(name.as_bytes()) {
                continue;
            }
            // A file that was linked again, to run at another address, has its notes as they were.
            let moved = if base == 0 { 0 } else { base.wrapping_sub(linked) };
            let place = |address: u64| self.offset(address.wrapping_add(moved));
            if let Some(offset) = place(at) {
                let semaphore = if semaphore == 0 { Some(0) } else { place(semaphore) };
                let arguments = words.next().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                found.push(Probe { offset, semaphore: semaphore.unwrap_or(0), arguments });
            }
        }
        found.sort();
        // The kernel is told of each place once.
        found.dedup_by_key(|probe| (probe.offset, probe.semaphore));
        found
    }

    /// Where in the file the byte at an address is.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        let (start, count) = (usize::try_from(long(&self.bytes, 0x20)?).ok()?, half(&self.bytes, 0x38)?);
        let segments = (0..usize::from(count)).filter_map(|index| self.bytes.get(start.checked_add(index * SEGMENT)?..));
        segments.filter(|segment| word(segment, 0) == Some(LOAD)).find_map(|segment| {
            let (offset, begin, size) = (long(segment, 8)?, long(segment, 16)?, long(segment, 32)?);
            let inside = address.checked_sub(begin).filter(|inside| *inside < size)?;
            offset.checked_add(inside)
        })
    }

    fn sections(&self) -> impl Iterator<Item = Section> {
        (0..half(&self.bytes, 0x3c).unwrap_or(0)).filter_map(|index| self.section(usize::from(index)))
    }

    fn section(&self, index: usize) -> Option<Section> {
        let start = usize::try_from(long(&self.bytes, 0x28)?).ok()?.checked_add(index.checked_mul(SECTION)?)?;
        let header = self.bytes.get(start..)?;
        let (name, ty, address) = (word(header, 0)?, word(header, 4)?, long(header, 16)?);
        Some(Section { name, ty, address, offset: long(header, 24)?, size: long(header, 32)?, link: word(header, 40)? })
    }

    fn named(&self, name: &str) -> Option<Section> {
        self.sections().find(|section| self.is_named(*section, name))
    }

    fn is_named(&self, section: Section, name: &str) -> bool {
        let names = half(&self.bytes, 0x3e).and_then(|index| self.section(usize::from(index))).and_then(|names| self.data(names));
        let rest = names.and_then(|names| names.get(section.name as usize..)?.strip_prefix(name.as_bytes()));
        rest.and_then(<[u8]>::first) == Some(&0)
    }

    /// Sections with what they hold, as long as they cannot share bytes: thousands of headers may name the same ones.
    fn contents(&self, sections: impl Iterator<Item = Section>) -> impl Iterator<Item = (Section, &[u8])> {
        let mut left = self.bytes.len();
        sections.map_while(move |section| {
            let data = self.data(section).unwrap_or_default();
            left = left.checked_sub(data.len())?;
            Some((section, data))
        })
    }

    fn data(&self, section: Section) -> Option<&[u8]> {
        let start = usize::try_from(section.offset).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(section.size).ok()?)?)
    }
}

/// The descriptions of the notes of a section: each follows three sizes and its owner, all in steps of four bytes.
fn descriptions(mut notes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let (Some(name), Some(size)) = (word(notes, 0), word(notes, 4)) {
        let start = 12 + (name as usize).next_multiple_of(4);
        let Some(description) = notes.get(start..start.saturating_add(size as usize)) else { break };
        found.extend((description.len() > 24).then_some(description));
        notes = notes.get(start + (size as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn text(names: &[u8], at: usize) -> Option<&str> {
    str::from_utf8(names.get(at..)?.split(|byte| *byte == 0).next()?).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_has_functions() {
        let own = Binary::read(&std::env::current_exe().unwrap()).unwrap();
        let functions = own.functions();
        let main = functions.iter().find(|known| known.name == "main").and_then(|known| own.offset(known.address));
        assert!(main.is_some(), "{} functions", functions.len());
        assert_eq!(own.probes("nobody", "nothing"), []);
    }

    /// A file of two megabytes whose headers all name one section made gigabytes of it.
    #[test]
    fn sections_that_share_bytes_are_read_once() {
        let note = {
            let (sizes, places) = ([8_u32, 24 + 4, 3].map(u32::to_ne_bytes), [0_u64; 3].map(u64::to_ne_bytes));
            [sizes.as_flattened(), b"stapsdt\0", places.as_flattened(), b"a\0b\0"].concat()
        };
        let names = b"\0.note.stapsdt\0";
        let (names_at, notes_at, headers_at) = (64, 64 + names.len(), 64 + names.len() + 4 * note.len());
        let section = |name: u32, ty: u32, at: usize, size: usize| {
            let (mut header, long) = (vec![0; SECTION], |number: usize| (number as u64).to_ne_bytes());
            header[..4].copy_from_slice(&name.to_ne_bytes());
            header[4..8].copy_from_slice(&ty.to_ne_bytes());
            header[24..32].copy_from_slice(&long(at));
            header[32..40].copy_from_slice(&long(size));
            header
        };
        let file = |count: u16| {
            let mut bytes = vec![0; 64];
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            bytes[0x28..0x30].copy_from_slice(&(headers_at as u64).to_ne_bytes());
            bytes[0x3c..0x3e].copy_from_slice(&(count + 1).to_ne_bytes());
            bytes.extend_from_slice(names);
            (0..4).for_each(|_| bytes.extend_from_slice(&note));
            bytes.extend(section(0, 3, names_at, names.len()));
            (0..count).for_each(|_| bytes.extend(section(1, NOTE, notes_at, 4 * note.len())));
            Binary { bytes }
        };
        let read = |binary: &Binary| binary.contents(binary.sections().filter(|section| section.ty == NOTE)).count();
        let (one, many) = (file(1), file(60_000));
        assert_eq!((descriptions(one.data(one.section(1).unwrap()).unwrap()).len(), read(&one)), (4, 1));
        assert!(read(&many) * 4 * note.len() <= many.bytes.len());
        assert!(many.is_named(many.section(1).unwrap(), ".note.stapsdt") && !many.is_named(many.section(1).unwrap(), ".note"));
    }

    #[test]
    fn what_is_no_binary_has_no_functions() {
        assert!(Binary::read(Path::new("/etc/hostname")).is_err());
        let cut = Binary { bytes: [b"\x7fELF\x02".as_slice(), &[0xff; 59]].concat() };
        assert!(cut.functions().is_empty() && cut.probes("a", "b").is_empty());
    }
}
