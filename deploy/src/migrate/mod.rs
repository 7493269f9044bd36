//! What a map holds, carried over to one with another definition: whether that can be done, and how.
//!
//! Pure; the kernel's part is to read and write elements.

mod convert;
mod elements;

use ouro_rules::manifest::{Bytes, Layout, MapSpec, OnChange};
use ouro_rules::map_type::{self, Fill, MapType};

use convert::Conversion;
pub(crate) use elements::{Changed, Elements, changed};

/// User space sees each CPU's value in multiples of so many bytes.
const PERCPU_ALIGN: usize = 8;

/// How elements of one map become elements of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    key: Part,
    value: Part,
    /// Bytes of the values of one CPU in the old map and in the new one; none where all CPUs share them.
    each_cpu: Option<(usize, usize)>,
    /// Places of an array, which always has all of them.
    is_array: bool,
    /// Elements the new map has room for.
    room: usize,
    key_layout: Option<Layout>,
}

/// What becomes of keys, or of values.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// They are the same.
    Same,
    Converted(Conversion),
}

impl Part {
    fn apply(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Part::Same => Ok(bytes.to_vec()),
            Part::Converted(conversion) => conversion.apply(bytes),
        }
    }
}

/// Bytes that user space sees of one CPU's value.
pub(crate) fn cpu_bytes(value_size: u32) -> usize {
    (value_size as usize).next_multiple_of(PERCPU_ALIGN)
}

