//! The part of a plan that changes reach, taken from a snapshot and from packages that were loaded anew, with what is remembered of
//! its files and results.
//!
//! Looks at no file.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ouro_cache::{Digest, Read};
use ouro_rules::{Action, ActionKind, Artifact, Span};

use super::Look;
use super::reload::Reloaded;
use crate::build::memory;
use crate::event::Event;
use crate::fast::FastMap;
use crate::plan::Plan;
use crate::state::snapshot::{FileId, Known, Roles, StepId, Steps};
use crate::state::{File, State};

/// The actions that changes reach.
#[derive(Default)]
pub(super) struct Part {
    pub(super) plan: Plan,
    /// Their numbers, in the plan's order; none for those that are new.
    pub(super) steps: Vec<Option<StepId>>,
    /// Those that are part of the build no more.
    pub(super) removed: BTreeSet<StepId>,
    /// Those of which nothing is told again, sorted.
    pub(super) silent: Vec<StepId>,
    /// For every file of the snapshot, whether it changed or may be made anew.
    pub(super) reached: Vec<bool>,
    /// The files of these actions, as the snapshot says.
    pub(super) files: HashMap<FileId, (Arc<str>, Known)>,
    /// The same by path.
    pub(super) numbers: HashMap<Arc<str>, FileId>,
    /// Where the target of each is declared, in the plan's order.
    places: Vec<Option<Span>>,
}

/// An action to be done.
struct Item {
    action: Arc<Action>,
    step: Option<StepId>,
    place: Option<Span>,
}

impl Part {
    /// None when one of the actions takes the whole way.
    pub(super) fn reached(look: &Look, steps: &Steps<'_>, reloaded: &Reloaded) -> Option<(Part, State)> {
        let (mut part, mut state) = (Part { reached: vec![false; look.snapshot.len()], ..Part::default() }, State::unwritten());
        look.changed.keys().for_each(|file| part.reach(*file));
        let mut items = part.reloaded(look, steps, reloaded, &mut state)?;
        let done: BTreeSet<StepId> = items.iter().filter_map(|item| item.step).chain(part.removed.iter().copied()).collect();
        for step in steps.ids().filter(|step| !done.contains(step)) {
            // A number that is none of a file's is looked at, and found to be wrong.
            if steps.files(step).any(|file| part.reached.get(file.index()).copied().unwrap_or(true)) {
                steps.outputs(step).for_each(|file| part.reach(file));
                items.push(part.known(look, steps, step, &mut state)?);
            }
        }
        part.arrange(items)?;
        Some((part, state))
    }

    /// The first file that each of them makes.
    pub(super) fn outputs(&self) -> Vec<Arc<str>> {
        self.plan.actions.iter().map(|action| action.outputs[0].path().clone()).collect()
    }

    /// What execution tells, as the build does: so many actions are told of besides, and findings of actions that have no place get
    /// their target's.
    pub(super) fn told(&self, mut event: Event, besides: usize) -> Event {
        match &mut event {
            Event::Planned { actions } => *actions += besides,
            Event::Failed { action, findings, .. } => {
                let place = self.places.get(*action).cloned().flatten();
                findings.iter_mut().filter(|finding| finding.span.is_none()).for_each(|finding| finding.span = place.clone());
            }
            _ => {}
        }
        event
    }

    /// One look at each action is enough: they come after those they need.
    fn reach(&mut self, file: FileId) {
        if let Some(reached) = self.reached.get_mut(file.index()) {
            *reached = true;
        }
    }

    /// The actions of packages that were loaded anew, but for those that are what they were: these are looked at only when a change
    /// reaches them.
    fn reloaded(&mut self, look: &Look, steps: &Steps<'_>, reloaded: &Reloaded, state: &mut State) -> Option<Vec<Item>> {
        self.removed = reloaded.before.clone();
        let by_output = |step: &StepId| Some((steps.outputs(*step).next()?, *step));
        let before: FastMap<FileId, StepId> = reloaded.before.iter().filter_map(by_output).collect();
        let mut items = Vec::new();
        for action in &reloaded.plan.actions {
            let place = reloaded.place(&action.owner).cloned();
            let old = look.snapshot.find(action.outputs[0].path()).and_then(|file| before.get(&file)).copied();
            let same = old.filter(|old| is_same(look, steps, *old, action, place.as_ref()));
            if let Some(step) = same {
                self.removed.remove(&step);
            }
            if same.is_some() && is_in_place(look, action) {
                continue;
            }
            let own = action.inputs.iter().chain(&action.outputs).filter_map(|file| look.snapshot.find(file.path()));
            let theirs = old.into_iter().flat_map(|old| steps.files(old));
            own.chain(theirs).try_for_each(|file| self.add_file(look, file, state))?;
            // How it ended before is asked of the cache, which knows what was looked for in vain; what may be found is decided anew.
            action.outputs.iter().filter_map(|file| look.snapshot.find(file.path())).for_each(|file| self.reach(file));
            items.push(Item { action: Arc::clone(action), step: same, place });
        }
        Some(items)
    }

