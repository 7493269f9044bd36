//! The types of a map's keys and values, as the kernel takes them: the BTF of the object that declares the map.

use std::os::fd::OwnedFd;

use aya_obj::btf::BtfFeatures;
use aya_obj::{Map, Object};

use super::{elf, sys};

/// The types of one map.
pub(crate) struct MapTypes {
    pub(super) btf: OwnedFd,
    pub(super) key: u32,
    pub(super) value: u32,
}

impl MapTypes {
    /// The types of the map of this name in an object. None if it does not declare it, or the kernel does not take its BTF.
    pub(crate) fn of(object: &[u8], map: &str) -> Option<MapTypes> {
        let all = BtfFeatures::new(true, true, true, true, true, true, true, true);
        MapTypes::with(object, map, &all).or_else(|| MapTypes::with(object, map, &BtfFeatures::default()))
    }

    fn with(object: &[u8], map: &str, features: &BtfFeatures) -> Option<MapTypes> {
        let mut object = Object::parse(&elf::readable(object)).ok()?;
        let Map::Btf(definition) = object.maps.get(map)? else { return None };
        let (key, value) = (definition.def.btf_key_type_id, definition.def.btf_value_type_id);
        let btf = object.fixup_and_sanitize_btf(features).ok()??.to_bytes();
        Some(MapTypes { btf: sys::load_types(&btf).ok()?, key, value })
    }
}
