//! A build from the snapshot of an earlier one: nothing when nothing changed, else the actions that the changes reach.
//!
//! Loads and analyses nothing. Where a change may mean other targets or other actions, it leaves all to the whole way.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use ouro_cache::{Digest, Read, Store};
use ouro_rules::{Artifact, Span};

use super::memory::{self, Memory};
use super::{BuildError, Built};
use crate::event::Event;
use crate::execute::{self, Options, Site, Summary};
use crate::load;
use crate::plan::Plan;
use crate::state::snapshot::{Acted, FileId, Known, Patch, Roles, Snapshot, StepId, Steps};
use crate::state::{File, Lock, Remembered, Stamp, State};

/// Where a build happens.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) root: &'a Path,
    pub(super) cache: &'a Path,
    pub(super) key: &'a Digest,
}

/// Builds from the snapshot; nothing when it takes the whole way.
pub(super) fn again(
    place: Place<'_>,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Option<Built>, BuildError> {
    let Some(mut look) = Look::take(place, options.jobs) else { return Ok(None) };
    if look.changed.is_empty() {
        look.refresh(place.root);
        return Ok(Some(look.nothing_to_do(options, events)));
    }
    let lock = Lock::acquire(place.root, options.cancelled, events)?;
    if lock.waited() || !look.snapshot.is_current() {
        match Look::take(place, options.jobs) {
            Some(now) => look = now,
            None => return Ok(None),
        }
    }
    look.rebuild(place, &lock, options, events)
}

/// A snapshot, and what is no longer as it says.
struct Look {
    snapshot: Snapshot,
    memory: Memory,
    /// Files that have other stamps and the same bytes.
    same: BTreeMap<FileId, Known>,
    /// Files that have other bytes.
    changed: BTreeMap<FileId, Known>,
}

impl Look {
    /// None when there is no snapshot, or only the whole way can tell what a change means.
    fn take(place: Place<'_>, threads: usize) -> Option<Look> {
        let snapshot = Snapshot::open(place.root, place.key)?;
        let memory = Memory::of(snapshot.said())?;
        let (mut same, mut changed) = (BTreeMap::new(), BTreeMap::new());
        for file in snapshot.differing(place.root, threads) {
            let before = snapshot.known(file)?;
            let now = look_again(&place.root.join(&*snapshot.path(file)?), &before)?;
            let found = if is_same(&before, &now) { &mut same } else { &mut changed };
            found.insert(file, now);
        }
        Some(Look { snapshot, memory, same, changed })
    }

    /// Writes down the stamps of files that only look changed, unless someone else builds: it saves time and no more.
    fn refresh(&mut self, root: &Path) {
        let patch = self.patch_of(&self.same);
        if !patch.is_empty()
            && let Some(_lock) = Lock::if_free(root)
            && self.snapshot.is_current()
        {
            let _ = self.snapshot.append(&patch);
        }
    }

    fn nothing_to_do(self, options: &Options<'_>, events: &(dyn Fn(Event) + Sync)) -> Built {
        memory::tell_again(&self.snapshot, &[], options.color, events);
        Built { targets: self.memory.targets, summary: None, warnings: self.memory.warnings }
    }

    /// Does what the changes reach.
    fn rebuild(
        mut self,
        place: Place<'_>,
        lock: &Lock,
        options: &Options<'_>,
        events: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<Built>, BuildError> {
        let Some(steps) = self.snapshot.steps() else { return Ok(None) };
        let Some((part, mut state)) = self.part(&steps) else { return Ok(None) };
        let store = Store::open(place.cache)?;
        let site = Site { lock, toolchain: &self.memory.toolchain, store: &store };
        memory::tell_again(&self.snapshot, &part.steps, options.color, events);
        let told = |event| events(part.with_place(event));
        let summary = execute::execute(&site, &part.plan, options, &mut state, &told)?;
        if summary.failed + summary.skipped > 0 {
            return Err(BuildError::Failed(summary));
        }
        let patch = self.patch(&steps, &part, &state, &summary);
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            self.snapshot.append(&patch)?;
        }
        Ok(Some(Built { targets: self.memory.targets, summary: Some(summary), warnings: self.memory.warnings }))
    }

    /// The actions that the changes reach, and what is remembered of their files and ends.
    fn part(&self, steps: &Steps<'_>) -> Option<(Part, State)> {
        let (reached, ids) = self.reached(steps);
        let mut part = Part { steps: ids, reached, ..Part::default() };
        let mut state = State::unwritten();
        for step in part.steps.clone() {
            for file in steps.files(step) {
                self.remember_file(&mut part, &mut state, file)?;
            }
            part.add(steps, step)?;
            self.remember_result(&part, &mut state, steps, step)?;
        }
        Some((part, state))
    }

