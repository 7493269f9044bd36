//! Makes tables of functions: maps of the kernel's own types, which links register and put in each other's place.
//!
//! Knows objects, not deployments.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ouro_btf::Kind;

use super::load::Trouble;
use super::objects::Opened;
use super::sys::{self, NewMap};
use super::types::KernelTypes;
use crate::object::{Reason, StructOps, wrapper};

/// `BPF_MAP_TYPE_STRUCT_OPS` and `BPF_F_LINK`.
const STRUCT_OPS: u32 = 26;
const LINK: u32 = 1 << 13;

/// Makes a table, whose programs are loaded. The kernel looks at it, and uses it once there is a link.
pub(super) fn make(opened: &Opened, types: &KernelTypes, table: &StructOps) -> Result<OwnedFd, Trouble> {
    let found = types.find(&wrapper(&table.ty), Kind::Struct)?;
    let found = found.ok_or_else(|| format!("the kernel lets nobody register a `struct {}`", table.ty))?;
    if found.module.is_some() {
        return Err(format!("`struct {}` is of a module; ouro registers tables of the kernel's own types", table.ty).into());
    }
    let kernel = types.kernel()?;
    let ty = kernel.get(found.id).ok_or_else(|| format!("the kernel has no `struct {}`", table.ty))?;
    let mut translated = table.translate(kernel, ty)?;
    for (at, function) in &translated.programs {
        let program = opened.loaded(function).ok_or_else(|| format!("`{function}` was not loaded"))?;
        let number = u64::try_from(program.as_raw_fd()).unwrap_or_default();
        translated.value[*at..at + 8].copy_from_slice(&number.to_ne_bytes());
    }
    let value_size = u32::try_from(translated.value.len()).unwrap_or(u32::MAX);
    // The kernel wants to see the object's own types, too, though it takes the table to be of its own.
    let types = opened.types().map(|btf| (btf, 0, 0));
    let shape = NewMap { types, ty: STRUCT_OPS, key_size: 4, value_size, max_entries: 1, flags: LINK, ..NewMap::default() };
    let map = sys::new_map(&NewMap { name: &table.name, ops_type: found.id, ..shape }).map_err(not_made)?;
    sys::map_update(map.as_fd(), 0, &translated.value).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => {
            Trouble::Object(format!("the kernel takes no such `struct {}`: a member it needs is missing", table.ty))
        }
        _ => Trouble::System("cannot fill the table".to_owned(), error),
    })?;
    Ok(map)
}

fn not_made(error: std::io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Trouble::Object(Reason::from("tables of functions that a link registers came with Linux 6.4")),
        _ => Trouble::System("cannot create the table".to_owned(), error),
    }
}
