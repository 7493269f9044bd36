//! The elements of maps, one by one and many at once.
//!
//! Knows bytes; how many a value has for user space is the caller's to know.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Attr, MAP_LOOKUP, MAP_UPDATE};

const MAP_DELETE: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const MAP_LOOKUP_BATCH: u32 = 24;
const MAP_UPDATE_BATCH: u32 = 26;

/// When an element is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Write {
    /// Always (`BPF_ANY`).
    Any,
    /// If there is none of this key (`BPF_NOEXIST`).
    IfMissing,
}

impl Write {
    fn flags(self) -> u64 {
        match self {
            Write::Any => 0,
            Write::IfMissing => 1,
        }
    }
}

/// Reads an element into `value`, which has all bytes of one; false if there is none.
pub(in crate::kernel) fn element(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    found(Attr::new().fd(0, map).pointer(8, key.as_ptr()).pointer(16, value.as_mut_ptr()).call(MAP_LOOKUP))
}

/// Writes an element. Types without keys take an empty one.
pub(in crate::kernel) fn put_element(map: BorrowedFd<'_>, key: &[u8], value: &[u8], when: Write) -> io::Result<()> {
    let attr = Attr::new().fd(0, map).pointer(16, value.as_ptr()).bytes(24, &when.flags().to_ne_bytes());
    let attr = if key.is_empty() { attr } else { attr.pointer(8, key.as_ptr()) };
    attr.call(MAP_UPDATE).map(drop)
}

/// Removes an element; false if there is none.
pub(in crate::kernel) fn delete_element(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    found(Attr::new().fd(0, map).pointer(8, key.as_ptr()).call(MAP_DELETE))
}

/// The key behind `key`, or the first one, into `next`; false behind the last.
pub(in crate::kernel) fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let attr = Attr::new().fd(0, map).pointer(16, next.as_mut_ptr());
    let attr = if let Some(key) = key { attr.pointer(8, key.as_ptr()) } else { attr };
    found(attr.call(MAP_GET_NEXT_KEY))
}

/// Room for a batch of elements.
pub(in crate::kernel) struct Batch<'a> {
    /// Keys one behind the other.
    pub(in crate::kernel) keys: &'a mut [u8],
    /// Values one behind the other.
    pub(in crate::kernel) values: &'a mut [u8],
    /// How many there is room for, or are there.
    pub(in crate::kernel) count: u32,
}

/// Reads elements from `position` on, or from the first, and says where to go on. Returns how many, and whether there are more.
pub(in crate::kernel) fn elements(
    map: BorrowedFd<'_>,
    position: Option<&[u8]>,
    next: &mut [u8],
    batch: &mut Batch<'_>,
) -> io::Result<(u32, bool)> {
    let mut attr = many(map, batch).pointer(8, next.as_mut_ptr());
    if let Some(position) = position {
        attr = attr.pointer(0, position.as_ptr());
    }
    let more = found(attr.call_mut(MAP_LOOKUP_BATCH))?;
    Ok((attr.count(), more))
}

/// Writes elements, up to the first that the map does not take.
pub(in crate::kernel) fn put_elements(map: BorrowedFd<'_>, batch: &mut Batch<'_>) -> io::Result<()> {
    many(map, batch).call(MAP_UPDATE_BATCH).map(drop)
}

/// in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags.
fn many(map: BorrowedFd<'_>, batch: &mut Batch<'_>) -> Attr {
    let attr = Attr::new().pointer(16, batch.keys.as_mut_ptr()).pointer(24, batch.values.as_mut_ptr());
    attr.u32(32, batch.count).fd(36, map)
}

impl Attr {
    /// How many elements the kernel says it read or wrote.
    fn count(&self) -> u32 {
        u32::from_ne_bytes(*self.0[32..].first_chunk().expect("BUG: a field of the attribute"))
    }
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
