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
    /// What `max_entries` means.
    pub size: Size,
    /// What can be put into it before a program runs.
    pub fill: Fill,
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
    /// What the kernel knows a cgroup and an attach type by.
    Cgroup,
    /// Other maps, as `inner` describes them.
    Maps,
}

/// What `max_entries` means to a map type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many elements.
    Entries,
    /// So many bytes: whole pages, and a power of two.
    Bytes,
    /// So many pages.
    Pages,
    /// So many elements; one for each CPU when it is not given.
    Cpus,
    /// Nothing: as many elements as the kernel has of what they belong to.
    Owners,
}

/// What can be put into a map before a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: what it holds comes from programs, or means something to one process alone.
    Nothing,
    /// A value at each place from 0 on.
    Places,
    /// Keys with values.
    Keys,
    /// Values one after another.
    Values,
}

use Need::{Any, Cgroup, Given, Maps, Nothing, U32};
use Size::{Bytes, Cpus, Entries, Owners, Pages};

const NO_FLAGS: &[&str] = &[];
/// For types whose contents programs cannot read or write as memory.
const USER: &[&str] = &["rdonly", "wronly"];
const ACCESS: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog"];
const ARRAY: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "mmapable", "inner_map"];
const PERF: &[&str] = &["rdonly", "wronly", "preserve_elems"];
const STACKS: &[&str] = &["rdonly", "wronly", "stack_build_id"];
const HASH: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed", "no_prealloc"];
const LRU: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed", "no_common_lru"];
const TRIE: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "no_prealloc"];
const BLOOM: &[&str] = &["rdonly", "wronly", "rdonly_prog", "wronly_prog", "zero_seed"];
const STORAGE: &[&str] = &["no_prealloc", "clone"];
const ARENA: &[&str] = &["mmapable", "segv_on_fault", "no_user_conv"];

const fn map(
    name: &'static str,
    number: u32,
    (key, value): (Need, Need),
    size: Size,
    fill: Fill,
    flags: &'static [&'static str],
) -> MapType {
    MapType { name, number, key, value, size, fill, flags }
}

/// The types a BUILD file can declare; [`refusal`] says why not the others.
pub const MAP_TYPES: &[MapType] = &[
    map("hash", 1, (Any, Any), Entries, Fill::Keys, HASH),
    map("array", 2, (U32, Any), Entries, Fill::Places, ARRAY),
    map("perf_event_array", 4, (U32, U32), Cpus, Fill::Nothing, PERF),
    map("percpu_hash", 5, (Any, Any), Entries, Fill::Keys, HASH),
    map("percpu_array", 6, (U32, Any), Entries, Fill::Places, ACCESS),
    map("stack_trace", 7, (U32, Any), Entries, Fill::Nothing, STACKS),
    map("cgroup_array", 8, (U32, U32), Entries, Fill::Nothing, USER),
    map("lru_hash", 9, (Any, Any), Entries, Fill::Keys, LRU),
    map("lru_percpu_hash", 10, (Any, Any), Entries, Fill::Keys, LRU),
    map("lpm_trie", 11, (Given, Any), Entries, Fill::Keys, TRIE),
    map("array_of_maps", 12, (U32, Maps), Entries, Fill::Places, USER),
    map("hash_of_maps", 13, (Any, Maps), Entries, Fill::Keys, HASH),
    map("devmap", 14, (U32, Any), Entries, Fill::Places, USER),
    map("sockmap", 15, (U32, Any), Entries, Fill::Nothing, USER),
    map("cpumap", 16, (U32, Any), Entries, Fill::Places, NO_FLAGS),
    map("xskmap", 17, (U32, U32), Entries, Fill::Nothing, USER),
    map("sockhash", 18, (Any, Any), Entries, Fill::Nothing, USER),
    map("cgroup_storage", 19, (Cgroup, Any), Owners, Fill::Nothing, ACCESS),
    map("reuseport_sockarray", 20, (U32, Any), Entries, Fill::Nothing, USER),
    map("percpu_cgroup_storage", 21, (Cgroup, Any), Owners, Fill::Nothing, ACCESS),
    map("queue", 22, (Nothing, Any), Entries, Fill::Values, ACCESS),
    map("stack", 23, (Nothing, Any), Entries, Fill::Values, ACCESS),
    map("sk_storage", 24, (U32, Any), Owners, Fill::Nothing, STORAGE),
    map("devmap_hash", 25, (U32, Any), Entries, Fill::Keys, USER),
    map("ringbuf", 27, (Nothing, Nothing), Bytes, Fill::Nothing, NO_FLAGS),
    map("inode_storage", 28, (U32, Any), Owners, Fill::Nothing, STORAGE),
    map("task_storage", 29, (U32, Any), Owners, Fill::Nothing, STORAGE),
    map("bloom_filter", 30, (Nothing, Any), Entries, Fill::Values, BLOOM),
    map("user_ringbuf", 31, (Nothing, Nothing), Bytes, Fill::Nothing, NO_FLAGS),
    map("cgrp_storage", 32, (U32, Any), Owners, Fill::Nothing, STORAGE),
    map("arena", 33, (Nothing, Nothing), Pages, Fill::Nothing, ARENA),
];

