//! An object file as sections, symbols, functions and relocations, everything in bounds.
//!
//! The only file that knows ELF; what the bytes mean to BPF is for others.

use std::collections::BTreeMap;

use ::object::elf::{EM_BPF, ET_REL, SHF_EXECINSTR, STB_LOCAL, STT_FUNC};
use ::object::read::elf::{ElfFile64, ElfSection64, FileHeader as _, SectionHeader as _};
use ::object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};

use super::insn::Insn;
use super::unreadable::Unreadable;

const INSN_BYTES: u64 = 8;
const RELOCATION_BYTES: u64 = 16;

/// A decoded object file.
pub(super) struct Image<'a> {
    /// By section number.
    pub sections: Vec<Section<'a>>,
    /// By symbol number.
    pub symbols: Vec<Symbol<'a>>,
    /// Sorted by place; they do not overlap.
    pub functions: Vec<Function<'a>>,
    /// The sections with instructions, by number.
    pub code: BTreeMap<usize, Code>,
    /// The numbers of named symbols by section and offset.
    places: BTreeMap<(usize, u64), usize>,
}

#[derive(Default, Clone)]
pub(super) struct Section<'a> {
    pub name: &'a str,
    pub data: &'a [u8],
    /// Where `data` begins in the file.
    pub file_offset: usize,
}

#[derive(Default, Clone)]
pub(super) struct Symbol<'a> {
    pub name: &'a str,
    /// None when it is not defined here.
    pub section: Option<usize>,
    /// Its offset in the section.
    pub value: u64,
    pub size: u64,
    pub is_function: bool,
    pub is_local: bool,
}

/// A C function that was not inlined everywhere.
pub(super) struct Function<'a> {
    pub name: &'a str,
    pub section: usize,
    /// Its first instruction, counted from the section's begin.
    pub start: usize,
    /// The one behind its last.
    pub end: usize,
    /// Whether it is `static`.
    pub is_local: bool,
}

/// The instructions of a section and what of them is filled in by a loader.
pub(super) struct Code {
    pub insns: Vec<Insn>,
    /// The symbol number by instruction.
    relocations: BTreeMap<usize, usize>,
}

impl Code {
    /// The number of the symbol a loader fills into an instruction.
    pub fn relocation(&self, insn: usize) -> Option<usize> {
        self.relocations.get(&insn).copied()
    }
}

impl<'a> Image<'a> {
    /// Decodes a file.
    pub fn read(bytes: &'a [u8]) -> Result<Image<'a>, Unreadable> {
        let file = parse(bytes)?;
        let sections = sections(&file)?;
        let symbols = symbols(&file)?;
        let code = code(&file, bytes.len() as u64)?;
        let functions = functions(&symbols, &code)?;
        let places = places(&symbols);
        Ok(Image { sections, symbols, functions, code, places })
    }

    /// The bytes of the section of this name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The section's name a symbol is defined in.
    pub fn section_of(&self, symbol: &Symbol<'a>) -> Option<&'a str> {
        self.sections.get(symbol.section?).map(|section| section.name)
    }

    /// The number of the named symbol at an offset from another: code may refer to its section and an offset instead.
    pub fn symbol_at(&self, symbol: usize, by: i64) -> Option<usize> {
        let found = self.symbols.get(symbol)?;
        if by == 0 && !found.name.is_empty() {
            return Some(symbol);
        }
        self.places.get(&(found.section?, found.value.checked_add_signed(by)?)).copied()
    }

    /// The number of the function that begins at an instruction.
    pub fn function_at(&self, section: usize, insn: usize) -> Option<usize> {
        self.functions.binary_search_by_key(&(section, insn), |function| (function.section, function.start)).ok()
    }
}

type File<'a> = ElfFile64<'a, LittleEndian>;

fn parse(bytes: &[u8]) -> Result<File<'_>, Unreadable> {
    match bytes {
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => {}
        [0x7f, b'E', b'L', b'F', 1, ..] => return Err(Unreadable::NotBpf),
        _ => return Err(Unreadable::NotElf),
    }
    let file = File::parse(bytes).map_err(Unreadable::damaged)?;
    match (file.elf_header().e_machine(LittleEndian), file.elf_header().e_type(LittleEndian)) {
        (EM_BPF, ET_REL) => Ok(file),
        (EM_BPF, _) => Err(Unreadable::NotRelocatable),
        _ => Err(Unreadable::NotBpf),
    }
}

fn sections<'a>(file: &File<'a>) -> Result<Vec<Section<'a>>, Unreadable> {
    let mut sections = Vec::new();
    for section in file.sections() {
        let number = section.index().0;
        sections.resize(sections.len().max(number + 1), Section::default());
        sections[number] = Section {
            name: section.name().map_err(Unreadable::damaged)?,
            data: section.data().map_err(Unreadable::damaged)?,
            file_offset: section.file_range().map_or(0, |(offset, _)| offset as usize),
        };
    }
    Ok(sections)
}

