//! The programs actions run: where they are, and what tells one version of them from another.
//!
//! Knows nothing of actions, but which of several toolchains is whose.

mod clang;
mod search;

mod build_id;
mod memory;
mod programs;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};
use ouro_rules::builtin::ToolchainSpec;
use ouro_rules::platform::{self, Platform};
use ouro_rules::{Action, ActionKind, Artifact, Label, Tool};
use serde::{Deserialize, Serialize};

pub use self::clang::OLDEST_CLANG;

use self::memory::{Memory, Reading};
use self::programs::Programs;
use self::search::{Search, llvm_link_places, suffix};
use crate::state::{Seen, Stamp};
use crate::workspace::OUT_FOLDER;

/// The shell of genrules.
const SHELL: &str = "/bin/sh";

/// Why there is no toolchain.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub enum ToolchainError {
    /// No compiler.
    #[error("cannot find the C compiler: looked for {looked_for} in `{path}`")]
    NoClang {
        /// Names, for people.
        looked_for: String,
        /// The folders searched.
        path: String,
    },
    /// A program that is named is not there, or is no program.
    #[error("`{name}`, which {by} names, is no program{}", .path.as_ref().map(|path| format!(" in `{path}`")).unwrap_or_default())]
    NotThere {
        /// As it is named.
        name: String,
        /// Who names it.
        by: String,
        /// The folders searched, when it is named without one.
        path: Option<String>,
        /// The versions of clang that are there, where one is named that is not.
        there: Vec<u32>,
    },
    /// The compiler lacks what is asked of it.
    #[error("`{clang}` is too old: `{version}`")]
    TooOld {
        /// The program.
        clang: String,
        /// What it says it is.
        version: String,
    },
    /// A program that is no clang.
    #[error("`{clang}` does not say that it is clang: `{said}`")]
    NotClang {
        /// The program.
        clang: String,
        /// What it says it is.
        said: String,
    },
    /// A compiler for other machines.
    #[error("`{clang}` cannot make BPF code: `bpf` is not among its targets")]
    NoBpf {
        /// The program.
        clang: String,
    },
    /// A tool that some action needs is missing.
    #[error("cannot find `{name}`, which {needed_for}; looked for {looked_for}")]
    NoTool {
        /// Its name.
        name: String,
        /// What it is for.
        needed_for: String,
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
}

impl ToolchainError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        let install = "install it (`apt-get install clang`), or name it in `ouro.toml`: `[toolchain] clang = \"/path/to/clang\"`";
        match self {
            ToolchainError::NoClang { .. } => Some(install.to_owned()),
            ToolchainError::NotThere { there, .. } if !there.is_empty() => {
                let there: Vec<String> = there.iter().map(|version| format!("`clang-{version}`")).collect();
                Some(format!("there are {}; without the name the `clang` in `PATH` is used", there.join(", ")))
            }
            ToolchainError::NotThere { .. } => Some("correct its name, or remove it to use the `clang` in `PATH`".to_owned()),
            ToolchainError::TooOld { .. } => {
                Some(format!("use clang {OLDEST_CLANG} or newer; `ouro doctor` lists what is there"))
            }
            ToolchainError::NotClang { .. } => Some("name a clang; only it makes BPF code as libbpf wants it".to_owned()),
            ToolchainError::NoBpf { .. } => {
                Some("use a clang that was built with the BPF target, as distributions' packages are".to_owned())
            }
            ToolchainError::NoTool { remedy, .. } => Some(remedy.clone()),
            ToolchainError::NoProgram { name, .. } => Some(format!("install `{name}`, or add its folder to `PATH`")),
            ToolchainError::Broken { .. } => {
                Some("repair it, or name another clang in `ouro.toml`: `[toolchain] clang = \"/path/to/clang\"`".to_owned())
            }
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
    /// The target that asked for it.
    target: Option<Label>,
    /// What it adds to every compile.
    compile_args: Vec<String>,
    folders: Vec<PathBuf>,
    /// Or why there is none: that is told to whoever needs it.
    clang: Result<Found, ToolchainError>,
    llvm_link: Option<Found>,
    shell: Option<Found>,
    programs: Programs,
    /// The toolchains of configurations that have another one, by their folders.
    others: BTreeMap<String, Toolchain>,
}

