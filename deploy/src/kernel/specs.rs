//! The tables that tell programs where the arguments of declared probes are. Each generation has one of its own, and an id means the
//! same in all of them: links carry ids, and lead to one generation after another.
//!
//! Knows elements as bytes, and that the tables of other generations are pinned beside a generation's own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ouro_rules::manifest::Arguments;

use super::links::NoLink;
use super::maps::create_array;
use super::pins::{self, Kind, MapFacts};
use super::places::{self, Missing};
use super::{bpffs, sys};
use crate::Error;
use crate::hook::Hook;
use crate::layout::Layout;
use crate::usdt::Spec;

/// `BPF_MAP_TYPE_ARRAY`, and the size of its keys.
const ARRAY: (u32, u32) = (2, 4);
/// Elements that every table has at least: `BPF_USDT_MAX_SPEC_CNT`.
const LEAST: usize = 256;

/// A table that is open, with what stands in it.
struct Table {
    map: OwnedFd,
    specs: Vec<Spec>,
}

/// Creates and pins a generation's table, with all that stands in those of others, and room for what its hooks need besides. A table
/// that lies otherwise in memory is another's business: links that led to its generation are made anew.
pub(crate) fn create_specs(pin: &Path, arguments: &Arguments, hooks: &[Hook]) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot create the table of arguments at `{}`", pin.display()), error);
    let known = union(&tables(pin, arguments.size).map_err(failed)?);
    let wanted: usize = hooks.iter().map(count).sum();
    let entries = u32::try_from(LEAST.max(known.len() + wanted)).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    let map = create_array("ouro_specs", arguments.size, entries).map_err(failed)?;
    for (id, spec) in (0..).zip(&known).filter(|(_, spec)| !is_empty(spec)) {
        sys::map_update(map.as_fd(), id, spec).map_err(failed)?;
    }
    sys::pin(map.as_fd(), pin).map_err(failed)
}

/// Whether a map can be such a table.
pub(crate) fn is_specs(facts: &MapFacts, arguments: &Arguments) -> bool {
    (facts.ty, facts.key_size) == ARRAY && facts.value_size == arguments.size
}

/// What stands at places without arguments, and where nothing stands.
fn is_empty(spec: &[u8]) -> bool {
    spec.iter().all(|byte| *byte == 0)
}

/// The places of a hook whose programs read arguments. What is wrong with them is told when it is attached.
fn count(hook: &Hook) -> usize {
    let Hook::Usdt(place) = hook else { return 0 };
    place.arguments.as_ref().and_then(|_| places::usdt(place).ok()).map_or(0, |probes| probes.len())
}

