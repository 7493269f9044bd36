//! The build id of an ELF file: a digest of its content that the linker left in it.
//!
//! Knows nothing of tools. LLVM's libraries are 200 MB; the note that tells two of them apart lies in their first pages.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Notes lie before the code, right behind the program headers.
const START: u64 = 64 * 1024;

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// The build id of the file at `path`; nothing when it is no 64-bit ELF file of this machine's byte order, or has none.
pub(super) fn of_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(of_start(&start).map(<[u8]>::to_vec))
}

fn of_start(file: &[u8]) -> Option<&[u8]> {
    let byte_order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if !file.starts_with(b"\x7fELF") || file.get(4..6)? != [2, byte_order] {
        return None;
    }
    let (first, size, count) = (u64_at(file, 32)? as usize, u16_at(file, 54)? as usize, u16_at(file, 56)? as usize);
    (0..count).filter_map(|n| file.get(first.checked_add(n * size)?..)).find_map(|header| note_in(file, header))
}

/// The build id in the segment this program header describes, if it is one of notes.
fn note_in<'a>(file: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    if u32_at(header, 0)? != PT_NOTE {
        return None;
    }
    let (start, length) = (u64_at(header, 8)? as usize, u64_at(header, 32)? as usize);
    let mut notes = file.get(start..start.checked_add(length)?)?;
    while let (Some(name), Some(length), Some(kind)) = (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8)) {
        let content = 12 + (name as usize).next_multiple_of(4);
        let end = content.checked_add(length as usize)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16)? == b"GNU\0" {
            return notes.get(content..end).filter(|id| !id.is_empty());
        }
        notes = notes.get(end.next_multiple_of(4)..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `readelf -n` would show it: the linker writes the id into every program of a Rust toolchain, this one too.
    #[test]
    fn this_very_program_has_one_and_its_damage_is_no_panic() {
        let path = std::env::current_exe().unwrap();
        let id = of_file(&path).unwrap().expect("the linker was asked for a build id");
        assert!((8..=64).contains(&id.len()), "{id:?}");
        let start = std::fs::read(&path).unwrap()[..4096].to_vec();
        for cut in 0..start.len() {
            of_start(&start[..cut]);
        }
        for place in 0..1024 {
            let mut bad = start.clone();
            bad[place] ^= 0xff;
            of_start(&bad);
        }
        assert_eq!(of_start(b"#!/bin/sh\n"), None);
        assert_eq!(of_start(b""), None);
    }
}
