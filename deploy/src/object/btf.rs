//! BTF as the kernel takes it: compilers leave sizes and offsets of sections open, and describe what is defined elsewhere.
//!
//! Works on bytes, so that everything unknown stays as it is.

use super::elf::{Elf, Symbol};
use super::{Extern, ExternKind, Reason};

const HEADER: usize = 24;
/// A type without what follows it: name, kind and count, size or type.
const TYPE: usize = 12;
const INT: u32 = 1;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const CONST: u32 = 10;
const ENUM: u32 = 6;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const SECTION: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;
/// `BTF_VAR_GLOBAL_ALLOCATED` and `BTF_FUNC_GLOBAL`.
const GLOBAL: u32 = 1;
/// The compiler's own functions take whatever they are given, so they are verified where they are called, as hidden ones are.
const BUILTINS: [&str; 4] = ["memcpy", "memmove", "memset", "memcmp"];

/// BTF taken apart.
struct Raw {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type begins; the first has id 1.
    starts: Vec<usize>,
}

/// The section `.BTF` of an object, for the kernel.
pub(super) fn for_kernel(bytes: &[u8], elf: &Elf<'_>, externs: &[Extern]) -> Result<Vec<u8>, Reason> {
    let mut btf =
        Raw::read(bytes).filter(Raw::names_are_there).ok_or_else(|| "it is damaged: its BTF is cut short".to_owned())?;
    // Source lines reach the verifier's log from here. Names are ASCII anyway, or the kernel refuses them.
    btf.strings.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    btf.name_parameters();
    for index in 0..btf.starts.len() {
        let at = btf.starts[index];
        match btf.kind(at) {
            SECTION => btf.fix_section(at, elf, externs),
            FUNCTION if is_verified_where_called(elf, &btf.name(at)) => btf.set_count(at, 0),
            _ => {}
        }
    }
    Ok(btf.write())
}

fn is_verified_where_called(elf: &Elf<'_>, name: &str) -> bool {
    let is_hidden = |symbol: &Symbol<'_>| symbol.is_function && symbol.is_hidden;
    BUILTINS.contains(&name) || elf.symbol(name).is_some_and(is_hidden)
}

/// The same without kinds of types that came after kernel 5.10.
pub(crate) fn for_old_kernels(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut btf = Raw::read(bytes)?;
    let placeholder = btf.starts.len() as u32 + 1;
    for at in btf.starts.clone() {
        match btf.kind(at) {
            FLOAT => btf.become_kind(at, STRUCT, 0),
            DECL_TAG => {
                btf.become_kind(at, INT, 0);
                btf.put(at + 8, 1);
                btf.put(at + TYPE, 8);
            }
            TYPE_TAG => {
                btf.put(at, 0);
                btf.become_kind(at, CONST, 0);
            }
            // Numbers without a sign in the kernel's eyes; it refuses what has one.
            ENUM => {
                let count = btf.count(at);
                btf.become_kind(at, ENUM, count);
            }
            ENUM64 => {
                let count = btf.count(at);
                btf.become_kind(at, UNION, count);
                (0..count as usize).for_each(|member| {
                    btf.put(at + TYPE + member * 12 + 4, placeholder);
                    btf.put(at + TYPE + member * 12 + 8, 0);
                });
            }
            _ => {}
        }
    }
    let name = btf.add_string("ouro_enum64");
    btf.add_type(&[name, INT << 24, 1, 8]);
    Some(btf.write())
}

