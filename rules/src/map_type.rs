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
}

/// What a map type says about keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None at all.
    Nothing,
    /// Any C type.
    Any,
    /// Four bytes, `__u32` by default.
    U32,
}

use Need::{Any, Nothing, U32};

const fn map(name: &'static str, number: u32, key: Need, value: Need) -> MapType {
    MapType { name, number, key, value }
}

/// The types a program can declare by itself. Not here: `prog_array` (ouro owns jump tables), map-in-map, storage and
/// struct_ops types, which need more than a key, a value and a size.
pub const MAP_TYPES: &[MapType] = &[
    map("hash", 1, Any, Any),
    map("array", 2, U32, Any),
    map("perf_event_array", 4, U32, U32),
    map("percpu_hash", 5, Any, Any),
    map("percpu_array", 6, U32, Any),
    map("stack_trace", 7, U32, Any),
    map("cgroup_array", 8, U32, U32),
    map("lru_hash", 9, Any, Any),
    map("lru_percpu_hash", 10, Any, Any),
    map("lpm_trie", 11, Any, Any),
    map("devmap", 14, U32, Any),
    map("sockmap", 15, U32, Any),
    map("cpumap", 16, U32, Any),
    map("xskmap", 17, U32, U32),
    map("sockhash", 18, Any, Any),
    map("queue", 22, Nothing, Any),
    map("stack", 23, Nothing, Any),
    map("devmap_hash", 25, U32, Any),
    map("ringbuf", 27, Nothing, Nothing),
    map("bloom_filter", 30, Nothing, Any),
];

/// The type of this name.
pub fn find(name: &str) -> Option<&'static MapType> {
    MAP_TYPES.iter().find(|ty| ty.name == name)
}
