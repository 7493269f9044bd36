//! What is remembered of a toolchain: learning it takes several runs of the compiler.
//!
//! Remembered in the state folder for as long as the stamps of everything it was learnt from stay the same.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};
use ouro_rules::builtin::ToolchainSpec;
use serde::{Deserialize, Serialize};

use super::clang::Clang;
use super::search::{Search, is_program, llvm_link_places};
use super::{Found, SHELL, ToolchainError, build_id, host, system_includes};
use crate::state::{self, STATE_FOLDER, Stamp};

/// The kind of record the memory is; the number changes with what goes into an identity.
const KIND: &str = "ouro toolchain v3";

/// What a BPF program includes of the system, below the folders with headers. Other headers there stand with what read them.
const SYSTEM_HEADERS: [&str; 4] = ["asm", "asm-generic", "bpf", "linux"];

/// What is remembered of a toolchain.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    /// Of what was wanted.
    wanted: Digest,
    pub(super) stamps: Vec<(Arc<str>, Option<Stamp>)>,
    pub(super) version: String,
    pub(super) folders: Vec<PathBuf>,
    pub(super) clang: Found,
    pub(super) llvm_link: Option<Found>,
    pub(super) shell: Option<Found>,
}

impl Memory {
    /// What is remembered of the toolchain that was found for `wanted`, else what it is now.
    pub(super) fn of(root: &Path, wanted: &ToolchainSpec, clang: &Path, link: Option<&Search>) -> Result<Memory, ToolchainError> {
        let place = root.join(STATE_FOLDER).join(file_name(wanted));
        let key = key(wanted, clang, link);
        if let Some(memory) = recall(&place, &key) {
            return Ok(memory);
        }
        let memory = Memory::learn(wanted, key, clang, link)?;
        // A stamp that tells nothing would be trusted when read back.
        if memory.stamps.iter().all(|(_, stamp)| stamp.is_none_or(|stamp| !stamp.is_racy())) {
            let body = postcard::to_stdvec(&memory).expect("BUG: the memory is plain data");
            // Where nothing can be written, nothing is kept: it is learnt again, and commands that only look go on.
            let _ = state::replace(&place, &[ouro_cache::seal(KIND, &body)]);
        }
        Ok(memory)
    }

    /// Asks the compiler and reads its files.
    fn learn(wanted: &ToolchainSpec, key: Digest, clang: &Path, link: Option<&Search>) -> Result<Memory, ToolchainError> {
        let said = Clang::ask(clang)?;
        let mut reading = Reading::default();
        let identity = reading.clang(clang, &said, wanted)?;
        let links = link.map_or_else(|| llvm_link_places(clang), |link| vec![link.found.clone()]);
        let llvm_link = match links.iter().find(|path| is_program(path)) {
            Some(path) => Some(Found { identity: reading.program(path, identity)?, path: path.clone() }),
            None => None,
        };
        let shell = reading.shell()?;
        links.iter().try_for_each(|path| reading.see(path))?;
        let version = said.version.lines().next().unwrap_or_default().to_owned();
        let folders = folders(clang, &said, wanted);
        let clang = Found { path: clang.to_owned(), identity };
        Ok(Memory { wanted: key, stamps: reading.stamps, version, folders, clang, llvm_link, shell })
    }
}

/// The memory of each toolchain has a file.
fn file_name(wanted: &ToolchainSpec) -> String {
    let name = |label: String| format!("toolchain-{}", &Digest::of(label.as_bytes()).to_string()[..16]);
    wanted.target.as_ref().map_or_else(|| "toolchain".to_owned(), |(label, _)| name(label.to_string()))
}

fn key(wanted: &ToolchainSpec, clang: &Path, link: Option<&Search>) -> Digest {
    let mut hasher = Hasher::new("ouro toolchain wanted v1");
    hasher.field(clang.as_os_str().as_encoded_bytes());
    hasher.field(link.map_or(Path::new(""), |link| &link.found).as_os_str().as_encoded_bytes());
    wanted.includes.iter().for_each(|folder| hasher.field(folder.as_bytes()));
    hasher.finish()
}

/// What is remembered, if it is of this compiler and every file is still the same.
fn recall(place: &Path, key: &Digest) -> Option<Memory> {
    let bytes = fs::read(place).ok()?;
    let memory: Memory = postcard::from_bytes(ouro_cache::unseal(KIND, &bytes)?).ok()?;
    let same = |(path, then): &(Arc<str>, Option<Stamp>)| match (Stamp::of(Path::new(&**path)), then) {
        (Ok(Some(now)), Some(then)) => now.same(then),
        (Ok(None), None) => true,
        _ => false,
    };
    (memory.wanted == *key && memory.stamps.iter().all(same)).then_some(memory)
}

