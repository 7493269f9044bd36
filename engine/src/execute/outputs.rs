//! Output files: room is made for them before an action, they are gathered after it, and removed when it fails.
//!
//! Knows nothing of how they are made.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ouro_cache::{CacheError, Digest, Output, Store, Trouble};
use ouro_rules::{Action, ActionKind, Diagnostic, Tool};

use crate::state::write_renamed;
use crate::state::{File, Stamp};
use crate::workspace::is_output;

/// An operation on a file failed.
pub(super) fn trouble(doing: &str, path: &str, error: &io::Error) -> Diagnostic {
    let is_source = !is_output(path) && !Path::new(path).is_absolute();
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied if is_source => Some("let the user who builds read it"),
        _ => remedy(error),
    };
    Diagnostic::bare(format!("cannot {doing} `{path}`: {error}")).maybe_help(help.map(str::to_owned))
}

/// An operation on the store failed.
pub(super) fn store_trouble(error: &CacheError) -> Diagnostic {
    Diagnostic::bare(error.to_string()).maybe_help(remedy(&error.source).map(str::to_owned))
}

/// Something was wrong with the store, and the build went on.
pub(super) fn told(trouble: Trouble) -> Diagnostic {
    match &trouble {
        Trouble::Unusable(error) => {
            Diagnostic::bare(trouble.to_string()).warning().help(remedy(&error.source).unwrap_or(ANOTHER_CACHE))
        }
        Trouble::Damaged(_) => Diagnostic::bare(trouble.to_string())
            .warning()
            .note("what it stood for is made again; somebody wrote to an output, or the disk is not well")
            .help("`ouro cache verify` looks at all of it"),
    }
}

/// Where a cache cannot be.
const ANOTHER_CACHE: &str = "name another folder: `--cache-dir DIR`, `OURO_CACHE`, or `[cache] dir` in ouro.toml";

fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("free space there and build again"),
        io::ErrorKind::PermissionDenied => Some("check who owns it; a build as another user may have made it"),
        io::ErrorKind::ReadOnlyFilesystem => Some("build in a place that can be written to"),
        _ => None,
    }
}

/// A process ended well, and something is not there.
pub(super) fn not_made(action: &Action, path: &str) -> Diagnostic {
    Diagnostic::bare(format!("`{}` ended well without making `{path}`", action.owner)).help(match action.kind {
        ActionKind::Run { tool: Tool::Clang | Tool::LlvmLink, .. } => {
            "something else may stand in the compiler's place; `ouro doctor` shows which one is used"
        }
        _ => "make every declared output, or declare fewer",
    })
}

/// Makes the folder of an output. An output of an earlier plan that stands where the folder must be goes away.
pub(super) fn make_folder(root: &Path, path: &str) -> Result<(), Diagnostic> {
    let Some((folder, _)) = path.rsplit_once('/') else { return Ok(()) };
    match Way::to(root, path) {
        Way::Made => return Ok(()),
        Way::Missing => {}
        // Another thread may have been faster; then making the folder tells.
        Way::Obstacle(obstacle) => drop(fs::remove_file(obstacle)),
    }
    fs::create_dir_all(root.join(folder)).map_err(|error| trouble("create the folder", folder, &error))
}

/// The folders that an output is in. Never the first part: the folder of all outputs may be a link of the user's, and a file named
/// like it is not ours.
enum Way {
    /// They are there.
    Made,
    /// One at least is not.
    Missing,
    /// What stands where one must be: a file, or a link, which would have us write and remove elsewhere.
    Obstacle(PathBuf),
}

impl Way {
    fn to(root: &Path, path: &str) -> Way {
        let mut way = Way::Missing;
        for folder in path.match_indices('/').map(|(end, _)| root.join(&path[..end])).skip(1) {
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => way = Way::Made,
                Ok(_) => return Way::Obstacle(folder),
                Err(_) => return Way::Missing,
            }
        }
        way
    }
}

