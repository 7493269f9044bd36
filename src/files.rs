//! Writing files that people asked for.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{self, CliError};
use crate::render::output::Output;

/// How people name standard output where a file is asked for.
const STANDARD_OUTPUT: &str = "-";

/// Whether standard output is meant.
pub fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == STANDARD_OUTPUT
}

/// Fails as [`write()`] would, as far as that can be told before there is something to write.
pub fn check(path: &Path) -> Result<(), CliError> {
    let written = match fs::metadata(path) {
        _ if is_standard_output(path) => Ok(()),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => Ok(()),
        _ => tempfile::NamedTempFile::new_in(folder(path)).map(drop),
    };
    written.map_err(unwritable(path))
}

/// Writes a file, or to standard output.
pub fn write(output: &Output, path: &Path, text: &str) -> Result<(), CliError> {
    if is_standard_output(path) { output.fact(text).map_err(unwritable(path)) } else { replace(path, text.as_bytes()) }
}

/// Writes a file whole or not at all: beside its place, then renamed. A device or a pipe stays what it is.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let rename = || {
        let mut file = tempfile::NamedTempFile::new_in(folder(path))?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
    if is_special { fs::write(path, bytes) } else { rename() }.map_err(unwritable(path))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An error while writing there.
pub fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    match is_standard_output(path) {
        true => error::io("cannot write to standard output".to_owned()),
        false => error::io(format!("cannot write `{}`", path.display())),
    }
}
