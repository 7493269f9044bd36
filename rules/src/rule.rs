//! The one trait behind every rule, and what analysis hands to it and takes from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::action::{Action, Artifact};
use crate::attr::{AttrSpec, RecordSpec, Spanned};
use crate::configuration::KernelVersion;
use crate::diagnostic::Diagnostic;
use crate::label::Label;
use crate::provider::Providers;
use crate::repository::Repositories;
use crate::target::Target;

/// A kind of target.
///
/// `name`, `visibility` and `tags` belong to every rule and are not in [`Rule::attrs`].
pub trait Rule: Send + Sync {
    /// Its name in BUILD files.
    fn name(&self) -> &str;
    /// One paragraph for the reference.
    fn doc(&self) -> &str;
    /// Its attributes.
    fn attrs(&self) -> &[AttrSpec];
    /// Whether its targets are tests, which offer [`TestInfo`](crate::provider::TestInfo): asked before anything is analysed.
    fn is_test(&self) -> bool {
        false
    }
    /// Turns a target into actions and providers. Pure; reports every finding it can, not only the first.
    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>>;
    /// Checks what only the labels that do not make it wait (jumps) can tell; called once everything is analysed.
    fn check(&self, _ctx: &Context<'_>) -> Vec<Diagnostic> {
        Vec::new()
    }
    /// What its targets are for.
    fn role(&self) -> Role {
        Role::Built
    }
}

/// What targets of a rule are for. Those that are not built are the same in every configuration, so they refuse `select()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To be built, or to stand for what is built.
    Built,
    /// To be a condition of `select()`; see [`Requirements`](crate::condition::Requirements).
    Condition,
    /// To be set on the command line; see [`Flag`](crate::condition::Flag).
    Flag,
    /// To be chosen as the compiler of all; see [`ToolchainSpec`](crate::builtin::ToolchainSpec).
    Toolchain,
    /// To name packages in visibility lists; see [`PackageGroup`](crate::package_group::PackageGroup).
    Packages,
}

/// Every rule and constructor a BUILD file can call, by name.
#[derive(Clone, Default)]
pub struct RuleTable {
    rules: BTreeMap<String, Arc<dyn Rule>>,
    records: BTreeMap<String, Arc<RecordSpec>>,
}

impl std::fmt::Debug for RuleTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.rules.keys()).finish()
    }
}

impl RuleTable {
    /// A table of these; a later rule replaces an earlier one of the same name.
    pub fn new(rules: Vec<Arc<dyn Rule>>, records: Vec<RecordSpec>) -> RuleTable {
        RuleTable {
            rules: rules.into_iter().map(|rule| (rule.name().to_owned(), rule)).collect(),
            records: records.into_iter().map(|record| (record.name.clone(), Arc::new(record))).collect(),
        }
    }

    /// Adds a rule under a key of its own: two files of users may each have a rule of the same name.
    pub fn add(&mut self, key: impl Into<String>, rule: Arc<dyn Rule>) {
        self.rules.insert(key.into(), rule);
    }

    /// The rule of this name.
    pub fn rule(&self, name: &str) -> Option<&Arc<dyn Rule>> {
        self.rules.get(name)
    }

    /// Every rule, sorted by name.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<dyn Rule>> {
        self.rules.values()
    }

    /// Every constructor, sorted by name.
    pub fn records(&self) -> impl Iterator<Item = &Arc<RecordSpec>> {
        self.records.values()
    }
}

/// What a rule sees of the world.
pub struct Context<'a> {
    /// The target, attributes checked against the schema.
    pub target: &'a Target,
    /// What is built for.
    pub config: &'a Config,
    /// Providers of every label in the target's attributes (aliases followed), of what those are made from, and for a chain of
    /// all its members.
    pub deps: &'a dyn Fn(&Label) -> Option<&'a Providers>,
    /// The name of the rule a label's target is of; none for files.
    pub kind: &'a dyn Fn(&Label) -> Option<&'a str>,
    /// Set to end early; what is said then means nothing.
    pub cancelled: &'a AtomicBool,
}

