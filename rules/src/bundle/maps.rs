//! What objects tell of the maps of their chain: how large keys and values are, and so which bytes a map holds at first.
//!
//! Knows nothing of maps that are there already.

use crate::chain::ChainSpec;
use crate::contents;
use crate::diagnostic::Diagnostic;
use crate::label::Label;
use crate::manifest::MapSpec;
use crate::object::Facts;

/// The declared maps with the sizes the objects tell; two objects that disagree would read each other's bytes wrongly. A map no
/// object uses has no size and is left out.
pub(super) fn maps(spec: &ChainSpec, all_facts: &[(&Label, Facts)], findings: &mut Vec<Diagnostic>) -> Vec<MapSpec> {
    let mut maps = Vec::new();
    for declared in &spec.maps {
        let mut seen: Option<(&Label, &MapSpec)> = None;
        for (label, facts) in all_facts {
            let Some(found) = facts.maps.iter().find(|map| map.name == declared.name) else { continue };
            match seen {
                Some((first, known)) if known.abi() != found.abi() => {
                    findings.push(disagree(declared, first, known, label, found));
                }
                Some(_) => {}
                None => seen = Some((label, found)),
            }
        }
        maps.extend(seen.map(|(_, found)| sized(declared, found)));
    }
    maps.extend(held(spec, &maps));
    maps.sort_by(|a: &MapSpec, b| a.name.cmp(&b.name));
    maps
}

/// The declared map with what an object tells of it.
fn sized(declared: &MapSpec, found: &MapSpec) -> MapSpec {
    let MapSpec { key_size, value_size, key_layout, value_layout, inner, .. } = found.clone();
    MapSpec { key_size, value_size, key_layout, value_layout, inner, ..declared.clone() }
}

/// The maps that only maps of maps name: they are as those say.
fn held(spec: &ChainSpec, maps: &[MapSpec]) -> Vec<MapSpec> {
    let is_unsized = |name: &str| maps.iter().all(|map| map.name != name);
    let holder_of = |name: &str| {
        let holds = |map: &&MapSpec| spec.contents.get(&map.name).is_some_and(|contents| contents.names().contains(&name));
        maps.iter().find(holds).and_then(|map| map.inner.as_deref())
    };
    let unsized_maps = spec.maps.iter().filter(|map| is_unsized(&map.name));
    unsized_maps.filter_map(|map| Some(sized(map, holder_of(&map.name)?))).collect()
}

/// Puts in what maps hold at first; maps of maps last, as the pins of those they hold say what those hold.
pub(super) fn fill(maps: &mut [MapSpec], spec: &ChainSpec, big_endian: bool) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for of_maps in [false, true] {
        let pins = maps.iter().map(|map| (map.name.clone(), map.pin())).collect();
        for map in maps.iter_mut().filter(|map| map.inner.is_some() == of_maps) {
            let Some(given) = spec.contents.get(&map.name) else { continue };
            match contents::elements(map, given, &pins, big_endian) {
                Ok(elements) => map.contents = elements,
                Err(more) => findings.extend(more),
            }
        }
    }
    findings
}

fn disagree(declared: &MapSpec, first: &Label, known: &MapSpec, second: &Label, found: &MapSpec) -> Diagnostic {
    let sizes = |map: &MapSpec| format!("a key of {} and a value of {} bytes", map.key_size, map.value_size);
    let message = match sizes(known) == sizes(found) {
        true => format!("the members of map `{}` are not the same in `{}` and `{}`", declared.name, first, second),
        false => {
            format!("map `{}` has {} in `{}`, and {} in `{}`", declared.name, sizes(known), first, sizes(found), second)
        }
    };
    Diagnostic::bare(message)
        .help("the headers that declare its types must mean the same in both programs; look for `#ifdef`s and defines")
}
