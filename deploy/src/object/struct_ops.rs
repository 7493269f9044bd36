//! Tables of functions for the kernel to call: variables in `.struct_ops`, of one of the kernel's own types.
//!
//! Knows the object's view of the type, not the kernel's.

use ouro_btf::{Btf, Kind, Type};

use super::Reason;
use super::elf::{Elf, Symbol};

const SECTIONS: [&str; 2] = [".struct_ops", ".struct_ops.link"];

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StructOps {
    /// The variable.
    pub(crate) name: String,
    /// The kernel's type: `tcp_congestion_ops`.
    pub(crate) ty: String,
    /// The programs by the names of the members that they stand for.
    pub(crate) programs: Vec<(String, String)>,
}

/// The tables of an object.
pub(super) fn read(elf: &Elf<'_>, types: Option<&Btf>) -> Result<Vec<StructOps>, Reason> {
    let Some(types) = types else { return Ok(Vec::new()) };
    let is_table = |symbol: &&Symbol<'_>| {
        // A `?` before the name says that the table is made on request only.
        elf.section_of(symbol).is_some_and(|name| SECTIONS.contains(&name.trim_start_matches('?'))) && !symbol.name.is_empty()
    };
    elf.symbols.iter().filter(is_table).filter_map(|symbol| table(elf, types, symbol).transpose()).collect()
}

fn table(elf: &Elf<'_>, types: &Btf, symbol: &Symbol<'_>) -> Result<Option<StructOps>, Reason> {
    let Some((section, number)) = elf.section_of(symbol).zip(symbol.section) else { return Ok(None) };
    let is_it = |ty: &Type| ty.kind == Kind::Variable && types.name(*ty) == symbol.name;
    let variable = types.variables(section).into_iter().filter_map(|id| types.get(id)).find(is_it);
    let Some(ty) = variable.and_then(|ty| types.resolve(ty.size_or_type)).filter(|ty| ty.kind == Kind::Struct) else {
        return Ok(None);
    };
    let mut programs = Vec::new();
    let end = symbol.value.saturating_add(symbol.size);
    let relocations = elf.sections[number].relocations.iter();
    for (offset, target) in relocations.filter(|(offset, _)| (symbol.value..end).contains(offset)) {
        let member = types.members(ty).iter().find(|member| u64::from(member.offset) == (offset - symbol.value) * 8);
        let program = elf.symbols.get(*target).filter(|target| target.is_function);
        let (Some(member), Some(program)) = (member, program) else {
            return Err(format!("`{}` has something else than a program for a function", symbol.name));
        };
        programs.push((types.member_name(member).to_owned(), program.name.to_owned()));
    }
    Ok(Some(StructOps { name: symbol.name.to_owned(), ty: types.name(ty).to_owned(), programs }))
}
