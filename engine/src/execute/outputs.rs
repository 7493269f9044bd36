//! Output files: room is made for them before an action, they are gathered after it, and removed when it fails.
//!
//! Knows nothing of how they are made.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ouro_cache::{CacheError, Digest, Output, Store, Trouble};
use ouro_rules::Diagnostic;

use crate::state::write_renamed;
use crate::state::{File, Stamp};

/// An operation on a file failed.
pub(super) fn trouble(doing: &str, path: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::bare(format!("cannot {doing} `{path}`: {error}")).maybe_help(remedy(error).map(str::to_owned))
}

/// An operation on the store failed.
pub(super) fn store_trouble(error: &CacheError) -> Diagnostic {
    Diagnostic::bare(error.to_string()).maybe_help(remedy(&error.source).map(str::to_owned))
}

/// Something was wrong with the store, and the build went on.
pub(super) fn told(trouble: Trouble) -> Diagnostic {
    match &trouble {
        Trouble::Unusable(error) => {
            Diagnostic::bare(trouble.to_string()).warning().maybe_help(remedy(&error.source).map(str::to_owned))
        }
        Trouble::Damaged(_) => Diagnostic::bare(trouble.to_string())
            .warning()
            .note("what it stood for is made again; somebody wrote to an output, or the disk is not well")
            .help("`ouro cache verify` looks at all of it"),
    }
}

fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("free space there and build again"),
        io::ErrorKind::PermissionDenied => Some("check who owns it; a build as another user may have made it"),
        io::ErrorKind::ReadOnlyFilesystem => Some("build in a place that can be written to"),
        _ => None,
    }
}

/// Makes the folder of an output. An output of an earlier plan that stands where the folder must be goes away.
pub(super) fn make_folder(root: &Path, path: &str) -> Result<(), Diagnostic> {
    let Some((folder, _)) = path.rsplit_once('/') else { return Ok(()) };
    let place = root.join(folder);
    if fs::create_dir_all(&place).is_ok() {
        return Ok(());
    }
    // Never the first part: a file named like the folder of all outputs is not ours.
    let parts = folder.match_indices('/').map(|(end, _)| &folder[..end]).chain([folder]).skip(1);
    if let Some(obstacle) = parts.map(|part| root.join(part)).find(|part| part.is_file()) {
        // Another thread may have been faster; then making the folder tells.
        let _ = fs::remove_file(obstacle);
    }
    fs::create_dir_all(&place).map_err(|error| trouble("create the folder", folder, &error))
}

/// Makes the folder of an output and removes what is in its place: a tool that fails halfway must not leave the old file,
/// and none may append to it.
pub(super) fn make_room(root: &Path, path: &str) -> Result<(), Diagnostic> {
    make_folder(root, path)?;
    remove(root, path).map_err(|error| trouble("remove", path, &error))
}

/// Removes an output, or the folder an earlier plan made in its place.
pub(super) fn remove(root: &Path, path: &str) -> io::Result<()> {
    let place = root.join(path);
    match fs::remove_file(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(&place),
        other => other,
    }
}

/// Puts these bytes in place of an output.
pub(super) fn write(root: &Path, path: &str, bytes: &[u8], executable: bool) -> Result<Stamp, Diagnostic> {
    make_folder(root, path)?;
    let place = root.join(path);
    let mode = if executable { 0o555 } else { 0o444 };
    let written = write_renamed(&place, bytes, mode);
    let written = match written {
        // The folder an earlier plan made in its place.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            remove(root, path).and_then(|()| write_renamed(&place, bytes, mode))
        }
        other => other,
    };
    written.and_then(|()| own_stamp(&place)).map_err(|error| trouble("write", path, &error))
}

/// The stamp of a file this build wrote.
pub(super) fn own_stamp(place: &Path) -> io::Result<Stamp> {
    Stamp::of(place)?.map(Stamp::settled).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Takes an output a process made: makes it read-only and keeps it. Nothing when there is none.
pub(super) fn gather(root: &Path, path: &str, store: &Store) -> Result<Option<(Output, File)>, Diagnostic> {
    let place = root.join(path);
    let made = match fs::symlink_metadata(&place) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other.map_err(|error| trouble("read", path, &error))?,
    };
    let output = match made.is_file() && made.nlink() == 1 {
        true => keep(&place, path, &made, store)?,
        // What a link leads to may be a source, which must neither become read-only nor change with the output.
        false => keep_copy(&place, path, store)?,
    };
    let stamp = own_stamp(&place).map_err(|error| trouble("read", path, &error))?;
    Ok(Some((output, File { stamp, digest: output.digest })))
}

fn keep(place: &Path, path: &str, made: &Metadata, store: &Store) -> Result<Output, Diagnostic> {
    let executable = is_executable(made);
    let mode = if executable { 0o555 } else { 0o444 };
    fs::set_permissions(place, Permissions::from_mode(mode)).map_err(|error| trouble("write", path, &error))?;
    let digest = Digest::of_file(place).map_err(|error| trouble("read", path, &error))?;
    // What cannot be kept costs a run the next time, and nothing now.
    store.adopt_known(place, &digest).unwrap_or_else(|error| store.note(error));
    Ok(Output { digest, executable })
}

fn keep_copy(place: &Path, path: &str, store: &Store) -> Result<Output, Diagnostic> {
    let reading = |error| trouble("read", path, &error);
    let executable = fs::metadata(place).is_ok_and(|target| is_executable(&target));
    let bytes = fs::read(place).map_err(reading)?;
    let mode = if executable { 0o555 } else { 0o444 };
    write_renamed(place, &bytes, mode).map_err(|error| trouble("write", path, &error))?;
    store.insert(&bytes).map(drop).unwrap_or_else(|error| store.note(error));
    Ok(Output { digest: Digest::of(&bytes), executable })
}

fn is_executable(file: &Metadata) -> bool {
    file.mode() & libc::S_IXUSR != 0
}