/// What stands where a folder of this output must be.
pub(super) fn obstacle(root: &Path, path: &str) -> Option<PathBuf> {
    match Way::to(root, path) {
        Way::Obstacle(obstacle) => Some(obstacle),
        Way::Made | Way::Missing => None,
    }
}

/// Makes the folder of an output and removes what is in its place: a tool that fails halfway must not leave the old file,
/// and none may append to it.
pub(super) fn make_room(root: &Path, path: &str) -> Result<(), Diagnostic> {
    make_folder(root, path)?;
    remove_at(&root.join(path)).map_err(|error| trouble("remove", path, &error))
}

/// Removes an output, or the folder an earlier plan made in its place. What a link in its way leads to is no output.
pub(super) fn remove(root: &Path, path: &str) -> io::Result<()> {
    if obstacle(root, path).is_some() {
        return Ok(());
    }
    remove_at(&root.join(path))
}

fn remove_at(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(place),
        other => other,
    }
}

/// Puts these bytes in place of an output.
pub(super) fn write(root: &Path, path: &str, bytes: &[u8], executable: bool) -> Result<Stamp, Diagnostic> {
    make_folder(root, path)?;
    let place = root.join(path);
    let written = match replace(&place, bytes, executable) {
        // The folder an earlier plan made in its place.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            remove(root, path).and_then(|()| replace(&place, bytes, executable))
        }
        other => other,
    };
    written.and_then(|()| own_stamp(&place)).map_err(|error| trouble("write", path, &error))
}

/// Puts these bytes in place of a file, or of a link.
pub(super) fn replace(place: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
    write_renamed(place, &[bytes], mode(executable))
}

/// The stamp of a file this build wrote.
fn own_stamp(place: &Path) -> io::Result<Stamp> {
    Stamp::of(place)?.map(Stamp::settled).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Takes an output a process made, a plain file that is nobody else's: makes it read-only and keeps it. Nothing when there is none.
pub(super) fn gather(root: &Path, path: &str, store: &Store) -> Result<Option<(Output, File)>, Diagnostic> {
    let place = root.join(path);
    let made = match fs::symlink_metadata(&place) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other.map_err(|error| trouble("read", path, &error))?,
    };
    let output = keep(&place, path, &made, store)?;
    let stamp = own_stamp(&place).map_err(|error| trouble("read", path, &error))?;
    // The digest and the stamp must be of the same bytes: whoever trusts the one does so by the other.
    match stamp.written_alike(&Stamp::new(&made)) {
        true => Ok(Some((output, File { stamp, digest: output.digest }))),
        false => Err(Diagnostic::bare(format!("`{path}` was written to after its action had ended"))
            .help("have the action wait for all that it starts")),
    }
}

fn keep(place: &Path, path: &str, made: &Metadata, store: &Store) -> Result<Output, Diagnostic> {
    let executable = is_executable(made);
    let read_only = Permissions::from_mode(mode(executable));
    fs::set_permissions(place, read_only).map_err(|error| trouble("write", path, &error))?;
    let digest = open_plain(place).and_then(|mut file| Digest::of_open(&mut file));
    let digest = digest.map_err(|error| trouble("read", path, &error))?;
    // What cannot be kept costs a run the next time, and nothing now.
    store.adopt_known(place, &digest).unwrap_or_else(|error| store.note(error));
    Ok(Output { digest, executable })
}

/// Opens for reading what a process may have made: a plain file, and nothing else. Follows no link, and waits for nobody at the other
/// end of a pipe.
pub(crate) fn open_plain(place: &Path) -> io::Result<fs::File> {
    let file = fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(place)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file")),
    }
}

fn mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

pub(super) fn is_executable(file: &Metadata) -> bool {
    file.mode() & libc::S_IXUSR != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that nobody may read was laid to a build as another user.
    #[test]
    fn a_source_that_cannot_be_read_is_no_leftover() {
        let help = |path: &str| trouble("read", path, &io::ErrorKind::PermissionDenied.into()).help.unwrap();
        assert_eq!(help("fw/p2.c"), "let the user who builds read it");
        assert!(help("ouro-out/x86/fw/p2.o").contains("another user"));
    }
}
