//! `.BTF.ext`: which type a function has, which source line an instruction comes from, and what depends on the kernel's types.
//!
//! Knows records, not types.

use std::collections::BTreeMap;

use super::Reason;
use super::core::Record;

/// The least sizes of `struct bpf_func_info` and `struct bpf_line_info`.
const FUNCTION: usize = 8;
const LINE: usize = 16;
/// The least size of `struct bpf_core_relo`.
const CORE: usize = 16;

/// The records by the place of their section's name in the strings, sorted by offset in bytes.
#[derive(Debug, Default)]
pub(super) struct Ext {
    functions: BTreeMap<u32, Vec<(u32, u32)>>,
    lines: BTreeMap<u32, Vec<(u32, [u32; 3])>>,
    core: Vec<(u32, u32, Record)>,
}

impl Ext {
    /// Decodes the section.
    pub(super) fn read(bytes: &[u8]) -> Result<Ext, Reason> {
        let damaged = || "it is damaged: `.BTF.ext` is cut short".to_owned();
        let mut ext = Ext::default();
        ext.read_parts(bytes).ok_or_else(damaged)?;
        Ok(ext)
    }

    /// What depends on the kernel's types: the name of the section, the offset in there, and on what.
    pub(super) fn core(&self) -> impl Iterator<Item = (u32, u32, Record)> {
        self.core.iter().copied()
    }

    /// The types of functions in sections of these names: offset and type.
    pub(super) fn functions(&self, section: u32) -> &[(u32, u32)] {
        self.functions.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The lines in a section: offset, then file, text and place.
    pub(super) fn lines(&self, section: u32) -> &[(u32, [u32; 3])] {
        self.lines.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The places of all names of sections.
    pub(super) fn sections(&self) -> impl Iterator<Item = u32> {
        let mut names: Vec<u32> = self.functions.keys().chain(self.lines.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    fn read_parts(&mut self, bytes: &[u8]) -> Option<()> {
        let header = word(bytes, 4)? as usize;
        each(part(bytes, header, 8)?, FUNCTION, &mut |section, record| {
            self.functions.entry(section).or_default().push((word(record, 0)?, word(record, 4)?));
            Some(())
        })?;
        each(part(bytes, header, 16)?, LINE, &mut |section, record| {
            let rest = [word(record, 4)?, word(record, 8)?, word(record, 12)?];
            self.lines.entry(section).or_default().push((word(record, 0)?, rest));
            Some(())
        })?;
        // The first version of the format has no such part.
        let core = if header >= 32 { part(bytes, header, 24)? } else { &[] };
        each(core, CORE, &mut |section, record| {
            let [at, ty, access, kind] = [word(record, 0)?, word(record, 4)?, word(record, 8)?, word(record, 12)?];
            self.core.push((section, at, Record { ty, access, kind }));
            Some(())
        })?;
        self.functions.values_mut().for_each(|records| records.sort_unstable());
        self.lines.values_mut().for_each(|records| {
            records.sort_by_key(|(offset, _)| *offset);
            records.dedup_by_key(|(offset, _)| *offset);
        });
        Some(())
    }
}

/// The part whose offset and length stand at `at`.
fn part(bytes: &[u8], header: usize, at: usize) -> Option<&[u8]> {
    let start = header.checked_add(word(bytes, at)? as usize)?;
    bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
}

/// Calls `take` with each record of a part and the place of its section's name.
fn each(mut bytes: &[u8], least: usize, take: &mut dyn FnMut(u32, &[u8]) -> Option<()>) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let size = word(bytes, 0)? as usize;
    if size < least {
        return None;
    }
    bytes = &bytes[4..];
    while !bytes.is_empty() {
        let (section, count) = (word(bytes, 0)?, word(bytes, 4)? as usize);
        let records = bytes.get(8..8usize.checked_add(count.checked_mul(size)?)?)?;
        records.chunks_exact(size).try_for_each(|record| take(section, record))?;
        bytes = &bytes[8 + records.len()..];
    }
    Some(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
