//! The targets that were asked for, unpacked when somebody wants to see them: a build with nothing to do only counts them.
//!
//! Knows nothing of how they were built.

use std::ops::Deref;
use std::slice;
use std::sync::{Arc, OnceLock};

use ouro_rules::{Artifact, Label, RunInfo};
use serde::{Deserialize, Serialize};

/// A target that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltTarget {
    /// Its label.
    pub label: Label,
    /// The configuration it was built for, by its folder.
    pub configuration: String,
    /// Its files, from the workspace root.
    pub files: Vec<String>,
    /// What `ouro run` starts, with the files it needs.
    pub run: Option<(Arc<RunInfo>, Vec<Artifact>)>,
}

/// Targets; a slice of [`BuiltTarget`] for whoever looks inside.
#[derive(Debug, Clone)]
pub struct Targets {
    count: usize,
    /// Where they are until they are unpacked.
    packed: Vec<u8>,
    unpacked: OnceLock<Vec<BuiltTarget>>,
}

impl Targets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// So many targets that [`Targets::pack`] packed.
    pub(super) fn packed(count: usize, packed: Vec<u8>) -> Targets {
        Targets { count, packed, unpacked: OnceLock::new() }
    }

    pub(super) fn pack(&self) -> Vec<u8> {
        postcard::to_stdvec(&**self).expect("BUG: labels and paths are plain data")
    }
}

impl From<Vec<BuiltTarget>> for Targets {
    fn from(targets: Vec<BuiltTarget>) -> Targets {
        Targets { count: targets.len(), packed: Vec::new(), unpacked: OnceLock::from(targets) }
    }
}

impl Default for Targets {
    fn default() -> Targets {
        Targets::from(Vec::new())
    }
}

impl Deref for Targets {
    type Target = [BuiltTarget];

    fn deref(&self) -> &[BuiltTarget] {
        self.unpacked.get_or_init(|| postcard::from_bytes(&self.packed).expect("BUG: packed here, and sealed since"))
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a BuiltTarget;
    type IntoIter = slice::Iter<'a, BuiltTarget>;

    fn into_iter(self) -> slice::Iter<'a, BuiltTarget> {
        self.iter()
    }
}
