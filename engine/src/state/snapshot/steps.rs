//! The body of a snapshot: the digests of its files, and every action with the numbers of its files.
//!
//! Knows nothing of what actions do.
//!
//! | what | bytes |
//! |---|---|
//! | digests of the files in the head (zeros: none) | each 32 |
//! | number of rows, of file numbers, of word places; bytes of words, of data | 5 × 8 |
//! | rows (see `Row`) | each 9 × 4 |
//! | numbers of files: for each action its inputs, its outputs, what else it read | each 4 |
//! | places of words | each 4 |
//! | words, each once and ended by a zero byte | |
//! | data: for each action what it is, then what came of it | |

use std::ffi::CStr;
use std::ops::Range;

use super::{Added, FileId, Later, StepId, sections};
use crate::fast::{FastMap, FastSet};

/// Where the parts of an action are.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) ids: u32,
    pub(super) inputs: u32,
    pub(super) outputs: u32,
    pub(super) reads: u32,
    pub(super) uses: u32,
    pub(super) words: u32,
    pub(super) data: u32,
    pub(super) what: u32,
    pub(super) result: u32,
}

impl Row {
    pub(super) const SIZE: usize = 9 * 4;

    pub(super) fn to_bytes(self) -> impl Iterator<Item = u8> {
        let Row { ids, inputs, outputs, reads, uses, words, data, what, result } = self;
        [ids, inputs, outputs, reads, uses, words, data, what, result].into_iter().flat_map(u32::to_le_bytes)
    }

    fn of(bytes: &[u8; Row::SIZE]) -> Row {
        let [ids, inputs, outputs, reads, uses, words, data, what, result] = bytes.as_chunks::<4>().0 else {
            unreachable!("BUG: a row has nine numbers")
        };
        let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Row {
            ids: number(ids),
            inputs: number(inputs),
            outputs: number(outputs),
            reads: number(reads),
            uses: number(uses),
            words: number(words),
            data: number(data),
            what: number(what),
            result: number(result),
        }
    }
}

/// The actions of a snapshot.
pub struct Steps<'s> {
    bytes: Vec<u8>,
    rows: Range<usize>,
    ids: Range<usize>,
    uses: Range<usize>,
    words: Range<usize>,
    data: Range<usize>,
    later: &'s Later,
    /// Those that are part of the build, each after those it needs.
    order: Vec<StepId>,
}

pub(super) fn parse<'s>(bytes: Vec<u8>, kind: &str, files: usize, later: &'s Later) -> Option<Steps<'s>> {
    let body = ouro_cache::unseal(kind, &bytes)?;
    let counts = body.get(files.checked_mul(32)?..)?.get(..5 * 8)?;
    let start = bytes.len() - body.len() + files * 32 + 5 * 8;
    let [rows, ids, uses, words, data] = counts.as_chunks::<8>().0 else { return None };
    let [rows, ids, uses, words, data] = [rows, ids, uses, words, data].map(|count| u64::from_le_bytes(*count) as usize);
    let lengths = [rows.checked_mul(Row::SIZE), ids.checked_mul(4), uses.checked_mul(4), Some(words), Some(data)];
    let [rows, ids, uses, words, data] = sections(start, lengths, bytes.len())?;
    let order = (0..(rows.len() / Row::SIZE) as u32).map(StepId).collect();
    let mut steps = Steps { bytes, rows, ids, uses, words, data, later, order };
    if !later.removed.is_empty() || !later.added.is_empty() {
        steps.order = steps.ordered();
    }
    Some(steps)
}