impl Raw {
    fn read(bytes: &[u8]) -> Option<Raw> {
        let header = word(bytes, 4)? as usize;
        let part = |at: usize| {
            let start = header.checked_add(word(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let (types, strings) = (part(8)?, part(16)?);
        let mut btf = Raw { types: types.to_vec(), strings: strings.to_vec(), starts: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            types.get(at..at + TYPE)?;
            btf.starts.push(at);
            at += TYPE + btf.extra(at);
        }
        (at == types.len()).then_some(btf)
    }

    /// Whether every name is one of the strings. Readers of others believe it.
    fn names_are_there(&self) -> bool {
        let is_there = |place: usize| (self.get(place) as usize) < self.strings.len().max(1);
        let members = |at: usize| match self.kind(at) {
            STRUCT | UNION | ENUM64 => 12,
            ENUM | PROTOTYPE => 8,
            _ => usize::MAX,
        };
        let of_type = |at: usize| match members(at) {
            usize::MAX => true,
            size => (0..self.count(at) as usize).all(|member| is_there(at + TYPE + member * size)),
        };
        self.strings.last().is_none_or(|last| *last == 0) && self.starts.iter().all(|at| is_there(*at) && of_type(*at))
    }

    /// Bytes behind the fixed part of a type.
    fn extra(&self, at: usize) -> usize {
        let count = self.count(at) as usize;
        match self.kind(at) {
            INT | VARIABLE | DECL_TAG => 4,
            3 => 12,
            STRUCT | UNION | SECTION | ENUM64 => 12 * count,
            ENUM | PROTOTYPE => 8 * count,
            _ => 0,
        }
    }

    fn get(&self, at: usize) -> u32 {
        word(&self.types, at).unwrap_or_default()
    }

    fn put(&mut self, at: usize, value: u32) {
        if let Some(place) = self.types.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn kind(&self, at: usize) -> u32 {
        self.get(at + 4) >> 24 & 31
    }

    fn count(&self, at: usize) -> u32 {
        self.get(at + 4) & 0xffff
    }

    fn set_count(&mut self, at: usize, count: u32) {
        self.put(at + 4, self.get(at + 4) & !0xffff | count);
    }

    fn become_kind(&mut self, at: usize, kind: u32, count: u32) {
        self.put(at + 4, kind << 24 | count);
    }

    fn name(&self, at: usize) -> String {
        let rest = self.strings.get(self.get(at) as usize..).unwrap_or_default();
        String::from_utf8_lossy(rest.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    }

    /// Where the type of this id begins.
    fn start(&self, id: u32) -> Option<usize> {
        self.starts.get((id as usize).checked_sub(1)?).copied()
    }

    fn add_string(&mut self, text: &str) -> u32 {
        let place = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        place
    }

    fn add_type(&mut self, words: &[u32]) -> u32 {
        self.starts.push(self.types.len());
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        self.starts.len() as u32
    }

    /// The kernel wants a name for every parameter; compilers have none for those of functions that are only declared.
    fn name_parameters(&mut self) {
        let prototypes: Vec<usize> = self.starts.iter().copied().filter(|at| self.kind(*at) == PROTOTYPE).collect();
        let parameters = prototypes.iter().flat_map(|at| (0..self.count(*at) as usize).map(move |number| at + TYPE + number * 8));
        let unnamed: Vec<usize> = parameters.filter(|place| self.get(*place) == 0 && self.get(place + 4) != 0).collect();
        if !unnamed.is_empty() {
            let name = self.add_string("unnamed");
            unnamed.into_iter().for_each(|place| self.put(place, name));
        }
    }

    /// Gives a section its size and its variables their offsets, which only the ELF file knows.
    fn fix_section(&mut self, at: usize, elf: &Elf<'_>, externs: &[Extern]) {
        let name = self.name(at);
        match name.as_str() {
            ".ksyms" => self.fix_kernel_symbols(at),
            ".kconfig" => self.fix_settings(at, externs),
            _ => {
                if let Some(section) = elf.section(&name) {
                    self.put(at + 8, u32::try_from(section.size).unwrap_or(u32::MAX).max(1));
                }
                self.each_variable(at, |btf, place, variable| {
                    // A static variable's offset is there already, and others may have its name.
                    let is_global = btf.get(variable + TYPE) != 0;
                    let symbol = elf.symbol(&btf.name(variable)).filter(|_| is_global);
                    symbol.and_then(|symbol| u32::try_from(symbol.value).ok()).map(|offset| (place, offset))
                });
                if name.contains(['/', '?']) {
                    let plain = self.add_string(&name.replace(['/', '?'], "_"));
                    self.put(at, plain);
                }
            }
        }
        self.sort(at);
    }

    /// Functions and variables of the kernel become numbers in a row: the kernel takes no section of things that are not there.
    fn fix_kernel_symbols(&mut self, at: usize) {
        let (int, dummy) = (self.add_string("int"), self.add_string("ouro_extern"));
        let int = self.add_type(&[int, INT << 24, 4, 1 << 24 | 32]);
        let dummy = self.add_type(&[dummy, VARIABLE << 24, int, GLOBAL]);
        let count = self.count(at);
        for member in 0..count {
            let place = at + TYPE + member as usize * 12;
            if let Some(found) = self.start(self.get(place)) {
                if self.kind(found) == FUNCTION {
                    self.set_count(found, GLOBAL);
                    self.put(place, dummy);
                } else {
                    self.put(found + 8, int);
                    self.put(found + TYPE, GLOBAL);
                }
            }
            self.put(place + 4, member * 4);
            self.put(place + 8, 4);
        }
        self.put(at + 8, (count * 4).max(1));
    }

    fn fix_settings(&mut self, at: usize, externs: &[Extern]) {
        let offset_of = |name: &str| {
            externs.iter().find_map(|found| match &found.kind {
                ExternKind::Setting { offset, .. } if found.name == name => Some(*offset),
                _ => None,
            })
        };
        self.each_variable(at, |btf, place, variable| {
            let name = btf.name(variable);
            btf.put(variable + TYPE, GLOBAL);
            offset_of(&name).map(|offset| (place, offset))
        });
        let end = |found: &Extern| match &found.kind {
            ExternKind::Setting { offset, size, .. } => offset + size,
            _ => 0,
        };
        self.put(at + 8, externs.iter().map(end).max().unwrap_or(0).max(1));
    }

    /// Visits the variables of a section; what `visit` returns is the new offset and where it goes.
    fn each_variable(&mut self, at: usize, visit: impl Fn(&mut Raw, usize, usize) -> Option<(usize, u32)>) {
        for member in 0..self.count(at) as usize {
            let place = at + TYPE + member * 12;
            let Some(variable) = self.start(self.get(place)).filter(|start| self.kind(*start) == VARIABLE) else { continue };
            if let Some((place, offset)) = visit(self, place, variable) {
                self.put(place + 4, offset);
            }
        }
    }

    /// The kernel wants the variables of a section in order.
    fn sort(&mut self, at: usize) {
        let range = at + TYPE..at + TYPE + self.count(at) as usize * 12;
        let Some(bytes) = self.types.get_mut(range) else { return };
        let mut members: Vec<[u8; 12]> = bytes.as_chunks().0.to_vec();
        members.sort_by_key(|member| word(member, 4));
        bytes.copy_from_slice(&members.concat());
    }

    fn write(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = 0xeb9fu16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend([HEADER as u32, 0, types, types, strings].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One negative enumerator took all types from an object on kernels before 6.0.
    #[test]
    fn old_kernels_see_no_sign_of_an_enum() {
        let types: Vec<u8> = [1, 1 << 31 | ENUM << 24 | 1, 4, 1, u32::MAX].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes = Raw { types, strings: b"\0fail\0".to_vec(), starts: vec![0] }.write();
        let old = Raw::read(&for_old_kernels(&bytes).unwrap()).unwrap();
        assert_eq!((old.get(4), old.get(8), old.get(16)), (ENUM << 24 | 1, 4, u32::MAX));
    }
}
