//! What every process may read: the programs and libraries of the machine, without anything of the workspace.
//!
//! Knows nothing of how it is allowed. `docs/sandbox.md` lists the same places.

use std::fs;
use std::path::{Path, PathBuf};

/// Programs and libraries; what tells the loader and the C library where and who; what the kernel says of a process.
const PLACES: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/proc",
];

/// What may be written to, too.
pub(super) const DEVICES: &[&str] = &["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// Names of what a process has open.
pub(super) const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Places outside of the workspace.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Folders and files, none below another one; `true` for a folder.
    pub(super) found: Vec<(PathBuf, bool)>,
    /// Links, each with what it says.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    /// Those of every process.
    pub(super) fn of_system(root: &Path) -> Places {
        let mut places = Places::default();
        PLACES.iter().for_each(|place| places.add(Path::new(place), root));
        places
    }

    /// Adds a place, and where it leads if it is a link; what is not there is left out, and so is the workspace at `root`.
    pub(super) fn add(&mut self, place: &Path, root: &Path) {
        let Ok(kind) = fs::symlink_metadata(place) else { return };
        if let (true, Ok(to)) = (kind.is_symlink(), fs::read_link(place)) {
            self.links.push((place.to_owned(), to));
            let _ = place.canonicalize().map(|real| self.add(&real, root));
        } else if kind.is_dir() {
            outside(place, root).into_iter().for_each(|place| self.keep(place));
        } else {
            self.keep(place.to_owned());
        }
    }

    /// Whether a path lies in one of them.
    pub(super) fn hold(&self, path: &Path) -> bool {
        self.found.iter().any(|(place, _)| path.starts_with(place)) || self.links.iter().any(|(link, _)| path.starts_with(link))
    }

    fn keep(&mut self, place: PathBuf) {
        if !self.found.iter().any(|(known, _)| place.starts_with(known)) {
            self.found.retain(|(known, _)| !known.starts_with(&place));
            let is_folder = place.is_dir();
            self.found.push((place, is_folder));
        }
    }
}

/// The folder, or when the workspace lies in it everything beside the way there.
fn outside(folder: &Path, root: &Path) -> Vec<PathBuf> {
    if !root.starts_with(folder) {
        return vec![folder.to_owned()];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries: Vec<PathBuf> = entries.filter(|entry| entry != root && folder != root).collect();
    entries.iter().flat_map(|entry| outside(entry, root)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_inside_of_a_place_is_cut_out() {
        let dir = tempfile::TempDir::new().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for folder in ["lib", "src/ws/fw", "src/other"] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        fs::write(base.join("file"), "").unwrap();
        std::os::unix::fs::symlink("lib", base.join("link")).unwrap();
        let mut places = Places::default();
        places.add(&base, &base.join("src/ws"));
        places.add(&base.join("link"), &base.join("src/ws"));
        places.add(&base.join("none"), &base.join("src/ws"));
        for (path, held) in [("lib/x", true), ("src/other/x", true), ("file", true), ("link/x", true), ("src/ws/fw/x", false)] {
            assert_eq!(places.hold(&base.join(path)), held, "{path}: {places:?}");
        }
        assert_eq!(places.links, [(base.join("link"), PathBuf::from("lib"))]);
    }

    #[test]
    fn the_workspace_itself_is_never_a_place() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("fw")).unwrap();
        let mut places = Places::default();
        places.add(dir.path(), dir.path());
        assert!(places.found.is_empty());
    }
}
