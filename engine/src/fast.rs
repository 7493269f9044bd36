//! Hash maps for the many lookups inside a phase. Their order is arbitrary, so it never leaves the phase.
//!
//! The standard library's hash withstands hostile keys and costs several times as much; labels and paths come from the user's own
//! BUILD files.

use std::collections::{HashMap, HashSet};

/// A map.
pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A set.
pub(crate) type FastSet<K> = HashSet<K, foldhash::fast::RandomState>;
