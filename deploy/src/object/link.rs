//! Links a program: its own instructions first, behind them every function it can call.
//!
//! Knows functions, not maps and kernels: what else is to be filled in is handed on with its place.

use std::collections::BTreeMap;

use ouro_btf::Btf;

use super::ext::Ext;
use super::insn::{Insn, Pseudo};
use super::{Function, Reason};

/// What an instruction refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A call of a function.
    Function(usize),
    /// The address of a function.
    Callback(usize),
    /// A declared map.
    Map(usize),
    /// A place in a section of data.
    Data {
        /// The section's map.
        map: usize,
        /// In bytes.
        offset: i32,
    },
    /// Something of the kernel's.
    Extern(usize),
}

/// A program in one piece.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// The instructions.
    pub(crate) insns: Vec<Insn>,
    /// What is left to fill in: maps, data and externs, by instruction.
    pub(crate) references: Vec<(usize, Target)>,
    /// `struct bpf_func_info`: instruction and type; none if one function has no type.
    pub(crate) functions: Vec<[u32; 2]>,
    /// `struct bpf_line_info`: instruction, file, text and place.
    pub(crate) lines: Vec<[u32; 4]>,
}

/// A function at its place in a linked program.
struct Placed {
    function: usize,
    start: usize,
}

/// Links the function of this number.
pub(super) fn link(functions: &[Function], ext: &Ext, types: Option<&Btf>, main: usize) -> Result<Linked, Reason> {
    let mut linked = Linked::default();
    let mut placed = Vec::new();
    let mut starts = BTreeMap::new();
    place(functions, &mut linked, &mut placed, &mut starts, main);
    let mut next = 0;
    while let Some(Placed { function, start }) = placed.get(next) {
        let (function, start) = (*function, *start);
        for (at, target) in &functions[function].references {
            let (at, target) = (start + at, target.clone().map_err(|reason| in_function(&functions[function], reason))?);
            let (Target::Function(callee) | Target::Callback(callee)) = target else {
                linked.references.push((at, target));
                continue;
            };
            let to = place(functions, &mut linked, &mut placed, &mut starts, callee);
            let distance = i32::try_from(to as i64 - at as i64 - 1).map_err(|_| "it is too large".to_owned())?;
            match target {
                Target::Callback(_) => linked.insns[at].load(Pseudo::Function, distance),
                _ => linked.insns[at].set_imm(distance),
            }
        }
        next += 1;
    }
    if let Some(types) = types {
        describe(functions, ext, types, &placed, &mut linked);
    }
    Ok(linked)
}

fn in_function(function: &Function, reason: Reason) -> Reason {
    format!("in `{}`: {reason}", function.name)
}

/// Where a function begins; puts it at the end if it is not there yet.
fn place(
    functions: &[Function],
    linked: &mut Linked,
    placed: &mut Vec<Placed>,
    starts: &mut BTreeMap<usize, usize>,
    function: usize,
) -> usize {
    *starts.entry(function).or_insert_with(|| {
        let start = linked.insns.len();
        linked.insns.extend_from_slice(&functions[function].insns);
        placed.push(Placed { function, start });
        start
    })
}

/// Says which types the functions have and which lines the instructions come from. Numbers in `.BTF.ext` are bytes of a section.
fn describe(functions: &[Function], ext: &Ext, types: &Btf, placed: &[Placed], linked: &mut Linked) {
    let names: BTreeMap<&str, u32> = ext.sections().map(|name| (types.text(name), name)).collect();
    let mut has_types = true;
    for Placed { function, start } in placed {
        let function = &functions[*function];
        let Some(section) = names.get(function.section.as_str()).copied() else {
            has_types = false;
            continue;
        };
        let (from, to) = (function.start as u32 * 8, (function.start + function.insns.len()) as u32 * 8);
        let records = ext.functions(section);
        match records.binary_search_by_key(&from, |(offset, _)| *offset) {
            Ok(found) => linked.functions.push([*start as u32, records[found].1]),
            Err(_) => has_types = false,
        }
        let lines = ext.lines(section).iter().filter(|(offset, _)| (from..to).contains(offset));
        linked.lines.extend(lines.map(|(offset, [file, text, place])| {
            let at = *start as u32 + (offset - from) / 8;
            [at, *file, *text, *place]
        }));
    }
    if !has_types {
        linked.functions.clear();
        linked.lines.clear();
    }
}

impl Insn {
    /// The bytes of a program.
    pub(crate) fn as_bytes(insns: &[Insn]) -> Vec<u8> {
        insns.iter().flat_map(|insn| insn.bytes()).collect()
    }
}