/// The ids of these elements, the same for all generations. `pin` is the table of the one that is attached; what is new is written into
/// all of them, so that whichever is live finds it.
pub(super) fn ids(pin: &Path, wanted: &[Spec]) -> Result<Vec<u64>, NoLink> {
    let own = pins::map_facts(pin).map_err(other)?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no table of arguments is pinned at `{}`", pin.display()));
    let own = own.ok_or_else(missing)?;
    if (own.ty, own.key_size) != ARRAY || wanted.iter().any(|spec| spec.len() != own.value_size as usize) {
        let what = format!("what is pinned at `{}` is not the table of arguments that the programs read", pin.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
    }
    let mut tables = tables(pin, own.value_size)?;
    wanted.iter().map(|spec| id(&mut tables, own.max_entries as usize, spec)).collect()
}

fn id(tables: &mut [Table], room: usize, spec: &Spec) -> Result<u64, NoLink> {
    let known: Vec<&[Spec]> = tables.iter().map(|table| table.specs.as_slice()).collect();
    let id = find(&known, room, spec).ok_or_else(full)?;
    for table in tables {
        let Some(element) = table.specs.get_mut(id).filter(|element| *element != spec) else { continue };
        sys::map_update(table.map.as_fd(), u32::try_from(id).unwrap_or(u32::MAX), spec)?;
        element.clone_from(spec);
    }
    Ok(id as u64)
}

fn full() -> Missing {
    Missing {
        what: "the table of arguments of probes is full".to_owned(),
        help: Some("deploy once more with `--force`: a new generation has a larger one".to_owned()),
    }
}

/// The id that an element has, or can have, below `room`: in no table something else stands there.
fn find(tables: &[&[Spec]], room: usize, spec: &Spec) -> Option<usize> {
    if is_empty(spec) {
        return Some(0);
    }
    let at = |id: usize| tables.iter().filter_map(move |table| table.get(id));
    let fits = |id: &usize| at(*id).all(|element| element == spec || is_empty(element));
    let is_there = |id: &usize| at(*id).any(|element| element == spec);
    (1..room).filter(fits).find(is_there).or_else(|| (1..room).find(fits))
}

/// What stands in any of the tables, up to the last that there is.
fn union(tables: &[Table]) -> Vec<Spec> {
    let mut known: Vec<Spec> = Vec::new();
    for (id, spec) in tables.iter().flat_map(|table| table.specs.iter().enumerate()).filter(|(_, spec)| !is_empty(spec)) {
        known.resize(known.len().max(id + 1), vec![0; spec.len()]);
        known[id].clone_from(spec);
    }
    known
}

/// The tables of all generations whose elements have this size: `<deployment>/gen-<number>/maps/specs`.
fn tables(pin: &Path, size: u32) -> io::Result<Vec<Table>> {
    let mut found = Vec::new();
    let (Some(generation), Some(deployment)) = (pin.ancestors().nth(2), pin.ancestors().nth(3)) else { return Ok(found) };
    let inside = pin.strip_prefix(generation).unwrap_or(pin);
    for (name, _) in bpffs::entries(deployment).map_err(other)? {
        let path = deployment.join(&name).join(inside);
        let is_generation = Layout::generation_number(&name).is_some();
        let map = if is_generation { pins::open(&path, Kind::Map).map_err(other)? } else { None };
        found.extend(map.map(|map| read(map, size)).transpose()?.flatten());
    }
    Ok(found)
}

fn other(error: Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// Somebody may have pinned another map there, from which the kernel would give more than there is room for.
fn read(map: OwnedFd, size: u32) -> io::Result<Option<Table>> {
    let info = sys::info(map.as_fd())?;
    let (shape, value_size, entries) = ((info[0], info[2]), info[3], info[4]);
    if shape != ARRAY || value_size != size {
        return Ok(None);
    }
    let element = |id| {
        let mut spec = vec![0; size as usize];
        sys::map_lookup(map.as_fd(), id, &mut spec).map(|_| spec)
    };
    let specs = (0..entries).map(element).collect::<Result<_, _>>()?;
    Ok(Some(Table { map, specs }))
}

#[cfg(test)]
mod tests {
    use ouro_rules::manifest::MapSpec;

    use super::*;
    use crate::kernel::contents::create_empty_map;

    fn spec(number: u8) -> Spec {
        vec![0, number]
    }

    #[test]
    fn only_a_table_is_read_as_one() {
        let map = |ty: &str, key_size| {
            let spec = MapSpec {
                name: "m".to_owned(),
                ty: ty.to_owned(),
                key_size,
                value_size: 8,
                max_entries: 2,
                ..MapSpec::default()
            };
            create_empty_map(&spec, None).unwrap()
        };
        let entries = |map: OwnedFd, size| read(map, size).unwrap().map(|table| table.specs.len());
        assert_eq!(entries(map("array", 4), 8), Some(2));
        assert_eq!([entries(map("array", 4), 16), entries(map("hash", 8), 8), entries(map("percpu_array", 4), 8)], [None; 3]);
    }

    #[test]
    fn an_id_means_the_same_in_all_tables() {
        let table = |numbers: &[u8]| -> Vec<Spec> { numbers.iter().map(|number| spec(*number)).collect() };
        let (old, new) = (table(&[0, 7, 8, 0]), table(&[0, 7, 0, 9, 0, 0]));
        let tables = [old.as_slice(), new.as_slice()];
        let found = |number, room| find(&tables, room, &spec(number));
        assert_eq!((found(7, 6), found(8, 6), found(9, 6)), (Some(1), Some(2), Some(3)));
        // What stands nowhere gets a place that is free in both, the first never.
        assert_eq!((found(5, 6), found(0, 6)), (Some(4), Some(0)));
        // An older table may have less room than what is attached.
        assert_eq!((found(5, 4), found(5, 5)), (None, Some(4)));
    }
}
