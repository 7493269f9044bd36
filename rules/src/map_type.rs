//! The table of map types: what BUILD files call them, what C and the kernel call them, and what they need.

/// A kind of map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapType {
    /// The name in BUILD files; `BPF_MAP_TYPE_` and this in upper case is the C constant.
    pub name: &'static str,
    /// The kernel's number (`enum bpf_map_type`).
    pub number: u32,
    /// Whether it has keys.
    pub key: Need,
    /// Whether it has values.
    pub value: Need,
    /// The names of the flags the kernel takes for it (each type's `map_alloc_check`).
    pub flags: &'static [&'static str],
}

/// What a map type says about keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None at all.
    Nothing,
    /// Any C type.
    Any,
    /// A C type of the user's own: the kernel demands a form that no basic type has.
    Given,
    /// Four bytes, `__u32` by default.
    U32,
}

use Need::{Any, Given, Nothing, U32};

const NO_FLAGS: &[&str] = &[];
/// For types whose contents programs cannot read or write as memory.
const USER: &[&str] = &["rdonly", "wronly"];
const ACCESS: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog"];
const ARRAY: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "mmapable"];
const HASH: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed", "no_prealloc"];
const LRU: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed", "no_common_lru"];
const TRIE: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "no_prealloc"];
const BLOOM: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed"];

const fn map(name: &'static str, number: u32, key: Need, value: Need, flags: &'static [&'static str]) -> MapType {
    MapType { name, number, key, value, flags }
}

/// The types a program can declare by itself. Not here: `prog_array` (ouro owns jump tables), map-in-map, storage and
/// struct_ops types, which need more than a key, a value and a size.
pub const MAP_TYPES: &[MapType] = &[
    map("hash", 1, Any, Any, HASH),
    map("array", 2, U32, Any, ARRAY),
    map("perf_event_array", 4, U32, U32, USER),
    map("percpu_hash", 5, Any, Any, HASH),
    map("percpu_array", 6, U32, Any, ACCESS),
    map("stack_trace", 7, U32, Any, USER),
    map("cgroup_array", 8, U32, U32, USER),
    map("lru_hash", 9, Any, Any, LRU),
    map("lru_percpu_hash", 10, Any, Any, LRU),
    map("lpm_trie", 11, Given, Any, TRIE),
    map("devmap", 14, U32, Any, USER),
    map("sockmap", 15, U32, Any, USER),
    map("cpumap", 16, U32, Any, NO_FLAGS),
    map("xskmap", 17, U32, U32, USER),
    map("sockhash", 18, Any, Any, USER),
    map("queue", 22, Nothing, Any, ACCESS),
    map("stack", 23, Nothing, Any, ACCESS),
    map("devmap_hash", 25, U32, Any, USER),
    map("ringbuf", 27, Nothing, Nothing, NO_FLAGS),
    map("bloom_filter", 30, Nothing, Any, BLOOM),
];

/// The type of this name.
pub fn find(name: &str) -> Option<&'static MapType> {
    MAP_TYPES.iter().find(|ty| ty.name == name)
}
