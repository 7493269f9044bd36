//! What is pinned: opens pins by path and reads the kernel's facts of programs, maps and links.
//!
//! Walks paths, never ids, which would need CAP_SYS_ADMIN. Knows nothing of chains.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use serde::Serialize;

use super::sys;
use crate::Error;

/// `enum bpf_link_type`: the links that tell what they are attached to.
const LINK_CGROUP: u32 = 3;
const LINK_NETNS: u32 = 5;
const LINK_XDP: u32 = 6;
const LINK_STRUCT_OPS: u32 = 9;
const LINK_TCX: u32 = 11;
const LINK_NETKIT: u32 = 13;
const LINK_SOCKMAP: u32 = 14;

/// A kind of kernel object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Program,
    Map,
    Link,
}

impl Kind {
    /// The last part of a descriptor's name in `/proc/self/fd`.
    fn inode_name(self) -> &'static str {
        match self {
            Kind::Program => "bpf-prog",
            Kind::Map => "bpf-map",
            Kind::Link => "bpf-link",
        }
    }
}

/// A map as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MapFacts {
    /// Its id.
    pub id: u32,
    /// `enum bpf_map_type`.
    pub ty: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries, or bytes for ring buffers.
    pub max_entries: u32,
    /// `BPF_F_*` bits.
    pub flags: u32,
    /// What else its type wanted to know.
    pub map_extra: u64,
    /// Whether user space can write it no more.
    pub frozen: bool,
    /// The index of the network device whose card has it, 0 when that is gone; none of a map in the kernel's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<u32>,
}

impl MapFacts {
    /// Whether it was on a network card, and went with it.
    pub(crate) fn is_gone(&self) -> bool {
        self.card == Some(0)
    }
}

/// A link as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its id.
    pub id: u32,
    /// The program's id.
    pub program: u32,
    /// What it is attached to: a device's index, a group's id, a namespace's inode, a map's id, and 0 where there is no such
    /// number. None when that is gone, and the link dead.
    pub target: Option<u64>,
}

/// Opens a pin; `None` if there is none of this kind.
pub(crate) fn open(path: &Path, kind: Kind) -> Result<Option<OwnedFd>, Error> {
    let what = || format!("cannot open the pin `{}`", path.display());
    match sys::get(path) {
        Ok(fd) => Ok(is(&fd, kind).map_err(|error| Error::io(what(), error))?.then_some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(what(), error)),
    }
}

/// Opens a pin that must be there.
pub(crate) fn require(path: &Path, kind: Kind) -> Result<OwnedFd, Error> {
    let missing = || Error::io(format!("cannot open the pin `{}`", path.display()), io::Error::from_raw_os_error(libc::ENOENT));
    open(path, kind)?.ok_or_else(missing)
}

/// BPF_OBJ_GET opens any kind, and the facts of one are nonsense for another. The kernel writes `bpf_link` and `bpf-link`.
fn is(fd: &OwnedFd, kind: Kind) -> io::Result<bool> {
    let name = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    Ok(name.to_string_lossy().replace('_', "-").trim_end_matches(']').ends_with(kind.inode_name()))
}

/// The id of a pinned program.
pub(crate) fn program_id(path: &Path) -> Result<Option<u32>, Error> {
    let id = |fd: OwnedFd| match sys::info(fd.as_fd()) {
        Err(error) if is_of_gone_card(&error) => told(&fd, "prog_id"),
        info => info.map(|words| words[1]),
    };
    open(path, Kind::Program)?.map(|fd| id(fd).map_err(|error| unreadable(path, error))).transpose()
}

/// The facts of a pinned map.
pub(crate) fn map_facts(path: &Path) -> Result<Option<MapFacts>, Error> {
    open(path, Kind::Map)?.map(|fd| facts_of_map(&fd, path)).transpose()
}

/// The facts of a pinned link.
pub(crate) fn link_facts(path: &Path) -> Result<Option<LinkFacts>, Error> {
    open(path, Kind::Link)?.map(|fd| facts_of_link(&fd, path)).transpose()
}

/// The facts of an open link, pinned at `path`.
pub(crate) fn facts_of_link(fd: &OwnedFd, path: &Path) -> Result<LinkFacts, Error> {
    // struct bpf_link_info: type, id, prog_id, padding, then what it is attached to.
    let words = words(fd, path)?;
    let target = match words[0] {
        LINK_CGROUP => u64::from(words[4]) | u64::from(words[5]) << 32,
        LINK_NETNS | LINK_XDP | LINK_STRUCT_OPS | LINK_TCX | LINK_NETKIT | LINK_SOCKMAP => words[4].into(),
        _ => return Ok(LinkFacts { id: words[1], program: words[2], target: Some(0) }),
    };
    Ok(LinkFacts { id: words[1], program: words[2], target: Some(target).filter(|target| *target != 0) })
}

fn facts_of_map(fd: &OwnedFd, path: &Path) -> Result<MapFacts, Error> {
    let facts = match sys::info(fd.as_fd()) {
        Err(error) if is_of_gone_card(&error) => facts_of_gone_map(fd),
        info => info.and_then(|words| facts_in(fd, &words)),
    };
    facts.map_err(|error| unreadable(path, error))
}

fn facts_in(fd: &OwnedFd, words: &[u32; 32]) -> io::Result<MapFacts> {
    Ok(MapFacts {
        ty: words[0],
        id: words[1],
        key_size: words[2],
        value_size: words[3],
        max_entries: words[4],
        flags: words[5],
        // struct bpf_map_info: the 80 bytes before it are all there on any kernel that has it.
        map_extra: u64::from(words[20]) | u64::from(words[21]) << 32,
        // The kernel tells it nowhere but in the descriptor's fdinfo.
        frozen: told(fd, "frozen")? == 1,
        card: Some(words[10]).filter(|card| *card != 0),
    })
}

/// Of what was on a network card that is gone the kernel has no facts (`bpf_map_offload_info_fill`), but for its fdinfo.
fn is_of_gone_card(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

fn facts_of_gone_map(fd: &OwnedFd) -> io::Result<MapFacts> {
    Ok(MapFacts {
        id: told(fd, "map_id")?,
        ty: told(fd, "map_type")?,
        key_size: told(fd, "key_size")?,
        value_size: told(fd, "value_size")?,
        max_entries: told(fd, "max_entries")?,
        frozen: told(fd, "frozen")? == 1,
        card: Some(0),
        ..MapFacts::default()
    })
}

/// A number of a descriptor's fdinfo; 0 if it is not there.
fn told(fd: &OwnedFd, what: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}

fn words(fd: &OwnedFd, path: &Path) -> Result<[u32; 32], Error> {
    sys::info(fd.as_fd()).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read the state of `{}`", path.display()), error)
}

/// The program in a slot of a pinned jump table; `None` if the slot is empty.
pub(crate) fn slot(table: &OwnedFd, slot: u32) -> io::Result<Option<u32>> {
    let mut id = [0; 4];
    Ok(sys::map_lookup(table.as_fd(), slot, &mut id)?.then(|| u32::from_ne_bytes(id)))
}
