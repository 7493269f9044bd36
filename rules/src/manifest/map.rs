//! The maps a chain declares, as a deployer creates them.

use serde::{Deserialize, Serialize};

/// A map as the kernel is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSpec {
    /// Its name: the C symbol, the kernel's name and the pin's.
    pub name: String,
    /// The type as in BUILD files: `percpu_array` (see [`crate::map_type`]).
    pub ty: String,
    /// The key's C type; empty for types without keys.
    pub key: String,
    /// The value's C type; empty for types without values.
    pub value: String,
    /// Entries, or bytes for ring buffers.
    pub max_entries: u32,
    /// `BPF_F_*` bits.
    pub flags: u32,
    /// Bytes of a key and a value, once an object told them; 0 before.
    pub key_size: u32,
    /// See `key_size`.
    pub value_size: u32,
}
