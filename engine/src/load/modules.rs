//! `.star` files: read once, evaluated once, each after those it loads.
//!
//! Knows nothing of targets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ouro_rules::diagnostic::{Diagnostic, did_you_mean, nearest};
use ouro_rules::label::Label;
use ouro_rules::repository::Repositories;
use ouro_rules::rule::Rule;
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::FileLoader;

use super::context::Context;
use super::evaluate::evaluate;
use super::folder::{self, Entry};
use super::order::order;
use super::parse::{self, Language, Load, Parsed};
use super::stdlib;
use super::values::Unknown;
use super::{Reads, analysis};
use crate::workspace::Workspace;

/// Every `.star` file met so far.
pub(super) struct Modules<'s> {
    /// Set to end every evaluation.
    pub(super) cancelled: &'s AtomicBool,
    repositories: &'s Repositories,
    done: BTreeMap<Label, State>,
    /// What each loads by itself.
    loads: BTreeMap<Label, Vec<Label>>,
    /// The rules they define, by their keys.
    pub(super) rules: BTreeMap<Arc<str>, Arc<dyn Rule>>,
}

enum State {
    /// Evaluated.
    Ready(FrozenModule),
    /// There is no such file; each `load()` of it gets this finding.
    Missing(Diagnostic),
    /// Something is wrong with it and has been reported.
    Failed,
}

impl<'s> Modules<'s> {
    /// None yet.
    pub(super) fn new(repositories: &'s Repositories, cancelled: &'s AtomicBool) -> Modules<'s> {
        Modules { cancelled, repositories, done: BTreeMap::new(), loads: BTreeMap::new(), rules: BTreeMap::new() }
    }

    /// Reads and evaluates what these statements load, and what that loads.
    pub(super) fn require<'l>(
        &mut self,
        workspace: &Workspace,
        globals: &Globals,
        loads: impl Iterator<Item = &'l Load>,
        reads: &mut Reads,
        findings: &mut Vec<Diagnostic>,
    ) {
        let mut parsed = self.read(workspace, loads, reads, findings);
        let order = order(&parsed, findings);
        for label in order {
            let Some(file) = parsed.remove(&label) else { continue };
            let state = self.evaluate(&label, file, globals, findings);
            self.done.insert(label, state);
        }
        // What is left is part of a cycle.
        self.done.extend(parsed.into_keys().map(|label| (label, State::Failed)));
    }

    /// Every file that was looked for and is there.
    pub(super) fn met(&self) -> Vec<&Label> {
        self.done.iter().filter(|(_, state)| !matches!(state, State::Missing(_))).map(|(label, _)| label).collect()
    }

    /// Whether all that these statements name was looked for.
    pub(super) fn have_all(&self, loads: &[Load]) -> bool {
        loads.iter().filter_map(|load| load.target.as_ref().ok()).all(|label| self.done.contains_key(label))
    }

    /// Reads every file not yet known that can be reached.
    fn read<'l>(
        &mut self,
        workspace: &Workspace,
        loads: impl Iterator<Item = &'l Load>,
        reads: &mut Reads,
        findings: &mut Vec<Diagnostic>,
    ) -> BTreeMap<Label, Parsed> {
        let targets = |load: &Load| load.target.clone().ok();
        let mut wanted: Vec<Label> = loads.filter_map(targets).collect();
        let mut parsed = BTreeMap::new();
        while let Some(label) = wanted.pop() {
            if self.done.contains_key(&label) || parsed.contains_key(&label) {
                continue;
            }
            match read_module(workspace, &label, reads) {
                Ok(Some(file)) => {
                    let loads: Vec<Label> = file.loads.iter().filter_map(targets).collect();
                    wanted.extend_from_slice(&loads);
                    self.loads.insert(label.clone(), loads);
                    parsed.insert(label, file);
                }
                Ok(None) => {
                    let finding = missing(workspace, &label);
                    self.done.insert(label, State::Missing(finding));
                }
                Err(finding) => {
                    findings.push(finding);
                    self.done.insert(label, State::Failed);
                }
            }
        }
        parsed
    }

    fn evaluate(&mut self, label: &Label, file: Parsed, globals: &Globals, findings: &mut Vec<Diagnostic>) -> State {
        let (imports, complete) = self.imports(&file.loads, findings);
        let name = file.file.clone();
        let context = Context {
            file: &name,
            repo: &label.repo,
            package: &label.package,
            repositories: self.repositories,
            cancelled: self.cancelled,
            findings: RefCell::default(),
            assigned: RefCell::default(),
            build: None,
        };
        let module = evaluate(file, globals, &imports, &context).filter(|_| complete);
        if let Some(module) = &module {
            let names = context.assigned.borrow().iter().map(|assigned| assigned.name()).collect::<Vec<_>>();
            self.rules.extend(names.iter().filter_map(|name| analysis::rule(module, name)));
        }
        findings.extend(context.findings.into_inner());
        module.map_or(State::Failed, State::Ready)
    }

    /// What the statements of one file bring in, and whether all of it is there. What is not there is reported and stands in
    /// as [`Unknown`].
    pub(super) fn imports(&self, loads: &[Load], findings: &mut Vec<Diagnostic>) -> (Imports, bool) {
        let mut sources: BTreeMap<&str, (Option<&FrozenModule>, BTreeSet<&str>)> = BTreeMap::new();
        let (mut complete, mut meant) = (true, BTreeSet::new());
        for load in loads {
            let module = self.module(load, findings);
            complete &= module.is_some();
            let (_, unknown) = sources.entry(&load.text).or_insert((module, BTreeSet::new()));
            for (name, span) in &load.symbols {
                let finding = module
                    .and_then(|module| symbol(module, name, load))
                    .map(|finding| Diagnostic { span: Some(span.clone()), ..finding });
                if finding.is_some() || module.is_none() {
                    unknown.insert(name);
                    complete = false;
                    meant.extend(module.and_then(|module| Some(nearest(name, names(module))?.to_owned())));
                }
                findings.extend(finding);
            }
        }
        let wanted = |text: &str| {
            loads
                .iter()
                .filter(|load| load.text == *text)
                .flat_map(|load| load.symbols.iter().map(|(name, _)| name.as_str()))
                .collect()
        };
        let modules = sources
            .into_iter()
            .filter_map(|(text, (module, unknown))| Some((text.to_owned(), stand_in(module, &wanted(text), &unknown)?)));
        (Imports { modules: modules.collect(), meant }, complete)
    }

    /// Every file that these statements bring in, directly or through others.
    pub(super) fn closure(&self, loads: &[Load]) -> BTreeSet<Label> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&Label> = loads.iter().filter_map(|load| load.target.as_ref().ok()).collect();
        while let Some(label) = open.pop() {
            if found.insert(label.clone()) {
                open.extend(self.loads.get(label).into_iter().flatten());
            }
        }
        found
    }

    fn module(&self, load: &Load, findings: &mut Vec<Diagnostic>) -> Option<&FrozenModule> {
        let label = match &load.target {
            Ok(label) => label,
            Err(finding) => {
                findings.push(finding.clone());
                return None;
            }
        };
        match self.done.get(label) {
            Some(State::Ready(module)) => Some(module),
            Some(State::Missing(finding)) => {
                findings.push(Diagnostic { span: Some(load.span.clone()), ..finding.clone() });
                None
            }
            Some(State::Failed) | None => None,
        }
    }
}

