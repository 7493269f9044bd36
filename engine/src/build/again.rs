//! A build from the snapshot of an earlier one: nothing when nothing changed, else the actions that the changes reach.
//!
//! Loads and analyses only packages that a change of what was loaded may mean. Where that may not be all, it leaves everything to
//! the whole way.

mod guess;
mod part;
mod patch;
mod reload;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ouro_cache::Digest;

use self::guess::Guess;
use self::part::Part;
use self::reload::Reloaded;
use super::memory::{self, Memory};
use super::{BuildError, Built, Request, variants};
use crate::event::{Event, Phase};
use crate::execute::{self, ExecuteError, HeadStart, Options, Site};
use crate::load;
use crate::state::snapshot::{FileId, Known, Roles, Snapshot, Steps};
use crate::state::{Lock, Stamp};

/// What is built, and where.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) cache: &'a Path,
    /// Of the request.
    pub(super) key: &'a Digest,
}

impl<'a> Place<'a> {
    pub(super) fn root(&self) -> &'a Path {
        &self.request.workspace.root
    }
}

/// Builds from the snapshot; nothing when it takes the whole way.
pub(super) fn again(
    place: Place<'_>,
    options: &Options<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Option<Built>, BuildError> {
    let Some(mut look) = Look::take(place, options) else { return Ok(None) };
    if look.changed.is_empty() && look.gone.is_empty() {
        look.refresh(place.root());
        return Ok(Some(look.nothing_to_do(place, options, events)));
    }
    let lock = Lock::acquire_as_is(place.root(), options.cancelled, events)?;
    if lock.waited() || !look.snapshot.is_current() {
        let Some(now) = Look::take(place, options) else { return Ok(None) };
        look = now;
    }
    if look.reload.is_empty() {
        look.restore(place, &BTreeSet::new(), options, events)?;
    }
    if look.changed.is_empty() {
        return Ok(Some(look.nothing_to_do(place, options, events)));
    }
    look.rebuild(place, &lock, options, events)
}

/// A snapshot, and what is no longer as it says.
struct Look {
    /// Before anything was looked at.
    began: SystemTime,
    snapshot: Snapshot,
    memory: Memory,
    /// Files that have other stamps and the same bytes.
    same: BTreeMap<FileId, Known>,
    /// Files that have other bytes.
    changed: BTreeMap<FileId, Known>,
    /// Outputs that are gone with their folders.
    gone: Vec<FileId>,
    /// Those of them that decide what is loaded, or are gone.
    reload: BTreeSet<FileId>,
    /// A compiler that waits for the first command, if one may come.
    ahead: Option<HeadStart>,
}

impl Look {
    /// None when there is no snapshot, or only the whole way can tell what a change means.
    fn take(place: Place<'_>, options: &Options<'_>) -> Option<Look> {
        let began = SystemTime::now();
        let snapshot = Snapshot::open(place.root(), place.key)?;
        let memory = Memory::of(&snapshot)?;
        let (mut guess, root) = (Guess::new(options), place.root());
        let differing = snapshot.differing(root, options.jobs, &mut |file| guess.saw(file, &snapshot, &memory, root));
        let (gone, differing) = restore::gone(&snapshot, root, differing);
        let (same, changed, reload) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut look = Look { began, snapshot, memory, same, changed, gone, reload, ahead: guess.ahead };
        for file in differing {
            look.look_again(file, place.root())?;
        }
        Some(look)
    }

    fn look_again(&mut self, file: FileId, root: &Path) -> Option<()> {
        let (before, path) = (self.snapshot.known(file)?, self.snapshot.path(file)?);
        let now = look_again(root, &path, &before)?;
        if is_same(&before, &now) && loads_alike(&before, &now) {
            self.same.insert(file, now);
            return Some(());
        }
        if !loads_alike(&before, &now) {
            may_reload(&root.join(&*path), &before, &now).then_some(())?;
            self.reload.insert(file);
        }
        self.changed.insert(file, now);
        Some(())
    }

    /// A file of the snapshot as it is now.
    fn now(&self, file: FileId) -> Option<Known> {
        self.changed.get(&file).or(self.same.get(&file)).copied().or_else(|| self.snapshot.known(file))
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
        memory::tell_again(place.request.configurations, retold, 0, options.color, events);
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
        let Some(mut steps) = self.snapshot.steps() else { return Ok(None) };
        let Some(reloaded) = self.reloaded(place, &steps, options.cancelled, events)? else { return Ok(None) };
        if !self.gone.is_empty() {
            let obsolete = reloaded.obsolete(&self.snapshot, &steps);
            drop(steps);
            self.restore(place, &obsolete, options, events)?;
            let Some(again) = self.snapshot.steps() else { return Ok(None) };
            steps = again;
        }
        let Some((part, mut state)) = Part::reached(&self, &steps, &reloaded) else { return Ok(None) };
        let store = execute::open_store(place.cache, options.cancelled, events)?;
        let site = Site { lock, toolchain: &self.memory.toolchain, store: &store };
        let (configurations, retold) = (place.request.configurations, memory::retold(&self.snapshot, &part.silent));
        let told = |event| events(part.told(event, retold.len()));
        variants::tell_whose(configurations, 0, &part.outputs(), events);
        let summary = Phase::Execute
            .told(events, || execute::execute_ahead(&site, &part.plan, options, &mut state, self.ahead.take(), &told))?;
        memory::tell_again(configurations, retold, part.plan.actions.len(), options.color, events);
        if summary.failed + summary.skipped > 0 {
            return Err(BuildError::Failed(summary));
        }
        let instead = reloaded.targets(&self.memory);
        let patch = patch::of_build((place.root(), &self), &steps, &part, &reloaded, &state, &summary);
        if let Some(mut patch) = patch {
            patch.said = instead.as_ref().map(memory::pack).unwrap_or_default();
            if !patch.is_empty() {
                self.snapshot.append(&patch)?;
            }
        }
        let targets = match instead {
            Some(instead) => self.memory.targets.with(instead),
            None => self.memory.targets,
        };
        Ok(Some(Built { targets, summary: Some(summary), warnings: self.memory.warnings }))
    }

    /// What the packages are now that a change of what was loaded may mean; none when that takes the whole way.
    fn reloaded(
        &self,
        place: Place<'_>,
        steps: &Steps<'_>,
        cancelled: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Option<Reloaded>, BuildError> {
        if self.reload.is_empty() {
            return Ok(Some(Reloaded::default()));
        }
        events(Event::Began(Phase::Reload));
        let reloaded = Reloaded::of(self, place.request, steps, cancelled);
        // What was found until then means nothing.
        if cancelled.load(Ordering::Relaxed) {
            return Err(ExecuteError::Cancelled.into());
        }
        events(Event::Ended(Phase::Reload));
        Ok(reloaded)
    }
}

/// A file that may have changed, as it is now; none when only the whole way can tell what it is.
pub(crate) fn look_again(root: &Path, path: &str, before: &Known) -> Option<Known> {
    let (place, roles) = (root.join(path), before.roles);
    let stamp = if roles.any(Roles::LOAD | Roles::FOLDER) { settled(&place)? } else { Stamp::of(&place).ok()? };
    let bytes_matter = roles.any(Roles::LOAD | Roles::INPUT | Roles::MADE | Roles::READ);
    let digest = match stamp {
        Some(_) if roles.any(Roles::FOLDER) => Some(load::folder_digest(&place, path.is_empty()).ok()?),
        Some(stamp) if bytes_matter => Some(stamp.is_file().then(|| Digest::of_file(&place).ok())??),
        _ => None,
    };
    Some(Known::new(stamp, digest, roles))
}

/// The stamp of what is loaded, once it can be trusted. One that cannot makes builds look again and again; waiting for the clock to tick
/// takes less. None when the file changes all the time, or its clock goes ahead.
pub(super) fn settled(place: &Path) -> Option<Option<Stamp>> {
    const PAUSE: Duration = Duration::from_millis(2);
    for _ in 0..20 {
        let stamp = Stamp::of(place).ok()?;
        if stamp.is_none_or(|stamp| stamp.older_than(SystemTime::now())) {
            return Some(stamp);
        }
        std::thread::sleep(PAUSE);
    }
    None
}

/// Whether the whole way would find the same targets and actions.
pub(crate) fn loads_alike(before: &Known, now: &Known) -> bool {
    let same_text = !before.roles.any(Roles::LOAD | Roles::FOLDER) || is_same(before, now);
    let same_tool = !before.roles.any(Roles::TOOL) || (before.sure && before.stamp == now.stamp);
    same_text && same_tool && is_still_there(before, now)
}

fn is_still_there(before: &Known, now: &Known) -> bool {
    let is_file = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_file());
    let as_before = !before.roles.any(Roles::LOOKED_FOR) || is_file(before) == is_file(now);
    as_before && (!before.roles.any(Roles::INPUT) || now.stamp.is_some())
}

/// Whether loading the packages again that the file decides can tell what its change means: it has another text, or it is gone. A
/// folder with other entries means more: a compiler might now find a header there that it looked for in vain.
fn may_reload(place: &Path, before: &Known, now: &Known) -> bool {
    let is_gone = || now.stamp.is_none() && !place.is_symlink() && !before.roles.any(Roles::MADE);
    let is_text = || before.roles.any(Roles::LOAD) && is_still_there(before, now);
    !before.roles.any(Roles::TOOL | Roles::FOLDER) && (is_gone() || is_text())
}

/// Whether whoever reads the file finds the same.
pub(crate) fn is_same(before: &Known, now: &Known) -> bool {
    let is_executable = |known: &Known| known.stamp.is_some_and(|stamp| stamp.is_executable());
    before.digest == now.digest && is_executable(before) == is_executable(now)
}
