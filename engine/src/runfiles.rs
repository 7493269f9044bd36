//! Runfiles: a folder of links that shows a program the files it declares, and no others.
//!
//! Knows nothing of what the program is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ouro_rules::{Artifact, Label};

use crate::workspace::OUT_FOLDER;

/// The folder of runfiles that stands for the root of the workspace; the name Bazel gives it.
pub const WORKSPACE_FOLDER: &str = "_main";

/// Where the runfiles of a target that is run from the command line lie, from the root.
pub fn place(label: &Label) -> PathBuf {
    Path::new(OUT_FOLDER).join("runfiles").join(&*label.package).join(&*label.name)
}

/// Links to `files` of the workspace at `root`, in the folder [`WORKSPACE_FOLDER`] of `folder`, which is made anew.
pub fn lay(root: &Path, folder: &Path, files: &[Artifact]) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let base = folder.join(WORKSPACE_FOLDER);
    fs::create_dir_all(&base)?;
    for (name, path) in names(files) {
        let link = base.join(name);
        link.parent().map_or(Ok(()), fs::create_dir_all)?;
        symlink(root.join(path), link)?;
    }
    Ok(())
}

/// Every name with the path it stands for. What is made is found under its path and under its short path, unless another file has
/// that name already, or lies below it.
fn names(files: &[Artifact]) -> BTreeMap<&str, &str> {
    let mut names: BTreeMap<&str, &str> = files.iter().map(|file| (&**file.path(), &**file.path())).collect();
    for file in files {
        let name = file.short_path();
        let inside = format!("{name}/");
        let is_folder = names.range(inside.as_str()..).next().is_some_and(|(other, _)| other.starts_with(&inside));
        let is_below_file = name.match_indices('/').any(|(end, _)| names.contains_key(&name[..end]));
        if !is_folder && !is_below_file {
            names.entry(name).or_insert(file.path());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str) -> Artifact {
        Artifact::Source(path.into())
    }

    fn made(path: &str) -> Artifact {
        Artifact::Output(format!("ouro-out/x86/{path}").into())
    }

    #[test]
    fn what_is_made_has_a_short_name_unless_that_is_taken() {
        let files = [source("fw/a"), source("fw/b/c"), made("fw/a"), made("fw/b"), made("fw/a/d"), made("fw/e.o")];
        let names = names(&files);
        assert_eq!((names["fw/a"], names["ouro-out/x86/fw/a"]), ("fw/a", "ouro-out/x86/fw/a"));
        assert_eq!(names["fw/e.o"], "ouro-out/x86/fw/e.o");
        assert!(!names.contains_key("fw/b") && !names.contains_key("fw/a/d"), "{names:?}");
        assert_eq!(names.len(), 2 + 4 + 1);
    }

    #[test]
    fn the_folder_holds_what_is_declared_and_nothing_from_before() {
        let dir = tempfile::TempDir::new().unwrap();
        let (root, folder) = (dir.path().join("ws"), dir.path().join("links"));
        fs::create_dir_all(root.join("fw")).unwrap();
        for name in ["a", "b"] {
            fs::write(root.join("fw").join(name), name).unwrap();
        }
        lay(&root, &folder, &[source("fw/a"), source("fw/b")]).unwrap();
        lay(&root, &folder, &[source("fw/b")]).unwrap();
        let found: Vec<_> = fs::read_dir(folder.join("_main/fw")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found, ["b"]);
        assert_eq!(fs::read_to_string(folder.join("_main/fw/b")).unwrap(), "b");
    }
}
