//! Which types have a name, and how many had it before.
//!
//! Knows nothing of C. A kernel has a hundred thousand names: they stay where they are, and are found by a hash of their text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::Btf;

/// What one name may mean side by side: `struct stat` and the function `stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Of structs, unions and enums.
    Tag,
    /// Of typedefs, enumerators and functions.
    Plain,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By the hash of space and text, the last of the entries.
    last: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Where the text stands.
    name: u32,
    id: u32,
    /// How many came before with this text.
    before: u32,
    /// The one before with this hash, plus one; 0 if there is none.
    next: u32,
}

impl Index {
    pub fn with_room(names: usize) -> Index {
        let mut index = Index::default();
        index.last.reserve(names);
        index.entries.reserve(names);
        index
    }

    /// Adds a name of a type; returns how many had it before.
    pub fn add(&mut self, btf: &Btf, space: Space, name: u32, id: u32) -> u32 {
        let text = btf.text(name);
        let before = self.entries(btf, space, text).next().map_or(0, |entry| entry.before + 1);
        let place = self.entries.len() as u32 + 1;
        let next = self.last.insert(hash(space, text), place).unwrap_or(0);
        self.entries.push(Entry { name, id, before, next });
        before
    }

    /// The ids of all that have this name, the last first.
    pub fn find<'a>(&'a self, btf: &'a Btf, space: Space, text: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.entries(btf, space, text).map(|entry| entry.id)
    }

    fn entries<'a>(&'a self, btf: &'a Btf, space: Space, text: &'a str) -> impl Iterator<Item = &'a Entry> + 'a {
        let at = |place: u32| self.entries.get((place as usize).checked_sub(1)?);
        let first = self.last.get(&hash(space, text)).and_then(|place| at(*place));
        let chain = std::iter::successors(first, move |entry| at(entry.next));
        chain.filter(move |entry| btf.text(entry.name) == text)
    }
}

/// FNV-1a.
fn hash(space: Space, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ space as u64;
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Hashes are not hashed again.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