/// The newest type that the headers of the oldest kernel ouro builds for (6.1) have a name for.
const NAMED_IN_C: u32 = 31;

impl MapType {
    /// What C calls it: a constant, or the number where headers may be older than the type.
    pub fn in_c(&self) -> String {
        match self.number {
            ..=NAMED_IN_C => format!("BPF_MAP_TYPE_{}", self.name.to_uppercase()),
            number => number.to_string(),
        }
    }

    /// Whether each CPU has values of its own.
    pub fn is_percpu(&self) -> bool {
        self.name.contains("percpu")
    }

    /// Whether its values are maps.
    pub fn holds_maps(&self) -> bool {
        self.value == Maps
    }

    /// The flags every map of the type has (`BPF_F_NO_PREALLOC`, `BPF_F_MMAPABLE`): the kernel refuses it without.
    pub fn implied_flags(&self) -> u32 {
        match self.name {
            "lpm_trie" | "sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage" => 1,
            "arena" => 1 << 10,
            _ => 0,
        }
    }

    /// Whether `numa_node` can be chosen: the kernel takes `BPF_F_NUMA_NODE` for none that have memory on each CPU, or whose
    /// memory comes with something else.
    pub fn takes_numa_node(&self) -> bool {
        let comes_with_its_owner = self.size == Owners && self.number != 19;
        !(self.is_percpu() || comes_with_its_owner || self.number == 33)
    }

    /// Whether what a map holds can be moved to another: it is bytes, and user space can read and write it all.
    pub fn can_be_copied(&self) -> bool {
        matches!(self.number, 1 | 2 | 5 | 6 | 9 | 10 | 11)
    }

    /// Whether a map of maps can hold it (`map_meta_equal`, and no map of maps itself).
    pub fn fits_inside(&self) -> bool {
        !self.holds_maps() && self.key != Cgroup
    }
}

/// The type of this name.
pub fn find(name: &str) -> Option<&'static MapType> {
    MAP_TYPES.iter().find(|ty| ty.name == name)
}

/// Of a type that the kernel has and BUILD files cannot declare: what to do instead.
pub fn refusal(name: &str) -> Option<&'static str> {
    match name {
        "prog_array" => Some("declare `jumps` on the program instead; ouro makes the jump table"),
        "struct_ops" => Some(
            "it is made from a variable of the source, `SEC(\".struct_ops\")`, whose members are programs; ouro does not deploy those",
        ),
        "insn_array" => Some("compilers make it for jumps inside of a program; there is nothing to declare"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_kernel_is_known_or_refused() {
        let refused = [3, 26];
        let known: Vec<u32> = MAP_TYPES.iter().map(|ty| ty.number).collect();
        assert_eq!(known, (1..=33).filter(|number| !refused.contains(number)).collect::<Vec<_>>());
        assert!(["prog_array", "struct_ops", "insn_array"].iter().all(|name| refusal(name).is_some() && find(name).is_none()));
    }
}
