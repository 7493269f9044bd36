//! The programs actions run: where they are, and what tells one version of them from another.
//!
//! Knows nothing of actions. Learning what a compiler is takes two runs of it, so that is remembered in the state folder for as
//! long as the stamps of its files stay the same.

mod build_id;
mod programs;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};
use ouro_rules::platform::{self, Platform};
use ouro_rules::{Artifact, Tool};
use serde::{Deserialize, Serialize};

use self::programs::Programs;
use crate::state::{self, STATE_FOLDER, Seen, Stamp, StateError};
use crate::workspace::ToolchainSettings;

/// The kind of record the memory is; the number changes with what goes into an identity.
const KIND: &str = "ouro toolchain v1";

/// The shell of genrules.
const SHELL: &str = "/bin/sh";

/// Why there is no toolchain.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No compiler.
    #[error("cannot find the C compiler: looked for {looked_for} in `{path}`")]
    NoClang {
        /// Names, for people.
        looked_for: String,
        /// The folders searched.
        path: String,
    },
    /// The compiler the settings name is not there, or is no program.
    #[error("`{clang}`, which `[toolchain] clang` in `ouro.toml` names, is no program")]
    BadSetting {
        /// What the settings say.
        clang: String,
    },
    /// A tool that some action needs is missing.
    #[error("cannot find `{name}`, which {needed_for}; looked for {looked_for}")]
    NoTool {
        /// Its name.
        name: &'static str,
        /// What it is for.
        needed_for: &'static str,
        /// Paths, for people.
        looked_for: String,
        /// What to do.
        remedy: String,
    },
    /// A program of the machine that an action runs is missing.
    #[error("cannot find the program `{name}`; looked in `{path}`")]
    NoProgram {
        /// Its name.
        name: String,
        /// The folders searched.
        path: String,
    },
    /// A tool is there and does not work.
    #[error("`{command}` failed: {reason}")]
    Broken {
        /// What was run or read.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The identity could not be written down.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ToolchainError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        let install = "install it (`apt-get install clang`), or name it in `ouro.toml`: `[toolchain] clang = \"/path/to/clang\"`";
        match self {
            ToolchainError::NoClang { .. } => Some(install.to_owned()),
            ToolchainError::BadSetting { .. } => {
                Some("correct the setting, or remove it to use the `clang` in `PATH`".to_owned())
            }
            ToolchainError::NoTool { remedy, .. } => Some(remedy.clone()),
            ToolchainError::NoProgram { name, .. } => Some(format!("install `{name}`, or add its folder to `PATH`")),
            ToolchainError::Broken { .. } | ToolchainError::State(_) => None,
        }
    }
}

/// The tools of a workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Toolchain {
    /// The C compiler's first line about itself: `Debian clang version 19.1.7`.
    pub version: String,
    /// The files the identities were made from, as they were before they were read. A snapshot has them among its own.
    #[serde(skip)]
    pub seen: Vec<Seen>,
    clang: Found,
    llvm_link: Option<Found>,
    shell: Option<Found>,
    programs: Programs,
}

/// A tool that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// What to run.
    pub path: PathBuf,
    /// What it is: changes when the tool may give other results.
    pub identity: Digest,
}

/// What is remembered of a toolchain.
#[derive(Serialize, Deserialize)]
struct Memory {
    stamps: Vec<(Arc<str>, Option<Stamp>)>,
    version: String,
    clang: Found,
    llvm_link: Option<Found>,
    shell: Option<Found>,
}

