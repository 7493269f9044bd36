//! Answers about actions: as text, as JSON, or as boxes and arrows.
//!
//! Knows nothing of whether and how they run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use ouro_cache::Digest;
use ouro_engine::execute::key;
use ouro_engine::toolchain::Toolchain;
use ouro_rules::native::Native;
use ouro_rules::{Action, ActionKind, Artifact, Label, Tool};
use serde::Serialize;

use super::network::{Arrow, Box, Network};

/// An action with what this machine adds to it.
#[derive(Serialize)]
pub struct Shown<'a> {
    mnemonic: &'a str,
    owner: &'a Label,
    /// `process`, `function` or `write`.
    work: &'static str,
    /// The program and its arguments; empty but for processes.
    argv: Vec<String>,
    /// All of it; empty but for processes.
    environment: BTreeMap<&'a str, &'a str>,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    depfile: Option<&'a str>,
    key: Option<String>,
    /// Inputs that are not there yet, for want of which there is no key.
    missing: Vec<Arc<str>>,
}

impl<'a> Shown<'a> {
    /// An action, with its key or else the inputs that are missing.
    pub fn of(action: &'a Action, toolchain: &Toolchain, key: Result<Digest, Vec<Arc<str>>>) -> Shown<'a> {
        let (key, missing) = match key {
            Ok(key) => (Some(key.to_string()), Vec::new()),
            Err(missing) => (None, missing),
        };
        let paths = |files: &'a [Artifact]| files.iter().map(|file| &**file.path()).collect();
        let mut shown = Shown {
            mnemonic: &action.mnemonic,
            owner: &action.owner,
            work: "process",
            argv: Vec::new(),
            environment: BTreeMap::new(),
            inputs: paths(&action.inputs),
            outputs: paths(&action.outputs),
            depfile: None,
            key,
            missing,
        };
        match &action.kind {
            ActionKind::Run { tool, args, env, depfile } => {
                shown.argv = std::iter::once(program(tool, toolchain)).chain(args.iter().cloned()).collect();
                shown.environment = key::environment(env);
                shown.depfile = depfile.as_deref();
            }
            ActionKind::Native(Native::Inspect(_) | Native::Bundle { .. }) => shown.work = "function",
            ActionKind::Write { .. } => shown.work = "write",
        }
        shown
    }
}
