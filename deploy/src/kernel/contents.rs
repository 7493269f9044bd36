//! Declared maps: creates them, and reads and writes all that they hold.
//!
//! Knows what a map is declared as, not which generation uses it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ouro_rules::manifest::{Content, MapSpec};
use ouro_rules::map_type::{self, Size};

use super::map_types::MapTypes;
use super::pins::MapFacts;
use super::sys::{self, Batch, NewMap, Write};
use super::{card, lacking};
use crate::Error;
use crate::migrate::{Elements, cpu_bytes};

/// How many elements are read or written by one system call.
const AT_ONCE: usize = 4096;
/// Types the kernel refuses BTF for (`map_check_no_btf`), or has no use for it.
const WITHOUT_TYPES: &[u32] = &[4, 7, 8, 12, 13, 14, 15, 16, 17, 18, 20, 25, 27, 31];

/// Creates a map with what it holds at first, not pinned yet. `held` opens maps that it holds.
pub(crate) fn create_map(
    spec: &MapSpec,
    types: Option<&MapTypes>,
    held: &dyn Fn(&str) -> Result<OwnedFd, Error>,
) -> Result<OwnedFd, Error> {
    let map = create_empty_map(spec, types)?;
    let failed = |error| Error::io(format!("cannot fill the map `{}`", spec.name), error);
    let is_percpu = map_type::find(&spec.ty).is_some_and(|ty| ty.is_percpu());
    let cpus = is_percpu.then(cpus).transpose().map_err(failed)?;
    for element in &spec.contents {
        match &element.value {
            Content::Map(pin) => {
                let inner = held(pin)?;
                put(&map, &element.key.0, &inner.as_raw_fd().to_ne_bytes(), Write::Any).map_err(failed)?;
            }
            Content::Bytes(value) => {
                let value = copies(&value.0, spec.value_size, cpus);
                put(&map, &element.key.0, &value, Write::Any).map_err(failed)?;
            }
        }
    }
    if spec.frozen {
        sys::map_freeze(map.as_fd()).map_err(|error| Error::io(format!("cannot freeze the map `{}`", spec.name), error))?;
    }
    Ok(map)
}

/// A value as the kernel reads it: of per-CPU maps one for each CPU, in steps of eight bytes, even if there is but one.
fn copies(value: &[u8], size: u32, cpus: Option<usize>) -> Vec<u8> {
    let Some(cpus) = cpus else { return value.to_vec() };
    let mut value = value.to_vec();
    value.resize(cpu_bytes(size), 0);
    value.repeat(cpus)
}

/// Creates a map that holds nothing.
pub(crate) fn create_empty_map(spec: &MapSpec, types: Option<&MapTypes>) -> Result<OwnedFd, Error> {
    let failed = |error| Error::io(format!("cannot create the map `{}`", spec.name), error);
    let unknown = || Error::Object { of: spec.name.clone(), reason: format!("`{}` is no type of map", spec.ty) };
    let ty = map_type::find(&spec.ty).ok_or_else(unknown)?;
    let inner = spec.inner.as_deref().map(|inner| create_empty_map(inner, types.and_then(MapTypes::inner))).transpose()?;
    let page = sys::page_size();
    let max_entries = match (ty.size, spec.max_entries) {
        (Size::Cpus, 0) => u32::try_from(cpus().map_err(failed)?).unwrap_or(u32::MAX),
        // Pages may be larger than where the chain was built.
        (Size::Bytes, bytes) => bytes.div_ceil(page).next_power_of_two().saturating_mul(page),
        (_, entries) => entries,
    };
    let shape = NewMap {
        name: &spec.name,
        ty: ty.number,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries,
        flags: spec.flags,
        extra: spec.map_extra,
        numa_node: spec.numa_node,
        types: types.filter(|_| !WITHOUT_TYPES.contains(&ty.number)).map(|types| (types.btf.as_fd(), types.key, types.value)),
        inner: inner.as_ref().map(AsFd::as_fd),
        ops_type: 0,
        card: spec.card.unwrap_or(0),
    };
    sys::lift_memory_limit();
    let without_types = || sys::new_map(&NewMap { types: None, ..shape });
    // Types are for people; a map that the kernel refuses for their sake is better than none. Of both errors the first tells more.
    sys::new_map(&shape).or_else(|error| without_types().map_err(|_| error)).map_err(|error| {
        match spec.card.and_then(|card| card::refused(card, &error)).or_else(|| lacking::map_type(ty.number, &error)) {
            Some(reason) => Error::Object { of: spec.name.clone(), reason },
            None => Error::io(card::not_done(format!("cannot create the map `{}`", spec.name), spec.card, &error), error),
        }
    })
}

