//! What an action may see of the files that are there, and whether what was seen of them before is what it would see now.
//!
//! A name is absent for an action when there is no file that it may read: what others made and it does not declare is as if it were
//! not there, in every mode and whatever was built before. A source that it does not declare is in the way of those behind it where
//! the sandbox lets it be seen: reading it is an error then, and never another result.
//!
//! Runs nothing, and knows nothing of the bytes of files.

use std::path::{Path, PathBuf};

use ouro_cache::{Absent, Entry, Read};
use ouro_rules::{Action, ActionKind, Artifact};

use super::depfile;
use super::files::Files;
use super::sandbox::{Confinement, Sandbox};
use crate::fast::FastSet;
use crate::toolchain::Toolchain;
use crate::workspace::is_output;

/// Arguments that name a folder to search headers in, when it follows at once.
const SEARCHES: [&str; 4] = ["-idirafter", "-iquote", "-isystem", "-I"];

/// The same for all actions of a build.
pub(crate) struct Sight<'a> {
    /// The root without links, as compilers may write it.
    pub(super) real_root: PathBuf,
    pub(super) confinement: Confinement<'a>,
    toolchain: &'a Toolchain,
}

impl<'a> Sight<'a> {
    pub(crate) fn new(root: &Path, toolchain: &'a Toolchain, sandbox: Sandbox<'a>) -> Sight<'a> {
        let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Sight { real_root, confinement: Confinement::new(root, sandbox), toolchain }
    }

    /// Whether what an entry tells is what the action would come to now; `is_same` says whether a file has these bytes.
    pub(crate) fn holds(&self, action: &Action, entry: &Entry, files: &Files<'_>, is_same: &dyn Fn(&Read) -> bool) -> bool {
        self.permits(action, entry)
            && entry.reads.iter().all(is_same)
            && entry.absent.iter().all(|absent| self.lacks(action, absent, files))
    }

    /// Whether the action may read all that an entry's did: another action with the same key may have declared more.
    fn permits(&self, action: &Action, entry: &Entry) -> bool {
        let declared: FastSet<&str> = action.inputs.iter().map(|input| &**input.path()).collect();
        entry.reads.iter().all(|read| declared.contains(&*read.path) || self.is_allowed(action, &read.path))
    }

    /// Whether nothing is in the action's way at these names.
    fn lacks(&self, action: &Action, absent: &Absent, files: &Files<'_>) -> bool {
        files.lacks(absent, &|name| {
            let path = Path::new(&*absent.folder).join(name);
            self.is_in_the_way(action, &depfile::normalise(&self.real_root, &path.to_string_lossy()))
        })
    }

    /// Whether a file that is there keeps the action from finding those behind it.
    pub(super) fn is_in_the_way(&self, action: &Action, path: &str) -> bool {
        self.is_allowed(action, path) || !(is_output(path) || self.confinement.hides_files())
    }

    /// Whether it is what an action makes, and no affair of this one.
    pub(super) fn is_anothers(&self, action: &Action, path: &str) -> bool {
        is_output(path) && !self.is_allowed(action, path)
    }

    /// Files of the machine may be read by all when they are the system's or the toolchain's; those of the workspace only when they
    /// are inputs, under whatever name, or the toolchain's.
    pub(super) fn is_allowed(&self, action: &Action, path: &str) -> bool {
        let declared_elsewhere = || {
            let real = self.real_root.join(path).canonicalize().ok()?;
            Some(is_input(action, real.strip_prefix(&self.real_root).ok()?.to_str()?))
        };
        let absolute = Path::new(path).is_absolute();
        (!absolute && (is_input(action, path) || declared_elsewhere().unwrap_or(false)))
            || self.may_read(action, &self.real_root.join(path))
    }

    /// Whether an action may read a file of the machine: the system's, its toolchain's, or below what its arguments name.
    fn may_read(&self, action: &Action, path: &Path) -> bool {
        let toolchain = || self.toolchain.of(action).folders().iter().any(|folder| path.starts_with(folder));
        self.confinement.is_open(path) || toolchain() || named(action).any(|place| path.starts_with(place))
    }
}

/// Folders and files of the machine that a compiler's arguments name. Whoever writes them there declares them; what is read of
/// them stands in the dependency file.
pub(super) fn named<'a>(action: &'a Action) -> impl Iterator<Item = &'a str> {
    let args = match &action.kind {
        ActionKind::Run { args, depfile: Some(_), .. } => Some(args.iter()),
        _ => None,
    };
    let path = |arg: &'a str| SEARCHES.iter().find_map(|search| arg.strip_prefix(search)).unwrap_or(arg);
    args.into_iter().flatten().map(path).filter(|path| path.starts_with('/'))
}

/// Whether an action is given this file of the workspace.
pub(super) fn is_input(action: &Action, path: &str) -> bool {
    action.inputs.iter().map(Artifact::path).any(|input| **input == *path)
}
