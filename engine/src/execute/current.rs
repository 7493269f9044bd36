//! The keys that actions have as their files are now, without running anything.
//!
//! Knows nothing of what earlier builds made of them.

use std::path::Path;
use std::sync::Arc;

use ouro_cache::Digest;
use ouro_rules::{Action, ActionKind, Artifact};

use super::action::Found;
use super::files::Files;
use super::key::{self, Input};
use crate::state::State;
use crate::toolchain::Toolchain;

/// Makes keys. Each file is hashed once, and not at all while its stamp is the one a build saw.
pub struct Keys<'a> {
    toolchain: &'a Toolchain,
    files: Files<'a>,
}

impl<'a> Keys<'a> {
    /// For the workspace at `root`, of which `before` is known.
    pub fn new(root: &'a Path, before: &'a State, toolchain: &'a Toolchain) -> Keys<'a> {
        Keys { toolchain, files: Files::new(root, before) }
    }

    /// The key an action would run under; or else its inputs that are not there, or cannot be read.
    pub fn of(&self, action: &Action) -> Result<Digest, Vec<Arc<str>>> {
        let (mut found, mut missing) = (Vec::with_capacity(action.inputs.len()), Vec::new());
        for path in action.inputs.iter().map(Artifact::path) {
            match self.files.get(path) {
                Ok(Some(file)) => found.push((path.clone(), file)),
                Ok(None) | Err(_) => missing.push(path.clone()),
            }
        }
        if missing.is_empty() { Ok(key_of(self.toolchain, action, &found)) } else { Err(missing) }
    }
}

/// The key of an action with these inputs.
pub(super) fn key_of(toolchain: &Toolchain, action: &Action, inputs: &[Found]) -> Digest {
    let tool = match &action.kind {
        ActionKind::Run { tool, .. } => toolchain.tool(tool).ok().map(|found| found.identity),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    };
    let inputs: Vec<Input> = inputs.iter().map(|(path, file)| Input { path: path.clone(), digest: file.digest }).collect();
    key::digest(&key::ingredients(action, tool, &inputs))
}
