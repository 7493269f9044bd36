//! What becomes of declared maps: used again, made, or made and given what an older one holds.
//!
//! Pure. A map's pin says its definition; what a map that went live holds is never dropped unless its declaration says so.

use std::collections::BTreeSet;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Manifest, MapSpec, OnChange};

use crate::conflict::Conflict;
use crate::map_check::{differences, member_differences};
use crate::meta::Meta;
use crate::migrate::Transfer;
use crate::observe::Observed;
use crate::step::Step;

/// How a generation comes by a map. `from` is the pin of an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Reuse,
    Create,
    /// The map is the same; only an earlier version pinned it by its name alone.
    Adopt {
        from: String,
    },
    Copy {
        from: String,
    },
    Convert {
        from: String,
    },
}

/// Every map of the bundle that cannot be had as its declaration says.
pub(super) fn conflicts(bundle: &Bundle, observed: &Observed) -> Vec<Conflict> {
    bundle.manifest.maps.iter().filter_map(|map| way(map, observed).err()).collect()
}

/// Whether all maps are there, with what they held when they were live.
pub(super) fn are_there(bundle: &Bundle, observed: &Observed) -> bool {
    bundle.manifest.maps.iter().all(|map| way(map, observed) == Ok(Way::Reuse))
}

/// The steps that make the maps of a generation; maps of maps last, as they take others in.
pub(super) fn make(bundle: &Bundle, observed: &Observed) -> Vec<Step> {
    let maps = &bundle.manifest.maps;
    let (outer, plain): (Vec<&MapSpec>, Vec<&MapSpec>) = maps.iter().partition(|map| map.inner.is_some());
    let made = plain.into_iter().chain(outer).filter_map(|spec| Some((spec.pin(), way(spec, observed).ok()?)));
    made.flat_map(|(pin, way)| in_place_of_a_dead_one(&pin, observed).into_iter().chain([make_one(pin, way)])).collect()
}

/// A device that comes back may have the number it had, and what is left of its card's map the pin of the new one.
fn in_place_of_a_dead_one(pin: &str, observed: &Observed) -> Option<Step> {
    observed.maps.get(pin).filter(|map| map.is_gone()).map(|_| Step::RemoveMap { map: pin.to_owned() })
}

fn make_one(map: String, way: Way) -> Step {
    match way {
        Way::Reuse => Step::ReuseMap { map },
        Way::Create => Step::CreateMap { map },
        Way::Adopt { from } => Step::AdoptMap { map, from },
        Way::Copy { from } => Step::CopyMap { map, from },
        Way::Convert { from } => Step::ConvertMap { map, from },
    }
}

/// What is copied once more when the old generation runs no more. `steps` made the maps.
pub(super) fn catch_up(steps: &[Step]) -> Vec<Step> {
    let again = |step: &Step| match step {
        Step::CopyMap { map, from } | Step::ConvertMap { map, from } => {
            Some(Step::CatchUpMap { map: map.clone(), from: from.clone() })
        }
        _ => None,
    };
    steps.iter().filter_map(again).collect()
}

/// What copies that programs ran with lack still, as their command was killed, if `manifest` names them or something is copied from
/// them.
pub(super) fn behind(observed: &Observed, manifest: &Manifest, catch_up: &[Step]) -> Vec<Step> {
    let ran = observed.ran();
    let ran = recorded_by_generations(observed, |number| ran.contains(number));
    let is_original = |pin: &String| catch_up.iter().any(|step| matches!(step, Step::CatchUpMap { from, .. } if from == pin));
    let needed: BTreeSet<String> = pins(manifest).collect();
    let is_needed =
        |pin: &String| ran.contains(pin) && observed.maps.contains_key(pin) && (needed.contains(pin) || is_original(pin));
    let found = observed.behind.iter().filter(|(pin, _)| is_needed(pin));
    found.map(|(map, from)| Step::CatchUpMap { map: map.clone(), from: from.clone() }).collect()
}

/// Maps that only generations which never ran recorded: half of what they hold may be missing, and what is missing may be
/// gone from the old map by now. They go before their records do.
pub(super) fn abandoned(observed: &Observed, leftovers: &BTreeSet<u32>) -> Vec<Step> {
    let stays = |number: &u32| !leftovers.contains(number);
    remove(recorded(observed, |number| leftovers.contains(number)), &recorded(observed, stays), observed)
}

/// Maps that nothing uses once `manifest` is live and only the generations `staying` are there besides.
pub(super) fn unused(observed: &Observed, manifest: &Manifest, staying: &BTreeSet<u32>) -> Vec<Step> {
    let mut used = recorded_by_generations(observed, |number| staying.contains(number));
    used.extend(pins(manifest));
    remove(recorded(observed, |_| true), &used, observed)
}

fn remove(recorded: BTreeSet<String>, used: &BTreeSet<String>, observed: &Observed) -> Vec<Step> {
    let unused = recorded.into_iter().filter(|pin| !used.contains(pin) && is_there(observed, pin));
    unused.map(|map| Step::RemoveMap { map }).collect()
}