impl Toolchain {
    /// Finds the tools of the workspace at `root`: the compiler the settings name, or `clang`, or the highest `clang-<n>` in
    /// `search` (a `PATH`).
    pub fn find(root: &Path, settings: &ToolchainSettings, search: &OsStr) -> Result<Toolchain, ToolchainError> {
        let Search { clang, looked_at } = find_clang(root, settings, search)?;
        let place = root.join(STATE_FOLDER).join("toolchain");
        let memory = match recall(&place, &clang) {
            Some(memory) => memory,
            None => {
                let memory = Memory::learn(clang)?;
                // A stamp that tells nothing would be trusted when read back.
                if memory.stamps.iter().all(|(_, stamp)| stamp.is_none_or(|stamp| !stamp.is_racy())) {
                    let body = postcard::to_stdvec(&memory).expect("BUG: the memory is plain data");
                    state::replace(&place, &ouro_cache::seal(KIND, &body))?;
                }
                memory
            }
        };
        let mut reading = Reading { stamps: memory.stamps.clone() };
        // A folder of `PATH` that we may not look into holds nothing for us, as for a shell.
        let open_to_us =
            |path: &&PathBuf| !matches!(Stamp::of(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
        looked_at.iter().filter(open_to_us).try_for_each(|path| reading.see(path))?;
        Ok(memory.into_toolchain(reading.stamps, Programs::new(folders(search))))
    }

    /// What the compiler must be told so that configuration files, which distributions use to harden programs, stay unread. Before
    /// clang 16 there were none by default, and no flag against them.
    pub fn clang_flags(&self) -> Vec<String> {
        if major(&self.version).parse::<u32>().is_ok_and(|major| major < 16) {
            Vec::new()
        } else {
            vec!["--no-default-config".to_owned()]
        }
    }

    /// A tool, or what to do about its absence.
    pub fn tool(&self, tool: &Tool) -> Result<Found, ToolchainError> {
        match tool {
            Tool::Clang => Ok(self.clang.clone()),
            Tool::LlvmLink => self.llvm_link.clone().ok_or_else(|| self.no_llvm_link()),
            Tool::Shell => self.shell.clone().ok_or_else(|| ToolchainError::NoTool {
                name: "sh",
                needed_for: "runs the commands of genrules",
                looked_for: format!("`{SHELL}`"),
                remedy: "install a shell".to_owned(),
            }),
            Tool::Program(name) => self.programs.find(name),
            Tool::File(file) => Ok(file_tool(file)),
        }
    }

    /// The programs of the machine that were looked for so far, with every path that had a say in what was found.
    pub fn programs_seen(&self) -> Vec<Seen> {
        self.programs.seen()
    }

    fn no_llvm_link(&self) -> ToolchainError {
        let looked_for =
            llvm_link_places(&self.clang.path).iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>();
        let suffix = suffix(&self.clang.path);
        ToolchainError::NoTool {
            name: "llvm-link",
            needed_for: "links programs with several sources",
            looked_for: looked_for.join(", "),
            remedy: format!(
                "install it (`apt-get install llvm{suffix}`); it must be of the same LLVM as `{}`",
                self.clang.path.display()
            ),
        }
    }
}

impl Memory {
    /// Asks the compiler and reads its files.
    fn learn(clang: PathBuf) -> Result<Memory, ToolchainError> {
        let (version, resources) = std::thread::scope(|scope| {
            let version = scope.spawn(|| ask(&clang, "--version"));
            let resources = ask(&clang, "-print-resource-dir");
            (version.join().expect("BUG: asking does not panic"), resources)
        });
        let (version, resources) = (version?, PathBuf::from(resources?));
        let mut reading = Reading::default();
        let identity = reading.clang(&clang, &resources, &version)?;
        let llvm_link = match llvm_link_places(&clang).into_iter().find(|path| is_program(path)) {
            Some(path) => Some(Found { identity: reading.program(&path, identity)?, path }),
            None => None,
        };
        let shell = match is_program(Path::new(SHELL)) {
            true => Some(Found { path: SHELL.into(), identity: reading.program(Path::new(SHELL), Digest::of(b""))? }),
            false => None,
        };
        for path in llvm_link_places(&clang) {
            reading.see(&path)?;
        }
        let version = version.lines().next().unwrap_or_default().to_owned();
        Ok(Memory { stamps: reading.stamps, version, clang: Found { path: clang, identity }, llvm_link, shell })
    }

    fn into_toolchain(self, stamps: Vec<(Arc<str>, Option<Stamp>)>, programs: Programs) -> Toolchain {
        Toolchain {
            version: self.version,
            seen: stamps.into_iter().map(|(path, stamp)| Seen { path, stamp, digest: None }).collect(),
            clang: self.clang,
            llvm_link: self.llvm_link,
            shell: self.shell,
            programs,
        }
    }
}

/// A file of the build as a program. Its bytes are an input of whoever runs it; what is left to tell is which of the inputs it is.
fn file_tool(file: &Artifact) -> Found {
    let mut hasher = Hasher::new("ouro file tool v1");
    hasher.field(file.path().as_bytes());
    // Processes start in the root, and must not learn where that is.
    Found { path: format!("./{}", file.path()).into(), identity: hasher.finish() }
}

/// What is remembered, if it is of this compiler and every file is still the same.
fn recall(place: &Path, clang: &Path) -> Option<Memory> {
    let bytes = fs::read(place).ok()?;
    let memory: Memory = postcard::from_bytes(ouro_cache::unseal(KIND, &bytes)?).ok()?;
    let same = |(path, then): &(Arc<str>, Option<Stamp>)| match (Stamp::of(Path::new(&**path)), then) {
        (Ok(Some(now)), Some(then)) => now.same(then),
        (Ok(None), None) => true,
        _ => false,
    };
    (memory.clang.path == clang && memory.stamps.iter().all(same)).then_some(memory)
}

/// Collects stamps while files are read.
#[derive(Default)]
struct Reading {
    stamps: Vec<(Arc<str>, Option<Stamp>)>,
}

impl Reading {
    /// The compiler: its program, the LLVM libraries that came with it, its own headers, and what it says of itself (with
    /// the platform it runs on). Paths are left out, so that machines with equal compilers share results.
    fn clang(&mut self, clang: &Path, resources: &Path, version: &str) -> Result<Digest, ToolchainError> {
        let mut hasher = Hasher::new("ouro clang identity v1");
        let facts = version.lines().filter(|line| !line.starts_with("InstalledDir:"));
        facts.for_each(|line| hasher.field(line.as_bytes()));
        hasher.field(&self.content(clang)?);
        for library in libraries(clang, version) {
            hasher.field(&self.content(&library)?);
        }
        let headers = resources.join("include");
        self.see(&headers)?;
        for (name, path) in files_below(&headers) {
            hasher.field(name.as_bytes());
            hasher.field(Digest::of_file(&path).map_err(broken(&path))?.as_bytes());
        }
        Ok(hasher.finish())
    }

    /// A program with something it stands on.
    fn program(&mut self, path: &Path, base: Digest) -> Result<Digest, ToolchainError> {
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

    fn see(&mut self, path: &Path) -> Result<(), ToolchainError> {
        let stamp = Stamp::of(path).map_err(broken(path))?;
        self.stamps.push((path.to_string_lossy().into(), stamp));
        Ok(())
    }
}

fn broken(path: &Path) -> impl Fn(io::Error) -> ToolchainError + '_ {
    move |error| ToolchainError::Broken { command: path.display().to_string(), reason: error.to_string() }
}

/// A compiler, and every path whose change could make the search end elsewhere.
struct Search {
    clang: PathBuf,
    looked_at: Vec<PathBuf>,
}

fn find_clang(root: &Path, settings: &ToolchainSettings, search: &OsStr) -> Result<Search, ToolchainError> {
    let folders = folders(search);
    if let Some(clang) = &settings.clang {
        let found = if clang.contains('/') { program_in(&[root.to_owned()], clang) } else { program_in(&folders, clang) };
        return found.ok_or_else(|| ToolchainError::BadSetting { clang: clang.clone() });
    }
    program_in(&folders, "clang").or_else(|| highest_clang(folders)).ok_or_else(|| ToolchainError::NoClang {
        looked_for: "`clang` and `clang-<version>`".to_owned(),
        path: search.to_string_lossy().into_owned(),
    })
}

/// Where programs are searched. What a relative folder means would depend on where one stands.
fn folders(search: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(search).filter(|folder| folder.is_absolute()).collect()
}

fn program_in(folders: &[PathBuf], name: &str) -> Option<Search> {
    let mut looked_at: Vec<PathBuf> = folders.iter().map(|folder| folder.join(name)).collect();
    let place = looked_at.iter().position(|path| is_program(path))?;
    looked_at.truncate(place + 1);
    looked_at.pop().map(|clang| Search { clang, looked_at })
}

/// `clang-19` rather than `clang-18`; of two in several folders the first.
fn highest_clang(folders: Vec<PathBuf>) -> Option<Search> {
    let version = |path: &Path| path.file_name()?.to_str()?.strip_prefix("clang-")?.parse::<u32>().ok();
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let versions = entries.filter_map(|entry| Some((version(&entry.path())?, entry.path())));
    let best = versions.filter(|(_, path)| is_program(path)).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, clang)| Search { clang, looked_at: folders })
}

