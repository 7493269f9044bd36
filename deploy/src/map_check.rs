//! Compares a pinned map with what is declared. The kernel and aya take any map of the name, and programs would then read
//! one another's bytes wrongly.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ouro_rules::manifest::{Layout, MapSpec, Member};
use ouro_rules::map_type;
use serde::Serialize;

use crate::kernel::MapFacts;

/// Flags the kernel sets by itself on device maps (`BPF_F_RDONLY_PROG`).
const RDONLY_PROG: u32 = 1 << 7;
/// Flags of the descriptor that creates a map; the map itself forgets them (`BPF_F_RDONLY`, `BPF_F_WRONLY`).
const OF_DESCRIPTORS: u32 = 1 << 3 | 1 << 4;
/// LRU lists for each CPU (`BPF_F_NO_COMMON_LRU`).
const NO_COMMON_LRU: u32 = 1 << 1;
/// More CPUs than any kernel knows (`NR_CPUS`).
const CPUS: u32 = 1 << 13;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name in BUILD files, or what it is.
    pub field: String,
    /// What is pinned.
    pub pinned: String,
    /// What is declared.
    pub declared: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, declared is {}", self.field, self.pinned, self.declared)
    }
}

/// Every field that differs.
pub fn differences(spec: &MapSpec, pinned: &MapFacts, page_size: u32) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |field: &str, pinned: String, declared: String| {
        if pinned != declared {
            found.push(Difference { field: field.to_owned(), pinned, declared });
        }
    };
    compare("type", type_name(pinned.ty), spec.ty.clone());
    compare("key size", pinned.key_size.to_string(), spec.key_size.to_string());
    // The kernel's entries for devices and CPUs are wider than what C declares.
    let is_device = matches!(spec.ty.as_str(), "devmap" | "devmap_hash" | "cpumap");
    let value_size = if is_device { pinned.value_size } else { spec.value_size };
    compare("value size", pinned.value_size.to_string(), value_size.to_string());
    compare("max_entries", pinned.max_entries.to_string(), entries(spec, pinned, page_size).to_string());
    let ignored = OF_DESCRIPTORS | if is_device { RDONLY_PROG } else { 0 };
    compare("flags", (pinned.flags & !ignored).to_string(), (spec.flags & !ignored).to_string());
    compare("map_extra", pinned.map_extra.to_string(), spec.map_extra.to_string());
    let card = |card: Option<u32>| {
        card.map_or_else(|| "none".to_owned(), |card| if card == 0 { "gone".to_owned() } else { card.to_string() })
    };
    compare("the index of its network card", card(pinned.card), card(spec.card));
    compare("frozen", pinned.frozen.to_string(), spec.frozen.to_string());
    found
}

/// Ring buffers are rounded to pages, perf event arrays have an entry per CPU unless told less, and LRU lists of each CPU are
/// equally long.
fn entries(spec: &MapSpec, pinned: &MapFacts, page_size: u32) -> u32 {
    match spec.ty.as_str() {
        "ringbuf" | "user_ringbuf" if spec.max_entries > 0 => {
            spec.max_entries.div_ceil(page_size.max(1)).next_power_of_two().saturating_mul(page_size.max(1))
        }
        "perf_event_array" if spec.max_entries == 0 || spec.max_entries > pinned.max_entries => pinned.max_entries,
        _ if spec.flags & NO_COMMON_LRU != 0 && pinned.max_entries.abs_diff(spec.max_entries) < CPUS => pinned.max_entries,
        _ => spec.max_entries,
    }
}

