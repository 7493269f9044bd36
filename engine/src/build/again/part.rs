//! The part of a plan that changes reach, taken from a snapshot, with what is remembered of its files and results.
//!
//! Looks at no file.

use std::collections::HashMap;
use std::sync::Arc;

use ouro_cache::Read;
use ouro_rules::{Artifact, Span};

use super::Look;
use crate::build::memory;
use crate::event::Event;
use crate::plan::Plan;
use crate::state::snapshot::{FileId, Known, Roles, StepId, Steps};
use crate::state::{File, Remembered, State};

/// The actions that changes reach.
#[derive(Default)]
pub(super) struct Part {
    pub(super) plan: Plan,
    /// Their numbers, in the plan's order.
    pub(super) steps: Vec<StepId>,
    /// For every file of the snapshot, whether it changed or may be made anew.
    pub(super) reached: Vec<bool>,
    /// The files of these actions, as the snapshot says.
    pub(super) files: HashMap<FileId, (Arc<str>, Known)>,
    /// The same by path.
    pub(super) numbers: HashMap<Arc<str>, FileId>,
    /// Where the target of each is declared.
    places: Vec<Option<Span>>,
    /// Who makes a file.
    makers: HashMap<FileId, u32>,
}

impl Part {
    /// None when one of the actions takes the whole way.
    pub(super) fn reached(look: &Look, steps: &Steps<'_>) -> Option<(Part, State)> {
        let (reached, found) = reached(look, steps);
        let (mut part, mut state) = (Part { reached, ..Part::default() }, State::unwritten());
        for step in found {
            for file in steps.files(step) {
                part.add_file(look, file, &mut state)?;
            }
            part.add(steps, step)?;
            part.remember(steps, step, &mut state)?;
        }
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

    fn add_file(&mut self, look: &Look, file: FileId, state: &mut State) -> Option<()> {
        if self.files.contains_key(&file) {
            return Some(());
        }
        let (path, before) = (look.snapshot.path(file)?, look.snapshot.known(file)?);
        let now = look.changed.get(&file).or(look.same.get(&file)).unwrap_or(&before);
        if let (Some(stamp), Some(digest), true) = (now.stamp, now.digest, now.sure) {
            state.set_file(path.clone(), File { stamp, digest });
        }
        self.numbers.insert(path.clone(), file);
        self.files.insert(file, (path, before));
        Some(())
    }

    fn add(&mut self, steps: &Steps<'_>, step: StepId) -> Option<()> {
        let inputs = steps.inputs(step).map(|file| self.artifact(file)).collect();
        let outputs = steps.outputs(step).map(|file| self.artifact(file)).collect();
        let (action, place) = memory::action(steps, step, inputs, outputs)?;
        let mut needs: Vec<u32> = steps.inputs(step).filter_map(|file| self.makers.get(&file).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        let number = self.plan.actions.len() as u32;
        self.makers.extend(steps.outputs(step).map(|file| (file, number)));
        self.plan.actions.push(Arc::new(action));
        self.plan.needs.push(needs);
        self.steps.push(step);
        self.places.push(place);
        Some(())
    }

    fn artifact(&self, file: FileId) -> Artifact {
        let (path, known) = &self.files[&file];
        if known.roles.any(Roles::MADE) { Artifact::Output(path.clone()) } else { Artifact::Source(path.clone()) }
    }

    /// What the action read is remembered with the bytes it had then. If that is not known, the cache has to tell.
    fn remember(&self, steps: &Steps<'_>, step: StepId, state: &mut State) -> Option<()> {
        let output = self.files[&steps.outputs(step).next()?].0.clone();
        let mut remembered: Remembered = postcard::from_bytes(steps.result(step)).ok()?;
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

/// The files that changed or may be made anew, and the actions that have to do with them. One look at each action is enough:
/// they come after those they need.
fn reached(look: &Look, steps: &Steps<'_>) -> (Vec<bool>, Vec<StepId>) {
    let mut reached = vec![false; look.snapshot.len()];
    look.changed.keys().for_each(|file| reached[file.index()] = true);
    let mut found = Vec::new();
    for step in steps.ids() {
        // A number that is none of a file's is looked at, and found to be wrong.
        if steps.files(step).any(|file| reached.get(file.index()).copied().unwrap_or(true)) {
            steps.outputs(step).filter(|file| file.index() < look.snapshot.len()).for_each(|file| reached[file.index()] = true);
            found.push(step);
        }
    }
    (reached, found)
}
