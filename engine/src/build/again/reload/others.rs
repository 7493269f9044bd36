//! The actions of a snapshot that are of no package that was loaded anew, and how those fit to them.
//!
//! Knows nothing of packages but what is kept of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::{Action, Artifact};

use crate::build::book::{Book, Kept};
use crate::fast::FastSet;
use crate::plan::Plan;
use crate::state::snapshot::{FileId, Snapshot, StepId, Steps};

pub(super) struct Others<'a> {
    snapshot: &'a Snapshot,
    steps: &'a Steps<'a>,
    /// Who makes each file.
    makers: Vec<Option<StepId>>,
    /// The actions of the packages, as they were.
    theirs: BTreeSet<StepId>,
    /// Whether another action needs the file.
    needed: Vec<bool>,
}

impl<'a> Others<'a> {
    /// All but those of packages of which this was kept.
    pub(super) fn of(snapshot: &'a Snapshot, steps: &'a Steps<'a>, before: &BTreeMap<&str, Kept>) -> Others<'a> {
        let (makers, needed) = (vec![None; snapshot.len()], vec![false; snapshot.len()]);
        let mut others = Others { snapshot, steps, makers, theirs: BTreeSet::new(), needed };
        for step in steps.ids() {
            steps.outputs(step).for_each(|file| put(&mut others.makers, file, Some(step)));
        }
        let written = before.values().flat_map(|kept| &kept.written);
        others.theirs = written.filter_map(|path| others.maker(path)).collect();
        for step in steps.ids().filter(|step| !others.theirs.contains(step)) {
            steps.inputs(step).for_each(|file| put(&mut others.needed, file, true));
        }
        others
    }

    /// The actions the packages had before.
    pub(super) fn into_steps(self) -> BTreeSet<StepId> {
        self.theirs
    }

    /// Every file of those.
    pub(super) fn their_files(&self) -> impl Iterator<Item = Arc<str>> {
        let files: BTreeSet<FileId> = self.theirs.iter().flat_map(|step| self.steps.files(*step)).collect();
        files.into_iter().filter_map(|file| self.snapshot.path(file))
    }

    /// Whether another action needs the file at this path.
    pub(super) fn need(&self, path: &str) -> bool {
        self.snapshot.find(path).is_some_and(|file| self.needed.get(file.index()).copied().unwrap_or(true))
    }

    /// Whether one of them makes what this action makes.
    pub(super) fn make(&self, action: &Action) -> bool {
        action.outputs.iter().any(|file| self.is_others(file.path()))
    }

    /// Whether others make all that the plan needs of them, need nothing that nobody makes any more, and are all still needed
    /// themselves.
    pub(super) fn fit(&self, plan: &Plan, before: &BTreeMap<&str, Kept>, book: &Book<'_>) -> bool {
        let made: FastSet<&str> = plan.actions.iter().flat_map(|action| &action.outputs).map(|file| &**file.path()).collect();
        let inputs = plan.actions.iter().flat_map(|action| &action.inputs).chain(&plan.requested);
        let is_made = |path: &str| made.contains(path) || self.is_others(path);
        let lacks = inputs.clone().any(|file| matches!(file, Artifact::Output(path) if !is_made(path)));
        let theirs = || self.theirs.iter();
        let orphans =
            theirs().flat_map(|step| self.steps.outputs(*step)).any(|file| self.is_needed(file) && !self.is_in(file, &made));
        let read: FastSet<&str> = inputs.map(|file| &**file.path()).collect();
        let candidates = theirs().flat_map(|step| self.steps.inputs(*step)).filter_map(|file| self.snapshot.path(file));
        let candidates = candidates.chain(before.values().flat_map(|kept| kept.asked.iter().cloned()));
        let is_asked = |path: &str| is_asked(book, path, &|package| before.contains_key(package));
        let is_lost = |path: &str| self.is_others(path) && !self.need(path) && !read.contains(path) && !is_asked(path);
        !lacks && !orphans && !candidates.into_iter().any(|path| is_lost(&path))
    }

    fn maker(&self, path: &str) -> Option<StepId> {
        self.makers.get(self.snapshot.find(path)?.index()).copied().flatten()
    }

    /// Whether another action makes the file at this path.
    fn is_others(&self, path: &str) -> bool {
        self.maker(path).is_some_and(|step| !self.theirs.contains(&step))
    }

    fn is_needed(&self, file: FileId) -> bool {
        self.needed.get(file.index()).copied().unwrap_or(true)
    }

    fn is_in(&self, file: FileId, paths: &FastSet<&str>) -> bool {
        self.snapshot.path(file).is_some_and(|path| paths.contains(&*path))
    }
}

/// Whether the package in whose folder a file is made asks for it, unless it is a fresh one. Which package that is, its path tells.
fn is_asked(book: &Book<'_>, path: &str, is_fresh: &dyn Fn(&str) -> bool) -> bool {
    // `ouro-out/x86/fw/parse.o`
    let Some(inner) = path.splitn(3, '/').nth(2) else { return false };
    let folders = inner.rmatch_indices('/').map(|(at, _)| &inner[..at]).chain([""]);
    let around = folders.into_iter().filter(|folder| !is_fresh(folder)).filter_map(|folder| book.kept(folder));
    around.into_iter().any(|kept| kept.asked.iter().any(|asked| **asked == *path))
}

fn put<T>(all: &mut [T], file: FileId, value: T) {
    if let Some(place) = all.get_mut(file.index()) {
        *place = value;
    }
}
