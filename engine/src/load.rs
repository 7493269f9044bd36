//! BUILD files to targets: evaluates what was asked for and everything it depends on.
//!
//! The only user of the `starlark` crate, and no value of it leaves. Knows nothing of what built-in rules do: a rule is a name and
//! its attributes here. Rules of users run in `analysis`, behind the trait of all rules.

mod stdlib;

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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ouro_rules::diagnostic::{Diagnostic, Severity, Span, sorted};
use ouro_rules::label::{Label, Pattern, Scope, join};
use ouro_rules::named::Named;
use ouro_rules::package_group::PackageGroup;
use ouro_rules::rule::RuleTable;
use ouro_rules::target::{Target, Visibility};
use rayon::prelude::*;
use starlark::environment::Globals;

use self::modules::Modules;
use self::package::{Built, Opened, Text};
use self::request::Wanted;
use crate::fast::FastMap;
use crate::workspace::{SETTINGS_FILE, Workspace};

pub(crate) use self::crew::{Crew, on_large_stack};
pub(crate) use self::discover::is_walked_alike;
pub(crate) use self::folder::{BUILD_FILES, digest as folder_digest, is_hidden};
pub use self::glob::Patterns as GlobPatterns;
pub use self::limits::evaluated;
pub use self::stdlib::source as stdlib_source;

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

    /// Whether package `to` may depend on something of package `owner` that has this visibility.
    pub fn allows(&self, visibility: &Visibility, owner: &str, to: &str) -> bool {
        let groups = || visibility.groups().iter().filter_map(|(label, _)| self.groups.get(label)).flatten();
        visibility.allows(owner, to) || groups().any(|group| group.contains(to))
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
    load_with(workspace, patterns, table, &Options { also: &[], cancelled: &AtomicBool::new(false), recall: None })
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

/// One load.
struct Session<'a> {
    workspace: &'a Workspace,
    patterns: &'a [Pattern],
    table: &'a RuleTable,
    globals: Globals,
    crew: Crew,
    modules: Modules<'a>,
    packages: BTreeMap<Arc<str>, Package>,
    /// Packages that were tried and have findings, or are not there.
    broken: BTreeSet<Arc<str>>,
    recall: Option<Recall<'a>>,
    /// What stands for packages that are not loaded.
    recalled: BTreeMap<Arc<str>, Package>,
    reads: Reads,
    findings: Vec<Diagnostic>,
}

/// What a wave brought in.
#[derive(Default)]
struct Catch {
    packages: Vec<Package>,
    reads: Vec<Reads>,
    /// Labels of other packages, with their places.
    outside: Vec<(Label, Span)>,
}

/// So many packages are worth waking other threads for.
const MANY: usize = 256;

/// How many BUILD files are held as syntax trees at once.
const AT_ONCE: usize = 1_024;

/// Labels of packages that are not loaded yet, by package, with the places that name them.
type Asked = BTreeMap<Arc<str>, Vec<(Label, Option<Span>)>>;