impl<'a> Context<'a> {
    /// What the targets listed in the attribute `name` offer, with the place of each label.
    pub fn listed(&self, name: &str) -> Vec<(&'a Spanned, &'a Label, Option<&'a Providers>)> {
        let items = self.target.get(name).items().iter();
        items.filter_map(|item| item.value.as_label().map(|label| (item, label, (self.deps)(label)))).collect()
    }

    /// The files of all targets listed in the attribute `name`, each once, in order.
    pub fn files(&self, name: &str) -> Vec<Artifact> {
        let mut files: Vec<Artifact> = Vec::new();
        for file in self.listed(name).iter().filter_map(|(_, _, providers)| *providers).flat_map(|providers| &providers.files) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }

    /// What the targets listed in these attributes bring to a program that runs: what they make and what that needs in turn;
    /// each once, sorted.
    pub fn runfiles(&self, names: &[&str]) -> Vec<Artifact> {
        let listed = names.iter().flat_map(|name| self.listed(name)).filter_map(|(_, _, providers)| providers);
        listed.flat_map(Providers::wanted).cloned().collect::<BTreeSet<Artifact>>().into_iter().collect()
    }

    /// The path of an output of this target from the workspace root.
    pub fn output(&self, name: &str) -> String {
        let package = &*self.target.label.package;
        let gap = if package.is_empty() { "" } else { "/" };
        [&*self.config.out_dir, "/", package, gap, name].concat()
    }
}

/// What a target means.
#[derive(Debug, Clone, Default)]
pub struct Analysis {
    /// Its work.
    pub actions: Vec<Arc<Action>>,
    /// Its offer.
    pub providers: Providers,
    /// What was found and stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// What is built for. All of it is part of output paths or command lines, and so of every key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The workspace's name in `ouro.toml`, if it has one.
    pub workspace: Option<String>,
    /// Outputs go below this folder of the workspace: `ouro-out/x86`.
    pub out_dir: String,
    /// The CPU that will run the programs, as in libbpf's `__TARGET_ARCH_*`: `x86`, `arm64`.
    pub arch: String,
    /// System header folders for `-target bpf`, in order: `/usr/include/x86_64-linux-gnu`.
    pub system_includes: Vec<String>,
    /// What this compiler must be told so that nothing set up on the machine reaches a build.
    pub clang_flags: Vec<String>,
    /// The CPU's name for clang's `-target`: `bpf`, `bpfeb`.
    pub target: String,
    /// The target that says which compiler that is; none for the machine's own.
    pub toolchain: Option<Label>,
    /// What the compiler says it is; none without one.
    pub clang_version: Option<String>,
    /// What the toolchain and the configuration add to every compile.
    pub compile_args: Vec<String>,
    /// The oldest kernel that must run what is built; none when nobody said.
    pub oldest_kernel: Option<KernelVersion>,
    /// Where the kernel that runs here offers its types, if it does and is one of what is built for.
    pub kernel_btf: Option<String>,
    /// Folders that take themselves for the root.
    pub repositories: Repositories,
    /// What every compile is told first.
    pub first_words: FirstWords,
}

/// The words that follow from a configuration, made when they are first asked for. No part of it: a copy makes its own.
#[derive(Debug, Default)]
pub struct FirstWords(OnceLock<Arc<[String]>>);

impl FirstWords {
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Arc<[String]>) -> &Arc<[String]> {
        self.0.get_or_init(make)
    }
}

impl Clone for FirstWords {
    fn clone(&self) -> FirstWords {
        FirstWords::default()
    }
}

impl PartialEq for FirstWords {
    fn eq(&self, _: &FirstWords) -> bool {
        true
    }
}

impl Eq for FirstWords {}
