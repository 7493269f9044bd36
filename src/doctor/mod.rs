//! What `ouro doctor` looks at: a table of checks, each of which says one thing about this machine.
//!
//! Changes nothing but files of its own in temporary folders. A new check is a function and a line in [`BUILDING`] or [`RUNNING`].

mod building;
mod distribution;
mod running;

use std::path::{Path, PathBuf};

use ouro_engine::toolchain::{Toolchain, ToolchainError};
use serde::Serialize;

pub use self::distribution::Distribution;

/// What checks look at.
pub struct Machine {
    /// Whose packages are named in remedies.
    pub distribution: Distribution,
    /// The tools, as the workspace wants them, or why there are none.
    pub toolchain: Result<Toolchain, ToolchainError>,
    /// Where tools are searched.
    pub search_path: std::ffi::OsString,
    /// The folder of the action cache.
    pub cache: Option<PathBuf>,
    /// The root of the workspace, or else the current folder.
    pub root: PathBuf,
    /// Where chains are deployed.
    pub bpffs: PathBuf,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is there.
    Ok,
    /// Something is slower, or cannot be done, without it.
    Warning,
    /// Nothing can be built without it.
    Missing,
    /// The kernel has it not; what needs it cannot be deployed here.
    No,
    /// The kernel does not permit it, and does not tell whether it has it.
    Refused,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// The check.
    pub check: &'static str,
    /// How bad it is.
    pub status: Status,
    /// What was found, or what is missing.
    pub what: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// What a check says; its name is added.
struct Answer {
    status: Status,
    what: String,
    remedy: Option<String>,
}

impl Answer {
    fn ok(what: impl Into<String>) -> Answer {
        Answer { status: Status::Ok, what: what.into(), remedy: None }
    }

    fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Answer {
        Answer { status: Status::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Answer {
        Answer { status: Status::Missing, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn no(what: impl Into<String>, remedy: impl Into<String>) -> Answer {
        Answer { status: Status::No, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Answer {
        Answer { status: Status::Refused, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn of(self, check: &'static str) -> Fact {
        Fact { check, status: self.status, what: self.what, remedy: self.remedy }
    }
}

/// A check of what building needs.
type Check = fn(&Machine) -> Answer;

/// What building needs, in the order told.
const BUILDING: &[(&str, Check)] = &[
    ("clang", building::clang),
    ("other clangs", building::others),
    ("llvm-link", building::llvm_link),
    ("llvm-strip", building::llvm_strip),
    ("libbpf headers", building::libbpf),
    ("kernel headers", building::kernel_headers),
    ("cache", building::cache),
    ("cache copies", building::copies),
    ("landlock", building::landlock),
    ("namespaces", building::namespaces),
];

/// A check of what deploying needs; gets the bpffs.
type KernelCheck = fn(&Path) -> Answer;

/// What deploying needs, in the order told. Behind it stands what programs can attach to.
const RUNNING: &[(&str, KernelCheck)] = &[
    ("kernel", running::kernel),
    ("kernel types", running::types),
    ("jit", running::jit),
    ("unprivileged bpf", running::unprivileged),
    ("lockdown", running::lockdown),
    ("security modules", running::security_modules),
    ("bpffs", running::bpffs),
    ("cgroup2", running::cgroups),
    ("locked memory", running::memory),
    ("privileges", running::privileges),
];

/// Everything there is to say.
pub fn facts(machine: &Machine) -> Vec<Fact> {
    let building = BUILDING.iter().map(|(check, look)| look(machine).of(check));
    building.chain(kernel_facts(&machine.bpffs)).collect()
}

/// What there is to say of the kernel, of this user and of this bpffs.
pub fn kernel_facts(bpffs: &Path) -> Vec<Fact> {
    let running = RUNNING.iter().map(|(check, look)| look(bpffs).of(check));
    let features = ouro_deploy::features();
    running.chain(features.iter().map(|(feature, has)| running::feature(feature, *has).of(feature.name))).collect()
}
