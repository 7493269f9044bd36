//! What a symbol that an instruction refers to is: a function, a map, a place in data, or something of the kernel's.
//!
//! Knows places, not what is there.

use std::collections::BTreeMap;

use super::elf::{Elf, Symbol};
use super::insn::Insn;
use super::link::Target;
use super::maps::IN_ARENA;
use super::{Extern, Function, MapDef, Reason};

/// Where everything is that code can refer to.
pub(super) struct Places<'a> {
    /// Functions by section and offset in bytes.
    functions: BTreeMap<(usize, u64), usize>,
    /// Declared maps by section and offset.
    maps: BTreeMap<(usize, u64), usize>,
    /// Sections of data, and of variables in arenas.
    data: BTreeMap<usize, usize>,
    externs: BTreeMap<&'a str, usize>,
}

impl<'a> Places<'a> {
    pub(super) fn of(maps: &'a [MapDef], externs: &'a [Extern], functions: &[Function]) -> Places<'a> {
        let maps = || maps.iter().enumerate();
        let start = |function: &Function| (function.section_number, function.start as u64 * Insn::BYTES);
        Places {
            functions: functions.iter().enumerate().map(|(index, function)| (start(function), index)).collect(),
            maps: maps().filter_map(|(index, map)| Some((map.place?, index))).collect(),
            data: maps()
                .filter_map(|(index, map)| Some((map.data.as_ref().or(map.variables.as_ref())?.section, index)))
                .collect(),
            externs: externs.iter().enumerate().map(|(index, found)| (found.name.as_str(), index)).collect(),
        }
    }

    /// The function that begins so many bytes into a section.
    pub(super) fn function(&self, section: usize, offset: i64) -> Result<usize, Reason> {
        let found = u64::try_from(offset).ok().and_then(|offset| self.functions.get(&(section, offset)));
        found.copied().ok_or_else(|| "it calls a place where no function begins".to_owned())
    }

    /// What an instruction refers to by a symbol. The instruction has an offset from it.
    pub(super) fn target(&self, elf: &Elf<'_>, symbol: &Symbol<'_>, insn: Insn) -> Result<Target, Reason> {
        let Some(section) = symbol.section else {
            let found = self.externs.get(symbol.name).copied();
            return found.map(Target::Extern).ok_or_else(|| not_defined(symbol.name));
        };
        let value = i64::try_from(symbol.value).unwrap_or(i64::MAX);
        if insn.is_local_call() {
            let offset = value.saturating_add((i64::from(insn.imm()) + 1) * Insn::BYTES as i64);
            return self.function(section, offset).map(Target::Function);
        }
        if !insn.is_wide_load() {
            return Err(format!("an instruction that is neither a call nor a wide load refers to `{}`", symbol.name));
        }
        let offset = value.saturating_add(i64::from(insn.imm()));
        if elf.code.contains_key(&section) {
            return self.function(section, offset).map(Target::Callback);
        }
        let place = u64::try_from(offset).unwrap_or(u64::MAX);
        if let Some(map) = self.maps.get(&(section, place)) {
            return Ok(Target::Map(*map));
        }
        match (self.data.get(&section), i32::try_from(offset)) {
            (Some(map), Ok(offset)) => Ok(Target::Data { map: *map, offset }),
            _ => {
                let section = elf.section_of(symbol).unwrap_or_default();
                if section == IN_ARENA {
                    return Err(format!("`{}` is a variable in an arena, and the object has not exactly one", symbol.name));
                }
                Err(format!("it refers to `{}` in section `{section}`, which is no data", symbol.name))
            }
        }
    }
}

fn not_defined(name: &str) -> Reason {
    format!("`{name}` is defined nowhere: it takes `__ksym` if the kernel has it, and `__kconfig` if it is a setting")
}
