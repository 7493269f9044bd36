//! BUILD files to targets: evaluates what was asked for and everything it depends on.
//!
//! The only user of the `starlark` crate, and no value of it leaves. Knows nothing of what built-in rules do: a rule is a name and
//! its attributes here. Rules of users run in `analysis`, behind the trait of all rules.

mod stdlib;

mod session;

mod crew;
mod discover;
mod folder;
mod request;

mod modules;
mod nesting;
mod order;
mod package;
mod parse;

mod builtins;
mod coerce;
mod context;
mod declare;
mod definers;
mod errors;
mod evaluate;
mod exports;
mod glob;
mod groups;
mod limits;
mod places;
mod select;
mod values;
mod visibility;

mod attr_function;
mod assigned;
mod plain;
mod provider_function;
mod rule_function;
mod views;

mod analysis;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::label::{Label, Pattern, join};
use ouro_rules::named::Named;
use ouro_rules::package_group::PackageGroup;
use ouro_rules::rule::RuleTable;
use ouro_rules::target::{Target, Visibility};
use rayon::prelude::*;

use self::session::Session;
use crate::fast::FastMap;
use crate::workspace::Workspace;

pub(crate) use self::crew::{Crew, on_large_stack};
pub(crate) use self::discover::is_walked_alike;
pub(crate) use self::folder::{BUILD_FILES, digest as folder_digest, is_hidden};
pub use self::glob::Patterns as GlobPatterns;
pub use self::limits::evaluated;
pub use self::stdlib::source as stdlib_source;

/// So many packages are worth waking other threads for.
const MANY: usize = 256;

/// Everything that was asked for and all it depends on.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The packages by their paths, closed under the labels in their targets' attributes.
    pub packages: BTreeMap<Arc<str>, Package>,
    /// The targets that the patterns select, sorted.
    pub requested: Vec<Label>,
    /// Every rule its targets are of.
    pub rules: RuleTable,
    /// Every `package_group`, as its own packages and those of all it includes.
    pub groups: BTreeMap<Label, Vec<PackageGroup>>,
    /// What the result depends on.
    pub reads: Reads,
    /// Findings that do not stop the build: what `print()` says.
    pub warnings: Vec<Diagnostic>,
    /// Packages that are left out, because something is wrong with them; none unless told to keep going.
    pub left_out: BTreeSet<Arc<str>>,
    /// What is wrong with those.
    pub findings: Vec<Diagnostic>,
}

/// One BUILD file.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// The folder's path from the workspace root; empty for the root.
    pub name: Arc<str>,
    /// The BUILD file's path from the workspace root.
    pub build_file: Arc<str>,
    /// Every `.star` file its BUILD file loads, directly or through others.
    pub loads: BTreeSet<Label>,
    /// The patterns of its calls of `glob()`: other files may come to match them.
    pub globs: Vec<GlobPatterns>,
    /// What it declares. Besides the attributes of its rule a target has `name`, and `visibility` and `tags` if given.
    pub targets: Named<Target>,
    /// The plain files that other packages may name.
    pub exports: BTreeMap<Arc<str>, Export>,
    /// The folders that its calls of `glob()` listed.
    pub listed: BTreeSet<Arc<str>>,
    /// Whether it was not loaded, and stands for what an earlier load found: see [`Recall`].
    pub recalled: bool,
}

/// A file that `exports_files()` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Who may name it.
    pub visibility: Visibility,
    /// Where it is exported.
    pub span: Span,
}

/// Every file and folder a load looked at, as paths from the workspace root. While none of them changes, loading again gives
/// the same result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Files whose bytes were read: `ouro.toml`, BUILD and `.star` files.
    pub files: BTreeSet<Arc<str>>,
    /// Folders whose entries were listed, for packages or for `glob()`.
    pub folders: BTreeSet<Arc<str>>,
    /// Files that were looked for and are not there.
    pub absent: BTreeSet<Arc<str>>,
    /// Symbolic links in folders that were listed, and whether each led to a file.
    pub links: BTreeMap<Arc<str>, bool>,
    /// The folders that were listed for packages, sorted.
    pub walked: Vec<Arc<str>>,
    /// The names of the files in folders of packages, sorted, when a walk has listed them.
    listed: FastMap<Arc<str>, Vec<String>>,
}

impl Loaded {
    /// The target of this label.
    pub fn target(&self, label: &Label) -> Option<&Target> {
        self.packages.get(&label.package)?.targets.get(&label.name).filter(|_| label.repo.is_empty())
    }

