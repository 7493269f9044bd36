//! Slots: which place of the jump table each program has. An explicit slot wins, the rest follow in the order of labels.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Graph, MAX_TABLE};
use crate::diagnostic::{Diagnostic, Span};

/// The result: a slot for every program that is jumped to or asks for one, and the size of the table.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) of: Vec<Option<u32>>,
    pub(super) table_size: u32,
}

pub(super) fn assign(draft: &Draft<'_>, graph: &Graph<'_>) -> Result<Slots, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let size = table_size(draft, &mut findings);
    let limit = size.unwrap_or(MAX_TABLE);
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    let mut of = vec![None; graph.programs.len()];
    for (index, program) in graph.programs.iter().enumerate() {
        let Some((asked, span)) = &program.slot else { continue };
        match u32::try_from(*asked).ok().filter(|_| *asked < limit) {
            None => findings.push(out_of_range(*asked, span, draft, limit)),
            Some(slot) => match taken.insert(slot, index) {
                Some(other) => findings.push(duplicate(graph, slot, span, other)),
                None => of[index] = Some(slot),
            },
        }
    }
    let mut free = (0u32..).filter(|slot| !taken.contains_key(slot));
    for index in needing_slots(graph) {
        if of[index].is_none() && graph.programs[index].slot.is_none() {
            of[index] = free.next();
        }
    }
    let needed = of.iter().flatten().max().map_or(0, |last| i64::from(*last) + 1);
    if findings.is_empty() && needed > limit {
        findings.push(too_small(draft, needed));
    }
    let table_size = u32::try_from(size.unwrap_or(needed)).unwrap_or(0);
    if findings.is_empty() { Ok(Slots { of, table_size }) } else { Err(findings) }
}

fn table_size(draft: &Draft<'_>, findings: &mut Vec<Diagnostic>) -> Option<i64> {
    let (size, span) = draft.table_size?;
    if (1..=MAX_TABLE).contains(&size) {
        return Some(size);
    }
    findings.push(
        Diagnostic::error(span, format!("a jump table cannot have {size} entries"))
            .help(format!("use 1 to {MAX_TABLE}, or leave `table_size` out")),
    );
    None
}

/// The programs something jumps to, in order.
fn needing_slots(graph: &Graph<'_>) -> BTreeSet<usize> {
    graph.jumps.iter().map(|edge| edge.to).collect()
}

fn out_of_range(asked: i64, span: &Span, draft: &Draft<'_>, limit: i64) -> Diagnostic {
    let finding = Diagnostic::error(span, format!("slot {asked} is out of range")).help(format!(
        "slots of `{}` go from 0 to {}",
        draft.chain,
        limit - 1
    ));
    match draft.table_size {
        Some((_, size)) => finding.related(size, "the table's size is set here"),
        None => finding,
    }
}

fn duplicate(graph: &Graph<'_>, slot: u32, span: &Span, other: usize) -> Diagnostic {
    let other = graph.programs[other];
    let finding = Diagnostic::error(span, format!("slot {slot} is taken by `{}`", other.label));
    let finding = finding.help("give one of them another slot, or none: ouro chooses free ones");
    other.slot.iter().fold(finding, |finding, (_, place)| finding.related(place, "taken here"))
}

fn too_small(draft: &Draft<'_>, needed: i64) -> Diagnostic {
    match draft.table_size {
        Some((_, span)) if needed <= MAX_TABLE => {
            Diagnostic::error(span, format!("the chain needs {needed} slots, more than its table has"))
                .help("raise `table_size`, or leave it out")
        }
        _ => Diagnostic::error(draft.span, format!("the chain needs {needed} slots; a jump table has at most {MAX_TABLE}"))
            .help("split the chain"),
    }
}
