//! Whether what a call returns is looked at: is r0 read before it is set again?
//!
//! Knows one function and one register.

use super::body::{Block, Body};

/// What a block does first with r0.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Reads,
    Sets,
    Nothing,
}

/// For each instruction, whether r0 as it leaves it may be read.
pub(super) fn read_behind(body: &Body) -> Vec<bool> {
    let entries = read_at_entry(body);
    let mut read = vec![false; body.ops.len()];
    for block in &body.blocks {
        let mut is_read = block.next.iter().any(|next| entries[*next]);
        for at in (block.start..block.end).rev() {
            read[at] = is_read;
            match access(body, at) {
                First::Reads => is_read = true,
                First::Sets => is_read = false,
                First::Nothing => {}
            }
        }
    }
    read
}

/// For each block, whether r0 as it comes into it may be read.
fn read_at_entry(body: &Body) -> Vec<bool> {
    let firsts: Vec<First> = body.blocks.iter().map(|block| first(body, block)).collect();
    let predecessors = body.predecessors();
    let mut is_read = vec![false; firsts.len()];
    let mut open: Vec<usize> = (0..firsts.len()).filter(|index| firsts[*index] == First::Reads).collect();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut is_read[index], true) {
            open.extend(predecessors[index].iter().filter(|before| firsts[**before] == First::Nothing));
        }
    }
    is_read
}

fn first(body: &Body, block: &Block) -> First {
    (block.start..block.end).map(|at| access(body, at)).find(|access| *access != First::Nothing).unwrap_or(First::Nothing)
}

fn access(body: &Body, at: usize) -> First {
    let (insn, kind) = body.ops[at];
    match insn.reads(0, kind) {
        true => First::Reads,
        false if insn.sets_r0(kind) => First::Sets,
        false => First::Nothing,
    }
}
