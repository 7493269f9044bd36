//! What a snapshot must say after a build from it.
//!
//! It may say only what holds together: a file's new bytes stand in it when every action that reads them was made for them.
//! Where they might not be, it goes on saying what it said, which is still true, and the next build looks again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ouro_cache::Read;

use super::part::Part;
use super::{Look, is_same, loads_alike};
use crate::build::{memory, watch};
use crate::execute::Summary;
use crate::state::snapshot::{Acted, FileId, Known, Patch, Roles, Snapshot, Steps};
use crate::state::{Remembered, Stamp, State};

/// Those of these files that the snapshot does not know so.
pub(super) fn of_files(snapshot: &Snapshot, files: &BTreeMap<FileId, Known>) -> Patch {
    let is_new = |(file, now): &(&FileId, &Known)| snapshot.known(**file) != Some(**now);
    Patch { files: files.iter().filter(is_new).map(|(file, now)| (*file, *now)).collect(), ..Patch::default() }
}

/// What the build changed; none when some file was not what all actions around it were made for.
pub(super) fn of_build(
    look: &Look,
    root: &Path,
    steps: &Steps<'_>,
    part: &Part,
    state: &State,
    summary: &Summary,
) -> Option<Patch> {
    let seen = summary.seen.iter().map(|seen| (&*seen.path, Known::new(seen.stamp, seen.digest, Roles::default()))).collect();
    let found = look.same.iter().chain(&look.changed).map(|(file, now)| (*file, *now)).collect();
    let mut draft = Draft { look, root, part, seen, found, patch: Patch::default() };
    draft.take_seen();
    draft.take_ends(steps, state)?;
    draft.holds_together().filter(|()| !summary.disturbed)?;
    Some(Patch { files: of_files(&look.snapshot, &draft.found).files, ..draft.patch })
}

struct Draft<'a> {
    look: &'a Look,
    root: &'a Path,
    part: &'a Part,
    /// What actions saw.
    seen: HashMap<&'a str, Known>,
    /// What files of the snapshot are now.
    found: BTreeMap<FileId, Known>,
    patch: Patch,
}

impl Draft<'_> {
    fn take_seen(&mut self) {
        for (path, now) in &self.seen {
            if let Some(file) = self.part.numbers.get(*path) {
                let roles = self.part.files[file].1.roles;
                self.found.insert(*file, Known { roles, ..*now });
            }
        }
    }

    fn take_ends(&mut self, steps: &Steps<'_>, state: &State) -> Option<()> {
        for (step, action) in self.part.steps.iter().zip(&self.part.plan.actions) {
            let remembered = state.result(action.outputs[0].path())?;
            let reads = remembered.entry.reads.iter().map(|read| self.read(read)).collect::<Option<_>>()?;
            let acted = Acted { step: *step, reads, result: memory::result(remembered) };
            self.watch(remembered)?;
            if acted.result != steps.result(*step) || !steps.reads(*step).eq(acted.reads.iter().copied()) {
                self.patch.acted.push(acted);
            }
            let told = memory::told(action, remembered);
            if self.look.snapshot.told().get(step).map_or(&[][..], Vec::as_slice) != told {
                self.patch.told.push((*step, told));
            }
        }
        Some(())
    }

    /// Has the next build look for what the action looked for in vain; none when it is there by now.
    fn watch(&mut self, remembered: &Remembered) -> Option<()> {
        let snapshot = &self.look.snapshot;
        let is_listed = |path: &str| snapshot.find(path).is_some_and(|file| snapshot.roles(file).any(Roles::FOLDER));
        for path in watch::unwatched(self.root, &remembered.entry.absent, &is_listed) {
            if Stamp::of(&self.root.join(&*path)).ok()?.is_some_and(|stamp| stamp.is_file()) {
                return None;
            }
            if snapshot.find(&path).is_none() {
                self.patch.add_new(snapshot.len(), &path, Known::new(None, None, Roles::LOOKED_FOR));
            }
        }
        Some(())
    }

    /// The number of a file that was read, perhaps for the first time.
    fn read(&mut self, read: &Read) -> Option<FileId> {
        let now = *self.seen.get(&*read.path).filter(|now| now.digest == Some(read.digest))?;
        let snapshot = &self.look.snapshot;
        let known = self.part.numbers.get(&read.path).copied().or_else(|| snapshot.find(&read.path));
        let Some(file) = known else {
            return Some(self.patch.add_new(snapshot.len(), &read.path, Known { roles: Roles::READ, ..now }));
        };
        let roles = snapshot.known(file)?.roles | Roles::READ;
        self.found.insert(file, Known { roles, ..now });
        Some(file)
    }

    fn holds_together(&self) -> Option<()> {
        let bytes_matter = Roles::INPUT | Roles::MADE | Roles::READ;
        let holds = |(file, now): (&FileId, &Known)| {
            let before = self.look.snapshot.known(*file);
            let made_for =
                |before: &Known| self.part.reached[file.index()] || is_same(before, now) || !before.roles.any(bytes_matter);
            before.is_some_and(|before| loads_alike(&before, now) && made_for(&before))
        };
        self.found.iter().all(holds).then_some(())
    }
}