fn symbols<'a>(file: &File<'a>) -> Result<Vec<Symbol<'a>>, Unreadable> {
    let mut symbols = Vec::new();
    for symbol in file.symbols() {
        let number = symbol.index().0;
        let raw = symbol.elf_symbol();
        symbols.resize(symbols.len().max(number + 1), Symbol::default());
        symbols[number] = Symbol {
            name: symbol.name().map_err(Unreadable::damaged)?,
            section: symbol.section_index().map(|section| section.0),
            value: symbol.address(),
            size: symbol.size(),
            is_function: raw.st_type() == STT_FUNC,
            is_local: raw.st_bind() == STB_LOCAL,
        };
    }
    Ok(symbols)
}

fn places(symbols: &[Symbol<'_>]) -> BTreeMap<(usize, u64), usize> {
    let named = symbols.iter().enumerate().filter(|(_, symbol)| !symbol.name.is_empty());
    named.filter_map(|(number, symbol)| Some(((symbol.section?, symbol.value), number))).collect()
}

/// `available` is the file's size: sections that share their bytes would make much memory out of a small file.
fn code(file: &File<'_>, available: u64) -> Result<BTreeMap<usize, Code>, Unreadable> {
    let is_code = |section: &ElfSection64<'_, '_, LittleEndian>| {
        section.elf_section_header().sh_flags(LittleEndian) & u64::from(SHF_EXECINSTR) != 0
    };
    let mut code = BTreeMap::new();
    let mut left = available;
    for section in file.sections().filter(is_code) {
        let (chunks, rest) = section.data().map_err(Unreadable::damaged)?.as_chunks();
        if !rest.is_empty() {
            return Err(Unreadable::damaged("a section of instructions ends within one"));
        }
        take(&mut left, chunks.len() as u64 * INSN_BYTES)?;
        let relocations = relocations(&section, &mut left)?;
        code.insert(section.index().0, Code { insns: chunks.iter().map(Insn::read).collect(), relocations });
    }
    Ok(code)
}

fn take(left: &mut u64, bytes: u64) -> Result<(), Unreadable> {
    *left = left.checked_sub(bytes).ok_or_else(|| Unreadable::damaged("its sections overlap"))?;
    Ok(())
}

fn relocations(section: &ElfSection64<'_, '_, LittleEndian>, left: &mut u64) -> Result<BTreeMap<usize, usize>, Unreadable> {
    let mut relocations = BTreeMap::new();
    for (offset, relocation) in section.relocations() {
        take(left, RELOCATION_BYTES)?;
        if let RelocationTarget::Symbol(symbol) = relocation.target() {
            relocations.insert((offset / INSN_BYTES) as usize, symbol.0);
        }
    }
    Ok(relocations)
}

fn functions<'a>(symbols: &[Symbol<'a>], code: &BTreeMap<usize, Code>) -> Result<Vec<Function<'a>>, Unreadable> {
    let mut functions = Vec::new();
    // Of one that cannot be reached nothing may be left.
    for symbol in symbols.iter().filter(|symbol| symbol.is_function && symbol.size > 0) {
        if let Some(section) = symbol.section {
            functions.push(function(symbol, section, code.get(&section))?);
        }
    }
    // An alias has the place of another; the name that others can see is the one that counts.
    functions.sort_by_key(|function| (function.section, function.start, function.end, function.is_local));
    functions.dedup_by_key(|function| (function.section, function.start, function.end));
    let overlap = |pair: &[Function<'_>]| pair[0].section == pair[1].section && pair[0].end > pair[1].start;
    match functions.windows(2).find(|pair| overlap(pair)) {
        Some(pair) => Err(Unreadable::damaged(format!("`{}` and `{}` overlap", pair[0].name, pair[1].name))),
        None => Ok(functions),
    }
}

fn function<'a>(symbol: &Symbol<'a>, section: usize, code: Option<&Code>) -> Result<Function<'a>, Unreadable> {
    let damaged = || Unreadable::damaged(format!("`{}` is no run of instructions", symbol.name));
    let end = symbol.value.checked_add(symbol.size).ok_or_else(damaged)?;
    let available = code.map_or(0, |code| code.insns.len() as u64 * INSN_BYTES);
    let is_aligned = symbol.value.is_multiple_of(INSN_BYTES) && symbol.size.is_multiple_of(INSN_BYTES);
    if !is_aligned || end > available {
        return Err(damaged());
    }
    let (start, end) = ((symbol.value / INSN_BYTES) as usize, (end / INSN_BYTES) as usize);
    Ok(Function { name: symbol.name, section, start, end, is_local: symbol.is_local })
}
