//! What a killed build leaves: temporary files that it had not renamed yet.
//!
//! Knows nothing of what they were to become. Whoever takes the lock sees in it that the last holder was killed; only then the
//! folder of all outputs is searched.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::Path;

use super::STATE_FOLDER;
use crate::workspace::OUT_FOLDER;

/// How temporary files are called here and in the cache, before six random letters and digits.
pub(super) const PREFIX: &str = ".ouro-";
const RANDOM: usize = 6;

/// Removes all of it. To be called under the lock. Best effort: what cannot be removed now does no harm.
pub(super) fn remove(root: &Path) {
    let state = root.join(STATE_FOLDER);
    ["", "snapshots", "questions"].iter().for_each(|folder| remove_from(&state.join(folder)));
    let _ = fs::remove_dir_all(state.join(super::fresh::NURSERY));
    let mut folders = vec![root.join(OUT_FOLDER)];
    while let Some(folder) = folders.pop() {
        remove_from(&folder);
        let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        folders.extend(entries(&folder).filter(is_folder).map(|entry| entry.path()));
    }
}

/// Removes what lies in this folder.
pub(super) fn remove_from(folder: &Path) {
    for entry in entries(folder).filter(|entry| is_temporary(&entry.file_name())) {
        let _ = fs::remove_file(entry.path());
    }
}

/// Whether a file that has this name was to be renamed.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_temporary_files_are_taken_for_theirs() {
        let dir = tempfile::TempDir::new().unwrap();
        let made = tempfile::Builder::new().prefix(PREFIX).tempfile_in(dir.path()).unwrap();
        assert!(is_temporary(made.path().file_name().unwrap()));
        for name in [".ouro-", ".ouro-abc", ".ouro-abcdefg", ".ouro-abc.de", "ouro-abcdef", ".ouro"] {
            assert!(!is_temporary(OsStr::new(name)), "{name}");
        }
    }
}
