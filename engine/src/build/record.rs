//! What a build leaves for the next one: a snapshot of all it read, did and made.
//!
//! Runs nothing. When some file may not have been what it seems, there is no snapshot, and the next build looks again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ouro_cache::Digest;
use ouro_rules::{Action, ActionKind, Artifact};
use rayon::prelude::*;

use super::memory::{self, Memory};
use super::variants::Planned;
use super::{Analysis, Request, book, watch};
use crate::execute::Summary;
use crate::fast::FastSet;
use crate::load::{self, Loaded, Reads};
use crate::state::snapshot::{self, Draft, Known, Roles, Snapshot, Step};
use crate::state::{Remembered, Stamp, State, StateError};
use crate::toolchain::candidate_folders;

/// A build that ended well.
pub(super) struct Finished<'a> {
    pub(super) request: &'a Request<'a>,
    /// Before anything was read.
    pub(super) began: SystemTime,
    pub(super) loaded: &'a Loaded,
    pub(super) analyses: &'a [Analysis<'a>],
    pub(super) planned: &'a Planned,
    pub(super) state: &'a State,
    pub(super) summary: &'a Summary,
}

/// Files with what they were.
pub(super) type Files = HashMap<Arc<str>, Known>;

/// Writes the snapshot, if there can be one.
pub(super) fn record(build: &Finished<'_>, key: &Digest, memory: &Memory) -> Result<(), StateError> {
    // Without a compiler, nothing tells where one may appear.
    if build.summary.disturbed || !memory.toolchain.is_whole() {
        return Ok(());
    }
    let root = &build.request.workspace.root;
    let Some(files) = build.files(memory, Snapshot::open(root, key).as_ref()) else { return Ok(()) };
    let Some(draft) = build.draft(files, memory) else { return Ok(()) };
    snapshot::write(root, key, draft)
}

impl Finished<'_> {
    /// Every file with what it was; `before` spares reading those that have not changed since.
    fn files(&self, memory: &Memory, before: Option<&Snapshot>) -> Option<Files> {
        let root = &self.request.workspace.root;
        let mut files = Files::new();
        let executed = self.summary.seen.iter().map(|seen| (&seen.path, seen.stamp, seen.digest, Roles::default()));
        let programs = memory.toolchain.programs_seen();
        let tools = memory.toolchain.seen.iter().chain(&programs).map(|seen| (&seen.path, seen.stamp, seen.digest, Roles::TOOL));
        executed.chain(tools).for_each(|(path, stamp, digest, roles)| add(&mut files, path, Known::new(stamp, digest, roles)));
        for (path, known) in reads(root, &self.loaded.reads, self.request.program, self.began, before)? {
            add(&mut files, &path, known);
        }
        for path in self.request.configurations.iter().flat_map(|one| candidate_folders(one.platform)) {
            add(&mut files, &path.as_str().into(), folder(&path)?);
        }
        for (path, was_file) in self.analyses.iter().flat_map(|analysis| &analysis.looked_for) {
            add(&mut files, path, looked_for(root, path, *was_file)?);
        }
        for path in self.looked_for_in_vain(&files) {
            add(&mut files, &path, in_vain(root, &path, self.began)?);
        }
        Some(files)
    }

    /// What actions looked for in vain and nothing else watches.
    fn looked_for_in_vain(&self, files: &Files) -> FastSet<Arc<str>> {
        let is_listed = |path: &str| files.get(path).is_some_and(|known| known.roles.any(Roles::FOLDER));
        let results = self.planned.plan.actions.iter().filter_map(|action| self.state.result(action.outputs[0].path()));
        let absent = results.flat_map(|remembered| &*remembered.entry.absent);
        watch::unwatched(&self.request.workspace.root, absent, &is_listed)
    }

    fn draft<'a>(&'a self, mut files: Files, memory: &Memory) -> Option<Draft<'a>> {
        let actions = || self.planned.plan.actions.iter().map(|action| (action, self.state.result(action.outputs[0].path())));
        for (action, remembered) in actions() {
            mark(&mut files, action, remembered)?;
        }
        // Some were looked at in vain: what an action might have read, and what it removed.
        files.retain(|_, known| known.roles != Roles::default());
        let steps = actions().enumerate().map(|(place, (action, remembered))| self.step(place, action, remembered));
        Some(Draft { files, steps: Box::new(steps), said: memory.to_bytes(), book: self.book() })
    }

    /// What is kept of the packages. With several configurations nothing is: each would have to be compared.
    fn book(&self) -> Vec<u8> {
        let [analysis] = self.analyses else { return Vec::new() };
        book::to_bytes(self.loaded, analysis)
    }

    fn step<'a>(&'a self, place: usize, action: &'a Action, remembered: Option<&'a Remembered>) -> Step<'a> {
        let graph = &self.analyses[self.planned.configuration_of(place)].graph;
        let paths = |files: &'a [Artifact]| files.iter().map(|file| &**file.path()).collect();
        Step {
            inputs: paths(&action.inputs),
            outputs: paths(&action.outputs),
            reads: remembered.iter().flat_map(|remembered| &*remembered.entry.reads).map(|read| &*read.path).collect(),
            words: memory::words(action, remembered),
            what: memory::what(action, graph.place(&action.owner).cloned()),
            result: remembered.map(memory::result).unwrap_or_default(),
            told: remembered.map(|remembered| memory::told(action, remembered)).unwrap_or_default(),
        }
    }
}