    /// The files that changed or may be made anew, and the actions that have to do with them. One look at each action is
    /// enough: they come after those they need.
    fn reached(&self, steps: &Steps<'_>) -> (Vec<bool>, Vec<StepId>) {
        let mut reached = vec![false; self.snapshot.len()];
        let is_reached = |reached: &[bool], file: FileId| reached.get(file.index()).copied().unwrap_or(true);
        self.changed.keys().for_each(|file| reached[file.index()] = true);
        let mut found = Vec::new();
        for step in steps.ids() {
            if steps.files(step).any(|file| is_reached(&reached, file)) {
                steps.outputs(step).for_each(|file| reached.get_mut(file.index()).into_iter().for_each(|reached| *reached = true));
                found.push(step);
            }
        }
        (reached, found)
    }

    fn remember_file(&self, part: &mut Part, state: &mut State, file: FileId) -> Option<()> {
        if part.files.contains_key(&file) {
            return Some(());
        }
        let path = self.snapshot.path(file)?;
        let before = self.snapshot.known(file)?;
        let now = self.changed.get(&file).or(self.same.get(&file)).copied().unwrap_or(before);
        if let (Some(stamp), Some(digest), true) = (now.stamp, now.digest, now.sure) {
            state.set_file(path.clone(), File { stamp, digest });
        }
        part.numbers.insert(path.clone(), file);
        part.files.insert(file, (path, before));
        Some(())
    }

    /// What the action read is remembered with the bytes it had then.
    fn remember_result(&self, part: &Part, state: &mut State, steps: &Steps<'_>, step: StepId) -> Option<()> {
        let mut remembered: Remembered = postcard::from_bytes(steps.result(step)).ok()?;
        let read = |file: FileId| {
            let (path, before) = &part.files[&file];
            Some(Read { path: path.clone(), digest: before.digest? })
        };
        if let Some(reads) = steps.reads(step).map(read).collect() {
            remembered.entry.reads = reads;
            state.set_result(part.plan.actions.last()?.outputs[0].path().clone(), remembered);
        }
        Some(())
    }

    /// Those of these files whose entries are not right any more.
    fn patch_of(&self, files: &BTreeMap<FileId, Known>) -> Patch {
        let is_new = |(file, now): &(&FileId, &Known)| self.snapshot.known(**file) != Some(**now);
        Patch { files: files.iter().filter(is_new).map(|(file, now)| (*file, *now)).collect(), ..Patch::default() }
    }

    /// What the snapshot must say from now on. None when some file was not what the actions around it were made for: then it
    /// says what it said, which is still true, and the next build looks again.
    fn patch(&self, steps: &Steps<'_>, part: &Part, state: &State, summary: &Summary) -> Option<Patch> {
        if summary.disturbed {
            return None;
        }
        let seen: HashMap<&str, Known> =
            summary.seen.iter().map(|seen| (&*seen.path, Known::new(seen.stamp, seen.digest, Roles::default()))).collect();
        let mut now: BTreeMap<FileId, Known> = self.same.iter().chain(&self.changed).map(|(file, now)| (*file, *now)).collect();
        for (path, found) in &seen {
            if let Some(file) = part.numbers.get(*path) {
                let before = part.files[file].1;
                now.insert(*file, Known { roles: before.roles, ..*found });
            }
        }
        let mut patch = Patch::default();
        self.patch_steps(steps, part, state, &seen, &mut now, &mut patch)?;
        let is_right = |(file, now): (&FileId, &Known)| {
            let before = self.snapshot.known(*file);
            before.is_some_and(|before| may_become(&before, now, part.reached[file.index()]))
        };
        now.iter().all(is_right).then(|| Patch { files: self.patch_of(&now).files, ..patch })
    }

    fn patch_steps(
        &self,
        steps: &Steps<'_>,
        part: &Part,
        state: &State,
        seen: &HashMap<&str, Known>,
        now: &mut BTreeMap<FileId, Known>,
        patch: &mut Patch,
    ) -> Option<()> {
        for (step, action) in part.steps.iter().zip(&part.plan.actions) {
            let remembered = state.result(action.outputs[0].path())?;
            let reads = remembered.entry.reads.iter().map(|read| self.number(part, seen, now, patch, read));
            let acted = Acted { step: *step, reads: reads.collect::<Option<_>>()?, result: memory::result(remembered) };
            if acted.result != steps.result(*step) || !steps.reads(*step).eq(acted.reads.iter().copied()) {
                patch.acted.push(acted);
            }
            let told = memory::told(action, remembered);
            if self.snapshot.told().get(step).map_or(&[][..], Vec::as_slice) != told {
                patch.told.push((*step, told));
            }
        }
        Some(())
    }

