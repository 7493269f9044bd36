//! Compares a pinned map with what is declared. The kernel and aya take any map of the name, and programs would then read
//! one another's bytes wrongly.
//!
//! Pure.

use std::fmt;

use ouro_rules::manifest::MapSpec;
use ouro_rules::map_type;
use serde::Serialize;

use crate::kernel::MapFacts;

/// Flags the kernel sets by itself on device maps (`BPF_F_RDONLY_PROG`).
const RDONLY_PROG: u32 = 1 << 7;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name in BUILD files.
    pub field: &'static str,
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
    let mut compare = |field, pinned: String, declared: String| {
        if pinned != declared {
            found.push(Difference { field, pinned, declared });
        }
    };
    compare("type", type_name(pinned.ty), spec.ty.clone());
    // The kernel's entries for devices and CPUs are wider than what C declares; ring buffers have neither keys nor values.
    let is_device = matches!(spec.ty.as_str(), "devmap" | "devmap_hash" | "cpumap");
    if spec.ty != "ringbuf" {
        compare("key size", pinned.key_size.to_string(), spec.key_size.to_string());
        let value_size = if is_device { pinned.value_size } else { spec.value_size };
        compare("value size", pinned.value_size.to_string(), value_size.to_string());
    }
    compare("max_entries", pinned.max_entries.to_string(), entries(spec, pinned, page_size).to_string());
    let kernel_flags = if is_device { RDONLY_PROG } else { 0 };
    compare("flags", (pinned.flags & !kernel_flags).to_string(), (spec.flags & !kernel_flags).to_string());
    found
}

/// Ring buffers are rounded to pages, and perf event arrays have an entry per CPU unless told less.
fn entries(spec: &MapSpec, pinned: &MapFacts, page_size: u32) -> u32 {
    match spec.ty.as_str() {
        "ringbuf" if spec.max_entries > 0 => {
            spec.max_entries.div_ceil(page_size.max(1)).next_power_of_two().saturating_mul(page_size.max(1))
        }
        "perf_event_array" if spec.max_entries == 0 || spec.max_entries > pinned.max_entries => pinned.max_entries,
        _ => spec.max_entries,
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
        MapSpec { name: "m".to_owned(), ty: ty.to_owned(), key, value, max_entries, key_size: 4, value_size: 8, ..MapSpec::default() }
    }

    fn pinned(ty: u32, max_entries: u32) -> MapFacts {
        MapFacts { id: 1, ty, key_size: 4, value_size: 8, max_entries, flags: 0, frozen: false }
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
    }

    #[test]
    fn what_the_kernel_rounds_does_not_differ() {
        let ring = MapFacts { key_size: 0, value_size: 0, ..pinned(27, 8192) };
        assert_eq!(differences(&spec("ringbuf", 5000), &ring, 4096), []);
        assert_eq!(differences(&spec("ringbuf", 9000), &ring, 4096).len(), 1);
        assert_eq!(differences(&spec("perf_event_array", 0), &pinned(4, 2), 4096), []);
        let devices = MapFacts { flags: RDONLY_PROG, ..pinned(14, 4) };
        assert_eq!(differences(&MapSpec { value_size: 4, ..spec("devmap", 4) }, &devices, 4096), []);
    }
}
