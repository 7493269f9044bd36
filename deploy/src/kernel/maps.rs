//! The maps a generation owns: its jump table, its counts and its meta.
//!
//! Knows their layout, not what the numbers mean.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray};

use super::pins::{self, Kind};
use super::sys::{self, MapShape};
use crate::Error;

const ARRAY: u32 = 2;
const PROG_ARRAY: u32 = 3;
const PERCPU_ARRAY: u32 = 6;

/// A jump table and counts that go with their descriptors: for programs that are not to stay.
pub(crate) fn passing(entries: u32, edges: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let shape = |ty, value_size, max_entries: u32| MapShape { ty, key_size: 4, value_size, max_entries: max_entries.max(1) };
    let table = sys::map_create("ouro_jumps", shape(PROG_ARRAY, 4, entries))?;
    Ok((table, sys::map_create("ouro_counts", shape(PERCPU_ARRAY, 16, edges))?))
}

/// Creates and pins an empty jump table.
pub(crate) fn create_table(path: &Path, entries: u32) -> Result<(), Error> {
    create("ouro_jumps", MapShape { ty: PROG_ARRAY, key_size: 4, value_size: 4, max_entries: entries }, path).map(drop)
}

/// Creates and pins the table of a root, which has one slot.
pub(crate) fn create_root_table(path: &Path) -> Result<(), Error> {
    create("ouro_root", MapShape { ty: PROG_ARRAY, key_size: 4, value_size: 4, max_entries: 1 }, path).map(drop)
}

/// Creates and pins counts for this many edges, all zero.
pub(crate) fn create_counts(path: &Path, edges: u32) -> Result<(), Error> {
    create("ouro_counts", MapShape { ty: PERCPU_ARRAY, key_size: 4, value_size: 16, max_entries: edges }, path).map(drop)
}

/// Creates an array whose elements have this many bytes.
pub(super) fn create_array(name: &str, value_size: u32, max_entries: u32) -> io::Result<OwnedFd> {
    sys::map_create(name, MapShape { ty: ARRAY, key_size: 4, value_size, max_entries })
}

/// Creates, fills, freezes and pins a map that holds these bytes; pinned last, so that what is pinned is whole.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot write `{}`", path.display()), error);
    let length = u32::try_from(bytes.len()).map_err(|_| failed(io::Error::from_raw_os_error(libc::E2BIG)))?;
    let mut value = length.to_ne_bytes().to_vec();
    value.extend_from_slice(bytes);
    let value_size = u32::try_from(value.len()).map_err(|_| failed(io::Error::from_raw_os_error(libc::E2BIG)))?;
    let shape = MapShape { ty: ARRAY, key_size: 4, value_size, max_entries: 1 };
    let map = sys::map_create("ouro_meta", shape).map_err(failed)?;
    sys::map_update(map.as_fd(), 0, &value).map_err(failed)?;
    sys::map_freeze(map.as_fd()).map_err(failed)?;
    sys::pin(map.as_fd(), path).map_err(failed)
}

/// The same, in place of what is pinned there: at any time there is one or the other. `beside` is where it is made.
pub(crate) fn replace_bytes(path: &Path, beside: &Path, bytes: &[u8]) -> Result<(), Error> {
    super::bpffs::remove_pin(beside)?;
    write_bytes(beside, bytes)?;
    fs::rename(beside, path).map_err(|error| Error::io(format!("cannot replace `{}`", path.display()), error))
}

/// The bytes [`write_bytes`] wrote; `None` if nothing is pinned there.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let Some(map) = pins::open(path, Kind::Map)? else { return Ok(None) };
    let failed = |error| Error::io(format!("cannot read `{}`", path.display()), error);
    let size = sys::info(map.as_fd()).map_err(failed)?[3];
    let mut value = vec![0; size as usize];
    sys::map_lookup(map.as_fd(), 0, &mut value).map_err(failed)?;
    let cut = || failed(io::Error::new(io::ErrorKind::InvalidData, "it is no meta of ouro"));
    let (length, rest) = value.split_first_chunk::<4>().ok_or_else(cut)?;
    let bytes = rest.get(..u32::from_ne_bytes(*length) as usize).ok_or_else(cut)?;
    Ok(Some(bytes.to_vec()))
}

/// Pins what is pinned at `from` a second time.
pub(crate) fn pin_again(from: &Path, to: &Path, kind: Kind) -> Result<(), Error> {
    pin(&pins::require(from, kind)?, to)
}

/// Pins what is open.
pub(crate) fn pin(object: &OwnedFd, to: &Path) -> Result<(), Error> {
    sys::pin(object.as_fd(), to).map_err(|error| Error::io(format!("cannot pin `{}`", to.display()), error))
}

fn create(name: &str, shape: MapShape, path: &Path) -> Result<OwnedFd, Error> {
    let failed = |error| Error::io(format!("cannot create the map `{name}` at `{}`", path.display()), error);
    let map = sys::map_create(name, shape).map_err(failed)?;
    sys::pin(map.as_fd(), path).map_err(failed)?;
    Ok(map)
}

/// Puts a pinned program into a slot of a pinned table.
pub(crate) fn fill_slot(table: &Path, slot: u32, program: &Path) -> Result<(), Error> {
    let map = pins::require(table, Kind::Map)?;
    let fd = pins::require(program, Kind::Program)?;
    put(&map, slot, &fd, &program.file_name().unwrap_or_default().to_string_lossy())
}

/// Puts a program of this name into a slot of a table.
pub(super) fn put(table: &OwnedFd, slot: u32, program: &OwnedFd, name: &str) -> Result<(), Error> {
    sys::map_update(table.as_fd(), slot, &program.as_raw_fd().to_ne_bytes()).map_err(|error| Error::Slot {
        slot,
        program: name.to_owned(),
        reason: match error.raw_os_error() {
            Some(libc::EINVAL) => "its type, attach type or frags differ from the programs before it".to_owned(),
            Some(libc::EBUSY) => "it is extended by an freplace program".to_owned(),
            Some(libc::E2BIG) => "the table is too small".to_owned(),
            _ => error.to_string(),
        },
    })
}

/// Makes a pinned map read-only for user space, for ever.
pub(crate) fn freeze(path: &Path) -> Result<(), Error> {
    let map = pins::require(path, Kind::Map)?;
    sys::map_freeze(map.as_fd()).map_err(|error| Error::io(format!("cannot freeze `{}`", path.display()), error))
}

/// How often an edge was taken and missed, over all CPUs.
pub(crate) fn counts(path: &Path, edges: u32) -> Result<Vec<[u64; 2]>, Error> {
    let failed =
        |error: aya::maps::MapError| Error::io(format!("cannot read `{}`", path.display()), io::Error::other(error.to_string()));
    let map = MapData::from_pin(path).and_then(Map::from_map_data).map_err(failed)?;
    let array: PerCpuArray<MapData, [u64; 2]> = map.try_into().map_err(failed)?;
    let sum = |edge| {
        let values = array.get(&edge, 0).map_err(failed)?;
        Ok(values.iter().fold([0, 0], |sum: [u64; 2], cpu| [sum[0].wrapping_add(cpu[0]), sum[1].wrapping_add(cpu[1])]))
    };
    (0..edges).map(sum).collect()
}
