//! BPF_MAP_CREATE with everything a map can be created with.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use super::{Attr, MAP_CREATE, map_update};

/// What a map is created with.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kernel) struct NewMap<'a> {
    pub(in crate::kernel) name: &'a str,
    pub(in crate::kernel) ty: u32,
    pub(in crate::kernel) key_size: u32,
    pub(in crate::kernel) value_size: u32,
    pub(in crate::kernel) max_entries: u32,
    pub(in crate::kernel) flags: u32,
    pub(in crate::kernel) extra: u64,
    pub(in crate::kernel) numa_node: u32,
    /// The types of keys and values, in the BTF of an object.
    pub(in crate::kernel) types: Option<(BorrowedFd<'a>, u32, u32)>,
    /// Of a table of functions, the kernel's type of its value.
    pub(in crate::kernel) ops_type: u32,
    /// Of a map of maps, one such.
    pub(in crate::kernel) inner: Option<BorrowedFd<'a>>,
    /// The device whose card has it; 0 for the kernel's memory.
    pub(in crate::kernel) card: u32,
}

/// Creates a map.
pub(in crate::kernel) fn new_map(map: &NewMap<'_>) -> io::Result<OwnedFd> {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
    let name: Vec<u8> = map.name.bytes().filter(known).take(15).collect();
    let mut attr = Attr::new()
        .u32(0, map.ty)
        .u32(4, map.key_size)
        .u32(8, map.value_size)
        .u32(12, map.max_entries)
        .u32(16, map.flags)
        .u32(24, map.numa_node)
        .bytes(28, &name)
        .u32(44, map.card)
        .u32(60, map.ops_type)
        .bytes(64, &map.extra.to_ne_bytes());
    if let Some(inner) = map.inner {
        attr = attr.fd(20, inner);
    }
    if let Some((btf, key, value)) = map.types {
        attr = attr.fd(48, btf).u32(52, key).u32(56, value);
    }
    attr.call_fd(MAP_CREATE)
}

/// Puts a program or a map behind a key.
pub(in crate::kernel) fn map_put(map: BorrowedFd<'_>, key: u32, object: BorrowedFd<'_>) -> io::Result<()> {
    map_update(map, key, &object.as_raw_fd().to_ne_bytes())
}

/// Arenas with an address are seen there and nowhere else, so that only one of them has it at a time.
static SEEN: Mutex<()> = Mutex::new(());

/// Writes bytes into an arena of this address (0 for any) and size, which takes pages from whoever sees it; they stay when nobody does.
/// What this process has at the address is not touched.
pub(in crate::kernel) fn fill_arena(
    arena: BorrowedFd<'_>,
    (address, size): (u64, u64),
    first: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let number = |number: u64| usize::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG));
    let (address, size, first) = (number(address)?, number(size)?, number(first)?);
    if first.checked_add(bytes.len()).is_none_or(|end| end > size) {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let _alone = SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let flags = libc::MAP_SHARED | if address == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping takes nothing's place; the bytes are written within it, and it goes before anybody else sees it.
    unsafe {
        let start = libc::mmap(std::ptr::without_provenance_mut(address), size, rights, flags, arena.as_raw_fd(), 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let place = start.cast::<u8>().add(first);
        // A page that cannot be had is an error here, and would be a signal below.
        let had = libc::madvise(place.cast(), bytes.len(), libc::MADV_POPULATE_WRITE);
        let result = if had == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        if result.is_ok() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
        libc::munmap(start, size);
        result
    }
}