    /// The number of a file that was read, perhaps for the first time.
    fn number(
        &self,
        part: &Part,
        seen: &HashMap<&str, Known>,
        now: &mut BTreeMap<FileId, Known>,
        patch: &mut Patch,
        read: &Read,
    ) -> Option<FileId> {
        let found = seen.get(&*read.path).filter(|found| found.digest == Some(read.digest))?;
        let known = part.numbers.get(&read.path).copied().or_else(|| self.snapshot.find(&read.path));
        if let Some(file) = known {
            let roles = self.snapshot.known(file)?.roles | Roles::READ;
            now.insert(file, Known { roles, ..*found });
            return Some(file);
        }
        if let Some(place) = patch.new.iter().position(|(path, _)| *path == read.path) {
            return Some(Patch::default().next_file(self.snapshot.len() + place));
        }
        let file = patch.next_file(self.snapshot.len());
        patch.new.push((read.path.clone(), Known { roles: Roles::READ, ..*found }));
        Some(file)
    }
}

/// The actions that changes reach.
#[derive(Default)]
struct Part {
    plan: Plan,
    steps: Vec<StepId>,
    /// Where the target of each is declared.
    places: Vec<Option<Span>>,
    /// For every file of the snapshot, whether it changed or may be made anew.
    reached: Vec<bool>,
    /// The files of these actions, as they were.
    files: HashMap<FileId, (Arc<str>, Known)>,
    numbers: HashMap<Arc<str>, FileId>,
    /// Who makes a file.
    makers: HashMap<FileId, u32>,
}

impl Part {
    fn add(&mut self, steps: &Steps<'_>, step: StepId) -> Option<()> {
        let artifact = |file: FileId| {
            let (path, known) = &self.files[&file];
            if known.roles.any(Roles::MADE) { Artifact::Output(path.clone()) } else { Artifact::Source(path.clone()) }
        };
        let (inputs, outputs): (Vec<_>, Vec<_>) = (steps.inputs(step).map(artifact).collect(), steps.outputs(step).map(artifact).collect());
        let (action, place) = memory::action(steps, step, inputs, outputs)?;
        action.outputs.first()?;
        let mut needs: Vec<u32> = steps.inputs(step).filter_map(|file| self.makers.get(&file).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        let number = self.plan.actions.len() as u32;
        self.makers.extend(steps.outputs(step).map(|file| (file, number)));
        self.plan.actions.push(Arc::new(action));
        self.plan.needs.push(needs);
        self.places.push(place);
        Some(())
    }

    /// Findings of actions that have no place get their target's.
    fn with_place(&self, mut event: Event) -> Event {
        if let Event::Failed { action, findings, .. } = &mut event {
            let place = self.places.get(*action).cloned().flatten();
            findings.iter_mut().filter(|finding| finding.span.is_none()).for_each(|finding| finding.span = place.clone());
        }
        event
    }
}

/// A file that may have changed, as it is now; none when only the whole way can tell what its change means.
fn look_again(place: &Path, before: &Known) -> Option<Known> {
    let roles = before.roles;
    let stamp = Stamp::of(place).ok()?;
    let bytes_matter = roles.any(Roles::LOAD | Roles::INPUT | Roles::MADE | Roles::READ);
    let digest = match stamp {
        Some(_) if roles.any(Roles::FOLDER) => Some(load::folder_digest(place).ok()?),
        Some(stamp) if bytes_matter => Some(stamp.is_file().then(|| Digest::of_file(place).ok())??),
        _ => None,
    };
    let now = Known::new(stamp, digest, roles);
    may_become(before, &now, true).then_some(now)
}

/// Whether the whole way would find the same targets and actions; and when the file is not `reached`, whether no action could tell
/// a difference.
fn may_become(before: &Known, now: &Known, reached: bool) -> bool {
    let is_file = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_file());
    let loads_alike = !before.roles.any(Roles::LOAD | Roles::FOLDER) || is_same(before, now);
    let same_tool = !before.roles.any(Roles::TOOL) || (before.sure && before.stamp == now.stamp);
    let still_there = !before.roles.any(Roles::LOOKED_FOR) || is_file(before) == is_file(now);
    let still_input = !before.roles.any(Roles::INPUT) || now.stamp.is_some();
    let acts_alike = reached || is_same(before, now) || !before.roles.any(Roles::INPUT | Roles::MADE | Roles::READ);
    loads_alike && same_tool && still_there && still_input && acts_alike
}

/// Whether whoever reads the file finds the same.
fn is_same(before: &Known, now: &Known) -> bool {
    let is_executable = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_executable());
    before.digest == now.digest && is_executable(before) == is_executable(now)
}
