//! An object file as a loader needs it: functions, what they refer to, maps, externs, and BTF that the kernel takes.
//!
//! Pure: bytes in, data out; knows no descriptors and no kernel. Whatever the bytes are, nothing here panics.

mod btf;
mod core;
mod data;
mod elf;
mod ext;
mod externs;
mod insn;
mod link;
mod maps;
mod struct_ops;

use std::collections::BTreeMap;

use ouro_btf::Btf;
use ouro_rules::hook::{self, Hook};

use elf::{Code, Elf};
use ext::Ext;

pub(crate) use btf::for_old_kernels;
pub(crate) use core::Targets;
pub(crate) use externs::{Extern, ExternKind, essential};
pub(crate) use insn::{Insn, Pseudo};
pub(crate) use link::{Linked, Target};
pub(crate) use maps::{MapDef, SETTINGS, Value};
pub(crate) use struct_ops::{StructOps, wrapper};

/// Why an object, or a part of it, cannot be loaded: a fragment of a sentence.
pub(crate) type Reason = String;

/// A decoded object.
pub(crate) struct Object {
    /// Every function, by section and place.
    functions: Vec<Function>,
    /// The maps: declared ones, then sections of data.
    pub(crate) maps: Vec<MapDef>,
    /// What the kernel is to provide.
    pub(crate) externs: Vec<Extern>,
    /// Tables of functions for the kernel to call.
    pub(crate) struct_ops: Vec<StructOps>,
    /// The license; the empty one is none.
    pub(crate) license: Vec<u8>,
    /// The types, as the kernel takes them.
    pub(crate) btf: Option<Vec<u8>>,
    /// The types, to be asked.
    pub(crate) types: Option<Btf>,
    ext: Ext,
}

/// A C function with what a loader fills in.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its section.
    pub(crate) section: String,
    /// The section's number.
    pub(crate) section_number: usize,
    /// Its first instruction, counted from the begin of the section.
    pub(crate) start: usize,
    /// Its instructions.
    pub(crate) insns: Vec<Insn>,
    is_local: bool,
    references: Vec<(usize, Result<Target, Reason>)>,
}

impl Function {
    /// Its program type; none of a function that is no program.
    pub(crate) fn hook(&self) -> Option<&'static Hook> {
        hook::find(&self.section).filter(|_| self.is_program())
    }

    /// Whether this instruction of a section is one of its own.
    fn holds(&self, section: &str, at: usize) -> bool {
        self.section == section && (self.start..self.start + self.insns.len()).contains(&at)
    }

    /// Whether it is one the kernel is to run: not static, in a section of its own.
    pub(crate) fn is_program(&self) -> bool {
        !self.is_local && self.section != ".text"
    }
}

