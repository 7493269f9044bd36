//! What was wrong with a store and cost time alone: it is told, and the build goes on.
//!
//! Knows nothing of who asks.

use std::sync::{Mutex, PoisonError};

use crate::{CacheError, Digest};

/// Something that was wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A blob whose bytes were not those of its name; it was removed.
    #[error("the cache held other bytes than it should under `{0}`; they were removed")]
    Damaged(Digest),
    /// A result could not be kept, or a blob not be read. Told once: the next one would fail for the same reason.
    #[error("{0}; builds go on without what the cache cannot keep or give")]
    Unusable(CacheError),
}

/// The troubles of a store, in the order they came up.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Vec<Trouble>>);

impl Troubles {
    pub(crate) fn add(&self, trouble: Trouble) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = |other: &Trouble| matches!((other, &trouble), (Trouble::Unusable(_), Trouble::Unusable(_)));
        if !all.iter().any(is_told) {
            all.push(trouble);
        }
    }

    pub(crate) fn take(&self) -> Vec<Trouble> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
