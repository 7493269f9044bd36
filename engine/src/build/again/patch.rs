//! What a snapshot must say after a build from it.
//!
//! It may say only what holds together: a file's new bytes stand in it when every action that reads them was made for them.
//! Where they might not be, it goes on saying what it said, which is still true, and the next build looks again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use ouro_cache::Read;
use ouro_rules::{Action, ActionKind, Artifact};

use super::part::Part;
use super::reload::Reloaded;
use super::{Look, is_same, loads_alike};
use crate::build::record::{self, Files};
use crate::build::{memory, watch};
use crate::execute::Summary;
use crate::fast::FastSet;
use crate::state::snapshot::{Acted, Added, FileId, Known, Patch, Roles, Snapshot, StepId, Steps};
use crate::state::{Remembered, State};

/// Those of these files that the snapshot does not know so.
pub(super) fn of_files(snapshot: &Snapshot, files: &BTreeMap<FileId, Known>) -> Patch {
    let is_new = |(file, now): &(&FileId, &Known)| snapshot.known(**file) != Some(**now);
    Patch { files: files.iter().filter(is_new).map(|(file, now)| (*file, *now)).collect(), ..Patch::default() }
}

/// What the build changed; none when some file was not what all actions around it were made for.
pub(super) fn of_build(
    (root, look): (&Path, &Look),
    steps: &Steps<'_>,
    part: &Part,
    reloaded: &Reloaded,
    state: &State,
    summary: &Summary,
) -> Option<Patch> {
    let seen = summary.seen.iter().map(|seen| (&*seen.path, Known::new(seen.stamp, seen.digest, Roles::default()))).collect();
    let found = look.same.iter().chain(&look.changed).map(|(file, now)| (*file, *now)).collect();
    let unread = BTreeSet::new();
    let mut draft = Draft { look, root, steps, part, reloaded, seen, found, unread, patch: Patch::default() };
    draft.take_seen();
    draft.take_files(state)?;
    draft.take_ends(state)?;
    draft.take_unread(root);
    draft.holds_together().filter(|()| !summary.disturbed)?;
    let Draft { found, patch, .. } = draft;
    Some(Patch { files: of_files(&look.snapshot, &found).files, book: reloaded.book(), ..patch })
}

