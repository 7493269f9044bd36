//! Makes objects readable for aya: sections it cannot name, and text it cannot print.
//!
//! Aya 0.14 fails on a whole object for one section such as `tc` or `xdp/name`, and panics when a verifier log is not UTF-8.
//! Knows ELF64 of the machine's own byte order; what it does not understand it leaves alone, for aya to report.

use ouro_rules::hook;

/// Offsets in the ELF header and in a section header.
const SECTIONS: usize = 0x28;
const SECTION_COUNT: usize = 0x3c;
const NAMES_INDEX: usize = 0x3e;
const SECTION_SIZE: usize = 64;
const FLAGS: usize = 8;
const OFFSET: usize = 24;
const SIZE: usize = 32;
const EXECUTABLE: u64 = 4;

/// The object as aya can read it.
pub(super) fn readable(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    // `None` is an object cut short somewhere.
    let renamed = rename_sections(&mut bytes).unwrap_or_default();
    let _ = rename_in_btf(&mut bytes, &renamed);
    let _ = make_btf_text_ascii(&mut bytes);
    bytes
}

/// Aya's name for a program section; `None` if its name will do.
fn name_for_aya(section: &str) -> Option<&'static str> {
    let hook = hook::find(section)?;
    let known = match (hook.prog_type, hook.attach_type) {
        ("xdp", "XDP") if hook.frags => "xdp.frags",
        ("xdp", "XDP") => "xdp",
        ("xdp", "XDP_DEVMAP") => "xdp/devmap",
        ("xdp", "XDP_CPUMAP") => "xdp/cpumap",
        ("sched_cls", _) => "classifier",
        _ => return None,
    };
    (known != section).then_some(known)
}

/// Gives program sections new names at the end of a copy of the name table, so that nothing else moves. Returns old names with new.
fn rename_sections(bytes: &mut Vec<u8>) -> Option<Vec<(String, &'static str)>> {
    let names_header = section_header(bytes, usize::from(half(bytes, NAMES_INDEX)?))?;
    let mut names = section_bytes(bytes, names_header)?.to_vec();
    let mut renamed = Vec::new();
    for index in 0..usize::from(half(bytes, SECTION_COUNT)?) {
        let header = section_header(bytes, index)?;
        if word(bytes, header + FLAGS)? & EXECUTABLE == 0 {
            continue;
        }
        let old = section_name(bytes, &names, header).unwrap_or_default().to_owned();
        if let Some(name) = name_for_aya(&old) {
            let place = u32::try_from(names.len()).ok()?;
            names.extend(name.bytes().chain([0]));
            bytes.get_mut(header..header + 4)?.copy_from_slice(&place.to_ne_bytes());
            renamed.push((old, name));
        }
    }
    if !renamed.is_empty() {
        replace(bytes, names_header, &names)?;
    }
    Some(renamed)
}

/// Has a section begin at the end of the file, with these bytes.
fn replace(bytes: &mut Vec<u8>, header: usize, with: &[u8]) -> Option<()> {
    let (offset, size) = (bytes.len() as u64, with.len() as u64);
    bytes.get_mut(header + OFFSET..header + OFFSET + 8)?.copy_from_slice(&offset.to_ne_bytes());
    bytes.get_mut(header + SIZE..header + SIZE + 8)?.copy_from_slice(&size.to_ne_bytes());
    bytes.extend(with);
    Some(())
}