impl Transfer {
    /// How what `old` holds is carried over to `new`, as `new` says; every reason why it cannot.
    pub(crate) fn plan(old: &MapSpec, new: &MapSpec) -> Result<Transfer, Vec<String>> {
        let types = map_type::find(&old.ty).zip(map_type::find(&new.ty));
        let Some((_, ty)) = types.filter(|(old, new)| are_related(old, new)) else {
            return Err(vec![format!("a `{}` map cannot take over what a `{}` map holds", new.ty, old.ty)]);
        };
        let converts = new.on_change == OnChange::Convert;
        let key = part("key", (old.key_size, &old.key_layout), (new.key_size, &new.key_layout), converts);
        let value = part("value", (old.value_size, &old.value_layout), (new.value_size, &new.value_layout), converts);
        match (key, value) {
            (Ok(key), Ok(value)) => Ok(Transfer {
                key,
                value,
                each_cpu: ty.is_percpu().then(|| (cpu_bytes(old.value_size), cpu_bytes(new.value_size))),
                is_array: ty.fill == Fill::Places,
                room: new.max_entries as usize,
                key_layout: old.key_layout.clone(),
            }),
            (key, value) => Err([key.err(), value.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// All elements as the new map has them; an error says what does not fit.
    pub(crate) fn all(&self, old: &Elements) -> Result<Elements, String> {
        let mut new: Option<Elements> = None;
        for (key, value) in old.iter() {
            if self.is_beyond(key, value) {
                continue;
            }
            let (key, value) = (self.key(key)?, self.value(key, value)?);
            new.get_or_insert_with(|| Elements::new(key.len(), value.len())).push(&key, &value);
        }
        let new = new.unwrap_or_default();
        if new.len() > self.room {
            return Err(format!("it holds {} elements, and the new one has room for {}", new.len(), self.room));
        }
        match self.key {
            Part::Converted(_) if has_twins(&new) => Err("two of its keys become one".to_owned()),
            _ => Ok(new),
        }
    }

    /// The places of a longer array that hold nothing are left out; others are too many, and counted as such.
    fn is_beyond(&self, key: &[u8], value: &[u8]) -> bool {
        let place = key.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize);
        self.is_array && place >= self.room && value.iter().all(|byte| *byte == 0)
    }

    /// A key of the new map.
    pub(crate) fn key(&self, old: &[u8]) -> Result<Vec<u8>, String> {
        self.key.apply(old).map_err(|why| format!("of the key {}: {why}", self.shown(old)))
    }

    /// The value of the new map that belongs to a key of the old one.
    pub(crate) fn value(&self, key: &[u8], old: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |why| format!("at the key {}: {why}", self.shown(key));
        let Some((old_bytes, new_bytes)) = self.each_cpu else { return self.value.apply(old).map_err(failed) };
        let mut new = Vec::with_capacity(old.len());
        for of_cpu in old.chunks_exact(old_bytes.max(1)) {
            let mut value = self.value.apply(of_cpu).map_err(failed)?;
            value.resize(new_bytes, 0);
            new.extend(value);
        }
        Ok(new)
    }

    /// Whether the map has all elements at all times.
    pub(crate) fn is_array(&self) -> bool {
        self.is_array
    }

    /// A key of the old map for people: numbers as such.
    fn shown(&self, key: &[u8]) -> String {
        let bytes = <[u8; 4]>::try_from(key);
        match (&self.key_layout, bytes) {
            (Some(Layout::Int { .. }), Ok(bytes)) => u32::from_ne_bytes(bytes).to_string(),
            _ => format!("0x{}", Bytes(key.to_vec())),
        }
    }
}

/// Types with the same kind of keys and values: hashes with hashes, arrays with arrays.
fn are_related(old: &MapType, new: &MapType) -> bool {
    let family = |ty: &MapType| (ty.fill == Fill::Places, ty.name == "lpm_trie", ty.is_percpu());
    old.can_be_copied() && new.can_be_copied() && family(old) == family(new)
}

fn part(
    what: &str,
    (old_size, old): (u32, &Option<Layout>),
    (new_size, new): (u32, &Option<Layout>),
    converts: bool,
) -> Result<Part, Vec<String>> {
    match (old, new) {
        (Some(old), Some(new)) if old == new => Ok(Part::Same),
        (Some(old), Some(new)) if converts => {
            let named = |why: Vec<String>| why.into_iter().map(|why| format!("of the {what}, {why}")).collect();
            Conversion::plan(old, new).map(Part::Converted).map_err(named)
        }
        (Some(_), Some(_)) => Err(vec![format!("the {what} has other members, which `copy` does not carry over")]),
        // Of a map that an earlier version made, or of a type too large to be told, the sizes are all that is known.
        _ if old_size == new_size => Ok(Part::Same),
        _ => Err(vec![format!("the {what} has {new_size} instead of {old_size} bytes, and of its members nothing is known")]),
    }
}

fn has_twins(elements: &Elements) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    elements.iter().any(|(key, _)| !seen.insert(key))
}

#[cfg(test)]
mod tests {
    use ouro_rules::manifest::Member;

    use super::*;

    fn int(bytes: u32) -> Option<Layout> {
        Some(Layout::Int { bytes, signed: false })
    }

    fn spec(ty: &str, max_entries: u32, on_change: OnChange) -> MapSpec {
        let sizes = MapSpec { max_entries, key_size: 4, value_size: 8, on_change, ..MapSpec::default() };
        MapSpec { name: "m".to_owned(), ty: ty.to_owned(), key_layout: int(4), value_layout: int(8), ..sizes }
    }

    fn plan(old: &MapSpec, new: &MapSpec) -> Transfer {
        Transfer::plan(old, new).unwrap_or_else(|why| panic!("{why:?}"))
    }

    fn elements(pairs: &[(u32, u64)]) -> Elements {
        let mut elements = Elements::new(4, 8);
        pairs.iter().for_each(|(key, value)| elements.push(&key.to_ne_bytes(), &value.to_ne_bytes()));
        elements
    }

    #[test]
    fn copies_stay_in_the_family() {
        for (old, new, fits) in [
            ("hash", "lru_hash", true),
            ("lru_percpu_hash", "percpu_hash", true),
            ("array", "array", true),
            ("lpm_trie", "lpm_trie", true),
            ("hash", "array", false),
            ("hash", "percpu_hash", false),
            ("lpm_trie", "hash", false),
            ("ringbuf", "ringbuf", false),
        ] {
            let found = Transfer::plan(&spec(old, 4, OnChange::Keep), &spec(new, 8, OnChange::Copy));
            assert_eq!(found.is_ok(), fits, "{old} to {new}: {found:?}");
        }
    }

    #[test]
    fn only_convert_takes_other_members() {
        let new = |on_change| MapSpec { value_layout: int(4), value_size: 4, ..spec("hash", 4, on_change) };
        let refusal = Transfer::plan(&spec("hash", 4, OnChange::Keep), &new(OnChange::Copy)).unwrap_err();
        assert_eq!(refusal, ["the value has other members, which `copy` does not carry over"]);
        let transfer = plan(&spec("hash", 4, OnChange::Keep), &new(OnChange::Convert));
        assert_eq!(transfer.all(&elements(&[(1, 7)])).unwrap().values, 7u32.to_ne_bytes());
        let too_large = transfer.all(&elements(&[(1, 7), (9, 1 << 32)])).unwrap_err();
        assert_eq!(too_large, "at the key 9: it is 4294967296, which 32 bits cannot hold");
        let unknown = MapSpec { value_layout: None, ..spec("hash", 4, OnChange::Keep) };
        assert_eq!(
            Transfer::plan(&unknown, &new(OnChange::Convert)).unwrap_err(),
            ["the value has 4 instead of 8 bytes, and of its members nothing is known"]
        );
        assert!(plan(&unknown, &spec("hash", 5, OnChange::Copy)).all(&elements(&[(1, 1)])).is_ok());
    }

    #[test]
    fn what_has_no_room_is_refused() {
        let smaller = |ty| plan(&spec(ty, 4, OnChange::Keep), &spec(ty, 2, OnChange::Copy));
        let three = elements(&[(0, 1), (1, 0), (2, 3)]);
        let text = "it holds 3 elements, and the new one has room for 2";
        assert_eq!(smaller("hash").all(&three), Err(text.to_owned()));
        assert_eq!(smaller("array").all(&three), Err(text.to_owned()));
        assert_eq!(smaller("array").all(&elements(&[(0, 1), (1, 0), (2, 0), (3, 0)])), Ok(elements(&[(0, 1), (1, 0)])));
    }

    #[test]
    fn each_cpu_has_its_own_value() {
        let old = MapSpec { value_layout: int(4), value_size: 4, ..spec("percpu_array", 1, OnChange::Keep) };
        let transfer = plan(&old, &MapSpec { value_layout: int(2), value_size: 2, ..spec("percpu_array", 1, OnChange::Convert) });
        let cpus = [[1u8, 2, 0, 0, 0, 0, 0, 0], [3, 4, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(transfer.value(&[0; 4], &cpus).unwrap(), cpus);
    }

    #[test]
    fn keys_do_not_become_one() {
        let key = |members: Vec<(&str, u32)>| {
            let member =
                |(name, at): (&str, u32)| Member { name: name.to_owned(), at: at * 8, bits: None, layout: int(2).unwrap() };
            Some(Layout::Struct { bytes: 4, members: members.into_iter().map(member).collect() })
        };
        let old = MapSpec { key_layout: key(vec![("a", 0), ("b", 2)]), ..spec("hash", 4, OnChange::Keep) };
        let transfer = plan(&old, &MapSpec { key_layout: key(vec![("a", 2)]), ..spec("hash", 4, OnChange::Convert) });
        assert!(transfer.all(&elements(&[(0x0001_0002, 1), (0x0001_0003, 2)])).is_ok());
        assert_eq!(transfer.all(&elements(&[(0x0001_0002, 1), (0x0002_0002, 2)])).unwrap_err(), "two of its keys become one");
    }
}