    /// The targets that are wanted, by package and name. To be used where they are few: all are looked at, in parallel if many
    /// packages were loaded.
    pub(crate) fn such(&self, is_wanted: impl Fn(&Target) -> bool + Send + Sync) -> Vec<&Target> {
        let is_wanted = |target: &&Target| is_wanted(target);
        match self.packages.len() < MANY {
            true => self.packages.values().flat_map(|package| package.targets.values().filter(is_wanted)).collect(),
            false => {
                let all = self.packages.par_iter();
                all.flat_map_iter(|(_, package)| package.targets.values().filter(is_wanted)).collect()
            }
        }
    }

    /// Whether the label is of a package that is left out.
    pub fn leaves_out(&self, label: &Label) -> bool {
        label.repo.is_empty() && self.left_out.contains(&label.package)
    }

    /// Whether package `to` may depend on something of package `owner` that has this visibility.
    pub fn allows(&self, visibility: &Visibility, owner: &str, to: &str) -> bool {
        let groups = || visibility.groups().iter().filter_map(|(label, _)| self.groups.get(label)).flatten();
        let may_be = || visibility.groups().iter().any(|(label, _)| self.leaves_out(label));
        visibility.allows(owner, to) || groups().any(|group| group.contains(to)) || may_be()
    }
}

impl Reads {
    /// Whether a walk has met a file at this path. It may have missed one.
    pub fn is_listed(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.listed.get(folder).is_some_and(|names| names.binary_search_by(|other| (**other).cmp(name)).is_ok())
    }

    fn file(&mut self, path: &Arc<str>) {
        self.files.insert(path.clone());
    }

    fn folder(&mut self, path: &str) {
        if !self.folders.contains(path) {
            self.folders.insert(path.into());
        }
    }

    fn links(&mut self, folder: &str, links: &[(String, bool)]) {
        self.links.extend(links.iter().map(|(name, is_file)| (join(folder, name).into(), *is_file)));
    }

    fn absent(&mut self, path: &Arc<str>) {
        self.absent.insert(path.clone());
    }

    fn merge(&mut self, other: Reads) {
        self.merge_all(vec![other]);
    }

    /// Adds many at once: a sorted tree is made of a sorted list in no time, and looks for the place of each that comes alone.
    fn merge_all(&mut self, mut others: Vec<Reads>) {
        self.files.append(&mut others.iter_mut().flat_map(|other| std::mem::take(&mut other.files)).collect());
        self.folders.append(&mut others.iter_mut().flat_map(|other| std::mem::take(&mut other.folders)).collect());
        self.absent.append(&mut others.iter_mut().flat_map(|other| std::mem::take(&mut other.absent)).collect());
        self.links.append(&mut others.iter_mut().flat_map(|other| std::mem::take(&mut other.links)).collect());
        self.listed.extend(others.into_iter().flat_map(|other| other.listed));
    }
}

/// What a load may be told besides what to load.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// More labels whose packages are loaded, each with where it is named, if anywhere; nothing of them is asked for.
    pub also: &'a [(Label, Option<Span>)],
    /// Set it to stop; the result then means nothing.
    pub cancelled: &'a AtomicBool,
    /// What is known of packages that need not be loaded.
    pub recall: Option<Recall<'a>>,
    /// Whether to go on with the packages that nothing is wrong with.
    pub keep_going: bool,
}

/// An earlier load of the same patterns, of which a few packages are loaded anew. The patterns select among those alone.
#[derive(Clone, Copy)]
pub struct Recall<'a> {
    /// What to load.
    pub packages: &'a BTreeSet<Arc<str>>,
    /// Stands for another package that they name; nothing for one that must be loaded, too.
    pub known: &'a (dyn Fn(&str) -> Option<Package> + Sync),
}

/// Loads the packages that `patterns` name and those their targets depend on. Reports all findings at once, sorted.
pub fn load(workspace: &Workspace, patterns: &[Pattern], table: &RuleTable) -> Result<Loaded, Vec<Diagnostic>> {
    let cancelled = AtomicBool::new(false);
    load_with(workspace, patterns, table, &Options { also: &[], cancelled: &cancelled, recall: None, keep_going: false })
}

/// The same, with options.
pub fn load_with(
    workspace: &Workspace,
    patterns: &[Pattern],
    table: &RuleTable,
    options: &Options<'_>,
) -> Result<Loaded, Vec<Diagnostic>> {
    crew::on_large_stack(|| Session::run(workspace, patterns, table, options))
        .unwrap_or_else(|error| Err(vec![Diagnostic::bare(format!("cannot start a thread: {error}"))]))
}
