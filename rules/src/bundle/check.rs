//! What a manifest must not say: whatever would lead a deployer astray.
//!
//! Knows nothing of archives and objects.

use std::collections::BTreeSet;

use super::BundleError;
use crate::chain::{MAX_EDGES, MAX_TABLE};
use crate::hook;
use crate::manifest::{Attach, Content, Element, Layout, Manifest, ManifestProgram, MapSpec};
use crate::manifest::{is_deployment_name, is_kernel_name};

/// A deployer turns names into paths and numbers into indices, so neither may lead astray.
pub(super) fn check(manifest: &Manifest) -> Result<(), BundleError> {
    let bad_map = || manifest.maps.iter().find_map(|map| bad_map(manifest, map));
    let wrong = bad_name(manifest).or_else(|| repeated(manifest)).or_else(|| bad_number(manifest));
    let wrong = wrong.or_else(|| bad_candidates(manifest)).or_else(|| bad_extension(manifest)).or_else(bad_map);
    wrong.map_or(Ok(()), |what| Err(BundleError::Malformed(what)))
}

fn bad_name(manifest: &Manifest) -> Option<String> {
    let mut pins = manifest.programs.iter().map(|program| &program.name).chain(manifest.maps.iter().map(|map| &map.name));
    let deployment = Some(&manifest.name).filter(|name| !is_deployment_name(name));
    let pin = || pins.find(|name| !is_kernel_name(name));
    let point = || manifest.attach.iter().find_map(Attach::bad_name).or_else(|| bad_arguments(manifest));
    deployment.or_else(pin).map(|name| format!("`{name}` cannot name a pin")).or_else(point)
}

/// The programs of a chain have one table, whose elements are as large as one probe says.
fn bad_arguments(manifest: &Manifest) -> Option<String> {
    let mut tables =
        manifest.attach.iter().filter_map(|point| if let Attach::Usdt(place) = point { Some(&place.arguments) } else { None });
    let first = tables.next()?;
    tables.any(|table| table != first).then(|| "arguments of its probes are read from different tables".to_owned())
}

/// What stands for one thing must not stand twice.
fn repeated(manifest: &Manifest) -> Option<String> {
    let programs = &manifest.programs;
    let name = twice(programs.iter().map(|program| &program.name)).map(|name| format!("two programs are named `{name}`"));
    let objects: Vec<String> = programs.iter().flat_map(ManifestProgram::tried).map(|candidate| candidate.object).collect();
    let object = || twice(objects.iter()).map(|object| format!("two programs share `{object}`"));
    let slot = || twice(programs.iter().filter_map(|program| program.slot)).map(|slot| format!("two programs have slot {slot}"));
    let map = || twice(manifest.maps.iter().map(|map| &map.name)).map(|name| format!("two maps are named `{name}`"));
    name.or_else(object).or_else(slot).or_else(map)
}

fn twice<T: Ord + Copy>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.find(|item| !seen.insert(*item))
}

fn bad_number(manifest: &Manifest) -> Option<String> {
    let (programs, table) = (&manifest.programs, manifest.table_size);
    if programs.is_empty() {
        return Some("it has no program".to_owned());
    }
    if manifest.card.is_some() || manifest.maps.iter().any(|map| map.card.is_some()) {
        return Some("it names a network card by an index, which only a deployer can know".to_owned());
    }
    if i64::from(table) > MAX_TABLE || manifest.edges.len() > MAX_EDGES {
        return Some(format!("a table of {table} entries or {} edges is more than ouro makes", manifest.edges.len()));
    }
    if let Some(program) = programs.iter().find(|program| program.slot.is_some_and(|slot| slot >= table)) {
        return Some(format!("slot of `{}` is beyond the table", program.name));
    }
    if let Some(test) = manifest.tests.iter().find(|test| test.bytes().is_none()) {
        return Some(format!("the packet `{}` has no bytes", test.name));
    }
    let slot_of = |program: u32| programs.get(program as usize).and_then(|program| program.slot);
    let astray = manifest.edges.iter().find(|edge| edge.from as usize >= programs.len() || slot_of(edge.to).is_none());
    astray.map(|edge| format!("edge `{}` leads to no program with a slot", edge.name))
}

/// Until a kernel has a say, a place has its first candidate, and the entry one at all events.
fn bad_candidates(manifest: &Manifest) -> Option<String> {
    let wrong = |program: &&ManifestProgram| {
        let first = program.candidates.first();
        let names = program.candidates.iter().map(|candidate| &candidate.name);
        program.settled.is_some()
            || first.is_some_and(|first| (&first.object, &first.digest) != (&program.object, &program.digest))
            || twice(names).is_some()
    };
    let optional = manifest.programs.first().filter(|entry| entry.optional);
    let candidates = || manifest.programs.iter().find(wrong);
    optional.or_else(candidates).map(|program| format!("what can stand in the place of `{}` makes no sense", program.name))
}

/// An extension is in no table, and the program it extends comes before it.
fn bad_extension(manifest: &Manifest) -> Option<String> {
    let (entry, others) = manifest.programs.split_first()?;
    let fits = |program: &ManifestProgram| {
        let is_one = hook::find(&program.ty).is_some_and(|ty| ty.prog_type == "ext");
        let replaces_entry = program.replaces.as_ref().map(|replaces| replaces.program == entry.name);
        if is_one {
            replaces_entry == Some(true) && program.slot.is_none() && entry.slot.is_none()
        } else {
            replaces_entry.is_none()
        }
    };
    let wrong = others.iter().find(|program| !fits(program)).or(Some(entry).filter(|entry| entry.replaces.is_some()));
    wrong.map(|program| format!("what `{}` replaces makes no sense", program.name))
}

/// What a map holds must be as large as it says, and the maps it holds must be the bundle's own.
fn bad_map(manifest: &Manifest, map: &MapSpec) -> Option<String> {
    let fits = |layout: &Option<Layout>, size: u32| layout.as_ref().is_none_or(|layout| layout.bytes() == size);
    if !fits(&map.key_layout, map.key_size) || !fits(&map.value_layout, map.value_size) {
        return Some(format!("the members of map `{}` do not have its size", map.name));
    }
    if map.inner.as_ref().is_some_and(|inner| inner.inner.is_some()) {
        return Some(format!("map `{}` holds maps that hold maps", map.name));
    }
    let is_wrong = |element: &&Element| match &element.value {
        Content::Bytes(bytes) => element.key.0.len() != map.key_size as usize || bytes.0.len() != map.value_size as usize,
        Content::Map(pin) => {
            element.key.0.len() != map.key_size as usize
                || manifest.maps.iter().all(|held| held.inner.is_some() || held.pin() != *pin)
        }
    };
    map.contents.iter().find(is_wrong).map(|_| format!("what map `{}` holds does not fit it", map.name))
}
