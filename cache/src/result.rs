//! What actions made: for each key a short list of results, told apart by the files the action chose to read.
//!
//! Knows nothing of what an action is. The key covers what is known before an action runs; what is known only afterwards
//! (headers a compiler found) stands in the entry, and an entry holds only while all those files are the same.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Entries kept under one key; the oldest goes first. Sixteen covers switching between branches and back.
pub const MAX_ENTRIES: usize = 16;

/// The kind of record [`encode`] makes; the number changes with the shape of [`Entry`].
const KIND: &str = "ouro action entry v1";

/// One outcome of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The files it read that its key does not cover, in the order they were found.
    pub reads: Vec<Read>,
    /// What came out.
    pub result: ActionResult,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Read {
    /// Its path, in the caller's terms.
    pub path: Arc<str>,
    /// Its bytes.
    pub digest: Digest,
}

/// What an action that succeeded left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// The files it made, in the order it declares them.
    pub outputs: Vec<Output>,
    /// What it printed.
    pub printed: String,
}

/// A file an action made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its bytes.
    pub digest: Digest,
    /// Whether it may be run.
    pub executable: bool,
}

pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    crate::seal(KIND, &postcard::to_stdvec(entry).expect("BUG: entries are plain data"))
}

/// Nothing when the bytes are not what [`encode`] made.
pub(crate) fn decode(bytes: &[u8]) -> Option<Entry> {
    postcard::from_bytes(crate::unseal(KIND, bytes)?).ok()
}