/// What loading read and the program itself, as they were when they were read.
pub(crate) fn reads(
    root: &Path,
    reads: &Reads,
    program: Option<&Path>,
    began: SystemTime,
    before: Option<&Snapshot>,
) -> Option<Vec<(Arc<str>, Known)>> {
    let reading = Reading { root, began, before };
    let mut all = reading.loaded(reads)?;
    if let Some(program) = program.and_then(Path::to_str) {
        all.push((Arc::from(program), reading.settled(program, Roles::TOOL)?));
    }
    Some(all)
}

/// Finds out what loading read.
pub(super) struct Reading<'a> {
    pub(super) root: &'a Path,
    /// A moment before anything was read.
    pub(super) began: SystemTime,
    /// Spares reading those that have not changed since.
    pub(super) before: Option<&'a Snapshot>,
}

impl Reading<'_> {
    /// What loading read, as it was then: a file that changed after the build began may have changed after it was read, too, and
    /// then there is nothing to go by.
    pub(super) fn loaded(&self, reads: &Reads) -> Option<Vec<(Arc<str>, Known)>> {
        let read = reads.files.iter().map(|path| (path, Roles::LOAD));
        let there: Vec<_> = read.chain(reads.folders.iter().map(|path| (path, Roles::FOLDER))).collect();
        let known = |(path, roles): &(&Arc<str>, Roles)| Some((Arc::clone(path), self.settled(path, *roles)?));
        let mut all: Vec<_> = there.par_iter().map(known).collect::<Option<_>>()?;
        for path in &reads.absent {
            // What was looked for in vain and is there now was not loaded.
            if Stamp::of(&self.root.join(&**path)).ok()?.is_some() {
                return None;
            }
            all.push((Arc::clone(path), Known::new(None, None, Roles::LOAD)));
        }
        for (path, was_file) in &reads.links {
            all.push((Arc::clone(path), looked_for(self.root, path, *was_file)?));
        }
        Some(all)
    }

    fn settled(&self, path: &str, roles: Roles) -> Option<Known> {
        let place = self.root.join(path);
        // What was read and is gone belongs to no build.
        let stamp = Stamp::of(&place).ok()??;
        if !stamp.older_than(self.began) {
            return None;
        }
        let known = |digest| Known::new(Some(stamp.settled()), digest, roles);
        let remembered = remembered(self.before, path, &stamp);
        if remembered.is_some() || roles.any(Roles::TOOL) {
            return Some(known(remembered));
        }
        let digest =
            if roles.any(Roles::FOLDER) { load::folder_digest(&place, path.is_empty()) } else { Digest::of_file(&place) };
        // What was hashed must be what was loaded.
        let unchanged = Stamp::of(&place).ok()?.is_some_and(|now| now.same(&stamp));
        Some(known(Some(digest.ok()?))).filter(|_| unchanged)
    }
}

/// Adds a sight of a file.
pub(super) fn add(files: &mut Files, path: &Arc<str>, known: Known) {
    files.entry(path.clone()).and_modify(|old| *old = old.and(known)).or_insert(known);
}

/// The digest of a file that has not changed since the last snapshot.
fn remembered(before: Option<&Snapshot>, path: &str, stamp: &Stamp) -> Option<Digest> {
    let known = before?.known(before?.find(path)?)?;
    known.stamp.filter(|then| known.sure && then.same(stamp)).and(known.digest)
}

/// A path that was looked for, as it is now; none when it came or went since. Its bytes were not read, so they may have changed:
/// who did read them saw them in time.
pub(crate) fn looked_for(root: &Path, path: &str, was_file: bool) -> Option<Known> {
    let stamp = Stamp::of(&root.join(path)).ok()?;
    let is_file = stamp.is_some_and(|stamp| stamp.is_file());
    (is_file == was_file).then(|| Known::new(stamp.map(Stamp::settled), None, Roles::LOOKED_FOR))
}

/// A path that actions looked for in vain, as it is now; none when it came since the build began. What was there all the while is what
/// none of them may read: it is as if it were not.
pub(super) fn in_vain(root: &Path, path: &str, began: SystemTime) -> Option<Known> {
    let is_file = Stamp::of(&root.join(path)).ok()?.is_some_and(|stamp| stamp.is_file());
    // A file that is as old as ever may have come with its folder.
    let is_old = |part: &Path| matches!(Stamp::of(&root.join(part)), Ok(Some(stamp)) if stamp.older_than(began));
    looked_for(root, path, is_file && Path::new(path).ancestors().all(is_old))
}

/// A folder that decides what compilers are told by being there.
fn folder(path: &str) -> Option<Known> {
    let stamp = Stamp::of(Path::new(path)).ok()?;
    Some(Known::new(stamp.map(Stamp::settled), None, Roles::TOOL))
}

/// Says of an action's files what they were to it. Nothing when one was never looked at, or is not what the action read.
pub(super) fn mark(files: &mut Files, action: &Action, remembered: Option<&Remembered>) -> Option<()> {
    let is_known = remembered.is_some() || matches!(action.kind, ActionKind::Write { .. });
    let input = |file: &'_ Artifact| if matches!(file, Artifact::Source(_)) { Roles::INPUT } else { Roles::MADE };
    for file in action.inputs.iter().chain(&action.outputs) {
        let known = files.get_mut(file.path())?;
        known.roles = known.roles | input(file);
    }
    for read in remembered.iter().flat_map(|remembered| &*remembered.entry.reads) {
        let known = files.get_mut(&read.path).filter(|known| known.digest == Some(read.digest))?;
        known.roles = known.roles | Roles::READ;
    }
    is_known.then_some(())
}
