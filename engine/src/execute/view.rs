//! What one action may see and change, for the sandbox.
//!
//! Knows nothing of how it is kept to that.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use ouro_rules::{Action, ActionKind, Tool};

use super::action::Work;
use super::run::{is_llvm, made_by};
use super::sandbox::{Cage, Needs, Slot};
use super::sight::named;

impl Work<'_> {
    /// The cage for an action that runs `program`, perhaps apart from what others make.
    pub(super) fn cage(
        &self,
        action: &Action,
        program: &Path,
        (slot, home): (&mut Slot<'_>, Option<&Path>),
        apart: bool,
    ) -> io::Result<Cage> {
        let (root, confinement) = (self.site.lock.root(), &self.sight.confinement);
        let outputs: BTreeSet<PathBuf> =
            made_by(action).filter_map(|path| Some(root.join(&**path).parent()?.to_owned())).collect();
        confinement.cage(&Needs {
            files: action.inputs.iter().map(|input| root.join(&**input.path())).collect(),
            places: self.places(action, program),
            outputs: outputs.into_iter().collect(),
            // Compilers never read what they wrote.
            only_writes: is_llvm(action),
            own: home.into_iter().map(Path::to_owned).collect(),
            log: None,
            network: false,
            work: if apart || confinement.hides_files() { slot.work()? } else { PathBuf::new() },
            apart,
        })
    }

    fn places(&self, action: &Action, program: &Path) -> Vec<PathBuf> {
        let ActionKind::Run { tool, .. } = &action.kind else { return Vec::new() };
        match tool {
            Tool::Clang | Tool::LlvmLink => {
                let folders = self.site.toolchain.of(action).folders().iter().cloned();
                folders.chain([program.to_owned()]).chain(named(action).map(PathBuf::from)).collect()
            }
            Tool::Program(_) => self.sight.confinement.beside(program),
            Tool::Shell | Tool::File(_) => Vec::new(),
        }
    }
}