impl<'a> Session<'a> {
    fn run(
        workspace: &'a Workspace,
        patterns: &'a [Pattern],
        table: &'a RuleTable,
        options: &Options<'a>,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let crew = Crew::default();
        let (mut reads, mut findings) = (Reads::default(), Vec::new());
        reads.file(&SETTINGS_FILE.into());
        // The interpreter takes some milliseconds to set up in a new process; folders are walked meanwhile.
        let (globals, wanted) = std::thread::scope(|scope| {
            let globals = scope.spawn(|| builtins::globals(table));
            let wanted = match options.recall {
                Some(recall) => recall.packages.iter().map(Wanted::named).collect(),
                None => request::packages(workspace, &crew, patterns, &mut reads, &mut findings),
            };
            (globals.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), wanted)
        });
        let modules = Modules::new(&workspace.settings.repositories, options.cancelled);
        reads.walked = reads.folders.iter().cloned().collect();
        let (packages, broken) = (BTreeMap::new(), BTreeSet::new());
        let (recall, recalled) = (options.recall, BTreeMap::new());
        let mut session =
            Session { workspace, patterns, table, globals, crew, modules, packages, broken, recall, recalled, reads, findings };
        session.waves(wanted, options);
        session.finish(patterns)
    }

    fn waves(&mut self, mut wanted: Vec<Wanted>, options: &Options<'_>) {
        let also = options.also.iter().filter(|(label, _)| wanted.iter().all(|one| one.package != label.package));
        let mut asked = self.unloaded(also.cloned().collect());
        wanted.extend(asked.keys().map(Wanted::named));
        while !wanted.is_empty() && !options.cancelled.load(Ordering::Relaxed) {
            asked = self.wave(wanted, &asked);
            wanted = asked.keys().map(Wanted::named).collect();
        }
    }

    fn finish(mut self, patterns: &[Pattern]) -> Result<Loaded, Vec<Diagnostic>> {
        let (mut findings, mut of_groups) = (std::mem::take(&mut self.findings), Vec::new());
        let Session { workspace, packages, broken, table, .. } = &self;
        let select = || request::select(workspace, packages, patterns, broken, &mut findings);
        let mut group = || groups::groups(packages, broken, table, &workspace.settings.repositories, &mut of_groups);
        let (requested, (groups, rules)) = self.crew.both(packages.len(), select, || (group(), self.rules()));
        findings.append(&mut of_groups);
        let mut findings = sorted(findings);
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            self.blame(&mut findings);
            definers::complete(workspace, &self.modules.met(), &mut findings);
            return Err(findings);
        }
        self.packages.append(&mut self.recalled);
        Ok(Loaded { packages: self.packages, requested, rules, groups, reads: self.reads, warnings: findings })
    }

    /// Adds the calls inside macros to findings about labels that macros wrote: their places are the calls in BUILD files.
    fn blame(&self, findings: &mut [Diagnostic]) {
        let targets = self.packages.values().flat_map(|package| package.targets.values());
        let made: BTreeMap<&Span, &Target> =
            targets.filter(|target| !target.macro_trace.is_empty()).map(|target| (&target.span, target)).collect();
        for finding in findings {
            if let Some(target) = finding.span.as_ref().and_then(|span| made.get(span)) {
                *finding = target.blamed(finding.clone());
            }
        }
    }

    /// The rules of the language, and those of users that some target is of.
    fn rules(&self) -> RuleTable {
        let mut rules = self.table.clone();
        let used: BTreeSet<&Arc<str>> =
            self.packages.values().flat_map(|package| package.targets.values()).map(|target| &target.rule).collect();
        for key in used {
            if let Some(rule) = self.modules.rules.get(key) {
                rules.add(&**key, rule.clone());
            }
        }
        rules
    }

    /// Loads some packages; returns the ones they name and nobody has loaded.
    fn wave(&mut self, wanted: Vec<Wanted>, asked: &Asked) -> Asked {
        let mut wanted = wanted.into_iter();
        let mut catch = Catch::default();
        while wanted.len() > 0 {
            let some = wanted.by_ref().take(AT_ONCE).collect();
            self.some(some, asked, &mut catch);
        }
        let Session { crew, packages, reads, .. } = self;
        let Catch { packages: more, reads: others, outside } = catch;
        let add = || packages.append(&mut more.into_iter().map(|package| (package.name.clone(), package)).collect());
        crew.both(others.len(), add, || reads.merge_all(others));
        self.unloaded(outside.into_iter().map(|(label, span)| (label, Some(span))).collect())
    }

    /// Loads so few packages that their syntax trees fit into memory; those that load nothing new are done with in one go.
    fn some(&mut self, wanted: Vec<Wanted>, asked: &Asked, catch: &mut Catch) {
        let (workspace, globals, modules) = (self.workspace, &self.globals, &self.modules);
        let opened = self.crew.map(wanted, |wanted| package::open(workspace, wanted).build_if_ready(workspace, globals, modules));
        let parsed: Vec<_> = opened.into_iter().filter_map(|opened| self.opened(opened, asked, catch)).collect();
        let loads = parsed.iter().flat_map(|(_, file)| &file.loads);
        self.modules.require(workspace, &self.globals, loads, &mut self.reads, &mut self.findings);
        let (globals, modules) = (&self.globals, &self.modules);
        let built = self.crew.map(parsed, |(name, file)| package::build(workspace, globals, modules, name, *file));
        built.into_iter().for_each(|built| self.built(built, catch));
    }

    fn opened(&mut self, opened: Opened, asked: &Asked, catch: &mut Catch) -> Option<(Arc<str>, Box<parse::Parsed>)> {
        catch.reads.push(opened.reads);
        match opened.text {
            Text::Parsed(parsed) => return Some((opened.package, parsed)),
            Text::Built(built) => {
                self.built(*built, catch);
                return None;
            }
            Text::Bad(finding) => self.findings.push(finding),
            Text::Missing => self.missing(&opened.package, asked),
        }
        self.broken.insert(opened.package);
        None
    }

    /// Reports a package that is not there at every place that names it.
    fn missing(&mut self, package: &Arc<str>, asked: &Asked) {
        let Some(labels) = asked.get(package) else {
            let label = self.patterns.iter().find_map(|pattern| match &pattern.scope {
                Scope::Target(label) if label.package == *package => Some(label),
                _ => None,
            });
            let meant = label.and_then(|label| discover::folder_meant(self.workspace, label));
            return self.findings.push(discover::no_package(self.workspace, package, None).maybe_help(meant).named_at(None));
        };
        for (label, span) in labels {
            let finding = discover::no_package(self.workspace, package, Some(label));
            // What a flag or a setting names has no place.
            let finding = if span.is_none() { finding.note(format!("needed for `{label}`")) } else { finding };
            self.findings.push(finding.named_at(span.clone()));
        }
    }

    fn built(&mut self, built: Built, catch: &mut Catch) {
        if built.is_broken() {
            self.broken.insert(built.package.name.clone());
        }
        self.findings.extend(built.findings);
        catch.reads.push(built.reads);
        catch.packages.push(built.package);
        catch.outside.extend(built.outside);
    }

    fn unloaded(&mut self, labels: Vec<(Label, Option<Span>)>) -> Asked {
        let (mut asked, mut labels) = (Asked::new(), VecDeque::from(labels));
        while let Some((label, span)) = labels.pop_front() {
            if !label.repo.is_empty() {
                self.findings.push(request::foreign(&label).named_at(span));
            } else if self.broken.contains(&label.package) && !self.packages.contains_key(&label.package) {
                self.again_missing(&label, span);
            } else if let Some(known) = self.recall(&label.package) {
                labels.extend(package::outside(&known).into_iter().map(|(label, span)| (label, Some(span))));
                self.recalled.insert(label.package, known);
            } else if !self.packages.contains_key(&label.package) && !self.recalled.contains_key(&label.package) {
                asked.entry(label.package.clone()).or_default().push((label, span));
            }
        }
        asked
    }

    /// What stands for a package that is named for the first time and need not be loaded.
    fn recall(&self, package: &Arc<str>) -> Option<Package> {
        let recall = self.recall.filter(|recall| !recall.packages.contains(package))?;
        let is_new = !self.packages.contains_key(package) && !self.recalled.contains_key(package);
        is_new.then(|| (recall.known)(package)).flatten()
    }

    /// A package of an earlier wave that is named again; one that is there but does not parse has its finding.
    fn again_missing(&mut self, label: &Label, span: Option<Span>) {
        let is_there = folder::BUILD_FILES
            .iter()
            .any(|name| self.reads.files.contains(ouro_rules::label::join(&label.package, name).as_str()));
        if !is_there {
            let finding = discover::no_package(self.workspace, &label.package, Some(label));
            self.findings.push(finding.named_at(span));
        }
    }
}
