//! What programs name in the kernel that takes more than the capabilities to load them: things of modules, and addresses.
//!
//! Reads the kernel's types only where something is named. What is not there is told when it is loaded.

use std::collections::BTreeSet;

use ouro_btf::Kind;

use super::caps::Right;
use super::prepare::kind_of;
use super::types::{Found, KernelTypes};
use crate::object::{Extern, ExternKind, Object, Reason};

/// What these objects name.
pub(crate) fn of_objects<'a>(objects: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<Right> {
    let types = KernelTypes::default();
    let externs = objects.into_iter().filter_map(|bytes| Object::externs(bytes).ok()).flatten();
    externs.filter_map(|wanted| of_extern(&types, &wanted)).collect()
}

/// What programs of these sections attach to.
pub(crate) fn of_sections<'a>(sections: impl IntoIterator<Item = &'a str>) -> BTreeSet<Right> {
    let types = KernelTypes::default();
    let target = |section| kind_of(section, &types).map(|(_, _, _, attach)| attach);
    sections.into_iter().filter(|section| is_of_module(&target(section))).map(|_| Right::Administer).collect()
}

fn of_extern(types: &KernelTypes, wanted: &Extern) -> Option<Right> {
    let kind = match wanted.kind {
        ExternKind::Function(_) => Kind::Function,
        ExternKind::Variable => Kind::Variable,
        ExternKind::Address => return Some(Right::ReadAddresses),
        _ => return None,
    };
    is_of_module(&types.find(&wanted.name, kind)).then_some(Right::Administer)
}

/// A module's types are asked for by their id.
fn is_of_module(found: &Result<Option<Found>, Reason>) -> bool {
    matches!(found, Ok(Some(Found { module: Some(_), .. })))
}
