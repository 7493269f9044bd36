//! What snapshots remember of how actions ended: builds from one leave the rest of the state as it was.
//!
//! Looks at none of the actions' files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ouro_cache::Read;

use super::memory;
use crate::plan::Plan;
use crate::state::Remembered;
use crate::state::snapshot::{FileId, Snapshot, StepId, Steps};

/// How the plan's actions ended, by their first outputs; what the snapshot written last says comes first.
pub(crate) type Recalled = HashMap<Arc<str>, Vec<Remembered>>;

/// What all snapshots of the workspace say.
pub(crate) fn recall(root: &Path, plan: &Plan) -> Recalled {
    let mut recalled = Recalled::new();
    for snapshot in Snapshot::all(root) {
        let Some(steps) = snapshot.steps() else { continue };
        let mut one = Recall { snapshot: &snapshot, steps: &steps, reads: HashMap::new() };
        for (output, step) in one.wanted(plan) {
            recalled.entry(output).or_default().extend(one.remembered(step));
        }
    }
    recalled
}

struct Recall<'s> {
    snapshot: &'s Snapshot,
    steps: &'s Steps<'s>,
    /// Programs read mostly the same headers.
    reads: HashMap<FileId, Option<Read>>,
}

impl Recall<'_> {
    /// The steps that are actions of the plan.
    fn wanted(&self, plan: &Plan) -> Vec<(Arc<str>, StepId)> {
        let outputs = plan.actions.iter().map(|action| action.outputs[0].path());
        let outputs: HashMap<FileId, &Arc<str>> = outputs.filter_map(|path| Some((self.snapshot.find(path)?, path))).collect();
        let wanted = |step: StepId| Some((Arc::clone(outputs.get(&self.steps.outputs(step).next()?)?), step));
        self.steps.ids().filter_map(wanted).collect()
    }

    /// None for what is never remembered, and when it is not known what the action had read.
    fn remembered(&mut self, step: StepId) -> Option<Remembered> {
        let mut remembered = memory::remembered(self.steps, step)?;
        remembered.entry.reads = self.steps.reads(step).map(|file| self.read(file)).collect::<Option<_>>()?;
        Some(remembered)
    }

    fn read(&mut self, file: FileId) -> Option<Read> {
        let read = || Some(Read { path: self.snapshot.path(file)?, digest: self.snapshot.known(file)?.digest? });
        self.reads.entry(file).or_insert_with(read).clone()
    }
}
