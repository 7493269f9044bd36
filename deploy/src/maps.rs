//! Carries out what becomes of declared maps: creates them, adopts them, copies what they hold.
//!
//! Decides nothing; [`crate::diff`] did. Knows no hooks.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::MapSpec;

use crate::Error;
use crate::change::Change;
use crate::kernel::pins::{self, Kind};
use crate::kernel::{self, MapTypes};
use crate::layout::{Layout, map_name};
use crate::meta::Meta;
use crate::migrate::{Changed, Elements, Transfer, changed};

/// What maps held when they were copied, by the pin of the copy; and what was not carried over since.
#[derive(Default)]
pub(crate) struct Copied {
    before: BTreeMap<String, (Transfer, Elements)>,
    pub(crate) lost: Vec<Change>,
}

/// The bundle's map with this pin.
pub(crate) fn spec<'a>(bundle: &'a Bundle, pin: &str) -> Result<&'a MapSpec, Error> {
    let missing = || Error::Object { of: pin.to_owned(), reason: "the manifest does not declare it".to_owned() };
    bundle.manifest.maps.iter().find(|map| map.name == map_name(pin)).ok_or_else(missing)
}

/// Creates a map with what it holds at first. Pinned last, so that what is pinned is whole.
pub(crate) fn create(layout: &Layout, bundle: &Bundle, pin: &str) -> Result<(), Error> {
    let spec = spec(bundle, pin)?;
    let held = |pin: &str| pins::require(&layout.map(pin), Kind::Map);
    kernel::pin(&kernel::create_map(spec, types(bundle, spec).as_ref(), &held)?, &layout.map(pin))
}

/// Creates a map and gives it what the one with the pin `from` holds.
pub(crate) fn copy(layout: &Layout, bundle: &Bundle, pin: &str, from: &str, copied: &mut Copied) -> Result<(), Error> {
    let (new, old) = (spec(bundle, pin)?, recorded(layout, from)?);
    let failed = |reason: String| Error::Contents { map: new.name.clone(), reason };
    let transfer = Transfer::plan(&old, new).map_err(|why| failed(why.join("; ")))?;
    let before = read(layout, from)?.1;
    let after = transfer.all(&before).map_err(failed)?;
    let map = kernel::create_empty_map(new, types(bundle, new).as_ref())?;
    kernel::write_elements(&map, &after).map_err(|error| Error::io(format!("cannot fill the map `{}`", new.name), error))?;
    pin_behind(layout, pin, from, &map)?;
    copied.before.insert(pin.to_owned(), (transfer, before));
    Ok(())
}

/// Pins a copy, and before it the sign that it is one: both or neither, unless this is killed.
fn pin_behind(layout: &Layout, pin: &str, from: &str, map: &OwnedFd) -> Result<(), Error> {
    let sign = layout.behind(pin);
    kernel::remove_pin(&sign)?;
    kernel::write_bytes(&sign, from.as_bytes())?;
    kernel::pin(map, &layout.map(pin)).inspect_err(|_| {
        let _ = kernel::remove_pin(&sign);
    })
}

/// Removes a map, and the sign that it is a copy.
pub(crate) fn remove(layout: &Layout, pin: &str) -> Result<(), Error> {
    kernel::remove_pin(&layout.map(pin))?;
    kernel::remove_pin(&layout.behind(pin))
}

/// Carries over what changed in the old map since it was copied. Elements that the new generation changed itself stay, and what cannot
/// be carried over is told: the new generation is live.
pub(crate) fn catch_up(layout: &Layout, pin: &str, from: &str, copied: &mut Copied) -> Result<(), Error> {
    let map = map_name(pin).to_owned();
    match carry_over(layout, pin, from, copied.before.remove(pin)) {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => copied.lost.push(Change::NotCarried { map, elements: Some(lost.len()), why: lost[0].clone() }),
        Err(error) => copied.lost.push(Change::NotCarried { map, elements: None, why: error.to_string() }),
    }
    kernel::remove_pin(&layout.behind(pin))
}

/// Every reason why an element was not carried over. If whoever copied the map was killed, nothing is known of what it held then: the
/// new one gets what it lacks.
fn carry_over(layout: &Layout, pin: &str, from: &str, copied: Option<(Transfer, Elements)>) -> Result<Vec<String>, Error> {
    let failed = |why: Vec<String>| Error::Object { of: map_name(pin).to_owned(), reason: why.join("; ") };
    let (transfer, before) = match copied {
        Some(known) => known,
        None => {
            let transfer = Transfer::plan(&recorded(layout, from)?, &recorded(layout, pin)?).map_err(failed)?;
            (transfer, Elements::default())
        }
    };
    let now = read(layout, from)?.1;
    let map = pins::require(&layout.map(pin), Kind::Map)?;
    // Places of an array neither come nor go.
    let is_place = |change: &Changed| transfer.is_array() && (change.before.is_none() || change.now.is_none());
    let changes = changed(&before, &now).into_iter().filter(|change| !is_place(change));
    Ok(changes.filter_map(|change| change_one(&map, &transfer, &change).err()).collect())
}

fn change_one(map: &OwnedFd, transfer: &Transfer, change: &Changed) -> Result<(), String> {
    let value = |value: &Option<Vec<u8>>| value.as_deref().map(|value| transfer.value(&change.key, value)).transpose();
    let (key, old, new) = (transfer.key(&change.key)?, value(&change.before)?, value(&change.now)?);
    kernel::change_element(map, &key, old.as_deref(), new.as_deref()).map(drop).map_err(|error| error.to_string())
}

fn read(layout: &Layout, pin: &str) -> Result<(OwnedFd, Elements), Error> {
    let path = layout.map(pin);
    let map = pins::require(&path, Kind::Map)?;
    let facts = pins::map_facts(&path)?.unwrap_or_default();
    let elements =
        kernel::read_elements(&map, &facts).map_err(|error| Error::io(format!("cannot read `{}`", path.display()), error))?;
    Ok((map, elements))
}

/// The types of a map, from the first object of the bundle that declares it.
fn types(bundle: &Bundle, spec: &MapSpec) -> Option<MapTypes> {
    let objects = bundle.manifest.programs.iter().filter_map(|program| bundle.objects.get(&program.object));
    objects.filter(|object| mentions(object, &spec.name)).find_map(|object| MapTypes::of(object, &spec.name))
}

/// Whether a symbol's name ends like this one: a cheap look at the bytes, to be confirmed.
fn mentions(object: &[u8], name: &str) -> bool {
    let text: Vec<u8> = name.bytes().chain([0]).collect();
    object.windows(text.len()).any(|window| window == text)
}

/// What a pinned map was declared as, by the record of a generation that uses it.
fn recorded(layout: &Layout, pin: &str) -> Result<MapSpec, Error> {
    let entries = kernel::entries(layout.folder())?;
    let generations = entries.iter().filter_map(|(name, _)| Layout::generation_number(name));
    let places: Vec<PathBuf> = generations.map(|number| layout.meta(number)).chain([layout.kept()]).collect();
    for path in places {
        let Some(Ok(meta)) = Meta::read(&path)? else { continue };
        if let Some(map) = meta.manifest.maps.iter().find(|map| meta.manifest.pin_of(map) == pin) {
            return Ok(map.clone());
        }
    }
    Err(Error::Object { of: pin.to_owned(), reason: "nothing records what it is".to_owned() })
}
