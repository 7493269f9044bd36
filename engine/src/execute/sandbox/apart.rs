//! A folder that looks like the workspace, and holds of all outputs only those that a process declares.
//!
//! For a process that met an output of another action where it looks for its own files: Landlock can close that, and not hide it. Knows
//! nothing of Landlock. Paths in arguments start at the folder a process runs in, so there they mean the same.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Needs, Staged};
use crate::state::STATE_FOLDER;
use crate::workspace::OUT_FOLDER;

/// Makes it at `folder`, which is not there yet, for the workspace at `root`.
pub(super) fn make(root: &Path, folder: &Path, needs: &Needs<'_>) -> io::Result<Staged> {
    fs::create_dir(folder)?;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if name != OUT_FOLDER && name != STATE_FOLDER {
            symlink(root.join(&name), folder.join(&name))?;
        }
    }
    let place = |path: &Path| path.strip_prefix(root).map(|inner| folder.join(inner)).map_err(io::Error::other);
    let made = root.join(OUT_FOLDER);
    for file in needs.files.iter().filter(|file| file.starts_with(&made)) {
        let place = place(file)?;
        place.parent().map_or(Ok(()), fs::create_dir_all)?;
        match symlink(file, place) {
            // It is declared twice.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    let staged = |output: &PathBuf| {
        let place = place(output)?;
        fs::create_dir_all(&place)?;
        Ok((place, output.clone()))
    };
    needs.outputs.iter().map(staged).collect::<io::Result<_>>().map(Staged)
}