impl Steps<'_> {
    /// Every action's number, after those of actions that it needs.
    pub fn ids(&self) -> impl Iterator<Item = StepId> {
        self.order.iter().copied()
    }

    /// The number that the next one to be added gets.
    pub fn next(&self) -> StepId {
        let base = (self.rows.len() / Row::SIZE) as u32;
        self.later.added.last_key_value().map_or(StepId(base), |(last, _)| last.after())
    }

    /// What it reads, as declared.
    pub fn inputs(&self, step: StepId) -> impl Iterator<Item = FileId> {
        let row = self.row(step);
        self.numbers(row.ids, row.inputs).chain(self.added(step, |added| &added.inputs))
    }

    /// What it makes.
    pub fn outputs(&self, step: StepId) -> impl Iterator<Item = FileId> {
        let row = self.row(step);
        self.numbers(row.ids.saturating_add(row.inputs), row.outputs).chain(self.added(step, |added| &added.outputs))
    }

    /// What it read besides, the last time.
    pub fn reads(&self, step: StepId) -> impl Iterator<Item = FileId> {
        let (row, acted) = (self.row(step), self.later.acted.get(&step));
        let first = row.ids.saturating_add(row.inputs).saturating_add(row.outputs);
        let base = self.numbers(first, row.reads).chain(self.added(step, |added| &added.reads));
        let base = base.filter(move |_| acted.is_none());
        base.chain(acted.into_iter().flat_map(|acted| acted.reads.iter().copied()))
    }

    /// All its files.
    pub fn files(&self, step: StepId) -> impl Iterator<Item = FileId> {
        self.inputs(step).chain(self.outputs(step)).chain(self.reads(step))
    }

    /// Texts that it shares with others; none when damage got past the checksum.
    pub fn words(&self, step: StepId) -> Option<Vec<&str>> {
        if let Some(added) = self.later.added.get(&step) {
            return Some(added.words.iter().map(String::as_str).collect());
        }
        let row = self.row(step);
        let words = &self.bytes[self.words.clone()];
        let word =
            |place: &[u8; 4]| CStr::from_bytes_until_nul(words.get(u32::from_le_bytes(*place) as usize..)?).ok()?.to_str().ok();
        self.numbered(&self.uses, row.uses, row.words).iter().map(word).collect()
    }

    /// What it is.
    pub fn what(&self, step: StepId) -> &[u8] {
        let row = self.row(step);
        self.later.added.get(&step).map_or_else(|| self.data(row.data, row.what), |added| &added.what)
    }

    /// What came of it, the last time.
    pub fn result(&self, step: StepId) -> &[u8] {
        let row = self.row(step);
        let base = || self.data(row.data.saturating_add(row.what), row.result);
        let added = || self.later.added.get(&step).map_or_else(base, |added| &added.result);
        self.later.acted.get(&step).map_or_else(added, |acted| &acted.result)
    }

    /// Those that are part of the build, each after those it needs. Depth first with a stack of its own.
    fn ordered(&self) -> Vec<StepId> {
        let base = self.order.iter().filter(|step| !self.later.removed.contains(step));
        let all: Vec<StepId> = base.chain(self.later.added.keys()).copied().collect();
        let makers: FastMap<FileId, StepId> = all.iter().flat_map(|step| self.outputs(*step).map(|file| (file, *step))).collect();
        let (mut seen, mut order) = (FastSet::default(), Vec::with_capacity(all.len()));
        let mut open: Vec<(StepId, bool)> = Vec::new();
        for step in all {
            open.push((step, false));
            while let Some((step, is_ready)) = open.pop() {
                if is_ready {
                    order.push(step);
                } else if seen.insert(step) {
                    open.push((step, true));
                    open.extend(self.inputs(step).filter_map(|file| makers.get(&file)).map(|maker| (*maker, false)));
                }
            }
        }
        order
    }

    /// Some files of an action that is none of the body's.
    fn added(&self, step: StepId, files: impl Fn(&Added) -> &Vec<FileId>) -> impl Iterator<Item = FileId> {
        self.later.added.get(&step).into_iter().flat_map(files).copied()
    }

    fn row(&self, step: StepId) -> Row {
        let rows: &[[u8; Row::SIZE]] = self.bytes[self.rows.clone()].as_chunks().0;
        rows.get(step.index()).map_or(Row::of(&[0; Row::SIZE]), Row::of)
    }

    fn numbers(&self, first: u32, count: u32) -> impl Iterator<Item = FileId> {
        self.numbered(&self.ids, first, count).iter().map(|bytes| FileId(u32::from_le_bytes(*bytes)))
    }

    fn numbered(&self, section: &Range<usize>, first: u32, count: u32) -> &[[u8; 4]] {
        let numbers: &[[u8; 4]] = self.bytes[section.clone()].as_chunks().0;
        numbers.get(first as usize..first as usize + count as usize).unwrap_or_default()
    }

    fn data(&self, first: u32, length: u32) -> &[u8] {
        self.bytes[self.data.clone()].get(first as usize..first as usize + length as usize).unwrap_or_default()
    }
}
