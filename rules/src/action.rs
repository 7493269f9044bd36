//! Actions: one step of work each, from named inputs to named outputs. Data only.
//!
//! Knows nothing of how or whether they run; the engine decides that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::label::Label;
use crate::native::{Check, Native};

/// A file of the build, by its path from the workspace root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Artifact {
    /// Written by people: `fw/parse.c`.
    Source(Arc<str>),
    /// Made by an action: `ouro-out/x86/fw/parse.o`.
    Output(Arc<str>),
}

impl Artifact {
    /// The path from the workspace root.
    pub fn path(&self) -> &Arc<str> {
        match self {
            Artifact::Source(path) | Artifact::Output(path) => path,
        }
    }

    /// The path that does not tell what it was built for, as programs find it when they run: `fw/parse.o`.
    pub fn short_path(&self) -> &str {
        match self {
            Artifact::Source(path) => path,
            // Outputs lie in a folder of the configuration, in the folder of all outputs.
            Artifact::Output(path) => path.splitn(3, '/').nth(2).unwrap_or(path),
        }
    }
}

/// A program that actions run; the engine finds it and puts its identity into the action's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tool {
    /// The C compiler for `-target bpf`.
    Clang,
    /// The bitcode linker of the same LLVM.
    LlvmLink,
    /// `/bin/sh`, for genrules.
    Shell,
    /// A program of the machine, by the name it has in the search path: `python3`.
    Program(Arc<str>),
    /// A file of the build, run from the workspace root; one of the action's inputs.
    File(Artifact),
}

/// One step of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// A word for people and logs: `compile`.
    pub mnemonic: Arc<str>,
    /// The target it belongs to.
    pub owner: Label,
    /// What is done.
    pub kind: ActionKind,
    /// Every file it may read, except headers found through `depfile`.
    pub inputs: Vec<Artifact>,
    /// Every file it makes; at least one. No two actions make the same.
    pub outputs: Vec<Artifact>,
}

/// The words of a command line. Those that thousands of command lines begin with are in memory once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Words {
    first: Arc<[String]>,
    own: Vec<String>,
}

impl Words {
    /// What it begins with, and what follows.
    pub fn new(first: &Arc<[String]>, own: Vec<String>) -> Words {
        Words { first: Arc::clone(first), own }
    }

    /// Every word.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.first.iter().chain(&self.own).map(String::as_str)
    }
}

impl From<Vec<String>> for Words {
    fn from(own: Vec<String>) -> Words {
        Words { own, ..Words::default() }
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Vec<String> {
        words.first.iter().cloned().chain(words.own).collect()
    }
}

/// The same words, wherever they are.
impl PartialEq for Words {
    fn eq(&self, other: &Words) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Words {}

/// A second way for a process whose first one is shorter and may fail where this does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Arguments before the others.
    pub args: Vec<String>,
    /// The input that the first way was tried with, and that this one does without.
    pub instead_of: Artifact,
    /// What to tell when only this way went well; the first error of the other follows.
    pub note: Arc<str>,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Runs a process in the workspace root, with paths from there in its arguments.
    Run {
        /// The program.
        tool: Tool,
        /// Its arguments.
        args: Words,
        /// Its whole environment, besides what the engine fixes (`LC_ALL=C`, `SOURCE_DATE_EPOCH=0`, a plain `PATH`).
        env: BTreeMap<String, String>,
        /// A make-style dependency file it writes, naming headers that were really read. Not one of `outputs`: the engine
        /// reads it, keeps what it says and deletes it.
        depfile: Option<Arc<str>>,
        /// How it is tried again when it fails.
        fallback: Option<Box<Fallback>>,
        /// What its outputs must be; else the action has failed.
        check: Option<Box<Check>>,
    },
    /// Writes these bytes to the only output. Needs no cache.
    Write {
        /// The bytes.
        content: Arc<[u8]>,
        /// Whether the output may be run.
        executable: bool,
    },
    /// A pure function of the inputs' bytes, run in the engine's own process.
    Native(Native),
}
