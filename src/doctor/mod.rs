//! What `ouro doctor` looks at: a table of checks, each of which says one thing about this machine.
//!
//! Changes nothing but files of its own in temporary folders. A new check is a function and a line in [`CHECKS`].

mod building;
mod distribution;
mod running;

use std::path::PathBuf;

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
}

/// A check.
type Check = fn(&Machine) -> Answer;

/// Every check, in the order told.
const CHECKS: &[(&str, Check)] = &[
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
    ("kernel", running::kernel),
    ("kernel types", running::types),
    ("bpffs", running::bpffs),
    ("privileges", running::privileges),
];

/// Everything there is to say.
pub fn facts(machine: &Machine) -> Vec<Fact> {
    let fact = |(check, look): &(&'static str, Check)| {
        let Answer { status, what, remedy } = look(machine);
        Fact { check, status, what, remedy }
    };
    CHECKS.iter().map(fact).collect()
}
