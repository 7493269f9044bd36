//! The tail of a snapshot: what later builds changed, one record after the other.
//!
//! A record that is not whole ends the tail: what stands before it was true once, and that is all a snapshot claims.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{FileId, Known, SUM, Snapshot, StepId, TAIL, take};

/// What a later build changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Files of the snapshot.
    pub files: Vec<(FileId, Known)>,
    /// Files new to it, with the numbers they get: those after the last one.
    pub new: BTreeMap<Arc<str>, (FileId, Known)>,
    /// Actions that ended otherwise than before.
    pub acted: Vec<Acted>,
    /// What actions had to say; empty for nothing any more.
    pub told: Vec<(StepId, Vec<u8>)>,
    /// Actions that are part of the build no more.
    pub removed: Vec<StepId>,
    /// Actions new to it, with the numbers they get: see [`super::Steps::next`].
    pub added: BTreeMap<StepId, Added>,
    /// What the build had to say besides; empty for nothing.
    pub said: Vec<u8>,
    /// What it keeps besides; empty for nothing.
    pub book: Vec<u8>,
}

/// An action that is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// What it reads, as declared.
    pub inputs: Vec<FileId>,
    /// What it makes.
    pub outputs: Vec<FileId>,
    /// What it read besides.
    pub reads: Vec<FileId>,
    /// Texts that many actions share.
    pub words: Vec<String>,
    /// What it is.
    pub what: Vec<u8>,
    /// What came of it.
    pub result: Vec<u8>,
}

/// An action that ended otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Which.
    pub step: StepId,
    /// What it read besides its inputs.
    pub reads: Vec<FileId>,
    /// What came of it.
    pub result: Vec<u8>,
}

impl Patch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Patch::default()
    }

    /// Adds a file that the snapshot, which has `files`, does not know; once, however often it is seen. Its number there.
    pub fn add_new(&mut self, files: usize, path: &Arc<str>, known: Known) -> FileId {
        let next = FileId((files + self.new.len()) as u32);
        self.new.entry(path.clone()).and_modify(|(_, old)| *old = old.and(known)).or_insert((next, known)).0
    }
}

pub(super) fn encode(patch: &Patch, kind: &str) -> Vec<u8> {
    let sealed = ouro_cache::seal(kind, &postcard::to_stdvec(patch).expect("BUG: a patch is plain data"));
    [&(sealed.len() as u32).to_le_bytes()[..], &sealed].concat()
}

fn decode(rest: &mut &[u8]) -> Option<Patch> {
    let length = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize;
    let sealed = take(rest, length).filter(|sealed| sealed.len() > SUM)?;
    postcard::from_bytes(ouro_cache::unseal(TAIL, sealed)?).ok()
}

impl Snapshot {
    /// Takes what a tail says; whether it was whole.
    pub(super) fn take_tail(&mut self, mut tail: &[u8]) -> bool {
        while !tail.is_empty() {
            match decode(&mut tail) {
                Some(patch) => self.take(patch),
                None => return false,
            }
        }
        true
    }

    pub(super) fn take(&mut self, patch: Patch) {
        let mut new: Vec<_> = patch.new.into_iter().collect();
        new.sort_unstable_by_key(|(_, (number, _))| *number);
        for (path, (number, known)) in new {
            self.files.add_new(CString::new(path.as_bytes()).unwrap_or_default(), known);
            self.later.digests.insert(number, known.digest);
        }
        for (file, known) in patch.files {
            self.files.set(file, known);
            self.later.digests.insert(file, known.digest);
        }
        self.take_steps(patch.removed, patch.added);
        self.later.acted.extend(patch.acted.into_iter().map(|acted| (acted.step, acted)));
        self.later.said.extend(Some(patch.said).filter(|said| !said.is_empty()));
        self.later.book.extend(Some(patch.book).filter(|book| !book.is_empty()));
        for (step, told) in patch.told {
            match told.is_empty() {
                true => drop(self.told.remove(&step)),
                false => drop(self.told.insert(step, told)),
            }
        }
    }

    fn take_steps(&mut self, removed: Vec<StepId>, added: BTreeMap<StepId, Added>) {
        for step in removed {
            self.told.remove(&step);
            self.later.acted.remove(&step);
            // What a later build added and another removed leaves nothing behind.
            if self.later.added.remove(&step).is_none() {
                self.later.removed.insert(step);
            }
        }
        self.later.added.extend(added);
    }
}