struct Draft<'a> {
    look: &'a Look,
    root: &'a Path,
    steps: &'a Steps<'a>,
    part: &'a Part,
    reloaded: &'a Reloaded,
    /// What actions saw.
    seen: HashMap<&'a str, Known>,
    /// What files of the snapshot are now.
    found: BTreeMap<FileId, Known>,
    /// Those that matter no more.
    unread: BTreeSet<FileId>,
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

    /// The files of packages that were loaded anew, and of their actions.
    fn take_files(&mut self, state: &State) -> Option<()> {
        if self.reloaded.records.is_empty() {
            return Some(());
        }
        let mut files: Files = self.seen.iter().map(|(path, known)| (Arc::from(*path), *known)).collect();
        self.reloaded.files.iter().for_each(|(path, known)| record::add(&mut files, path, *known));
        for (action, step) in self.part.plan.actions.iter().zip(&self.part.steps) {
            if step.is_none() {
                record::mark(&mut files, action, state.result(action.outputs[0].path()))?;
            }
        }
        for (path, known) in files.into_iter().filter(|(_, known)| known.roles != Roles::default()) {
            match self.look.snapshot.find(&path) {
                Some(file) => {
                    let before = self.found.get(&file).copied().or_else(|| self.look.snapshot.known(file))?;
                    // What mattered to nobody was not looked at either.
                    let matters = before.roles != Roles::default();
                    self.found.insert(file, if matters { before.and(known) } else { known });
                }
                None => drop(self.patch.add_new(self.look.snapshot.len(), &path, known)),
            }
        }
        Some(())
    }

    /// Has the next build look for what the action looked for in vain; none when it is there by now.
    fn watch(&mut self, remembered: &Remembered) -> Option<()> {
        let snapshot = &self.look.snapshot;
        let is_listed = |path: &str| snapshot.find(path).is_some_and(|file| snapshot.roles(file).any(Roles::FOLDER));
        for path in watch::unwatched(self.root, &*remembered.entry.absent, &is_listed) {
            let absent = record::in_vain(self.root, &path, self.look.began)?;
            match snapshot.find(&path) {
                // What mattered to nobody was not looked at.
                Some(file) if snapshot.roles(file) == Roles::default() => drop(self.found.insert(file, absent)),
                Some(_) => {}
                None => drop(self.patch.add_new(snapshot.len(), &path, absent)),
            }
        }
        Some(())
    }

    fn take_ends(&mut self, state: &State) -> Option<()> {
        let mut next = self.steps.next();
        self.patch.removed = self.part.removed.iter().copied().collect();
        for (step, action) in self.part.steps.iter().zip(&self.part.plan.actions) {
            let remembered = state.result(action.outputs[0].path());
            let before = step.and_then(|step| memory::remembered(self.steps, step)).map(|before| before.entry.absent);
            let is_new = |remembered: &&Remembered| before.as_ref() != Some(&remembered.entry.absent);
            remembered.filter(is_new).map_or(Some(()), |remembered| self.watch(remembered))?;
            let told = remembered.map(|remembered| memory::told(action, remembered)).unwrap_or_default();
            let was_told = step.and_then(|step| self.look.snapshot.told().get(&step)).map_or(&[][..], Vec::as_slice);
            if told != was_told {
                self.patch.told.push((step.unwrap_or(next), told));
            }
            match step {
                Some(step) => self.take_end(*step, action, remembered)?,
                None => {
                    let added = self.added(action, remembered)?;
                    self.patch.added.insert(next, added);
                    next = next.after();
                }
            }
        }
        Some(())
    }

    /// How an action of the snapshot ended; what only writes always ends alike.
    fn take_end(&mut self, step: StepId, action: &Action, remembered: Option<&Remembered>) -> Option<()> {
        if matches!(action.kind, ActionKind::Write { .. }) {
            return Some(());
        }
        let acted = Acted { step, reads: self.reads(remembered)?, result: memory::later_result(self.steps, step, remembered?) };
        if acted.result != self.steps.result(step) || !self.steps.reads(step).eq(acted.reads.iter().copied()) {
            self.patch.acted.push(acted);
        }
        Some(())
    }

    fn added(&mut self, action: &Action, remembered: Option<&Remembered>) -> Option<Added> {
        let place = self.reloaded.place(&action.owner).cloned();
        let numbers = |files: &[Artifact]| files.iter().map(|file| self.number(file.path())).collect::<Option<_>>();
        Some(Added {
            inputs: numbers(&action.inputs)?,
            outputs: numbers(&action.outputs)?,
            reads: self.reads(remembered)?,
            words: memory::words(action, remembered).into_iter().map(str::to_owned).collect(),
            what: memory::what(action, place),
            result: remembered.map(memory::result).unwrap_or_default(),
        })
    }

    fn reads(&mut self, remembered: Option<&Remembered>) -> Option<Vec<FileId>> {
        let reads = remembered.into_iter().flat_map(|remembered| &*remembered.entry.reads);
        reads.map(|read| self.read(read)).collect()
    }

    /// The number of a file that was read, perhaps for the first time.
    fn read(&mut self, read: &Read) -> Option<FileId> {
        let now = *self.seen.get(&*read.path).filter(|now| now.digest == Some(read.digest))?;
        let snapshot = &self.look.snapshot;
        let Some(file) = self.part.numbers.get(&read.path).copied().or_else(|| snapshot.find(&read.path)) else {
            return Some(self.patch.add_new(snapshot.len(), &read.path, Known { roles: Roles::READ, ..now }));
        };
        let roles = self.found.get(&file).copied().or_else(|| snapshot.known(file))?.roles | Roles::READ;
        self.found.insert(file, Known { roles, ..now });
        Some(file)
    }

    fn number(&self, path: &Arc<str>) -> Option<FileId> {
        let known = self.part.numbers.get(path).copied().or_else(|| self.look.snapshot.find(path));
        known.or_else(|| self.patch.new.get(path).map(|(number, _)| *number))
    }

    /// What nobody reads or makes any more is not looked at again.
    fn take_unread(&mut self, root: &Path) {
        if self.reloaded.unread.is_empty() {
            return;
        }
        let snapshot = &self.look.snapshot;
        let live = self.steps.ids().filter(|step| !self.part.removed.contains(step)).flat_map(|step| self.steps.files(step));
        let added = self.patch.added.values().flat_map(|added| added.inputs.iter().chain(&added.outputs).chain(&added.reads));
        let acted = self.patch.acted.iter().flat_map(|acted| &acted.reads);
        let mut unread: BTreeMap<FileId, Known> = BTreeMap::new();
        for path in &self.reloaded.unread {
            let Some(file) = snapshot.find(path) else { continue };
            let Some(now) = self.found.get(&file).copied().or_else(|| snapshot.known(file)) else { continue };
            // What links lead to is looked at for the folders they are in.
            if !now.roles.any(Roles::TOOL) && !root.join(&**path).is_symlink() {
                unread.insert(file, Known { sure: true, digest: None, roles: Roles::default(), ..now });
            }
        }
        let used: FastSet<FileId> = live.chain(added.copied()).chain(acted.copied()).collect();
        unread.retain(|file, _| !used.contains(file));
        self.found.extend(&unread);
        self.unread = unread.into_keys().collect();
    }

    fn holds_together(&self) -> Option<()> {
        let bytes_matter = Roles::INPUT | Roles::MADE | Roles::READ;
        let holds = |(file, now): (&FileId, &Known)| {
            let before = self.look.snapshot.known(*file);
            let made_for =
                |before: &Known| self.part.reached[file.index()] || is_same(before, now) || !before.roles.any(bytes_matter);
            let loaded_for = |before: &Known| match self.look.changed.get(file).filter(|_| self.look.reload.contains(file)) {
                Some(loaded) => is_same(loaded, now),
                None => loads_alike(before, now),
            };
            before.is_some_and(|before| loaded_for(&before) && made_for(&before))
        };
        self.found.iter().filter(|(file, _)| !self.unread.contains(file)).all(holds).then_some(())
    }
}
