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

/// Targets of some packages, in place of those they had before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Instead {
    packages: Vec<Arc<str>>,
    targets: Vec<BuiltTarget>,
    /// How many there are then, of all packages.
    count: usize,
}

/// Targets; a slice of [`BuiltTarget`] for whoever looks inside.
#[derive(Debug, Clone)]
pub struct Targets {
    count: usize,
    /// Where they are until they are unpacked.
    packed: Vec<u8>,
    instead: Vec<Instead>,
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
        Targets { count, packed, instead: Vec::new(), unpacked: OnceLock::new() }
    }

    /// What makes of these targets those with other ones, sorted, in these packages; nothing when they are the same.
    pub(super) fn instead(&self, packages: Vec<Arc<str>>, targets: Vec<BuiltTarget>) -> Option<Instead> {
        let (before, others): (Vec<_>, Vec<_>) = self.iter().partition(|target| packages.contains(&target.label.package));
        let count = others.len() + targets.len();
        (!before.into_iter().eq(&targets)).then_some(Instead { packages, targets, count })
    }

    /// The same with these; all are of one configuration.
    pub(super) fn with(mut self, instead: Instead) -> Targets {
        (self.count, self.unpacked) = (instead.count, OnceLock::new());
        self.instead.push(instead);
        self
    }

    fn unpack(&self) -> Vec<BuiltTarget> {
        let mut targets: Vec<BuiltTarget> = postcard::from_bytes(&self.packed).expect("BUG: packed here, and sealed since");
        for Instead { packages, targets: new, .. } in &self.instead {
            targets.retain(|target| !packages.contains(&target.label.package));
            targets.extend(new.iter().cloned());
        }
        if !self.instead.is_empty() {
            targets.sort_by(|a, b| a.label.cmp(&b.label));
        }
        targets
    }

    pub(super) fn pack(&self) -> Vec<u8> {
        postcard::to_stdvec(&**self).expect("BUG: labels and paths are plain data")
    }
}

impl From<Vec<BuiltTarget>> for Targets {
    fn from(targets: Vec<BuiltTarget>) -> Targets {
        Targets { count: targets.len(), packed: Vec::new(), instead: Vec::new(), unpacked: OnceLock::from(targets) }
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
        self.unpacked.get_or_init(|| self.unpack())
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a BuiltTarget;
    type IntoIter = slice::Iter<'a, BuiltTarget>;

    fn into_iter(self) -> slice::Iter<'a, BuiltTarget> {
        self.iter()
    }
}