/// Line numbers and relocations to kernel types name their sections by strings of the BTF.
fn rename_in_btf(bytes: &mut Vec<u8>, renamed: &[(String, &'static str)]) -> Option<()> {
    if renamed.is_empty() {
        return Some(());
    }
    let (btf_header, ext_header) = (section_called(bytes, ".BTF")?, section_called(bytes, ".BTF.ext")?);
    let (mut btf, mut ext) = (section_bytes(bytes, btf_header)?.to_vec(), section_bytes(bytes, ext_header)?.to_vec());
    // struct btf_header: hdr_len at 4, str_off at 16, str_len at 20. The strings are the last part.
    let (strings, length) = (number(&btf, 4)? + number(&btf, 16)?, number(&btf, 20)?);
    if strings + length != btf.len() {
        return None;
    }
    for (old, new) in renamed {
        let place = u32::try_from(btf.len() - strings).ok()?;
        btf.extend(new.bytes().chain([0]));
        let is_old = |at: usize| btf.get(strings + at..).is_some_and(|text| text.starts_with(&[old.as_bytes(), b"\0"].concat()));
        let places: Vec<usize> = names_in_ext(&ext)?.into_iter().filter(|at| number(&ext, *at).is_some_and(is_old)).collect();
        for at in places {
            ext.get_mut(at..at + 4)?.copy_from_slice(&place.to_ne_bytes());
        }
    }
    let length = u32::try_from(btf.len() - strings).ok()?;
    btf.get_mut(20..24)?.copy_from_slice(&length.to_ne_bytes());
    replace(bytes, btf_header, &btf)?;
    replace(bytes, ext_header, &ext)
}

/// Where `.BTF.ext` has the names of sections: at the begin of each group of records of its three parts (functions, lines,
/// relocations), which follow the size of those.
fn names_in_ext(ext: &[u8]) -> Option<Vec<usize>> {
    let header = number(ext, 4)?;
    let mut names = Vec::new();
    for part in [8, 16, 24].into_iter().filter(|part| part + 8 <= header) {
        let (mut at, len) = (header + number(ext, part)?, number(ext, part + 4)?);
        let end = at + len;
        let size = if len == 0 { 0 } else { number(ext, at)? };
        at += 4;
        while at < end {
            names.push(at);
            at = number(ext, at + 4)?.checked_mul(size)?.checked_add(at + 8)?;
        }
    }
    Some(names)
}

/// Source lines reach the verifier's log from BTF's strings. Names in there are ASCII anyway, or the kernel refuses them.
fn make_btf_text_ascii(bytes: &mut [u8]) -> Option<()> {
    let header = section_called(bytes, ".BTF")?;
    let btf = section_bytes(bytes, header)?;
    let start = usize::try_from(word(bytes, header + OFFSET)?).ok()? + number(btf, 4)? + number(btf, 16)?;
    let length = number(btf, 20)?;
    bytes.get_mut(start..start + length)?.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    Some(())
}

/// The header of the section of this name.
fn section_called(bytes: &[u8], name: &str) -> Option<usize> {
    let names = section_bytes(bytes, section_header(bytes, usize::from(half(bytes, NAMES_INDEX)?))?)?;
    let mut headers = (0..usize::from(half(bytes, SECTION_COUNT)?)).map_while(|index| section_header(bytes, index));
    headers.find(|header| section_name(bytes, names, *header) == Some(name))
}

/// A number of four bytes.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
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
    let place = u32::from_ne_bytes(*bytes.get(header..)?.first_chunk()?) as usize;
    str::from_utf8(names.get(place..)?.split(|byte| *byte == 0).next()?).ok()
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
    fn sections_get_names_that_aya_knows() {
        for (section, name) in [
            ("tc", "classifier"),
            ("tcx/ingress", "classifier"),
            ("xdp/parse", "xdp"),
            ("?xdp", "xdp"),
            ("xdp.frags/x", "xdp.frags"),
        ] {
            assert_eq!(name_for_aya(section), Some(name), "{section}");
        }
        for section in ["xdp", "xdp.frags", "xdp/devmap", "classifier", ".text", "kprobe/x", ""] {
            assert_eq!(name_for_aya(section), None, "{section}");
        }
    }

    #[test]
    fn what_is_no_object_stays_as_it_is() {
        for bytes in [&b""[..], b"\x7fELF", &[0xff; 200], &[0; 64]] {
            assert_eq!(readable(bytes), bytes);
        }
    }
}
