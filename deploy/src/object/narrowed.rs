//! An object as a reader of relocations to the kernel's types needs it: code and types, under names that it takes, and nothing
//! else that it could stumble over.
//!
//! Knows ELF64 of the machine's own byte order. Section numbers and places in sections stay as they are.

use super::Reason;

/// Offsets in the ELF header and in a section header.
const SECTIONS: usize = 0x28;
const SECTION_COUNT: usize = 0x3c;
const NAMES_INDEX: usize = 0x3e;
const SECTION_SIZE: usize = 64;
const TYPE: usize = 4;
const FLAGS: usize = 8;
const OFFSET: usize = 24;
const SIZE: usize = 32;
const EXECUTABLE: u64 = 4;
/// `SHT_NULL` and `SHT_REL`.
const NOTHING: u32 = 0;
const RELOCATIONS: u32 = 9;
/// `struct btf_ext_header` with its third part.
const EXT_HEADER: usize = 32;
/// `struct bpf_core_relo`.
const RELOCATION: usize = 16;

/// One section's name, and which bytes of it matter.
pub(crate) type Only<'a> = (&'a str, std::ops::Range<u32>);

/// The object with the relocations of one function, or all.
pub(crate) fn narrowed(object: &[u8], only: Option<&Only<'_>>) -> Result<Vec<u8>, Reason> {
    let mut bytes = object.to_vec();
    narrow(&mut bytes, only).ok_or_else(|| "it is damaged: something reaches beyond its end".to_owned())?;
    Ok(bytes)
}

fn narrow(bytes: &mut Vec<u8>, only: Option<&Only<'_>>) -> Option<()> {
    let names_header = section_header(bytes, usize::from(half(bytes, NAMES_INDEX)?))?;
    let old_names = section_bytes(bytes, names_header)?.to_vec();
    let mut names = old_names.clone();
    let unread = add(&mut names, "unread")?;
    let mut renamed = Vec::new();
    for index in 0..usize::from(half(bytes, SECTION_COUNT)?) {
        let header = section_header(bytes, index)?;
        let old = section_name(bytes, &old_names, header).unwrap_or_default().to_owned();
        let place = if word(bytes, header + FLAGS)? & EXECUTABLE != 0 {
            let new = format!("kprobe/{index}");
            let place = add(&mut names, &new)?;
            renamed.push((old, new));
            place
        } else if [".BTF", ".BTF.ext"].contains(&old.as_str()) {
            continue;
        } else {
            unread
        };
        put(bytes, header, place)?;
        if number(bytes, header + TYPE)? == RELOCATIONS as usize {
            put(bytes, header + TYPE, NOTHING)?;
        }
    }
    rename_in_btf(bytes, &old_names, &renamed, only)?;
    replace(bytes, names_header, &names)
}

/// Relocations to types name their sections by strings of the BTF.
fn rename_in_btf(bytes: &mut Vec<u8>, names: &[u8], renamed: &[(String, String)], only: Option<&Only<'_>>) -> Option<()> {
    let called = |name: &str| section_called(bytes, names, name);
    let (btf_header, ext_header) = (called(".BTF")?, called(".BTF.ext")?);
    let (mut btf, ext) = (section_bytes(bytes, btf_header)?.to_vec(), section_bytes(bytes, ext_header)?.to_vec());
    // struct btf_header: hdr_len at 4, str_off at 16, str_len at 20. The strings are the last part.
    let (strings, length) = (number(&btf, 4)?.checked_add(number(&btf, 16)?)?, number(&btf, 20)?);
    btf.truncate(strings.checked_add(length)?);
    let text = btf.get(strings..)?.to_vec();
    let mut place_of = |old: &str| {
        let (_, new) = renamed.iter().find(|(name, _)| name == old)?;
        let place = u32::try_from(btf.len() - strings).ok()?;
        btf.extend(new.bytes().chain([0]));
        Some(place)
    };
    let part = relocations(&ext, &text, &mut place_of, only)?;
    let length = u32::try_from(btf.len() - strings).ok()?;
    put(&mut btf, 20, length)?;
    replace(bytes, btf_header, &btf)?;
    replace(bytes, ext_header, &part)
}

