//! Hash maps for the many lookups inside a phase. Their order is arbitrary, so it never leaves the phase.
//!
//! The standard library's hash withstands hostile keys and costs several times as much; labels and paths come from the user's own
//! BUILD files.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// A map.
pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A set.
pub(crate) type FastSet<K> = HashSet<K, foldhash::fast::RandomState>;

/// Lists that thousands of actions have alike, so that each is in memory once.
pub(crate) struct Lists<T>(FastSet<Arc<[T]>>);

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists(FastSet::default())
    }
}

impl<T: Eq + Hash> Lists<T> {
    /// The first list that was like this one.
    pub(crate) fn one(&mut self, list: &mut Arc<[T]>) {
        match self.0.get(list) {
            Some(first) => *list = Arc::clone(first),
            None => drop(self.0.insert(Arc::clone(list))),
        }
    }
}
