//! What is written down of an action while it is done, for whoever asks later why it ran.
//!
//! Decides nothing. The facts are the key's own ingredients and the reads of the entry, so what is told cannot be another reason
//! than the real one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ouro_cache::{Digest, Read};
use ouro_rules::{Action, ActionKind};

use super::key::{self, Input};
use crate::state::journal::{Batch, Deed, Displaced, Ended, FactId};
use crate::toolchain::Toolchain;

/// The kind of fact that a read is: path and digest, or path and nothing for a file that is gone.
pub(crate) const READ: &str = "read";

/// One action, being done.
pub(super) struct Note {
    pub(super) began: SystemTime,
    pub(super) start: Instant,
    /// Its inputs; nothing while they are not known.
    pub(super) inputs: Option<Vec<Input>>,
    /// What it read, when it ended well.
    pub(super) reads: Arc<[Read]>,
    /// Outputs that were not in place.
    pub(super) displaced: Vec<Displaced>,
    /// How it ended, when it did more than look.
    pub(super) ended: Option<Ended>,
    /// How long it took.
    pub(super) took: Duration,
}

impl Note {
    pub(super) fn new() -> Note {
        let (began, start) = (SystemTime::now(), Instant::now());
        Note { began, start, inputs: None, reads: Arc::default(), displaced: Vec::new(), ended: None, took: Duration::ZERO }
    }

    /// Adds what was done to the batch; nothing when nothing was, or what it depended on could not be told.
    pub(super) fn add_to(self, batch: &mut Batch, action: &Action, toolchain: &Toolchain) {
        let (Some(ended), Some(inputs)) = (self.ended, self.inputs) else { return };
        let mut facts: Vec<FactId> = Vec::new();
        for ingredient in key::ingredients(action, identity(toolchain, action), &inputs) {
            facts.push(ingredient.with_parts(|kind, parts| batch.fact(kind, parts)));
        }
        for read in &*self.reads {
            facts.push(batch.fact(READ, [read.path.as_bytes(), read.digest.as_bytes()]));
        }
        let Note { began, took, displaced, .. } = self;
        let output = Arc::clone(action.outputs[0].path());
        batch.add(&Deed { output, began, took, ended, displaced }, facts);
    }
}

/// What an action's tool is, as its key has it.
pub(crate) fn identity(toolchain: &Toolchain, action: &Action) -> Option<Digest> {
    match &action.kind {
        ActionKind::Run { tool, .. } => toolchain.of(action).tool(tool).ok().map(|found| found.identity),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    }
}