/// What the `load()` statements of a file bring in.
pub(super) struct Imports {
    /// By the texts of the statements.
    modules: HashMap<String, FrozenModule>,
    /// The names that they surely mean where they name what is not there.
    meant: BTreeSet<String>,
}

impl Imports {
    /// Whether a statement that names what is not there means this name.
    pub(super) fn mean(&self, name: &str) -> bool {
        self.meant.contains(name)
    }
}

impl FileLoader for Imports {
    fn load(&self, text: &str) -> starlark::Result<FrozenModule> {
        let module = self.modules.get(text).cloned();
        module.ok_or_else(|| super::errors::refuse(Diagnostic::bare(format!("`{text}` is not loaded"))))
    }
}

/// The module itself when nothing is unknown, else one that has all names and says [`Unknown`] for the unknown ones.
fn stand_in(module: Option<&FrozenModule>, names: &BTreeSet<&str>, unknown: &BTreeSet<&str>) -> Option<FrozenModule> {
    if let (Some(module), true) = (module, unknown.is_empty()) {
        return Some(module.clone());
    }
    Module::with_temp_heap(|made| {
        for name in names {
            let known = module.and_then(|module| module.get(name).ok()).filter(|_| !unknown.contains(name));
            let value = known.map_or_else(|| made.heap().alloc(Unknown), |value| made.heap().access_owned_frozen_value(&value));
            made.set(name, value);
        }
        made.freeze().ok()
    })
}

/// What is wrong with loading `name` from `module`, without its place.
fn symbol(module: &FrozenModule, name: &str, load: &Load) -> Option<Diagnostic> {
    // Private names are refused by the interpreter itself.
    if name.starts_with('_') || module.get(name).is_ok() {
        return None;
    }
    Some(Diagnostic::bare(format!("`{}` has no `{name}`", load.text)).maybe_help(did_you_mean(name, names(module))))
}

fn names(module: &FrozenModule) -> Vec<&str> {
    module.names().map(|name| name.as_str()).collect()
}

/// Reads one file; `None` when there is none.
fn read_module(workspace: &Workspace, label: &Label, reads: &mut Reads) -> Result<Option<Parsed>, Diagnostic> {
    let path = label.path();
    let (file, text): (Arc<str>, _) = if &*label.repo == stdlib::REPO {
        (format!("@{}//{path}", stdlib::REPO).into(), stdlib::text(&path).map(str::to_owned))
    } else {
        let file: Arc<str> = path.as_str().into();
        reads.file(&file);
        let text = parse::read(&workspace.root.join(&path), &file)?;
        (file, text)
    };
    let (here, repositories) = ((&*label.repo, &*label.package), &workspace.settings.repositories);
    text.map(|text| parse::parse(&file, text, Language::Star, here, repositories)).transpose()
}

fn missing(workspace: &Workspace, label: &Label) -> Diagnostic {
    let path = label.path();
    let finding = Diagnostic::bare(format!("no file `{path}`"));
    if &*label.repo == stdlib::REPO {
        let near = did_you_mean(&path, stdlib::paths());
        return Diagnostic { message: format!("no file `{path}` in `@{}`", stdlib::REPO), ..finding }.maybe_help(near);
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let listing = folder::list(&workspace.root.join(folder)).unwrap_or_default();
    let files = listing.entries.iter().filter(|(_, entry)| *entry == Entry::File).map(|(name, _)| name.as_str());
    finding.maybe_help(did_you_mean(name, files))
}
