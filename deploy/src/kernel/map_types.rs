//! The types of a map's keys and values, as the kernel takes them: the BTF of the object that declares the map.

use std::os::fd::OwnedFd;

use super::objects::load_btf;
use crate::object::Object;

/// The types of one map.
pub(crate) struct MapTypes {
    pub(super) btf: OwnedFd,
    pub(super) key: u32,
    pub(super) value: u32,
}

impl MapTypes {
    /// The types of the map of this name in an object. None if it does not declare it, or the kernel does not take its BTF.
    pub(crate) fn of(object: &[u8], map: &str) -> Option<MapTypes> {
        let object = Object::read(object).ok()?;
        let declared = object.maps.iter().find(|declared| declared.name == map && declared.data.is_none())?;
        let (key, value) = (declared.key_type, declared.value_type);
        Some(MapTypes { btf: load_btf(object.btf.as_deref()?)?, key, value })
    }
}