/// How many CPUs there can be: so many values have elements of per-CPU maps.
fn cpus() -> io::Result<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    count_ranges(text.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` are no CPUs")))
}

/// How many numbers `0-3,8` are.
fn count_ranges(text: &str) -> Option<usize> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    text.split(',').map(count).sum()
}

/// Everything a map holds. Elements that come or go meanwhile may be there or not.
pub(crate) fn read_elements(map: &OwnedFd, facts: &MapFacts) -> io::Result<Elements> {
    let is_percpu = map_type::MAP_TYPES.iter().any(|ty| ty.number == facts.ty && ty.is_percpu());
    let value = if is_percpu { cpu_bytes(facts.value_size) * cpus()? } else { facts.value_size as usize };
    let elements = Elements::new(facts.key_size as usize, value);
    match read_many(map.as_fd(), elements.clone()) {
        // The kernel has no batches for all types, and old ones for none.
        Err(error) if no_batches(&error) => read_each(map.as_fd(), elements, facts.max_entries as usize),
        other => other,
    }
}

fn no_batches(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::EINVAL)
}

fn read_many(map: BorrowedFd<'_>, mut elements: Elements) -> io::Result<Elements> {
    let (mut count, mut position) = (AT_ONCE, None::<Vec<u8>>);
    loop {
        let (mut keys, mut values) = (vec![0; count * elements.key_bytes], vec![0; count * elements.value_bytes]);
        let mut next = vec![0; elements.key_bytes.max(4)];
        let mut batch = Batch { keys: &mut keys, values: &mut values, count: u32::try_from(count).unwrap_or(u32::MAX) };
        match sys::elements(map, position.as_deref(), &mut next, &mut batch) {
            // One bucket of a hash has more elements than there is room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => count *= 2,
            Err(error) => return Err(error),
            Ok((found, more)) => {
                let found = (found as usize).min(count);
                elements.keys.extend_from_slice(&keys[..found * elements.key_bytes]);
                elements.values.extend_from_slice(&values[..found * elements.value_bytes]);
                if !more {
                    return Ok(elements);
                }
                position = Some(next);
            }
        }
    }
}

/// One by one. A key that goes meanwhile leads back to the first, so that elements are seen again.
fn read_each(map: BorrowedFd<'_>, mut elements: Elements, max_entries: usize) -> io::Result<Elements> {
    let mut found = BTreeMap::new();
    let mut key = None::<Vec<u8>>;
    for _ in 0..max_entries.saturating_mul(4).saturating_add(1) {
        let (mut next, mut value) = (vec![0; elements.key_bytes], vec![0; elements.value_bytes]);
        if !sys::next_key(map, key.as_deref(), &mut next)? {
            found.iter().for_each(|(key, value): (&Vec<u8>, &Vec<u8>)| elements.push(key, value));
            return Ok(elements);
        }
        if sys::element(map, &next, &mut value)? {
            found.insert(next.clone(), value);
        }
        key = Some(next);
    }
    Err(io::Error::other("it changes faster than it can be read"))
}

/// Writes elements; those of equal keys are replaced.
pub(crate) fn write_elements(map: &OwnedFd, elements: &Elements) -> io::Result<()> {
    let mut rest = elements.clone();
    let (mut keys, mut values) = (&mut rest.keys[..], &mut rest.values[..]);
    while !keys.is_empty() {
        let count = (keys.len() / elements.key_bytes.max(1)).min(AT_ONCE);
        let (these_keys, later_keys) = keys.split_at_mut(count * elements.key_bytes);
        let (these_values, later_values) = values.split_at_mut(count * elements.value_bytes);
        let mut batch = Batch { keys: these_keys, values: these_values, count: u32::try_from(count).unwrap_or(u32::MAX) };
        match sys::put_elements(map.as_fd(), &mut batch) {
            Err(error) if no_batches(&error) => return write_each(map, elements),
            other => other?,
        }
        (keys, values) = (later_keys, later_values);
    }
    Ok(())
}

fn write_each(map: &OwnedFd, elements: &Elements) -> io::Result<()> {
    elements.iter().try_for_each(|(key, value)| put(map, key, value, Write::Any))
}

fn put(map: &OwnedFd, key: &[u8], value: &[u8], when: Write) -> io::Result<()> {
    sys::put_element(map.as_fd(), key, value, when)
}

/// Makes an element what `now` says (none: gone), but only if it still is what `before` says. Whoever writes it in the same
/// instant wins or loses: the kernel has nothing that compares and writes at once. Returns whether it did.
pub(crate) fn change_element(map: &OwnedFd, key: &[u8], before: Option<&[u8]>, now: Option<&[u8]>) -> io::Result<bool> {
    let size = before.or(now).map_or(0, <[u8]>::len);
    let mut value = vec![0; size];
    let there = sys::element(map.as_fd(), key, &mut value)?;
    if there.then_some(&value[..]) != before {
        return Ok(false);
    }
    match now {
        Some(now) if before.is_none() => match put(map, key, now, Write::IfMissing) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            other => other.map(|()| true),
        },
        Some(now) => put(map, key, now, Write::Any).map(|()| true),
        None => sys::delete_element(map.as_fd(), key),
    }
}

/// How many elements a map has, if that is quickly told: its keys are walked, and no more than so many.
pub(crate) fn count_elements(map: &OwnedFd, facts: &MapFacts, at_most: usize) -> Option<usize> {
    let mut key = None::<Vec<u8>>;
    for count in 0..=at_most {
        let mut next = vec![0; facts.key_size as usize];
        if !sys::next_key(map.as_fd(), key.as_deref(), &mut next).ok()? {
            return Some(count);
        }
        key = Some(next);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::changed;

    fn shape(ty: &str, max_entries: u32) -> (MapSpec, MapFacts) {
        let ty = map_type::find(ty).unwrap();
        let sizes =
            MapSpec { max_entries, key_size: if ty.name == "lpm_trie" { 8 } else { 4 }, value_size: 8, ..MapSpec::default() };
        let spec = MapSpec { name: "m".to_owned(), ty: ty.name.to_owned(), flags: ty.implied_flags(), ..sizes };
        let facts =
            MapFacts { ty: ty.number, key_size: spec.key_size, value_size: spec.value_size, max_entries, ..MapFacts::default() };
        (spec, facts)
    }

    fn some_elements(spec: &MapSpec, count: u32) -> Elements {
        let cpus = if spec.ty.contains("percpu") { cpus().unwrap() } else { 1 };
        let mut elements = Elements::new(spec.key_size as usize, 8 * cpus);
        for index in 0..count {
            let key = [32u32.to_ne_bytes(), index.to_be_bytes()].concat();
            let key = if spec.key_size == 8 { key } else { index.to_ne_bytes().to_vec() };
            elements.push(&key, &u64::from(index + 1).to_ne_bytes().repeat(cpus));
        }
        elements
    }

    /// What batches read and write is what is read and written one by one where the kernel has none. Of 100,000 elements of a hash
    /// (4 and 8 bytes, kernel 6.18, an unoptimised build) 73 ms and 163 ms at once, 1298 ms and 320 ms one by one.
    #[test]
    fn many_at_once_and_one_by_one_are_the_same() {
        let types = ["lru_hash", "array", "percpu_array", "percpu_hash", "lru_percpu_hash", "lpm_trie"];
        for (ty, count) in [("hash", 100_000)].into_iter().chain(types.map(|ty| (ty, 5_000))) {
            let (spec, facts) = shape(ty, if ty.starts_with("lru") { 4 * count } else { count });
            let (first, second) = (create_empty_map(&spec, None).unwrap(), create_empty_map(&spec, None).unwrap());
            let elements = some_elements(&spec, count);
            write_elements(&first, &elements).unwrap();
            write_each(&second, &elements).unwrap();
            let many = read_elements(&first, &facts).unwrap();
            assert_eq!((many.len(), changed(&many, &elements)), (count as usize, vec![]), "{ty}");
            let empty = Elements::new(elements.key_bytes, elements.value_bytes);
            assert_eq!(changed(&read_each(second.as_fd(), empty, 4 * count as usize).unwrap(), &elements), vec![], "{ty}");
        }
    }

    #[test]
    fn an_element_is_changed_only_if_it_is_what_it_was() {
        let sizes = MapSpec { max_entries: 4, key_size: 1, value_size: 1, ..MapSpec::default() };
        let map = create_empty_map(&MapSpec { name: "m".to_owned(), ty: "hash".to_owned(), ..sizes }, None).unwrap();
        let change = |before: Option<&[u8]>, now: Option<&[u8]>| change_element(&map, &[1], before, now).unwrap();
        let (one, two) = (Some(&[1u8][..]), Some(&[2u8][..]));
        assert!(!change(one, two), "it is not there");
        assert!(change(None, one) && !change(None, two) && !change(two, one));
        assert!(change(one, two) && !change(one, None) && change(two, None) && change(None, one));
    }

    /// The kernel read four bytes behind a value of four on machines with one CPU.
    #[test]
    fn values_for_each_cpu_have_whole_words() {
        assert_eq!(copies(&[1, 2, 3, 4], 4, Some(1)), [1, 2, 3, 4, 0, 0, 0, 0]);
        assert_eq!((copies(&[1; 4], 4, Some(3)).len(), copies(&[1; 4], 4, None).len()), (24, 4));
    }

    #[test]
    fn cpus_are_counted_in_ranges() {
        assert_eq!(["0", "0-3", "0-1,4-5,9", "0-", "3-1", ""].map(count_ranges), [Some(1), Some(4), Some(5), None, None, None]);
    }
}
