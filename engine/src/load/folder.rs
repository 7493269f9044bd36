//! Folders: what is in them, and which of them are packages.
//!
//! Knows nothing of what BUILD files say.

mod entries;

use std::ffi::{CStr, OsStr};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ouro_cache::{Digest, Hasher};
use ouro_rules::diagnostic::Diagnostic;

use self::entries::Found;
use crate::state::STATE_FOLDER;
use crate::workspace::OUT_FOLDER;

/// The names of BUILD files; the first one found makes the folder a package.
pub(crate) const BUILD_FILES: [&str; 2] = ["BUILD.ouro", "BUILD"];

/// What a folder holds.
#[derive(Default)]
pub(super) struct Listing {
    /// Files and folders by name, unsorted. Symbolic links to files count as files; links to folders are left out, because
    /// they may lead in circles.
    pub(super) entries: Vec<(String, Entry)>,
    /// Names that are not UTF-8, as well as they can be shown.
    pub(super) unnamable: Vec<String>,
    /// Symbolic links, and whether each leads to a file: that may change without the folder.
    pub(super) links: Vec<(String, bool)>,
}

/// What a name in a folder is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    File,
    Folder,
}

impl Listing {
    /// The BUILD file that makes the folder a package.
    pub(super) fn build_file(&self) -> Option<&'static str> {
        BUILD_FILES.into_iter().find(|build| self.entries.iter().any(|(name, entry)| name == build && *entry == Entry::File))
    }

    /// The names of the files, sorted.
    pub(super) fn into_files(self) -> Vec<String> {
        let files = self.entries.into_iter().filter(|(_, entry)| *entry == Entry::File);
        let mut names: Vec<String> = files.map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    /// The folders in it that may hold packages, sorted.
    pub(super) fn folders(&self) -> Vec<&str> {
        let is_open = |(name, entry): &&(String, Entry)| *entry == Entry::Folder && !name.starts_with('.');
        let mut folders: Vec<&str> = self.entries.iter().filter(is_open).map(|(name, _)| name.as_str()).collect();
        folders.sort_unstable();
        folders
    }
}

/// Reads a folder.
pub(super) fn list(path: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    entries::each(path, |name, found| {
        let (kind, is_link) = kind(path, name, found);
        match (name.to_str(), kind) {
            (Ok(name), kind) => {
                if is_link {
                    listing.links.push((name.to_owned(), kind == Some(Entry::File)));
                }
                listing.entries.extend(kind.map(|kind| (name.to_owned(), kind)));
            }
            (Err(_), Some(_)) => listing.unnamable.push(name.to_string_lossy().into_owned()),
            (Err(_), None) => {}
        }
    })?;
    Ok(listing)
}

/// What stands for a folder's entries: while it is the same, whoever lists the folder finds the same, and a compiler finds nothing in it
/// that was not there, unless its name is hidden, or a link leads elsewhere by now. In the root of the workspace nobody looks at what builds make.
pub(crate) fn digest(path: &Path, is_root: bool) -> io::Result<Digest> {
    let mut listing = list(path)?;
    let is_ours = |name: &str| is_root && [OUT_FOLDER, STATE_FOLDER].contains(&name);
    listing.entries.retain(|(name, _)| !is_ours(name));
    listing.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    listing.unnamable.sort_unstable();
    listing.links.retain(|(name, is_file)| !is_file && !is_hidden(name) && !is_ours(name));
    listing.links.sort_unstable();
    let mut hasher = Hasher::new("ouro folder listing v2");
    for (name, entry) in &listing.entries {
        hasher.field(name.as_bytes());
        hasher.field(&[u8::from(*entry == Entry::Folder)]);
    }
    hasher.field(b"");
    listing.unnamable.iter().for_each(|name| hasher.field(name.as_bytes()));
    hasher.field(b"");
    // No package sees these.
    listing.links.iter().for_each(|(name, _)| hasher.field(name.as_bytes()));
    Ok(hasher.finish())
}

/// Whether a link of this name may come and go unseen: editors mark by one that leads nowhere what they have not saved.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// What a name in a folder is to packages, and whether it is a symbolic link. Only links cost a call of their own, and names on
/// file systems that do not say.
fn kind(folder: &Path, name: &CStr, found: Found) -> (Option<Entry>, bool) {
    let path = || folder.join(OsStr::from_bytes(name.to_bytes()));
    let entry = |found: io::Result<Metadata>| match found {
        Ok(found) if found.is_dir() => Some(Entry::Folder),
        Ok(found) if found.is_file() => Some(Entry::File),
        _ => None,
    };
    match found {
        Found::File => (Some(Entry::File), false),
        Found::Folder => (Some(Entry::Folder), false),
        Found::Link => (entry(fs::metadata(path())).filter(|entry| *entry == Entry::File), true),
        Found::Untold => match fs::symlink_metadata(path()) {
            Ok(found) if found.is_symlink() => kind(folder, name, Found::Link),
            found => (entry(found), false),
        },
        Found::Other => (None, false),
    }
}

/// A folder that cannot be read.
pub(super) fn unreadable(path: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::bare(format!("cannot read the folder `{path}`: {error}"))
        .help("make it readable, or list it under `ignore` of `[workspace]` in `ouro.toml`")
}

/// A name no label can hold.
pub(super) fn unnamable(path: &str, name: &str) -> Diagnostic {
    Diagnostic::bare(format!("`{name}` in the folder `{path}` has a name that is not UTF-8")).help("rename it")
}