/// `.BTF.ext` with relocations alone, under the new names.
fn relocations(
    ext: &[u8],
    text: &[u8],
    place_of: &mut dyn FnMut(&str) -> Option<u32>,
    only: Option<&Only<'_>>,
) -> Option<Vec<u8>> {
    let header = number(ext, 4)?;
    let start = header.checked_add(number(ext, 24)?)?;
    let mut part = ext.get(start..start.checked_add(number(ext, 28)?)?)?;
    let mut kept = Vec::new();
    let size = number(part, 0)?;
    part = &part[4..];
    while !part.is_empty() {
        let (section, count) = (text_at(text, number(part, 0)?)?, number(part, 4)?);
        let records = part.get(8..8usize.checked_add(count.checked_mul(size)?)?)?;
        let wanted = |record: &&[u8]| {
            only.is_none_or(|(name, range)| *name == section && number(record, 0).is_some_and(|at| range.contains(&(at as u32))))
        };
        if size < RELOCATION {
            return None;
        }
        let records: Vec<&[u8]> = records.chunks_exact(size).filter(wanted).collect();
        part = &part[8 + count * size..];
        if !records.is_empty() {
            kept.extend(place_of(section)?.to_ne_bytes());
            kept.extend(u32::try_from(records.len()).ok()?.to_ne_bytes());
            kept.extend(records.concat());
        }
    }
    let length = if kept.is_empty() { 0 } else { 4 + kept.len() };
    let mut new = 0xeb9fu16.to_ne_bytes().to_vec();
    new.extend([1, 0]);
    let words = [EXT_HEADER, 0, 0, 0, 0, 0, length];
    new.extend(words.iter().flat_map(|word| (*word as u32).to_ne_bytes()));
    if length > 0 {
        new.extend((size as u32).to_ne_bytes());
        new.extend(kept);
    }
    Some(new)
}

fn text_at(text: &[u8], at: usize) -> Option<&str> {
    str::from_utf8(text.get(at..)?.split(|byte| *byte == 0).next()?).ok()
}

/// Adds a text to a table of names; gives its place.
fn add(names: &mut Vec<u8>, name: &str) -> Option<u32> {
    let place = u32::try_from(names.len()).ok()?;
    names.extend(name.bytes().chain([0]));
    Some(place)
}

/// Has a section begin at the end of the file, with these bytes.
fn replace(bytes: &mut Vec<u8>, header: usize, with: &[u8]) -> Option<()> {
    let (offset, size) = (bytes.len() as u64, with.len() as u64);
    bytes.get_mut(header + OFFSET..header + OFFSET + 8)?.copy_from_slice(&offset.to_ne_bytes());
    bytes.get_mut(header + SIZE..header + SIZE + 8)?.copy_from_slice(&size.to_ne_bytes());
    bytes.extend(with);
    Some(())
}

/// The header of the section of this name. Names are looked up in the old table, where those of types still stand.
fn section_called(bytes: &[u8], names: &[u8], name: &str) -> Option<usize> {
    let mut headers = (0..usize::from(half(bytes, SECTION_COUNT)?)).map_while(|index| section_header(bytes, index));
    headers.find(|header| section_name(bytes, names, *header) == Some(name))
}

/// A number of four bytes.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn put(bytes: &mut [u8], at: usize, value: u32) -> Option<()> {
    bytes.get_mut(at..at + 4)?.copy_from_slice(&value.to_ne_bytes());
    Some(())
}

fn section_header(bytes: &[u8], index: usize) -> Option<usize> {
    let header = usize::try_from(word(bytes, SECTIONS)?).ok()?.checked_add(index * SECTION_SIZE)?;
    bytes.get(header..header.checked_add(SECTION_SIZE)?).map(|_| header)
}

fn section_bytes(bytes: &[u8], header: usize) -> Option<&[u8]> {
    let start = usize::try_from(word(bytes, header + OFFSET)?).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(word(bytes, header + SIZE)?).ok()?)?)
}

fn section_name<'a>(bytes: &[u8], names: &'a [u8], header: usize) -> Option<&'a str> {
    text_at(names, number(bytes, header)?)
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_refused() {
        for bytes in [&b""[..], b"\x7fELF", &[0xff; 200], &[0; 64]] {
            assert!(narrowed(bytes, None).is_err());
        }
    }
}
