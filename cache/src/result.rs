//! What actions made: for each key a short list of results, told apart by the files the action chose to read.
//!
//! Knows nothing of what an action is. The key covers what is known before an action runs; what is known only afterwards
//! (headers a compiler found) stands in the entry, and an entry holds only while all those files are the same.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Entries kept under one key; the oldest goes first. Sixteen covers switching between branches and back.
pub const MAX_ENTRIES: usize = 16;

/// The kinds of records made here; the numbers change with the shape of [`Entry`].
const ENTRY: &str = "ouro action entry v2";
const SHARED: &str = "ouro shared reads v1";

/// One outcome of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The files it read that its key does not cover, sorted by path. Many actions read the same.
    pub reads: Arc<[Read]>,
    /// What it looked for in vain, sorted: it holds only while nothing is there.
    pub absent: Arc<[Absent]>,
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

/// Names that were looked for in one folder and were not there. Many actions look for the same names, so they are one text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Absent {
    /// The folder, in the caller's terms.
    pub folder: Arc<str>,
    /// The names, each ended by a line feed, sorted.
    pub names: Arc<str>,
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

/// What many entries have in common: all that lies outside of the caller's own folder, such as the headers of the system.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    reads: Vec<Read>,
    absent: Vec<Absent>,
}

/// An entry as written, beside what it shares.
#[derive(Serialize, Deserialize)]
pub(crate) struct Own {
    /// What it shares, by the digest of its record.
    pub(crate) shared: Digest,
    reads: Vec<Read>,
    absent: Vec<Absent>,
    pub(crate) result: ActionResult,
}

/// The records of an entry: its own, and the shared one with its digest.
pub(crate) fn encode(entry: &Entry) -> (Vec<u8>, Digest, Vec<u8>) {
    let (shared_reads, reads) = entry.reads.iter().cloned().partition(|read| read.path.starts_with('/'));
    let (shared_absent, absent) = entry.absent.iter().cloned().partition(|absent| absent.folder.starts_with('/'));
    let shared = sealed(SHARED, &Shared { reads: shared_reads, absent: shared_absent });
    let digest = Digest::of(&shared);
    (sealed(ENTRY, &Own { shared: digest, reads, absent, result: entry.result.clone() }), digest, shared)
}

fn sealed<T: Serialize>(kind: &str, value: &T) -> Vec<u8> {
    crate::seal(kind, &postcard::to_stdvec(value).expect("BUG: entries are plain data"))
}

/// Nothing when the bytes are not those of an entry's own record.
pub(crate) fn decode(bytes: &[u8]) -> Option<Own> {
    postcard::from_bytes(crate::unseal(ENTRY, bytes)?).ok()
}

/// Nothing when the bytes are not those of a shared record.
pub(crate) fn decode_shared(bytes: &[u8]) -> Option<Shared> {
    postcard::from_bytes(crate::unseal(SHARED, bytes)?).ok()
}

impl Own {
    /// Whether both hold at the same times.
    pub(crate) fn depends_alike(&self, other: &Own) -> bool {
        (self.shared, &self.reads, &self.absent) == (other.shared, &other.reads, &other.absent)
    }

    /// The whole entry.
    pub(crate) fn with(self, shared: &Shared) -> Entry {
        let mut reads = [&shared.reads[..], &self.reads].concat();
        let mut absent = [&shared.absent[..], &self.absent].concat();
        reads.sort_unstable();
        absent.sort_unstable();
        Entry { reads: reads.into(), absent: absent.into(), result: self.result }
    }
}
