//! One function as basic blocks, every jump in bounds.
//!
//! Knows control flow, not values.

use super::elf::{Code, Function};
use super::insn::{Insn, Kind};
use super::unreadable::Unreadable;

/// A function's instructions, decoded; places count from its first.
pub(super) struct Body {
    pub ops: Vec<(Insn, Kind)>,
    /// In the order of their places; the first is the entry.
    pub blocks: Vec<Block>,
}

/// Instructions that run one after the other.
pub(super) struct Block {
    pub start: usize,
    pub end: usize,
    /// The blocks that may follow.
    pub next: Vec<usize>,
}

impl Body {
    /// Decodes a function.
    pub fn read(function: &Function<'_>, code: &Code) -> Result<Body, Unreadable> {
        let damaged = |what: &str| Unreadable::damaged(format!("`{}` {what}", function.name));
        let insns = &code.insns[function.start..function.end];
        let kinds: Option<Vec<_>> = insns.iter().map(|insn| Some((*insn, insn.kind()?))).collect();
        let ops = kinds.ok_or_else(|| damaged("holds an unknown instruction"))?;
        if !halves_match(&ops) {
            return Err(damaged("holds half an instruction"));
        }
        let blocks = blocks(&ops).ok_or_else(|| damaged("jumps or runs out of itself"))?;
        Ok(Body { ops, blocks })
    }

    /// For each block the blocks that may precede it.
    pub fn predecessors(&self) -> Vec<Vec<usize>> {
        let mut predecessors = vec![Vec::new(); self.blocks.len()];
        for (index, block) in self.blocks.iter().enumerate() {
            block.next.iter().for_each(|next| predecessors[*next].push(index));
        }
        predecessors
    }
}

/// Whether a second half follows every first, and nothing else.
fn halves_match(ops: &[(Insn, Kind)]) -> bool {
    let is_wide = |op: Option<&(Insn, Kind)>| op.is_some_and(|(_, kind)| *kind == Kind::WideLoad);
    let is_half = |at: usize| ops.get(at).is_some_and(|(_, kind)| *kind == Kind::Half);
    (0..=ops.len()).all(|at| is_half(at) == (at > 0 && is_wide(ops.get(at - 1))))
}

fn blocks(ops: &[(Insn, Kind)]) -> Option<Vec<Block>> {
    let starts = starts(ops)?;
    let index_at = |place: usize| starts.binary_search(&place).ok();
    let mut blocks = Vec::with_capacity(starts.len());
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(ops.len());
        let next = successors(ops, end - 1)?.into_iter().map(index_at).collect::<Option<_>>()?;
        blocks.push(Block { start: *start, end, next });
    }
    Some(blocks)
}

/// The places where blocks begin, sorted.
fn starts(ops: &[(Insn, Kind)]) -> Option<Vec<usize>> {
    let mut starts = vec![0];
    for (at, (_, kind)) in ops.iter().enumerate() {
        if matches!(kind, Kind::Goto(_) | Kind::Branch { .. } | Kind::Exit) {
            starts.extend(successors(ops, at)?);
            starts.push(at + 1);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|start| *start < ops.len());
    Some(starts)
}

/// The places that may run after the one at `at`; none when one lies outside of the function or in the middle of an instruction.
fn successors(ops: &[(Insn, Kind)], at: usize) -> Option<Vec<usize>> {
    let place = |by: i64| {
        let place = usize::try_from(at as i64 + 1 + by).ok()?;
        let (_, kind) = ops.get(place)?;
        (*kind != Kind::Half).then_some(place)
    };
    match ops[at].1 {
        Kind::Exit => Some(Vec::new()),
        Kind::Goto(by) => Some(vec![place(by)?]),
        Kind::Branch { by, .. } => Some(vec![place(0)?, place(by)?]),
        _ => Some(vec![place(0)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    const WIDE: [u8; 8] = [0x18, 1, 0, 0, 0, 0, 0, 0];
    const HALF: [u8; 8] = [0; 8];

    fn goto(by: i8) -> [u8; 8] {
        [0x05, 0, by as u8, if by < 0 { 0xff } else { 0 }, 0, 0, 0, 0]
    }

    fn branch(by: i8) -> [u8; 8] {
        [0x15, 1, by as u8, if by < 0 { 0xff } else { 0 }, 0, 0, 0, 0]
    }

    fn shape(insns: &[[u8; 8]]) -> Option<Vec<(usize, usize, Vec<usize>)>> {
        let ops: Vec<_> = insns.iter().map(Insn::read).map(|insn| (insn, insn.kind().unwrap())).collect();
        let blocks = if halves_match(&ops) { blocks(&ops)? } else { return None };
        Some(blocks.into_iter().map(|block| (block.start, block.end, block.next)).collect())
    }

    #[test]
    fn jumps_cut_functions_into_blocks() {
        let loop_and_exit = [WIDE, HALF, branch(1), goto(-4), EXIT];
        assert_eq!(shape(&loop_and_exit), Some(vec![(0, 3, vec![1, 2]), (3, 4, vec![0]), (4, 5, vec![])]));
    }

    #[test]
    fn nothing_leaves_a_function_but_by_its_exit() {
        assert_eq!(shape(&[goto(1), EXIT]), None);
        assert_eq!(shape(&[branch(-2), EXIT]), None);
        assert_eq!(shape(&[WIDE, HALF]), None);
    }

    #[test]
    fn halves_stay_together() {
        assert_eq!(shape(&[goto(1), WIDE, HALF, EXIT]), None, "into the middle");
        assert_eq!(shape(&[WIDE, EXIT]), None);
        assert_eq!(shape(&[HALF, EXIT]), None);
        assert_eq!(shape(&[EXIT, WIDE]), None);
    }
}
