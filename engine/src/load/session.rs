//! One load: packages in waves, until every label leads to one that is loaded.
//!
//! Knows nothing of what stands in BUILD files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ouro_rules::diagnostic::{Diagnostic, Severity, Span, sorted};
use ouro_rules::label::{Label, Pattern, Scope, join};
use ouro_rules::rule::RuleTable;
use ouro_rules::target::Target;
use starlark::environment::Globals;

use super::modules::Modules;
use super::package::{Built, Opened, Text};
use super::request::Wanted;
use super::{
    Crew, Loaded, Options, Package, Reads, Recall, builtins, definers, discover, folder, groups, package, parse, request,
};
use crate::workspace::{SETTINGS_FILE, Workspace};

/// One load.
pub(super) struct Session<'a> {
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

/// How many BUILD files are held as syntax trees at once.
const AT_ONCE: usize = 1_024;

/// Labels of packages that are not loaded yet, by package, with the places that name them.
type Asked = BTreeMap<Arc<str>, Vec<(Label, Option<Span>)>>;

impl<'a> Session<'a> {
    pub(super) fn run(
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
        session.finish(patterns, options.keep_going)
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

    fn finish(mut self, patterns: &[Pattern], keep_going: bool) -> Result<Loaded, Vec<Diagnostic>> {
        let (mut findings, mut of_groups) = (std::mem::take(&mut self.findings), Vec::new());
        let Session { workspace, packages, broken, table, .. } = &self;
        let select = || request::select(workspace, packages, patterns, broken, &mut findings);
        let mut group = || groups::groups(packages, broken, table, &workspace.settings.repositories, &mut of_groups);
        let (requested, (groups, rules)) = self.crew.both(packages.len(), select, || (group(), self.rules()));
        findings.append(&mut of_groups);
        let (mut findings, mut warnings) = (sorted(findings), Vec::new());
        let (mut requested, mut left_out) = (requested, BTreeSet::new());
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            self.blame(&mut findings);
            definers::complete(workspace, &self.modules.met(), &mut findings);
            requested.retain(|label| !self.broken.contains(&label.package));
            if !keep_going || requested.is_empty() {
                return Err(findings);
            }
            self.packages.retain(|name, _| !self.broken.contains(name));
            left_out = self.broken;
        } else {
            std::mem::swap(&mut findings, &mut warnings);
        }
        self.packages.append(&mut self.recalled);
        Ok(Loaded { packages: self.packages, requested, rules, groups, reads: self.reads, warnings, left_out, findings })
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
            let meant = label.and_then(|label| {
                let folder = discover::folder_meant(self.workspace, label);
                folder.or_else(|| discover::elsewhere(self.workspace, &self.crew, label))
            });
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
        let is_there = folder::BUILD_FILES.iter().any(|name| self.reads.files.contains(join(&label.package, name).as_str()));
        if !is_there {
            let finding = discover::no_package(self.workspace, &label.package, Some(label));
            self.findings.push(finding.named_at(span));
        }
    }
}
