//! What goes wrong with files and disks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::random::Random;

/// Every file below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Damages some of these files, one at least: bytes turned over, cut off, zeroed, added, or everything gone.
pub fn damage(files: &[PathBuf], random: &mut Random) -> usize {
    let most = 1 + random.below(files.len());
    for _ in 0..most {
        let path = &files[random.below(files.len())];
        let Ok(mut bytes) = fs::read(path) else { continue };
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => bytes.clear(),
            3 => bytes[at..].fill(0),
            4 => bytes.extend(b"more"),
            _ => {
                fs::remove_file(path).expect("a file");
                continue;
            }
        }
        overwrite(path, &bytes);
    }
    most
}

/// Writes into a file where it lies, under all its names.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    let mode = fs::metadata(path).expect("a file").permissions();
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("a mode");
    fs::write(path, bytes).expect("other bytes");
    fs::set_permissions(path, mode).expect("a mode");
}

/// The command with something mounted first that nobody else sees; `$1` is the folder.
pub fn with_mount(mount: &str, folder: &Path, command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    let script = format!("{mount} && shift && exec \"$@\"");
    outer.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(folder);
    outer.arg(command.get_program()).args(command.get_args());
    outer.current_dir(command.get_current_dir().expect("a folder"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