/// Every member of keys and values that differs, and every other fact of the definition that no pinned map tells.
pub(crate) fn member_differences(old: &MapSpec, new: &MapSpec) -> Vec<Difference> {
    let parts = [("key", &old.key_layout, &new.key_layout), ("value", &old.value_layout, &new.value_layout)];
    let mut found = Vec::new();
    for (part, old, new) in parts {
        let (Some(old), Some(new)) = (old, new) else { continue };
        let (old, new) = (members(old), members(new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names.into_iter().filter(|name| old.get(*name) != new.get(*name)) {
            let shown = |members: &BTreeMap<String, String>| members.get(name).cloned().unwrap_or_else(|| "missing".to_owned());
            let field = if name.is_empty() { format!("the {part}") } else { format!("`{name}` of the {part}") };
            found.push(Difference { field, pinned: shown(&old), declared: shown(&new) });
        }
    }
    let inner =
        |map: &MapSpec| map.inner.as_ref().map_or_else(|| "none".to_owned(), |inner| format!("{} {}", inner.ty, inner.abi()));
    if inner(old) != inner(new) {
        found.push(Difference { field: "inner".to_owned(), pinned: inner(old), declared: inner(new) });
    }
    if new.inner.is_some() && old.contents != new.contents {
        let count = |map: &MapSpec| format!("{} maps", map.contents.len());
        found.push(Difference {
            field: "what it holds".to_owned(),
            pinned: count(old),
            declared: format!("other {}", count(new)),
        });
    }
    found
}

/// The members of a struct, or the type itself as one without a name: where they are and what.
fn members(layout: &Layout) -> BTreeMap<String, String> {
    let place = |member: &Member| {
        let bits = member.bits.map_or_else(String::new, |bits| format!(", {bits} bits of it"));
        format!("{} at byte {}{bits}", member.layout.describe(), member.at / 8)
    };
    match layout {
        Layout::Struct { members, .. } => members.iter().map(|member| (member.name.clone(), place(member))).collect(),
        other => BTreeMap::from([(String::new(), other.describe())]),
    }
}

/// The name of a kernel's map type in BUILD files; its number if there is none.
pub(crate) fn type_name(number: u32) -> String {
    map_type::MAP_TYPES.iter().find(|ty| ty.number == number).map_or_else(|| number.to_string(), |ty| ty.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(ty: &str, max_entries: u32) -> MapSpec {
        let (key, value) = ("__u32".to_owned(), "__u64".to_owned());
        MapSpec {
            name: "m".to_owned(),
            ty: ty.to_owned(),
            key,
            value,
            max_entries,
            key_size: 4,
            value_size: 8,
            ..MapSpec::default()
        }
    }

    fn pinned(ty: u32, max_entries: u32) -> MapFacts {
        MapFacts { id: 1, ty, key_size: 4, value_size: 8, max_entries, ..MapFacts::default() }
    }

    #[test]
    fn each_field_is_named() {
        let facts = MapFacts { key_size: 8, value_size: 4, flags: 1, ..pinned(2, 16) };
        let found: Vec<String> = differences(&spec("hash", 4), &facts, 4096).iter().map(Difference::to_string).collect();
        assert_eq!(
            found,
            [
                "type is array, declared is hash",
                "key size is 8, declared is 4",
                "value size is 4, declared is 8",
                "max_entries is 16, declared is 4",
                "flags is 1, declared is 0",
            ]
        );
        assert_eq!(differences(&spec("array", 4), &pinned(2, 4), 4096), []);
        let moved = |card| MapFacts { card, ..pinned(2, 4) };
        let on_card = MapSpec { card: Some(3), ..spec("array", 4) };
        let card = |pinned| differences(&on_card, &moved(pinned), 4096).iter().map(Difference::to_string).collect::<Vec<_>>();
        let said = |pinned: &str| vec![format!("the index of its network card is {pinned}, declared is 3")];
        assert_eq!([None, Some(0), Some(2), Some(3)].map(card), [said("none"), said("gone"), said("2"), vec![]]);
    }

    #[test]
    fn members_are_told_by_name() {
        let int = |bytes| Layout::Int { bytes, signed: false };
        let with = |members: &[(&str, u32, u32)]| {
            let member = |(name, at, bytes): &(&str, u32, u32)| Member {
                name: (*name).to_owned(),
                at: at * 8,
                bits: None,
                layout: int(*bytes),
            };
            let value = Layout::Struct { bytes: 8, members: members.iter().map(member).collect() };
            MapSpec { key_layout: Some(int(4)), value_layout: Some(value), ..spec("hash", 4) }
        };
        let (old, new) = (with(&[("a", 0, 4), ("b", 4, 4)]), with(&[("a", 0, 4), ("b", 4, 2), ("c", 6, 2)]));
        assert_eq!(
            member_differences(&old, &new).iter().map(Difference::to_string).collect::<Vec<_>>(),
            [
                "`b` of the value is a number of 4 bytes at byte 4, declared is a number of 2 bytes at byte 4",
                "`c` of the value is missing, declared is a number of 2 bytes at byte 6",
            ]
        );
        assert_eq!(member_differences(&old, &old), []);
    }

    #[test]
    fn what_the_kernel_rounds_does_not_differ() {
        let ring = MapFacts { key_size: 0, value_size: 0, ..pinned(27, 8192) };
        let declared = |bytes| MapSpec { key_size: 0, value_size: 0, ..spec("ringbuf", bytes) };
        assert_eq!(differences(&declared(5000), &ring, 4096), []);
        assert_eq!(differences(&declared(9000), &ring, 4096).len(), 1);
        assert_eq!(differences(&spec("perf_event_array", 0), &pinned(4, 2), 4096), []);
        let lru = MapSpec { flags: NO_COMMON_LRU | OF_DESCRIPTORS, ..spec("lru_hash", 5) };
        assert_eq!(differences(&lru, &MapFacts { flags: NO_COMMON_LRU, ..pinned(9, 6) }, 4096), []);
        let devices = MapFacts { flags: RDONLY_PROG, ..pinned(14, 4) };
        assert_eq!(differences(&MapSpec { value_size: 4, ..spec("devmap", 4) }, &devices, 4096), []);
    }
}