fn is_program(path: &Path) -> bool {
    Stamp::of(path).is_ok_and(|stamp| stamp.is_some_and(|stamp| stamp.is_file() && stamp.is_executable()))
}

/// The version suffix of the compiler's name: `-19` of `/usr/bin/clang-19`.
fn suffix(clang: &Path) -> &str {
    clang.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix("clang")).unwrap_or_default()
}

/// Where the bitcode linker of the same LLVM is: beside the compiler's real program, else beside the name it is called by.
/// A plain `llvm-link` in `PATH` is often another version's, whose bitcode differs.
fn llvm_link_places(clang: &Path) -> Vec<PathBuf> {
    let real = fs::canonicalize(clang).unwrap_or_else(|_| clang.to_owned());
    let mut places = vec![real.with_file_name("llvm-link"), clang.with_file_name(format!("llvm-link{}", suffix(clang)))];
    places.dedup();
    places
}

/// The shared libraries of the compiler's LLVM, links followed, each once: in the `lib` folder beside the real program's
/// `bin`, and wherever links from there lead (Debian keeps libLLVM in the system's folder, beside those of other versions).
fn libraries(clang: &Path, version: &str) -> BTreeSet<PathBuf> {
    let real = fs::canonicalize(clang).unwrap_or_else(|_| clang.to_owned());
    let prefix = real.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let major = major(version);
    let own: BTreeSet<PathBuf> = ["lib", "lib64"].iter().flat_map(|lib| libraries_in(&prefix.join(lib), major)).collect();
    let folders: BTreeSet<&Path> = own.iter().filter_map(|library| library.parent()).collect();
    let beside: BTreeSet<PathBuf> = folders.into_iter().flat_map(|folder| libraries_in(folder, major)).collect();
    &own | &beside
}

