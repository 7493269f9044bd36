//! Providers: what a target offers to those that depend on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Artifact;
use crate::chain::ChainSpec;
use crate::contents::Given;
use crate::data::{Info, ProviderId};
use crate::diagnostic::Span;
use crate::label::Label;
use crate::manifest::{MapSpec, Scalar};
use crate::object::Expected;
use crate::requirement::Requirement;

/// Everything one target offers. A source file offers `files` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Providers {
    /// The files `ouro build` makes when asked for the target; what `srcs` of others takes.
    pub files: Vec<Artifact>,
    /// Headers for programs that list the target in `deps`.
    pub headers: Option<Arc<Headers>>,
    /// A map.
    pub map: Option<Arc<MapInfo>>,
    /// A compiled program.
    pub program: Option<Arc<ProgramInfo>>,
    /// A chain.
    pub chain: Option<Arc<ChainInfo>>,
    /// What `ouro run` starts.
    pub run: Option<Arc<RunInfo>>,
    /// What makes it a test; always beside `run`.
    pub test: Option<Arc<TestInfo>>,
    /// Whether it stands for tests, as a `test_suite` does.
    pub suite: bool,
    /// Files that what is run needs beside it, with those of what it depends on.
    pub runfiles: Vec<Artifact>,
    /// What users' own providers say.
    pub infos: BTreeMap<ProviderId, Arc<Info>>,
}

impl Providers {
    /// Every file that must be there before the target can be used.
    pub fn wanted(&self) -> impl Iterator<Item = &Artifact> {
        self.files.iter().chain(self.run.iter().map(|run| &run.executable)).chain(&self.runfiles)
    }
}

/// A program to start, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The program: a file of the build.
    pub executable: Artifact,
    /// Arguments before those of the command line.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
}

/// How a test is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestInfo {
    /// How long it may take; the runner's default when not said.
    pub timeout: Option<Duration>,
    /// Whether its result is never taken from an earlier run: it looks at something that is no input.
    pub uncached: bool,
    /// Whether it runs while no other test does.
    pub exclusive: bool,
    /// Whether it sees the whole machine and may change it, as tests with a kernel must.
    pub unconfined: bool,
}

impl TestInfo {
    /// How a test with these tags is run; all rules read the same words: `exclusive`, `external`, `no-cache` and `no-sandbox`.
    pub fn new(timeout: Option<Duration>, tags: &[Arc<str>]) -> TestInfo {
        TestInfo { timeout, ..TestInfo::default() }.with_tags(tags)
    }

    /// The same, with what the target's tags say.
    pub fn with_tags(self, tags: &[Arc<str>]) -> TestInfo {
        let has = |word: &str| tags.iter().any(|tag| **tag == *word);
        let uncached = self.uncached || has("external") || has("no-cache");
        let unconfined = self.unconfined || has("external") || has("no-sandbox");
        TestInfo { uncached, exclusive: self.exclusive || has("exclusive"), unconfined, ..self }
    }
}

/// Headers of a library and of the libraries below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// The header files, in the order declared, each once.
    pub files: Vec<Artifact>,
    /// Folders to search for `#include <...>` and `"..."`, from the workspace root.
    pub includes: Vec<String>,
    /// `-D` definitions.
    pub defines: Vec<String>,
    /// Kernels whose types are offered as `vmlinux.h`; a program can have one.
    pub kernels: Vec<Arc<Vmlinux>>,
}

/// The types of a kernel, as a `vmlinux_header` offers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmlinux {
    /// Its name in BUILD files.
    pub label: Label,
    /// Where the types come from: BTF, or a header.
    pub types: Artifact,
    /// The header with all of them: a file `vmlinux.h` in a folder of its own.
    pub header: Artifact,
    /// Whether programs get headers of their own, of the types they can reach.
    pub slim: bool,
}

/// A declared map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInfo {
    /// Its name in BUILD files.
    pub label: Label,
    /// What the kernel is asked for.
    pub spec: MapSpec,
    /// What it holds at first.
    pub contents: Option<Given>,
    /// The maps it holds at first.
    pub holds: Vec<Arc<MapInfo>>,
    /// Headers that declare its key and value types, and those of the libraries in its `deps`.
    pub headers: Headers,
    /// The header files the generated header includes for its key and value types.
    pub includes: Vec<Artifact>,
    /// Where it is declared.
    pub span: Span,
}

/// A compiled program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// Its name in BUILD files.
    pub label: Label,
    /// Its type as declared, a libbpf section prefix: `xdp`, `tc`, `cgroup_skb/egress`.
    pub ty: String,
    /// Where the type was written.
    pub ty_span: Span,
    /// The object file.
    pub object: Artifact,
    /// What the object must be.
    pub expected: Expected,
    /// What was found in the object, for those who ask: [`crate::object::Facts`] as JSON.
    pub facts: Artifact,
    /// The declared tail calls.
    pub jumps: Vec<Jump>,
    /// The maps it uses.
    pub maps: Vec<Arc<MapInfo>>,
    /// The slot it asks for, with the place.
    pub slot: Option<(i64, Span)>,
    /// Left out of drawings.
    pub hidden: bool,
    /// The values of its global variables, where they differ from the source's.
    pub globals: BTreeMap<String, Scalar>,
    /// What a kernel must have to be asked to load it.
    pub requires: Vec<Requirement>,
    /// Whether a chain is deployed without it where the kernel does not take it; with the place that says so.
    pub optional: Option<Span>,
    /// The programs of which the first that the kernel takes stands in its place; none for a program with an object of its own.
    /// Of several, what is said above of an object is said of the first one's.
    pub candidates: Vec<Arc<ProgramInfo>>,
    /// Where it is declared.
    pub span: Span,
}

impl ProgramInfo {
    /// The programs with objects that can stand in its place, in the order tried: its candidates, or itself.
    pub fn tried(self: &Arc<ProgramInfo>) -> &[Arc<ProgramInfo>] {
        if self.candidates.is_empty() { std::slice::from_ref(self) } else { &self.candidates }
    }
}

/// A declared tail call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// The program jumped to.
    pub target: Label,
    /// Its name in the C source: `OURO_JUMP(ctx, name)`.
    pub name: String,
    /// The program's return value when the slot is empty.
    pub on_miss: i32,
    /// How often the edge may be taken in one run, for edges that close a cycle.
    pub bound: Option<u32>,
    /// Where it is declared.
    pub span: Span,
}

/// A validated chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    /// Its name in BUILD files.
    pub label: Label,
    /// Everything about it that is known before compiling.
    pub spec: Arc<ChainSpec>,
    /// The bundle.
    pub bundle: Artifact,
}