impl Object {
    /// Decodes an object file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Object, Reason> {
        let elf = Elf::read(bytes)?;
        let types = elf.section(".BTF").map(|section| Btf::read(section.data)).transpose().map_err(|error| error.to_string())?;
        let ext = elf.section(".BTF.ext").map(|section| Ext::read(section.data)).transpose()?.unwrap_or_default();
        let externs = externs::read(&elf, types.as_ref())?;
        let maps = maps::read(&elf, types.as_ref(), &externs)?;
        let struct_ops = struct_ops::read(&elf, types.as_ref())?;
        let btf = elf.section(".BTF").map(|section| btf::for_kernel(section.data, &elf, &externs)).transpose()?;
        let mut object =
            Object { functions: functions(&elf)?, maps, externs, struct_ops, license: license(&elf), btf, types, ext };
        object.refer(&elf);
        Ok(object)
    }

    /// What an object file wants of the kernel. Most want nothing, and of them nothing else is looked at.
    pub(crate) fn externs(bytes: &[u8]) -> Result<Vec<Extern>, Reason> {
        if elf::is_closed(bytes)? { Ok(Vec::new()) } else { Object::read(bytes).map(|object| object.externs) }
    }

    /// The functions the kernel can be asked to run, in the order of the file.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| function.is_program())
    }

    /// The number of the function of this name.
    pub(crate) fn function(&self, name: &str) -> Option<usize> {
        let of_name =
            |is_local| self.functions.iter().position(|function| function.name == name && function.is_local == is_local);
        of_name(false).or_else(|| of_name(true))
    }

    /// A function by its number.
    pub(crate) fn get(&self, function: usize) -> &Function {
        &self.functions[function]
    }

    /// Whether places in the code depend on the types of the kernel.
    pub(crate) fn has_core(&self) -> bool {
        self.ext.core().next().is_some()
    }

    /// From now on nothing that needs this function can be loaded.
    fn fail(&mut self, function: usize, reason: Reason) {
        self.functions[function].references.insert(0, (0, Err(reason)));
    }

    /// The id of a function's type.
    pub(crate) fn function_type(&self, name: &str) -> Option<u32> {
        let types = self.types.as_ref()?;
        let is_it = |ty: ouro_btf::Type| ty.kind == ouro_btf::Kind::Function && types.name(ty) == name;
        types.ids().find(|id| types.get(*id).is_some_and(is_it))
    }

    /// A program with all functions it can call behind it.
    pub(crate) fn link(&self, function: usize) -> Result<Linked, Reason> {
        link::link(&self.functions, &self.ext, self.types.as_ref(), function)
    }

    /// Finds out what the instructions refer to. What cannot be found is the trouble of the functions that need it alone.
    fn refer(&mut self, elf: &Elf<'_>) {
        let places = data::Places::of(&self.maps, &self.externs, &self.functions);
        for index in 0..self.functions.len() {
            let function = &self.functions[index];
            let Some(code) = elf.code.get(&function.section_number) else { continue };
            let references = references(function, code, elf, &places);
            self.functions[index].references = references;
        }
    }
}

fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Reason> {
    let mut functions = BTreeMap::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.is_function) {
        let Some((section, code)) = symbol.section.and_then(|section| Some((section, elf.code.get(&section)?))) else { continue };
        let function = function(elf, symbol, section, code)?;
        if function.insns.is_empty() {
            continue;
        }
        // An alias has the place of another; the name that others can see is the one that counts.
        match functions.get(&(section, function.start)) {
            Some(Function { is_local: false, .. }) => {}
            _ => drop(functions.insert((section, function.start), function)),
        }
    }
    Ok(functions.into_values().collect())
}

fn function(elf: &Elf<'_>, symbol: &elf::Symbol<'_>, section: usize, code: &Code) -> Result<Function, Reason> {
    let damaged = || format!("`{}` is no run of instructions", symbol.name);
    let is_aligned = symbol.value.is_multiple_of(Insn::BYTES) && symbol.size.is_multiple_of(Insn::BYTES);
    let (start, count) = ((symbol.value / Insn::BYTES) as usize, (symbol.size / Insn::BYTES) as usize);
    let insns = code.insns.get(start..).and_then(|rest| rest.get(..count)).filter(|_| is_aligned).ok_or_else(damaged)?;
    Ok(Function {
        name: symbol.name.to_owned(),
        section: elf.sections[section].name.to_owned(),
        section_number: section,
        start,
        insns: insns.to_vec(),
        is_local: symbol.is_local,
        references: Vec::new(),
    })
}

fn references(
    function: &Function,
    code: &Code,
    elf: &Elf<'_>,
    places: &data::Places<'_>,
) -> Vec<(usize, Result<Target, Reason>)> {
    let mut found = Vec::new();
    for (at, insn) in function.insns.iter().enumerate() {
        let place = function.start + at;
        if let Some(symbol) = code.relocations.get(&place).and_then(|symbol| elf.symbols.get(*symbol)) {
            found.push((at, places.target(elf, symbol, *insn)));
        } else if insn.is_local_call() {
            let to = place as i64 + 1 + i64::from(insn.imm());
            found.push((at, places.function(function.section_number, to * Insn::BYTES as i64).map(Target::Function)));
        }
    }
    found
}

fn license(elf: &Elf<'_>) -> Vec<u8> {
    let data = elf.section("license").map_or(&[][..], |section| section.data);
    data.iter().copied().take_while(|byte| *byte != 0).collect()
}
