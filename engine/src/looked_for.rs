//! Whether paths are files: each is looked for once, by whichever thread asks first, and remembered.
//!
//! Knows nothing of why.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fast::FastMap;

/// So many threads seldom wait for each other.
const SHARDS: usize = 16;

/// Paths, and whether each was a file.
#[derive(Default)]
pub(crate) struct LookedFor([Mutex<FastMap<Arc<str>, bool>>; SHARDS]);

impl LookedFor {
    /// Whether the path is a file; `look` finds out.
    pub(crate) fn is_file(&self, path: &str, look: impl FnOnce() -> bool) -> bool {
        let shard = &self.0[foldhash::fast::FixedState::default().hash_one(path) as usize % SHARDS];
        let lock = || shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(path).copied();
        known.unwrap_or_else(|| {
            let found = look();
            *lock().entry(path.into()).or_insert(found)
        })
    }

    /// All that was looked for, in no order.
    pub(crate) fn into_all(self) -> Vec<(Arc<str>, bool)> {
        self.0.into_iter().flat_map(|shard| shard.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}
