//! A build from the snapshot of an earlier one: nothing when nothing changed, else the actions that the changes reach.
//!
//! Loads and analyses nothing. Where a change may mean other targets or other actions, it leaves all to the whole way.

mod part;
mod patch;
mod restore;

use std::collections::BTreeMap;
use std::path::Path;

use ouro_cache::{Digest, Store};
use ouro_rules::Configuration;

use self::part::Part;
use super::memory::{self, Memory};
use super::{BuildError, Built, variants};
use crate::event::{Event, Phase};
use crate::execute::{self, Options, Site};
use crate::load;
use crate::state::snapshot::{FileId, Known, Roles, Snapshot};
use crate::state::{Lock, Stamp};

/// Where a build happens.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) root: &'a Path,
    pub(super) cache: &'a Path,
    /// Of the request.
    pub(super) key: &'a Digest,
    /// What is built for.
    pub(super) configurations: &'a [Configuration],
}

/// Builds from the snapshot; nothing when it takes the whole way.
pub(super) fn again(
    place: Place<'_>,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Option<Built>, BuildError> {
    let Some(mut look) = Look::take(place, options.jobs) else { return Ok(None) };
    if look.changed.is_empty() && look.gone.is_empty() {
        look.refresh(place.root);
        return Ok(Some(look.nothing_to_do(place, options, events)));
    }
    let lock = Lock::acquire_as_is(place.root, options.cancelled, events)?;
    if lock.waited() || !look.snapshot.is_current() {
        let Some(now) = Look::take(place, options.jobs) else { return Ok(None) };
        look = now;
    }
    look.restore(place, &lock, options, events)?;
    if look.changed.is_empty() {
        return Ok(Some(look.nothing_to_do(place, options, events)));
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
    /// Outputs that are gone with their folders.
    gone: Vec<FileId>,
}

impl Look {
    /// None when there is no snapshot, or only the whole way can tell what a change means.
    fn take(place: Place<'_>, threads: usize) -> Option<Look> {
        let snapshot = Snapshot::open(place.root, place.key)?;
        let memory = Memory::of(snapshot.said())?;
        let (mut same, mut changed) = (BTreeMap::new(), BTreeMap::new());
        let (gone, differing) = restore::gone(&snapshot, place.root, snapshot.differing(place.root, threads));
        for file in differing {
            let before = snapshot.known(file)?;
            let now = look_again(place.root, &snapshot.path(file)?, &before)?;
            let found = if is_same(&before, &now) { &mut same } else { &mut changed };
            found.insert(file, now);
        }
        Some(Look { snapshot, memory, same, changed, gone })
    }

    /// Writes down the stamps of files that only look changed, unless someone else builds: it saves time and no more.
    fn refresh(&mut self, root: &Path) {
        let patch = patch::of_files(&self.snapshot, &self.same);
        if !patch.is_empty()
            && let Some(_lock) = Lock::if_free(root)
            && self.snapshot.is_current()
        {
            let _ = self.snapshot.append(&patch);
        }
    }

    fn nothing_to_do(self, place: Place<'_>, options: &Options<'_>, events: &(dyn Fn(Event) + Sync)) -> Built {
        let retold = memory::retold(&self.snapshot, &[]);
        memory::tell_again(place.configurations, retold, 0, options.color, events);
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
        let Some((part, mut state)) = Part::reached(&self, &steps) else { return Ok(None) };
        let store = Store::open(place.cache)?;
        let site = Site { lock, toolchain: &self.memory.toolchain, store: &store };
        let retold = memory::retold(&self.snapshot, &part.steps);
        let told = |event| events(part.told(event, retold.len()));
        variants::tell_whose(place.configurations, 0, &part.outputs(), events);
        let summary = Phase::Execute.told(events, || execute::execute(&site, &part.plan, options, &mut state, &told))?;
        memory::tell_again(place.configurations, retold, part.plan.actions.len(), options.color, events);
        if summary.failed + summary.skipped > 0 {
            return Err(BuildError::Failed(summary));
        }
        let patch = patch::of_build(&self, place.root, &steps, &part, &state, &summary);
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            self.snapshot.append(&patch)?;
        }
        Ok(Some(Built { targets: self.memory.targets, summary: Some(summary), warnings: self.memory.warnings }))
    }
}

/// A file that may have changed, as it is now; none when only the whole way can tell what its change means.
pub(crate) fn look_again(root: &Path, path: &str, before: &Known) -> Option<Known> {
    let (place, roles) = (root.join(path), before.roles);
    let stamp = Stamp::of(&place).ok()?;
    let bytes_matter = roles.any(Roles::LOAD | Roles::INPUT | Roles::MADE | Roles::READ);
    let digest = match stamp {
        Some(_) if roles.any(Roles::FOLDER) => Some(load::folder_digest(&place, path.is_empty()).ok()?),
        Some(stamp) if bytes_matter => Some(stamp.is_file().then(|| Digest::of_file(&place).ok())??),
        _ => None,
    };
    let now = Known::new(stamp, digest, roles);
    loads_alike(before, &now).then_some(now)
}

/// Whether the whole way would find the same targets and actions.
fn loads_alike(before: &Known, now: &Known) -> bool {
    let is_file = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_file());
    let same_text = !before.roles.any(Roles::LOAD | Roles::FOLDER) || is_same(before, now);
    let same_tool = !before.roles.any(Roles::TOOL) || (before.sure && before.stamp == now.stamp);
    let still_there = !before.roles.any(Roles::LOOKED_FOR) || is_file(before) == is_file(now);
    let still_input = !before.roles.any(Roles::INPUT) || now.stamp.is_some();
    same_text && same_tool && still_there && still_input
}

/// Whether whoever reads the file finds the same.
pub(crate) fn is_same(before: &Known, now: &Known) -> bool {
    let is_executable = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_executable());
    before.digest == now.digest && is_executable(before) == is_executable(now)
}
