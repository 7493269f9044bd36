//! The elements of a map, out of the kernel.
//!
//! Knows bytes, not what they mean.

use std::collections::BTreeMap;

/// Elements of one map, keys and values one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Elements {
    /// Bytes of a key.
    pub(crate) key_bytes: usize,
    /// Bytes of a value as user space sees it: of per-CPU maps the values of all CPUs, each in multiples of eight bytes.
    pub(crate) value_bytes: usize,
    pub(crate) keys: Vec<u8>,
    pub(crate) values: Vec<u8>,
}

impl Elements {
    /// None yet.
    pub(crate) fn new(key_bytes: usize, value_bytes: usize) -> Elements {
        Elements { key_bytes, value_bytes, ..Elements::default() }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.keys.len().checked_div(self.key_bytes).unwrap_or(0)
    }

    /// Each key with its value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.key_bytes.max(1)).zip(self.values.chunks_exact(self.value_bytes.max(1)))
    }

    /// One more.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
    }
}

/// What became of an element between two looks at a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) key: Vec<u8>,
    /// Its value at the first look; none if it was not there.
    pub(crate) before: Option<Vec<u8>>,
    /// Its value at the second look; none if it is gone.
    pub(crate) now: Option<Vec<u8>>,
}

/// What changed between two looks, sorted by key; first what went, which makes room for what came.
pub(crate) fn changed(before: &Elements, now: &Elements) -> Vec<Changed> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (before.iter().collect(), now.iter().collect());
    let value = |map: &BTreeMap<&[u8], &[u8]>, key: &[u8]| map.get(key).map(|value| value.to_vec());
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let other = new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(key, _)| key);
    let mut keys: Vec<&[u8]> = gone.chain(other).copied().collect();
    keys.sort_unstable_by_key(|key| (new.contains_key(key), *key));
    keys.into_iter().map(|key| Changed { key: key.to_vec(), before: value(&old, key), now: value(&new, key) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(pairs: &[(u8, u8)]) -> Elements {
        let mut elements = Elements::new(1, 1);
        pairs.iter().for_each(|(key, value)| elements.push(&[*key], &[*value]));
        elements
    }

    #[test]
    fn what_came_changed_and_went_is_found_in_any_order() {
        let change = |key, before: Option<u8>, now: Option<u8>| {
            let bytes = |value: Option<u8>| value.map(|value| vec![value]);
            Changed { key: vec![key], before: bytes(before), now: bytes(now) }
        };
        let found = changed(&elements(&[(3, 3), (8, 1), (2, 2)]), &elements(&[(4, 4), (2, 9), (3, 3)]));
        assert_eq!(found, [change(8, Some(1), None), change(2, Some(2), Some(9)), change(4, None, Some(4))]);
        assert_eq!(changed(&elements(&[(1, 1)]), &elements(&[(1, 1)])), []);
    }
}
