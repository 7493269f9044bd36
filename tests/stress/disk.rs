//! What edits do to files besides other bytes: times, modes, inodes.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Every file that builds made, by its path.
pub fn outputs(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.join("ouro-out")];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                found.insert(name, fs::read(&path).expect("a readable output"));
            }
        }
    }
    found
}

/// Makes a folder hold exactly these files, and rewrites only those that differ.
pub fn sync(root: &Path, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        let _ = fs::remove_file(root.join(path));
        // A package that is gone takes its folder along, unless something else is in it.
        let _ = fs::remove_dir(root.join(path).parent().expect("a folder"));
    }
    for (path, text) in after.iter().filter(|(path, text)| before.get(*path) != Some(text)) {
        let place = root.join(path);
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        fs::write(place, text).expect("a file");
    }
}

/// Gives a file new times without other bytes.
pub fn touch(path: &Path) {
    File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now())).expect("a touch");
}

/// Sets the time a file was written, as a clock that is wrong, `tar` or `git` would.
pub fn set_time(path: &Path, time: SystemTime) {
    File::options().append(true).open(path).and_then(|file| file.set_modified(time)).expect("another time");
}

/// The time a file was written.
pub fn time(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time")
}

/// Puts the same bytes there as a new file, as editors do that save by renaming.
pub fn replace(path: &Path) {
    let beside = path.with_extension("new~");
    fs::copy(path, &beside).and_then(|_| fs::rename(&beside, path)).expect("a rename");
}

/// Changes an output behind the build's back.
pub fn spoil(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("a mode");
    // By a new file: the cache may hold the old one under another name.
    fs::remove_file(path).and_then(|()| fs::write(path, "spoilt")).expect("other bytes");
}

/// Takes the right to write, or gives it.
pub fn change_mode(path: &Path) {
    let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    fs::set_permissions(path, Permissions::from_mode(if mode == 0o644 { 0o444 } else { 0o644 })).expect("a mode");
}

/// A long time ago, or far ahead.
pub fn wrong_time(ahead: bool) -> SystemTime {
    let year = Duration::from_secs(365 * 24 * 3600);
    if ahead { SystemTime::now() + year } else { SystemTime::now() - 20 * year }
}

/// The outputs that exist, as paths.
pub fn output_paths(root: &Path) -> Vec<PathBuf> {
    outputs(root).into_keys().map(|name| root.join(name)).collect()
}
