//! The types of a map's keys and values, as the kernel takes them: the BTF of the object that declares the map.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::objects::load_btf;
use crate::object::{MapDef, Object};

/// The types of one map.
pub(crate) struct MapTypes {
    pub(super) btf: Arc<OwnedFd>,
    pub(super) key: u32,
    pub(super) value: u32,
    /// Of a map of maps, those of what it holds: the kernel takes no map for one that has other locks or timers.
    inner: Option<Box<MapTypes>>,
}

impl MapTypes {
    /// The types of the map of this name in an object. None if it does not declare it, or the kernel does not take its BTF.
    pub(crate) fn of(object: &[u8], map: &str) -> Option<MapTypes> {
        let object = Object::read(object).ok()?;
        let declared = object.maps.iter().find(|declared| declared.name == map && declared.data.is_none())?;
        Some(MapTypes::declared(declared, &Arc::new(load_btf(object.btf.as_deref()?).ok()?)))
    }

    fn declared(map: &MapDef, btf: &Arc<OwnedFd>) -> MapTypes {
        let inner = map.inner.as_deref().map(|inner| Box::new(MapTypes::declared(inner, btf)));
        MapTypes { btf: btf.clone(), key: map.key_type, value: map.value_type, inner }
    }

    /// Of a map of maps, the types of what it holds.
    pub(super) fn inner(&self) -> Option<&MapTypes> {
        self.inner.as_deref()
    }
}
