//! Changes to files: all of them or none.
//!
//! Does not know what the files mean.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ouro_rules::Diagnostic;

/// One file to write.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// What the file holds now; none for a file that must not be there yet.
    pub(super) before: Option<String>,
}

impl Change {
    pub(super) fn create(path: PathBuf, text: impl Into<String>) -> Change {
        Change { path, text: text.into(), before: None }
    }
}

/// Writes every file, or puts back what was there.
pub(super) fn apply(changes: &[Change]) -> Result<(), Diagnostic> {
    let mut folders = Vec::new();
    for (done, change) in changes.iter().enumerate() {
        if let Err(error) = write(change, &mut folders) {
            undo(&changes[..done], &folders);
            return Err(failure(&change.path, &error));
        }
    }
    Ok(())
}

fn write(change: &Change, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    match &change.before {
        None => {
            make_folder(change.path.parent().unwrap_or(Path::new("")), folders)?;
            let mut file = fs::File::create_new(&change.path)?;
            file.write_all(change.text.as_bytes()).inspect_err(|_| remove(&change.path))
        }
        Some(_) => replace(&change.path, &change.text),
    }
}

/// Makes a folder and those above it, and remembers the new ones.
fn make_folder(folder: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    make_folder(folder.parent().unwrap_or(Path::new("")), made)?;
    // What stands there and is no folder is not one of the files we would write.
    let in_the_way = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    };
    fs::create_dir(folder).map_err(in_the_way)?;
    made.push(folder.to_owned());
    Ok(())
}

/// Replaces a file in one step, through a link if it is one, keeping its permissions.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ouro-new");
    let beside = path.with_file_name(name);
    let result = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&beside, &path));
    result.inspect_err(|_| remove(&beside))
}

/// Puts back what was there, as far as it goes: the error that led here is the one to tell.
fn undo(done: &[Change], folders: &[PathBuf]) {
    for change in done.iter().rev() {
        match &change.before {
            None => remove(&change.path),
            Some(before) => drop(replace(&change.path, before)),
        }
    }
    folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
}

fn remove(path: &Path) {
    drop(fs::remove_file(path));
}

fn failure(path: &Path, error: &io::Error) -> Diagnostic {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return exists(path);
    }
    let finding = Diagnostic::bare(format!("cannot write `{}`: {error}", path.display())).note("nothing was changed");
    match error.kind() {
        io::ErrorKind::PermissionDenied => finding.help("choose a folder you may write to"),
        io::ErrorKind::NotADirectory => finding.help("a part of this path is a file; choose another folder"),
        io::ErrorKind::StorageFull => finding.help("make room on the disk and try again"),
        _ => finding,
    }
}

/// The finding for a file that would be overwritten.
pub(super) fn exists(path: &Path) -> Diagnostic {
    Diagnostic::bare(format!("`{}` is there already", path.display()))
        .note("nothing was changed")
        .help("choose another name or folder, or move the file away")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_undoes_what_was_done_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("old"), "before").unwrap();
        fs::write(path("blocked"), "").unwrap();
        let changes = [
            Change { path: path("old"), text: "after".to_owned(), before: Some("before".to_owned()) },
            Change::create(path("new/deep/file"), "text"),
            Change::create(path("blocked"), "text"),
        ];
        let error = apply(&changes).unwrap_err();
        assert!(error.message.ends_with("blocked` is there already"), "{error:?}");
        assert_eq!(fs::read_to_string(path("old")).unwrap(), "before");
        assert!(!path("new").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_changed_file_keeps_its_permissions_and_its_link() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "before").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        apply(&[Change { path: link.clone(), text: "after".to_owned(), before: Some("before".to_owned()) }]).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "after");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
