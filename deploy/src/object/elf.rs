//! An ELF file as sections, symbols and code.
//!
//! The only file that knows ELF here; what the bytes mean is for others.

use std::collections::BTreeMap;

use ::object::elf::{EM_BPF, ET_REL, SHF_EXECINSTR, SHT_NOBITS, STB_LOCAL, STB_WEAK, STT_FUNC, STV_HIDDEN, STV_INTERNAL};
use ::object::read::elf::{ElfFile64, ElfSection64, FileHeader as _, SectionHeader as _};
use ::object::{NativeEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};

use super::Reason;
use super::insn::Insn;

/// A decoded file.
pub(super) struct Elf<'a> {
    /// By section number.
    pub(super) sections: Vec<Section<'a>>,
    /// By symbol number.
    pub(super) symbols: Vec<Symbol<'a>>,
    /// The sections with instructions, by number.
    pub(super) code: BTreeMap<usize, Code>,
}

#[derive(Default, Clone)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    /// Empty for a section of zeros, which has a size alone.
    pub(super) data: &'a [u8],
    pub(super) size: u64,
    /// Symbols by offset.
    pub(super) relocations: Vec<(u64, usize)>,
}

#[derive(Default, Clone)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    /// None when it is not defined here.
    pub(super) section: Option<usize>,
    /// Its offset in the section.
    pub(super) value: u64,
    pub(super) size: u64,
    pub(super) is_function: bool,
    pub(super) is_local: bool,
    pub(super) is_weak: bool,
    /// Whether it is no matter of other objects once it is linked.
    pub(super) is_hidden: bool,
}

impl Symbol<'_> {
    /// Whether somebody else is to define it.
    pub(super) fn is_wanted(&self) -> bool {
        self.section.is_none() && !self.name.is_empty() && !self.is_local
    }
}

/// The instructions of a section, and the symbols that they refer to.
pub(super) struct Code {
    pub(super) insns: Vec<Insn>,
    /// Symbols by instruction.
    pub(super) relocations: BTreeMap<usize, usize>,
}

impl<'a> Elf<'a> {
    /// Decodes a file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Elf<'a>, Reason> {
        let file = parse(bytes)?;
        let sections = sections(&file, bytes.len())?;
        let symbols = symbols(&file)?;
        let code = code(&file, &sections)?;
        Ok(Elf { sections, symbols, code })
    }

    /// The section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The defined symbol of this name that others can see, else a local one.
    pub(super) fn symbol(&self, name: &str) -> Option<&Symbol<'a>> {
        let mut found = self.symbols.iter().filter(|symbol| symbol.name == name && symbol.section.is_some());
        let first = found.clone().next();
        found.find(|symbol| !symbol.is_local).or(first)
    }

    /// The name of the section a symbol is defined in.
    pub(super) fn section_of(&self, symbol: &Symbol<'_>) -> Option<&'a str> {
        self.sections.get(symbol.section?).map(|section| section.name)
    }
}

type File<'a> = ElfFile64<'a, NativeEndian>;

/// Whether a file defines all that its code may refer to.
pub(super) fn is_closed(bytes: &[u8]) -> Result<bool, Reason> {
    Ok(!symbols(&parse(bytes)?)?.iter().any(Symbol::is_wanted))
}

fn parse(bytes: &[u8]) -> Result<File<'_>, Reason> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it is no ELF file".to_owned());
    }
    let damaged = |error: ::object::Error| format!("it is damaged, or for a machine of another byte order: {error}");
    let file = File::parse(bytes).map_err(damaged)?;
    let header = file.elf_header();
    match (header.e_machine(file.endian()), header.e_type(file.endian())) {
        (EM_BPF, ET_REL) => Ok(file),
        _ => Err("it is no object file for BPF".to_owned()),
    }
}

/// `available` bounds what sections that share their bytes may add up to.
fn sections<'a>(file: &File<'a>, available: usize) -> Result<Vec<Section<'a>>, Reason> {
    let damaged = |error: ::object::Error| format!("it is damaged: {error}");
    let mut sections = Vec::new();
    let mut left = available as u64;
    for section in file.sections() {
        let number = section.index().0;
        sections.resize(sections.len().max(number + 1), Section::default());
        let data = section.data().map_err(damaged)?;
        left = left.checked_sub(data.len() as u64).ok_or("it is damaged: its sections overlap")?;
        let size = if is_zeros(&section) { section.size() } else { data.len() as u64 };
        let name = section.name().map_err(damaged)?;
        sections[number] = Section { name, data, size, relocations: relocations(&section) };
    }
    Ok(sections)
}

fn is_zeros(section: &ElfSection64<'_, '_, NativeEndian>) -> bool {
    section.elf_section_header().sh_type(NativeEndian) == SHT_NOBITS
}

fn relocations(section: &ElfSection64<'_, '_, NativeEndian>) -> Vec<(u64, usize)> {
    let symbol = |target| match target {
        RelocationTarget::Symbol(symbol) => Some(symbol.0),
        _ => None,
    };
    section.relocations().filter_map(|(offset, relocation)| Some((offset, symbol(relocation.target())?))).collect()
}

fn symbols<'a>(file: &File<'a>) -> Result<Vec<Symbol<'a>>, Reason> {
    let mut symbols = Vec::new();
    for symbol in file.symbols() {
        let number = symbol.index().0;
        let raw = symbol.elf_symbol();
        symbols.resize(symbols.len().max(number + 1), Symbol::default());
        symbols[number] = Symbol {
            name: symbol.name().map_err(|error| format!("it is damaged: {error}"))?,
            section: symbol.section_index().map(|section| section.0),
            value: symbol.address(),
            size: symbol.size(),
            is_function: raw.st_type() == STT_FUNC,
            is_local: raw.st_bind() == STB_LOCAL,
            is_weak: raw.st_bind() == STB_WEAK,
            is_hidden: matches!(raw.st_visibility(), STV_HIDDEN | STV_INTERNAL),
        };
    }
    Ok(symbols)
}

fn code(file: &File<'_>, sections: &[Section<'_>]) -> Result<BTreeMap<usize, Code>, Reason> {
    let is_code = |section: &ElfSection64<'_, '_, NativeEndian>| {
        section.elf_section_header().sh_flags(NativeEndian) & u64::from(SHF_EXECINSTR) != 0
    };
    let mut code = BTreeMap::new();
    for section in file.sections().filter(is_code) {
        let number = section.index().0;
        let Section { name, data, relocations, .. } = &sections[number];
        let (chunks, rest) = data.as_chunks();
        if !rest.is_empty() {
            return Err(format!("it is damaged: section `{name}` ends within an instruction"));
        }
        let relocations = relocations.iter().map(|(offset, symbol)| ((offset / Insn::BYTES) as usize, *symbol)).collect();
        code.insert(number, Code { insns: chunks.iter().copied().map(Insn::new).collect(), relocations });
    }
    Ok(code)
}
