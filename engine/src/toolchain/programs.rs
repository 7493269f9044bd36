//! Programs of the machine that actions name, such as `python3`: where they are and what tells one from another.
//!
//! Knows nothing of the compiler. Each is looked for once, when the first action needs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use super::memory::Reading;
use super::search::is_program;
use super::{Found, ToolchainError};
use crate::state::{Seen, Stamp};

/// The programs of a search path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Programs {
    folders: Vec<PathBuf>,
    /// What was looked for, with every path that had a say in what was found.
    known: Arc<Mutex<BTreeMap<Arc<str>, Looked>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Looked {
    found: Option<Found>,
    /// A snapshot has them among its own.
    #[serde(skip)]
    seen: Vec<(Arc<str>, Option<Stamp>)>,
}

impl Programs {
    pub(super) fn new(folders: Vec<PathBuf>) -> Programs {
        Programs { folders, known: Arc::default() }
    }

    /// The program of this name.
    pub(super) fn find(&self, name: &Arc<str>) -> Result<Found, ToolchainError> {
        // Held while looking: the others wait for the same answer.
        let mut known = self.known();
        if !known.contains_key(name) {
            known.insert(name.clone(), self.look(name)?);
        }
        known[name].found.clone().ok_or_else(|| ToolchainError::NoProgram {
            name: name.to_string(),
            path: self.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":"),
        })
    }

    /// Everything that was looked at, as it was then.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let known = self.known();
        let all = known.values().flat_map(|looked| &looked.seen);
        all.map(|(path, stamp)| Seen { path: path.clone(), stamp: *stamp, digest: None }).collect()
    }

    fn look(&self, name: &str) -> Result<Looked, ToolchainError> {
        let mut reading = Reading::default();
        for path in self.folders.iter().map(|folder| folder.join(name)) {
            if is_program(&path) {
                let identity = reading.program(&path, Digest::of(b""))?;
                return Ok(Looked { found: Some(Found { path, identity }), seen: reading.stamps });
            }
            // A folder that we may not look into holds nothing for us, as for a shell.
            if let Ok(stamp) = Stamp::of(&path) {
                reading.stamps.push((path.to_string_lossy().into(), stamp));
            }
        }
        Ok(Looked { found: None, seen: reading.stamps })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Looked>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
