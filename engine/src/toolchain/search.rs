//! Where programs are, by name, by path or in the workspace.
//!
//! Knows nothing of what they are. Every path that had a say is told, so that who remembers what was found knows when to look again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use ouro_rules::builtin::{ProgramSpec, ToolchainSpec};

use super::ToolchainError;
use crate::state::Stamp;

/// A program, and every path whose change could make the search end elsewhere.
pub(super) struct Search {
    pub(super) found: PathBuf,
    pub(super) looked_at: Vec<PathBuf>,
}

/// The compiler that is wanted, or the machine's own.
pub(super) fn clang(root: &Path, wanted: &ToolchainSpec, search: &OsStr) -> Result<Search, ToolchainError> {
    let folders = folders(search);
    match &wanted.clang {
        Some(clang) => program(root, wanted, clang, search),
        None => program_in(&folders, "clang").or_else(|| highest_clang(folders)).ok_or_else(|| ToolchainError::NoClang {
            looked_for: "`clang` and `clang-<version>`".to_owned(),
            path: search.to_string_lossy().into_owned(),
        }),
    }
}

/// A program that is named.
pub(super) fn program(
    root: &Path,
    wanted: &ToolchainSpec,
    named: &ProgramSpec,
    search: &OsStr,
) -> Result<Search, ToolchainError> {
    let (folders, name) = match named {
        ProgramSpec::Name(name) => (folders(search), &**name),
        ProgramSpec::Path(path) => (vec![PathBuf::from("/")], &**path),
        ProgramSpec::File(path) => (vec![root.to_owned()], &**path),
    };
    program_in(&folders, name).ok_or_else(|| {
        let settings = || "`[toolchain] clang` in `ouro.toml`".to_owned();
        let by = wanted.target.as_ref().map_or_else(settings, |(label, _)| format!("`{label}`"));
        let path = matches!(named, ProgramSpec::Name(_)).then(|| search.to_string_lossy().into_owned());
        let there = if path.is_some() && name.starts_with("clang") { clangs(&folders).into_keys().collect() } else { Vec::new() };
        ToolchainError::NotThere { name: name.to_owned(), by, path, there }
    })
}

/// Where programs are searched. What a relative folder means would depend on where one stands.
pub(super) fn folders(search: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(search).filter(|folder| folder.is_absolute()).collect()
}

fn program_in(folders: &[PathBuf], name: &str) -> Option<Search> {
    let mut looked_at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(name)).collect();
    let place = looked_at.iter().position(|path| is_program(path))?;
    looked_at.truncate(place + 1);
    looked_at.pop().map(|found| Search { found, looked_at })
}

/// `clang-19` rather than `clang-18`; of two in several folders the first.
fn highest_clang(folders: Vec<PathBuf>) -> Option<Search> {
    let best = clangs(&folders).into_iter().next_back();
    best.map(|(_, found)| Search { found, looked_at: folders })
}

/// Every `clang-<version>`, by its version.
fn clangs(folders: &[PathBuf]) -> BTreeMap<u32, PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.strip_prefix("clang-")?.parse::<u32>().ok();
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let versions = entries.filter_map(|entry| Some((version(&entry.path())?, entry.path())));
    let mut found = BTreeMap::new();
    for (version, path) in versions.filter(|(_, path)| is_program(path)) {
        found.entry(version).or_insert(path);
    }
    found
}

pub(super) fn is_program(path: &Path) -> bool {
    Stamp::of(path).is_ok_and(|stamp| stamp.is_some_and(|stamp| stamp.is_file() && stamp.is_executable()))
}

/// The version suffix of the compiler's name: `-19` of `/usr/bin/clang-19`.
pub(super) fn suffix(clang: &Path) -> &str {
    clang.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix("clang")).unwrap_or_default()
}

/// Where the bitcode linker of the same LLVM is: beside the compiler's real program, else beside the name it is called by.
/// A plain `llvm-link` in `PATH` is often another version's, whose bitcode differs.
pub(super) fn llvm_link_places(clang: &Path) -> Vec<PathBuf> {
    let real = fs::canonicalize(clang).unwrap_or_else(|_| clang.to_owned());
    let mut places = vec![real.with_file_name("llvm-link"), clang.with_file_name(format!("llvm-link{}", suffix(clang)))];
    places.dedup();
    places
}
