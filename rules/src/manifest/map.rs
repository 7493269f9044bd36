//! The maps a chain declares, as a deployer creates them.

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::layout::Layout;

/// Hex digits of [`MapSpec::abi`].
pub(super) const ABI_DIGITS: usize = 12;

/// The types of maps that network cards have (`bpf_map_offload_map_alloc`).
pub const CARD_MAPS: [&str; 2] = ["hash", "array"];

/// A map as the kernel is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MapSpec {
    /// Its name: the C symbol, the kernel's name and the first part of the pin's.
    pub name: String,
    /// The type as in BUILD files: `percpu_array` (see [`crate::map_type`]).
    pub ty: String,
    /// The key's C type; empty for types without keys.
    pub key: String,
    /// The value's C type; empty for types without values, and for maps of maps.
    pub value: String,
    /// Entries, or bytes for ring buffers, or pages for arenas.
    pub max_entries: u32,
    /// `BPF_F_*` bits.
    pub flags: u32,
    /// Bytes of a key and a value, once an object told them; 0 before.
    pub key_size: u32,
    /// See `key_size`.
    pub value_size: u32,
    /// What else the type wants to know: the hash functions of a bloom filter, the address of an arena.
    #[serde(default)]
    pub map_extra: u64,
    /// Where its memory is; `flags` say that it was chosen.
    #[serde(default)]
    pub numa_node: u32,
    /// Of a map of maps: what those are like.
    #[serde(default)]
    pub inner: Option<Box<MapSpec>>,
    /// What it holds when it is created.
    #[serde(default)]
    pub contents: Vec<Element>,
    /// Whether user space can write it no more once it holds that.
    #[serde(default)]
    pub frozen: bool,
    /// What happens to what it holds when its definition changes.
    #[serde(default)]
    pub on_change: OnChange,
    /// How a key lies in memory, once an object told it; none of types without keys, and of those too large to tell.
    #[serde(default)]
    pub key_layout: Option<Layout>,
    /// See `key_layout`.
    #[serde(default)]
    pub value_layout: Option<Layout>,
    /// The index of the network device whose card has it; never in a bundle, as a deployer finds it on its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<u32>,
}

/// One element of a map's first contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// The key; empty for types without keys.
    pub key: Bytes,
    /// The value; of per-CPU types for each CPU.
    pub value: Content,
}

/// The value of an [`Element`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Bytes, as many as a value has.
    Bytes(Bytes),
    /// The map with this pin (see [`MapSpec::pin`]).
    Map(String),
}

/// What happens to a map's contents when its definition changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// They stay where they are: the deploy is refused.
    #[default]
    Keep,
    /// The new map begins empty.
    Reset,
    /// They are copied; keys and values must be the same.
    Copy,
    /// They are converted member by member.
    Convert,
}

impl OnChange {
    /// Every policy by its name in BUILD files.
    pub const ALL: [(&'static str, OnChange); 4] =
        [("keep", OnChange::Keep), ("reset", OnChange::Reset), ("copy", OnChange::Copy), ("convert", OnChange::Convert)];

    /// Its name in BUILD files.
    pub fn name(self) -> &'static str {
        OnChange::ALL.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }
}

impl MapSpec {
    /// What programs and contents agree on, as hex digits: equal for maps that can stand in for one another.
    ///
    /// What a map holds is part of it only where it cannot change: in a frozen table, and as the maps of a map.
    pub fn abi(&self) -> String {
        let holds_maps = self.contents.iter().any(|element| matches!(element.value, Content::Map(_)));
        let contents = Some(&self.contents).filter(|_| self.frozen || holds_maps);
        let facts = (&self.ty, self.key_size, self.value_size, self.max_entries, self.flags, self.map_extra);
        let inner = self.inner.as_ref().map(|inner| inner.abi());
        let text = serde_json::to_vec(&(facts, inner, &self.key_layout, &self.value_layout, self.frozen, contents));
        let mut text = text.expect("BUG: a map is plain data");
        text.extend(self.card.iter().flat_map(|card| card.to_le_bytes()));
        let mut digits = Digest::of(&text).to_string();
        digits.truncate(ABI_DIGITS);
        digits
    }

    /// The name of its pin.
    pub fn pin(&self) -> String {
        format!("{}-{}", self.name, self.abi())
    }

    /// The map as objects declare it: without what only a deployer must know.
    pub fn in_objects(&self) -> MapSpec {
        let inner = self.inner.as_ref().map(|inner| Box::new(inner.in_objects()));
        MapSpec { inner, contents: Vec::new(), frozen: false, on_change: OnChange::Keep, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> MapSpec {
        let int = |bytes| Some(Layout::Int { bytes, signed: false });
        let (name, ty) = ("seen".to_owned(), "hash".to_owned());
        let sizes = MapSpec { max_entries: 4, key_size: 4, value_size: 8, ..MapSpec::default() };
        MapSpec { name, ty, key_layout: int(4), value_layout: int(8), ..sizes }
    }

    #[test]
    fn what_programs_see_is_the_abi_and_nothing_else() {
        let abi = spec().abi();
        assert_eq!((abi.len(), spec().pin()), (12, format!("seen-{abi}")));
        let element = Element { key: Bytes(vec![0; 4]), value: Content::Bytes(Bytes(vec![0; 8])) };
        let filled = MapSpec { contents: vec![element], ..spec() };
        let same = [
            MapSpec { name: "other".to_owned(), key: "unsigned".to_owned(), ..spec() },
            MapSpec { on_change: OnChange::Reset, numa_node: 1, ..filled.clone() },
        ];
        assert!(same.iter().all(|map| map.abi() == abi));
        let held = Element { key: Bytes(vec![0; 4]), value: Content::Map("a-1".to_owned()) };
        let different = [
            MapSpec { ty: "lru_hash".to_owned(), ..spec() },
            MapSpec { key_size: 8, ..spec() },
            MapSpec { value_size: 4, ..spec() },
            MapSpec { max_entries: 5, ..spec() },
            MapSpec { flags: 1, ..spec() },
            MapSpec { map_extra: 1, ..spec() },
            MapSpec { inner: Some(Box::new(spec())), ..spec() },
            MapSpec { inner: Some(Box::new(MapSpec { flags: 1, ..spec() })), ..spec() },
            MapSpec { value_layout: Some(Layout::Int { bytes: 8, signed: true }), ..spec() },
            MapSpec { frozen: true, ..spec() },
            MapSpec { frozen: true, ..filled },
            MapSpec { contents: vec![held], ..spec() },
            MapSpec { card: Some(2), ..spec() },
            MapSpec { card: Some(3), ..spec() },
        ];
        let abis: std::collections::BTreeSet<String> = different.iter().map(MapSpec::abi).chain([abi]).collect();
        assert_eq!(abis.len(), different.len() + 1);
    }
}
