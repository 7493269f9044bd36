//! What one action may see and change, for the sandbox.
//!
//! Knows nothing of how it is kept to that.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use ouro_rules::{Action, ActionKind, Artifact, Tool};

use super::action::Work;
use super::run::made_by;
use super::sandbox::{Cage, Needs, Slot};

/// Arguments that name a folder to search headers in, when it follows at once.
const SEARCHES: [&str; 4] = ["-idirafter", "-iquote", "-isystem", "-I"];

impl Work<'_> {
    /// The cage for an action that runs `program`.
    pub(super) fn cage(&self, action: &Action, program: &Path, slot: &Slot<'_>) -> io::Result<Cage> {
        let root = self.site.lock.root();
        let outputs: BTreeSet<PathBuf> =
            made_by(action).filter_map(|path| Some(root.join(&**path).parent()?.to_owned())).collect();
        self.confinement.cage(&Needs {
            files: action.inputs.iter().map(|input| root.join(&**input.path())).collect(),
            places: self.places(action, program),
            outputs: outputs.into_iter().collect(),
            only_writes: is_llvm(action),
            own: vec![slot.home()],
            log: None,
            network: false,
            work: slot.work(),
        })
    }

    /// Whether an action may read a file of the machine: the system's, its toolchain's, or below what its arguments name.
    pub(super) fn may_read(&self, action: &Action, path: &Path) -> bool {
        let toolchain = || self.site.toolchain.of(action).folders().iter().any(|folder| path.starts_with(folder));
        self.confinement.is_open(path) || toolchain() || named(action).any(|place| path.starts_with(place))
    }

    fn places(&self, action: &Action, program: &Path) -> Vec<PathBuf> {
        let ActionKind::Run { tool, .. } = &action.kind else { return Vec::new() };
        match tool {
            Tool::Clang | Tool::LlvmLink => {
                let folders = self.site.toolchain.of(action).folders().iter().cloned();
                folders.chain([program.to_owned()]).chain(named(action).map(PathBuf::from)).collect()
            }
            Tool::Program(_) => self.confinement.beside(program),
            Tool::Shell | Tool::File(_) => Vec::new(),
        }
    }
}

/// Compilers never read what they wrote.
fn is_llvm(action: &Action) -> bool {
    matches!(action.kind, ActionKind::Run { tool: Tool::Clang | Tool::LlvmLink, .. })
}

/// Folders and files of the machine that a compiler's arguments name. Whoever writes them there declares them; what is read of
/// them stands in the dependency file.
fn named(action: &Action) -> impl Iterator<Item = &str> {
    let args = match &action.kind {
        ActionKind::Run { args, depfile: Some(_), .. } => &args[..],
        _ => &[],
    };
    let place = |arg: &&str| arg.starts_with('/');
    let path = |arg: &'_ String| {
        let rest = SEARCHES.iter().find_map(|search| arg.strip_prefix(search)).unwrap_or(arg);
        arg.len() - rest.len()
    };
    args.iter().map(move |arg| &arg[path(arg)..]).filter(place)
}

/// Whether an action is given this file of the workspace.
pub(super) fn is_input(action: &Action, path: &str) -> bool {
    action.inputs.iter().map(Artifact::path).any(|input| **input == *path)
}
