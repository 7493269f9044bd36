//! `.BTF.ext`: which source line and which type belong to an instruction.
//!
//! Knows instructions by section name and place alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_btf::Btf;

use super::unreadable::Unreadable;
use crate::diagnostic::Span;

const MAGIC: u16 = 0xeb9f;
const INSN_BYTES: u32 = 8;

/// Records by section name, each with the instruction it begins at, sorted by that.
type BySection<'a, T> = BTreeMap<&'a str, Vec<(usize, T)>>;

/// What an object says of its instructions; empty when it says nothing.
#[derive(Default)]
pub(super) struct Lines<'a> {
    lines: BySection<'a, Line<'a>>,
    functions: BySection<'a, u32>,
}

#[derive(Clone, Copy)]
struct Line<'a> {
    file: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Lines<'a> {
    /// Reads the section `.BTF.ext`.
    pub fn read(data: &[u8], btf: &'a Btf) -> Result<Lines<'a>, Unreadable> {
        let read = || {
            let [header, function_off, function_len, line_off, line_len] = words(data, 4)?;
            let body = data.get(header as usize..)?;
            let part = |offset: u32, len: u32| body.get(offset as usize..)?.get(..len as usize);
            let functions = records(part(function_off, function_len)?, btf, |record| u32_at(record, 4))?;
            let lines = records(part(line_off, line_len)?, btf, |record| line(record, btf))?;
            Some(Lines { lines, functions })
        };
        if u16_at(data, 0) != Some(MAGIC) {
            return Err(Unreadable::damaged("its BTF.ext has no header"));
        }
        read().ok_or_else(|| Unreadable::damaged("its BTF.ext is cut short"))
    }

    /// The source line of an instruction of the function that begins at `start`.
    pub fn span(&self, section: &str, start: usize, insn: usize) -> Option<Span> {
        let lines = self.lines.get(section)?;
        let behind = lines.partition_point(|(first, _)| *first <= insn);
        let (first, line) = lines.get(behind.checked_sub(1)?)?;
        let file: Arc<str> = line.file.strip_prefix("./").unwrap_or(line.file).into();
        (*first >= start && line.line > 0 && !file.is_empty()).then(|| Span::point(file, line.line, line.column.max(1)))
    }

    /// The BTF type of the function that begins at an instruction.
    pub fn function_type(&self, section: &str, insn: usize) -> Option<u32> {
        let functions = self.functions.get(section)?;
        let index = functions.binary_search_by_key(&insn, |(first, _)| *first).ok()?;
        Some(functions[index].1)
    }
}

fn line<'a>(record: &[u8], btf: &'a Btf) -> Option<Line<'a>> {
    let [_, file, _, place] = words(record, 0)?;
    Some(Line { file: btf.text(file), line: place >> 10, column: place & 0x3ff })
}

/// Records of one size, grouped by section: the size, then for each section its name, a count and so many records.
fn records<'a, T>(mut data: &[u8], btf: &'a Btf, read: impl Fn(&[u8]) -> Option<T>) -> Option<BySection<'a, T>> {
    let mut sections = BySection::new();
    if data.is_empty() {
        return Some(sections);
    }
    let size = u32_at(data, 0)? as usize;
    data = &data[4..];
    while !data.is_empty() {
        let [name, count] = words(data, 0)?;
        let end = size.checked_mul(count as usize)?.checked_add(8)?;
        let found: &mut Vec<(usize, T)> = sections.entry(btf.text(name)).or_default();
        // A size of zero would make endless records out of nothing.
        for record in data.get(8..end)?.chunks_exact(size.max(1)) {
            found.push(((u32_at(record, 0)? / INSN_BYTES) as usize, read(record)?));
        }
        data = &data[end..];
    }
    sections.values_mut().for_each(|records| records.sort_by_key(|(insn, _)| *insn));
    Some(sections)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// `N` words from an offset on.
fn words<const N: usize>(data: &[u8], at: usize) -> Option<[u32; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        *word = u32_at(data, at + 4 * index)?;
    }
    Some(words)
}