/// Where the compiler reads: its program and libraries, its own headers, and those it searches.
fn folders(clang: &Path, said: &Clang, wanted: &ToolchainSpec) -> Vec<PathBuf> {
    let llvm = said.llvm();
    let libraries = said.loaded.iter().chain(&llvm).filter_map(|path| path.parent().map(Path::to_owned));
    let own = [clang.to_owned(), said.program.clone(), said.resources.clone()];
    let all = own.into_iter().chain(libraries).chain(said.includes.clone()).chain(wanted.includes.iter().map(PathBuf::from));
    all.filter(|path| path.is_absolute()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Collects stamps while files are read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) stamps: Vec<(Arc<str>, Option<Stamp>)>,
}

impl Reading {
    /// The compiler: its program, the LLVM libraries it loads, its own headers, those of libbpf and the kernel, and what it says of
    /// itself (with the platform it runs on). Paths are left out, so that machines with equal compilers share results.
    fn clang(&mut self, clang: &Path, said: &Clang, wanted: &ToolchainSpec) -> Result<Digest, ToolchainError> {
        let mut hasher = Hasher::new("ouro clang identity v2");
        let facts = said.version.lines().filter(|line| !line.starts_with("InstalledDir:"));
        facts.for_each(|line| hasher.field(line.as_bytes()));
        hasher.field(&self.content(clang)?);
        hasher.field(&self.content(&said.program)?);
        for library in said.llvm() {
            hasher.field(&self.content(&library)?);
        }
        self.headers(&said.resources.join("include"), &mut hasher)?;
        let own = system_includes(host());
        let searched = said.includes.iter().cloned().chain(own.iter().map(PathBuf::from));
        for folder in searched.filter(|folder| !folder.starts_with(&said.resources)) {
            for part in SYSTEM_HEADERS {
                self.headers(&folder.join(part), &mut hasher)?;
            }
        }
        for folder in &wanted.includes {
            self.headers(Path::new(folder), &mut hasher)?;
        }
        Ok(hasher.finish())
    }

    /// Every file below a folder. A package that is replaced changes the folder itself, so that those below need no look at each
    /// build; one file that is written over stands with what read it.
    fn headers(&mut self, folder: &Path, hasher: &mut Hasher) -> Result<(), ToolchainError> {
        self.see(folder)?;
        for (name, path) in files_below(folder) {
            hasher.field(name.as_bytes());
            hasher.field(Digest::of_file(&path).map_err(broken(&path))?.as_bytes());
        }
        Ok(())
    }

    /// The shell, if there is one.
    pub(super) fn shell(&mut self) -> Result<Option<Found>, ToolchainError> {
        match is_program(Path::new(SHELL)) {
            true => Ok(Some(Found { path: SHELL.into(), identity: self.program(Path::new(SHELL), Digest::of(b""))? })),
            false => Ok(None),
        }
    }

    /// A program with something it stands on.
    pub(super) fn program(&mut self, path: &Path, base: Digest) -> Result<Digest, ToolchainError> {
        let mut hasher = Hasher::new("ouro tool identity v1");
        hasher.field(base.as_bytes());
        hasher.field(&self.content(path)?);
        Ok(hasher.finish())
    }

    /// What stands for a file's bytes: the build id its linker gave it, else their digest.
    fn content(&mut self, path: &Path) -> Result<Vec<u8>, ToolchainError> {
        self.see(path)?;
        match build_id::of_file(path).map_err(broken(path))? {
            Some(id) => Ok(id),
            None => Digest::of_file(path).map(|digest| digest.as_bytes().to_vec()).map_err(broken(path)),
        }
    }

    pub(super) fn see(&mut self, path: &Path) -> Result<(), ToolchainError> {
        let stamp = Stamp::of(path).map_err(broken(path))?;
        self.stamps.push((path.to_string_lossy().into(), stamp));
        Ok(())
    }
}

/// Every file below a folder by its path from there, sorted. A link to a folder may go in a circle, and one that leads nowhere is no
/// header.
fn files_below(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => folders.push(path),
                false => found.push((path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned(), path)),
            }
        }
    }
    found.retain(|(_, path)| path.is_file());
    found.sort();
    found
}

fn broken(path: &Path) -> impl Fn(io::Error) -> ToolchainError + '_ {
    move |error| ToolchainError::Broken { command: path.display().to_string(), reason: error.to_string() }
}