/// Whether there is anything of a map.
pub(super) fn is_there(observed: &Observed, pin: &String) -> bool {
    observed.maps.contains_key(pin) || observed.behind.contains_key(pin)
}

/// The pins of a manifest's maps.
pub(super) fn pins(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.maps.iter().map(|map| manifest.pin_of(map))
}

/// The pins recorded by these generations, and by what was kept.
pub(super) fn recorded(observed: &Observed, of: impl Fn(&u32) -> bool) -> BTreeSet<String> {
    let kept = observed.kept.iter().flat_map(|meta| pins(&meta.manifest));
    recorded_by_generations(observed, of).into_iter().chain(kept).collect()
}

fn recorded_by_generations(observed: &Observed, of: impl Fn(&u32) -> bool) -> BTreeSet<String> {
    let metas =
        observed.generations.iter().filter(|(number, _)| of(number)).filter_map(|(_, generation)| generation.meta.as_ref());
    metas.flat_map(|meta| pins(&meta.manifest)).collect()
}

/// What ran, whole or not, the newest first: generations that packets run through, those that were made live before, and what was
/// kept of an older deployment.
fn ran(observed: &Observed) -> impl Iterator<Item = &Meta> {
    let live = observed.live();
    let place = |number: &u32| (live.contains(number), observed.generations[number].went_live, *number);
    let mut numbers: Vec<u32> = observed.ran().into_iter().collect();
    numbers.sort_by_key(|number| std::cmp::Reverse(place(number)));
    numbers.into_iter().filter_map(|number| observed.generations[&number].meta.as_ref()).chain(&observed.kept)
}

/// The maps of this name that programs ran with and are there, the newest first: pin and definition. What was on a network card is
/// gone with that, and nothing can be done about it.
fn older<'a>(observed: &'a Observed, name: &str) -> impl Iterator<Item = (String, &'a MapSpec)> {
    let is_there = |pin: &String| observed.maps.get(pin).is_some_and(|map| !map.is_gone());
    ran(observed).filter_map(|meta| named(meta, name)).filter(move |(pin, _)| is_there(pin))
}

/// The map of this name that a record knows: pin and definition.
fn named<'a>(meta: &'a Meta, name: &str) -> Option<(String, &'a MapSpec)> {
    let map = meta.manifest.maps.iter().find(|map| map.name == name)?;
    Some((meta.manifest.pin_of(map), map))
}

fn way(spec: &MapSpec, observed: &Observed) -> Result<Way, Conflict> {
    let pin = spec.pin();
    // What nothing recorded may be the rest of a deployment whose records were removed.
    let is_it = |(found, _): (String, &MapSpec)| found == pin;
    let is_recorded = observed.metas().filter_map(|meta| named(meta, &spec.name)).any(is_it);
    let is_own = older(observed, &spec.name).any(is_it) || !is_recorded;
    if is_own && observed.maps.get(&pin).is_some_and(|map| !map.is_gone()) {
        let found = differences(spec, &observed.maps[&pin], observed.host.page_size);
        let tampered = || Conflict::MapChanged {
            deployment: observed.name.clone(),
            map: spec.name.clone(),
            differences: found.clone(),
            remedy: None,
        };
        return if found.is_empty() { Ok(Way::Reuse) } else { Err(tampered()) };
    }
    let Some((from, old)) = older(observed, &spec.name).next() else { return Ok(Way::Create) };
    if from == spec.name && differences(spec, &observed.maps[&from], observed.host.page_size).is_empty() {
        return Ok(Way::Adopt { from });
    }
    match spec.on_change {
        _ if old.frozen => Ok(Way::Create),
        OnChange::Reset => Ok(Way::Create),
        OnChange::Keep => Err(changed(spec, old, &from, observed)),
        OnChange::Copy | OnChange::Convert => match Transfer::plan(old, spec) {
            Err(why) => Err(Conflict::MapStays { map: spec.name.clone(), on_change: spec.on_change, why }),
            Ok(_) if spec.frozen => {
                let why = vec!["a frozen table holds its `contents` and nothing else".to_owned()];
                Err(Conflict::MapStays { map: spec.name.clone(), on_change: spec.on_change, why })
            }
            Ok(_) if spec.on_change == OnChange::Copy => Ok(Way::Copy { from }),
            Ok(_) => Ok(Way::Convert { from }),
        },
    }
}

fn changed(spec: &MapSpec, old: &MapSpec, from: &str, observed: &Observed) -> Conflict {
    let mut found = differences(spec, &observed.maps[from], observed.host.page_size);
    found.extend(member_differences(old, spec));
    let fits =
        |on_change: &OnChange| Transfer::plan(old, &MapSpec { on_change: *on_change, ..spec.clone() }).is_ok() && !spec.frozen;
    let remedy = [OnChange::Copy, OnChange::Convert].into_iter().find(fits).unwrap_or(OnChange::Reset);
    Conflict::MapChanged { deployment: observed.name.clone(), map: spec.name.clone(), differences: found, remedy: Some(remedy) }
}