/// A tool that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// What to run.
    pub path: PathBuf,
    /// What it is: changes when the tool may give other results.
    pub identity: Digest,
}

/// What rules see of a toolchain.
#[derive(Debug, Clone, Default)]
pub struct ToolchainFacts {
    /// The target that asked for it.
    pub target: Option<Label>,
    /// The compiler's first line about itself; none without one.
    pub version: Option<String>,
    /// What every run of the compiler is told, so that nothing set up on the machine, or built into it, reaches a build.
    pub clang_flags: Vec<String>,
    /// What it adds to every compile.
    pub compile_args: Vec<String>,
}

impl Toolchain {
    /// Finds the tools of the workspace at `root`: the compiler that is wanted, or `clang`, or the highest `clang-<n>` in `search`
    /// (a `PATH`).
    pub fn find(root: &Path, wanted: &ToolchainSpec, search: &OsStr) -> Result<Toolchain, ToolchainError> {
        let Search { found: clang, mut looked_at } = search::clang(root, wanted, search)?;
        let link = wanted.llvm_link.as_ref().map(|link| search::program(root, wanted, link, search)).transpose()?;
        looked_at.extend(link.iter().flat_map(|link| link.looked_at.iter().cloned()));
        let memory = Memory::of(root, wanted, &clang, link.as_ref())?;
        let mut reading = Reading { stamps: memory.stamps.clone() };
        // A folder of `PATH` that we may not look into holds nothing for us, as for a shell.
        let open_to_us =
            |path: &&PathBuf| !matches!(Stamp::of(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
        looked_at.iter().filter(open_to_us).try_for_each(|path| reading.see(path))?;
        Ok(Toolchain::of_memory(memory, wanted, reading.stamps, Programs::new(search::folders(search))))
    }

    /// The same without a compiler, for builds that may need none.
    pub fn without_clang(why: ToolchainError, wanted: &ToolchainSpec, search: &OsStr) -> Toolchain {
        let mut reading = Reading::default();
        let shell = reading.shell().ok().flatten();
        Toolchain {
            version: String::new(),
            seen: seen(reading.stamps),
            target: wanted.target.as_ref().map(|(label, _)| label.clone()),
            compile_args: Vec::new(),
            folders: Vec::new(),
            clang: Err(why),
            llvm_link: None,
            shell,
            programs: Programs::new(search::folders(search)),
            others: BTreeMap::new(),
        }
    }

    fn of_memory(
        memory: Memory,
        wanted: &ToolchainSpec,
        stamps: Vec<(Arc<str>, Option<Stamp>)>,
        programs: Programs,
    ) -> Toolchain {
        let includes = wanted.includes.iter().map(|folder| format!("-isystem{folder}"));
        Toolchain {
            version: memory.version,
            seen: seen(stamps),
            target: wanted.target.as_ref().map(|(label, _)| label.clone()),
            compile_args: includes.chain(wanted.copts.iter().cloned()).collect(),
            folders: memory.folders,
            clang: Ok(memory.clang),
            llvm_link: memory.llvm_link,
            shell: memory.shell,
            programs,
            others: BTreeMap::new(),
        }
    }

    /// Has the configuration of this folder use another one.
    pub fn add_other(&mut self, folder: &str, other: Toolchain) {
        self.seen.extend(other.seen.iter().cloned());
        // Programs of the machine are the same for all.
        let other = Toolchain { programs: self.programs.clone(), ..other };
        self.others.insert(folder.to_owned(), other);
    }

    /// The one of the configuration with this folder.
    pub fn of_folder(&self, folder: &str) -> &Toolchain {
        self.others.get(folder).unwrap_or(self)
    }

    /// The one of the configuration an action belongs to.
    pub fn of(&self, action: &Action) -> &Toolchain {
        if self.others.is_empty() {
            return self;
        }
        let output = action.outputs.first().map(|output| &**output.path()).unwrap_or_default();
        let below = output.strip_prefix(OUT_FOLDER).and_then(|path| path.strip_prefix('/'));
        self.of_folder(below.and_then(|path| path.split('/').next()).unwrap_or_default())
    }

    /// Where the compiler reads besides what actions declare: its program, libraries and headers.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// What rules see of it.
    pub fn facts(&self) -> ToolchainFacts {
        let version = self.clang.as_ref().ok().map(|_| self.version.clone());
        let no_configuration = version.as_deref().map(clang::no_configuration).unwrap_or_default();
        ToolchainFacts {
            target: self.target.clone(),
            version,
            clang_flags: no_configuration.iter().chain(SOFT).map(|flag| (*flag).to_owned()).collect(),
            compile_args: [NO_FORTIFY.to_owned()].into_iter().chain(self.compile_args.iter().cloned()).collect(),
        }
    }

    /// Whether there is a compiler, and one for every configuration.
    pub fn is_whole(&self) -> bool {
        self.clang.is_ok() && self.others.values().all(|other| other.clang.is_ok())
    }

    /// Whether the toolchain has what these actions run. Other programs are the actions' own affair.
    pub fn serves<'a>(&self, actions: impl IntoIterator<Item = &'a Arc<Action>>) -> Result<(), ToolchainError> {
        actions.into_iter().try_for_each(|action| match &action.kind {
            ActionKind::Run { tool: tool @ (Tool::Clang | Tool::LlvmLink | Tool::Shell), .. } => {
                self.of(action).tool(tool).map(drop)
            }
            ActionKind::Run { .. } | ActionKind::Write { .. } | ActionKind::Native(_) => Ok(()),
        })
    }

    /// A tool, or what to do about its absence.
    pub fn tool(&self, tool: &Tool) -> Result<Found, ToolchainError> {
        match tool {
            Tool::Clang => self.clang.clone(),
            Tool::LlvmLink => self.llvm_link.clone().map_or_else(|| self.no_llvm_link(), Ok),
            Tool::Shell => self.shell.clone().ok_or_else(|| ToolchainError::NoTool {
                name: "sh".to_owned(),
                needed_for: "runs the commands of genrules".to_owned(),
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

    fn no_llvm_link(&self) -> Result<Found, ToolchainError> {
        let clang = self.clang.clone()?.path;
        let looked_for = llvm_link_places(&clang).iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>();
        Err(ToolchainError::NoTool {
            name: "llvm-link".to_owned(),
            needed_for: "links programs with several sources".to_owned(),
            looked_for: looked_for.join(", "),
            remedy: format!(
                "install it (`apt-get install llvm{}`); it must be of the same LLVM as `{}`",
                suffix(&clang),
                clang.display()
            ),
        })
    }
}

fn seen(stamps: Vec<(Arc<str>, Option<Stamp>)>) -> Vec<Seen> {
    stamps.into_iter().map(|(path, stamp)| Seen { path, stamp, digest: None }).collect()
}

/// Against what hardened distributions build into their compilers, or wrap around them: the verifier takes no stack protector, the
/// code generator no control flow protection, and a program whose variables are filled is another program.
const SOFT: &[&str] = &["-fno-stack-protector", "-fcf-protection=none", "-ftrivial-auto-var-init=uninitialized"];

/// The same for headers of the C library; nothing that reads no C takes it.
const NO_FORTIFY: &str = "-U_FORTIFY_SOURCE";

/// A file of the build as a program. Its bytes are an input of whoever runs it; what is left to tell is which of the inputs it is.
fn file_tool(file: &Artifact) -> Found {
    let mut hasher = Hasher::new("ouro file tool v1");
    hasher.field(file.path().as_bytes());
    // Processes start in the root, and must not learn where that is.
    Found { path: format!("./{}", file.path()).into(), identity: hasher.finish() }
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