    /// An action of the snapshot.
    fn known(&mut self, look: &Look, steps: &Steps<'_>, step: StepId, state: &mut State) -> Option<Item> {
        for file in steps.files(step) {
            self.add_file(look, file, state)?;
        }
        let inputs = steps.inputs(step).map(|file| self.artifact(file)).collect();
        let outputs = steps.outputs(step).map(|file| self.artifact(file)).collect();
        let (action, place) = memory::action(steps, step, inputs, outputs)?;
        self.remember(steps, step, state)?;
        Some(Item { action: Arc::new(action), step: Some(step), place })
    }

    /// Makes the plan, in which each action comes after those it needs. None when two make the same file.
    fn arrange(&mut self, items: Vec<Item>) -> Option<()> {
        let count = items.len();
        let actions: Vec<Arc<Action>> = items.iter().map(|item| Arc::clone(&item.action)).collect();
        let outputs = actions.iter().map(|action| action.outputs[0].clone()).collect();
        self.plan = Plan { actions, ..Plan::default() }.prune(outputs);
        let mut by_output: FastMap<Arc<str>, Item> =
            items.into_iter().map(|item| (item.action.outputs[0].path().clone(), item)).collect();
        for action in &self.plan.actions {
            let Item { step, place, .. } = by_output.remove(action.outputs[0].path())?;
            self.steps.push(step);
            self.places.push(place);
        }
        self.silent = self.steps.iter().flatten().chain(&self.removed).copied().collect();
        self.silent.sort_unstable();
        (self.steps.len() == count).then_some(())
    }

    fn add_file(&mut self, look: &Look, file: FileId, state: &mut State) -> Option<()> {
        if self.files.contains_key(&file) {
            return Some(());
        }
        let (path, before) = (look.snapshot.path(file)?, look.snapshot.known(file)?);
        let now = look.now(file)?;
        if let (Some(stamp), Some(digest), true) = (now.stamp, now.digest, now.sure) {
            state.set_file(path.clone(), File { stamp, digest });
        }
        self.numbers.insert(path.clone(), file);
        self.files.insert(file, (path, before));
        Some(())
    }

    fn artifact(&self, file: FileId) -> Artifact {
        let (path, known) = &self.files[&file];
        if known.roles.any(Roles::MADE) { Artifact::Output(path.clone()) } else { Artifact::Source(path.clone()) }
    }

    /// What the action read is remembered with the bytes it had then. If that is not known, the cache has to tell.
    fn remember(&self, steps: &Steps<'_>, step: StepId, state: &mut State) -> Option<()> {
        let output = self.files[&steps.outputs(step).next()?].0.clone();
        let mut remembered = memory::remembered(steps, step)?;
        let read = |file: FileId| {
            let (path, before) = &self.files[&file];
            Some(Read { path: path.clone(), digest: before.digest? })
        };
        if let Some(reads) = steps.reads(step).map(read).collect() {
            remembered.entry.reads = reads;
            state.set_result(output, remembered);
        }
        Some(())
    }
}

/// Whether an action is what it was.
fn is_same(look: &Look, steps: &Steps<'_>, step: StepId, action: &Action, place: Option<&Span>) -> bool {
    let same_files = |files: &[Artifact], before: &mut dyn Iterator<Item = FileId>| {
        files.iter().map(|file| look.snapshot.find(file.path())).eq(before.map(Some))
    };
    same_files(&action.inputs, &mut steps.inputs(step))
        && same_files(&action.outputs, &mut steps.outputs(step))
        && memory::arguments_before(steps, step).is_some_and(|arguments| arguments == memory::arguments(action))
        && is_same_work(steps.what(step), &memory::what(action, place.cloned()), action)
}

/// Whether what an action writes, which is not kept, is what was written before; others do not just write.
fn is_in_place(look: &Look, action: &Action) -> bool {
    let ActionKind::Write { content, executable } = &action.kind else { return true };
    let now = look.snapshot.find(action.outputs[0].path()).and_then(|file| look.now(file));
    let is_executable = |now: &Known| now.stamp.is_some_and(|stamp| stamp.is_executable());
    now.is_some_and(|now| now.sure && now.digest == Some(Digest::of(content)) && is_executable(&now) == *executable)
}

/// What is not kept is no reason to take an action for what it was, unless its bytes are compared anyway.
fn is_same_work(before: &[u8], now: &[u8], action: &Action) -> bool {
    before == now && (!now.is_empty() || matches!(action.kind, ActionKind::Write { .. }))
}