fn libraries_in(folder: &Path, major: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_llvm = entries.filter(|entry| is_llvm_library(&entry.file_name().to_string_lossy(), major));
    of_llvm.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

fn is_llvm_library(name: &str, major: &str) -> bool {
    (name.starts_with("libLLVM") || name.starts_with("libclang-cpp")) && name.contains(".so") && name.contains(major)
}

/// `19` of `Debian clang version 19.1.7 (3~deb12u1)`; empty, which every name contains, when it is worded otherwise.
fn major(version: &str) -> &str {
    let number = version.split_once("clang version ").map_or("", |(_, number)| number);
    &number[..number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len())]
}

/// Every file below a folder by its path from there, sorted.
fn files_below(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned(), path)),
            }
        }
    }
    found.sort();
    found
}

fn ask(clang: &Path, question: &str) -> Result<String, ToolchainError> {
    let command = || format!("{} {question}", clang.display());
    let failed = |reason: String| ToolchainError::Broken { command: command(), reason };
    let output = Command::new(clang).arg(question).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The platform of this machine; of one that libbpf has no name for, the most usual.
pub fn host() -> &'static Platform {
    let name = match (std::env::consts::ARCH, cfg!(target_endian = "big")) {
        ("x86", _) => "i386",
        ("powerpc" | "powerpc64", true) => "ppc64",
        ("powerpc" | "powerpc64", false) => "powerpc",
        ("mips" | "mips64", true) => "mips",
        ("mips" | "mips64", false) => "mipsel",
        ("riscv32" | "riscv64", _) => "riscv",
        (other, _) => other,
    };
    platform::find(name).unwrap_or(&platform::PLATFORMS[0])
}

/// Where the C library's headers of a platform are looked for, the best place first; those of this machine are mostly the same, and
/// better than none.
pub fn candidate_folders(platform: &Platform) -> Vec<String> {
    header_folders(platform).into_iter().chain(header_folders(host())).collect()
}

/// Beside the headers of this machine, or where cross compilers have theirs.
fn header_folders(platform: &Platform) -> [String; 2] {
    [format!("/usr/include/{}", platform.triple), format!("/usr/{}/include", platform.triple)]
}

/// The first of the candidates that is there.
pub fn system_includes(platform: &Platform) -> Vec<String> {
    candidate_folders(platform).into_iter().find(|folder| Path::new(folder).is_dir()).into_iter().collect()
}

/// Where kernels offer their types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Where the kernel that runs here does, if it does and is one for the platform.
pub fn kernel_btf(platform: &Platform) -> Option<String> {
    let is_there = platform.name == host().name && Path::new(KERNEL_BTF).is_file();
    is_there.then(|| KERNEL_BTF.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With Debian 12's own clang nothing could be built: it did not know the flag.
    #[test]
    fn only_compilers_that_read_configuration_are_told_not_to() {
        let mut toolchain = Memory {
            stamps: Vec::new(),
            version: "Debian clang version 14.0.6".to_owned(),
            clang: Found { path: "/usr/bin/clang-14".into(), identity: Digest::of(b"") },
            llvm_link: None,
            shell: None,
        }
        .into_toolchain(Vec::new(), Programs::new(Vec::new()));
        assert_eq!(toolchain.clang_flags(), Vec::<String>::new());
        for version in ["Debian clang version 19.1.7 (3~deb12u1)", "clang version 16.0.0", "something of a vendor"] {
            toolchain.version = version.to_owned();
            assert_eq!(toolchain.clang_flags(), ["--no-default-config"], "{version}");
        }
    }
}
