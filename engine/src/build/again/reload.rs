//! The packages that changes of what was loaded may mean, loaded and analysed anew; all others stand in for themselves.
//!
//! Writes nothing. Does as the whole way would, or says that it cannot: where something is to be told, where a change reaches too
//! far, and where what is kept of packages is not enough.

mod others;
mod reach;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use ouro_rules::{Action, ActionKind, Artifact, Label, Span, Tool};

use self::others::Others;
use self::reach::Reach;
use super::Look;
use crate::build::book::{self, Book, Record, Stubs};
use crate::build::memory::Memory;
use crate::build::record::{self, Files, Reading};
use crate::build::targets::Instead;
use crate::build::{self, Analysis, BuiltTarget, Request, variants};
use crate::fast::{FastMap, FastSet};
use crate::graph::NodeId;
use crate::load::{Loaded, Recall};
use crate::plan::{self, Plan};
use crate::state::snapshot::{FileId, Roles, Snapshot, StepId, Steps};

/// Packages that were loaded anew.
#[derive(Default)]
pub(super) struct Reloaded {
    /// What is to be kept of them.
    pub(super) records: Vec<Record>,
    /// Those of which something else was kept before.
    changed: BTreeSet<Arc<str>>,
    /// Their actions, as far as they are part of the build.
    pub(super) plan: Plan,
    /// The actions they had before.
    pub(super) before: BTreeSet<StepId>,
    /// Files that they or their actions read or made before, and no package reads now.
    pub(super) unread: BTreeSet<Arc<str>>,
    /// What was looked at for them.
    pub(super) files: Files,
    /// Where the owners of the actions are declared.
    places: FastMap<Label, Span>,
    targets: Vec<BuiltTarget>,
}

impl Reloaded {
    /// None when it takes the whole way.
    pub(super) fn of(look: &Look, request: &Request<'_>, steps: &Steps<'_>, cancelled: &AtomicBool) -> Option<Reloaded> {
        // With several configurations nothing is kept; and what was said while loading is said again by the whole way.
        let [configuration] = request.configurations else { return None };
        // A toolchain is chosen before anything is analysed.
        if configuration.toolchain.is_some() || !look.memory.warnings.is_empty() {
            return None;
        }
        let index = book::index(&look.snapshot)?;
        let book = Book::open(&look.snapshot, &index)?;
        let reach = Reach { look, request, book: &book };
        let mut packages = reach.readers()?;
        let run = Run { look, request, steps, book: &book, reach: &reach, began: SystemTime::now(), cancelled };
        loop {
            match run.round(&packages)? {
                Round::Done(reloaded) => return Some(*reloaded),
                Round::More(more) => packages.extend(more),
            }
        }
    }

    /// Where the owner of an action is declared.
    pub(super) fn place(&self, owner: &Label) -> Option<&Span> {
        self.places.get(owner)
    }

    /// What their actions made before, and none makes now.
    pub(super) fn obsolete(&self, snapshot: &Snapshot, steps: &Steps<'_>) -> BTreeSet<FileId> {
        let made = self.plan.actions.iter().flat_map(|action| &action.outputs);
        let made: FastSet<FileId> = made.filter_map(|file| snapshot.find(file.path())).collect();
        self.before.iter().flat_map(|step| steps.outputs(*step)).filter(|file| !made.contains(file)).collect()
    }

    /// The targets in place of those they had; nothing when they are the same.
    pub(super) fn targets(&self, memory: &Memory) -> Option<Instead> {
        if self.records.is_empty() {
            return None;
        }
        let packages: Vec<Arc<str>> = self.records.iter().map(|record| record.name.clone()).collect();
        memory.targets.instead(packages, self.targets.clone())
    }

    /// What is to be kept, for the snapshot; nothing when it is kept already.
    pub(super) fn book(&self) -> Vec<u8> {
        book::later(self.records.iter().filter(|record| self.changed.contains(&record.name)))
    }
}

enum Round {
    Done(Box<Reloaded>),
    /// These must be loaded, too.
    More(BTreeSet<Arc<str>>),
}

struct Run<'a> {
    look: &'a Look,
    request: &'a Request<'a>,
    steps: &'a Steps<'a>,
    book: &'a Book<'a>,
    reach: &'a Reach<'a>,
    /// After what changed was looked at, and before it was loaded.
    began: SystemTime,
    cancelled: &'a AtomicBool,
}

impl Run<'_> {
    fn round(&self, packages: &BTreeSet<Arc<str>>) -> Option<Round> {
        if packages.is_empty() {
            return Some(Round::Done(Box::default()));
        }
        let (mut loaded, selected) = self.load(packages)?;
        let names: BTreeSet<Arc<str>> = fresh(&loaded).cloned().collect();
        self.reach.is_near(names.len()).then_some(())?;
        loaded.requested = self.wanted(&loaded, &names, &selected);
        let going = variants::Going { request: self.request, keep_going: false, cancelled: self.cancelled };
        let configured = variants::configured(going, &loaded).ok()?;
        let analysed = variants::analysed(going, &configured, &self.look.memory.toolchain, &|_| {}).ok()?;
        let [(_, analysis)] = &analysed.of[..] else { return None };
        // What is handed on by name may not be there, or not be analysed yet, for it is not waited for.
        let is_lost = analysis.analysed.strangers().iter().any(|stranger| !stranger.answered);
        if is_lost || !analysis.analysed.warnings().is_empty() {
            return None;
        }
        let asked: Vec<NodeId> = selected.iter().filter_map(|label| analysis.graph.find(label)).collect();
        let records = book::records(&loaded, analysis, &asked);
        let more = self.reach.more(&records)?;
        if !more.is_empty() {
            return Some(Round::More(more.into_iter().chain(names).collect()));
        }
        Some(Round::Done(Box::new(self.finish(&loaded, analysis, &selected, records)?)))
    }

    /// What was loaded, and what of it the patterns ask for.
    fn load(&self, packages: &BTreeSet<Arc<str>>) -> Option<(Loaded, Vec<Label>)> {
        let stubs = Stubs::new(self.book);
        let known = |name: &str| stubs.package(name);
        let recall = Recall { packages, known: &known };
        let besides: Vec<Label> = self.near(packages).collect();
        let mut loaded = build::load_with(self.request, &besides, (false, self.cancelled), Some(recall)).ok()?;
        stubs.add_rules(&mut loaded.rules);
        let selected = std::mem::take(&mut loaded.requested);
        loaded.warnings.is_empty().then_some((loaded, selected))
    }

    /// What these packages depended on before. They may have been given some of it by name.
    fn near<'s>(&'s self, packages: &'s BTreeSet<Arc<str>>) -> impl Iterator<Item = Label> + 's {
        let near = packages.iter().flat_map(|name| self.book.near(name));
        near.filter(|(package, _)| !packages.contains(*package)).map(|(package, name)| Label::new(*package, *name))
    }

    /// What is asked for, what packages need that are not loaded, and what stands in for them.
    fn wanted(&self, loaded: &Loaded, names: &BTreeSet<Arc<str>>, selected: &[Label]) -> Vec<Label> {
        let makes = |label: &Label| {
            let targets = loaded.packages.get(&label.package).into_iter().flat_map(|package| package.targets.values());
            let mut outs = targets.flat_map(|target| target.get("outs").items());
            outs.any(|out| out.value.as_str() == Some(&label.name))
        };
        let needed = self.reach.needed(names).into_iter();
        let needed = needed.filter(|label| loaded.target(label).is_some() || makes(label));
        let is_stub = |label: &Label| loaded.packages.get(&label.package).is_some_and(|package| package.recalled);
        let near = self.near(names).filter(|label| is_stub(label) && loaded.target(label).is_some());
        needed.chain(near).chain(selected.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn finish(&self, loaded: &Loaded, analysis: &Analysis<'_>, selected: &[Label], records: Vec<Record>) -> Option<Reloaded> {
        let before = self.reach.before(&records)?;
        (self.reach.names_all(&records) && self.reach.nobody_in_the_way(&records, &before)).then_some(())?;
        let others = Others::of(&self.look.snapshot, self.steps, &before);
        let asked = records.iter().flat_map(|record| &record.kept.asked).map(|path| Artifact::Output(path.clone()));
        let written = records.iter().flat_map(|record| &record.kept.written);
        let needed = written.filter(|path| others.need(path)).map(|path| Artifact::Output(path.clone()));
        let shared = analysis.analysed.shared().iter().filter(|action| !others.make(action));
        let shared: Vec<Arc<Action>> = shared.cloned().collect();
        let plan = plan::plan_for(&analysis.graph, &analysis.analysed, &shared, asked.chain(needed).collect()).ok()?;
        (others.fit(&plan, &before, self.book) && self.knows_programs(&plan)).then_some(())?;
        let place = |owner: &Label| Some((owner.clone(), analysis.graph.place(owner)?.clone()));
        let places = plan.actions.iter().filter_map(|action| place(&action.owner)).collect();
        let unread = self.reach.unread(&records, others.their_files());
        let changed = records.iter().filter(|record| self.reach.is_other(record, &before));
        let changed = changed.map(|record| record.name.clone()).collect();
        let targets = analysis.targets(&self.request.configurations[0].folder).into_iter();
        let targets = targets.filter(|target| selected.binary_search(&target.label).is_ok()).collect();
        let files = self.files(loaded, analysis)?;
        Some(Reloaded { records, changed, plan, before: others.into_steps(), unread, files, places, targets })
    }

    /// Whether every program of the machine that these actions run was looked for before: the snapshot has to name its files, too.
    fn knows_programs(&self, plan: &Plan) -> bool {
        let toolchain = &self.look.memory.toolchain;
        for action in &plan.actions {
            if let ActionKind::Run { tool: tool @ Tool::Program(_), .. } = &action.kind {
                // One that is not there is told by the action that runs it.
                let _ = toolchain.tool(tool);
            }
        }
        toolchain.programs_seen().is_empty()
    }

    /// What was looked at while loading and analysing, if it is what the snapshot and the look at it say.
    fn files(&self, loaded: &Loaded, analysis: &Analysis<'_>) -> Option<Files> {
        let (root, snapshot) = (&*self.request.workspace.root, &self.look.snapshot);
        let mut files = Files::new();
        let reading = Reading { root, began: self.began, before: Some(snapshot) };
        for (path, known) in reading.loaded(&loaded.reads)? {
            let expected = snapshot.find(&path).and_then(|file| self.look.now(file));
            let loads = |roles: Roles| roles.any(Roles::LOAD | Roles::FOLDER);
            if loads(known.roles) && expected.is_some_and(|then| loads(then.roles) && then.digest != known.digest) {
                return None;
            }
            record::add(&mut files, &path, known);
        }
        for (path, was_file) in &analysis.looked_for {
            record::add(&mut files, path, record::looked_for(root, path, *was_file)?);
        }
        Some(files)
    }
}

/// The packages that were loaded.
fn fresh(loaded: &Loaded) -> impl Iterator<Item = &Arc<str>> {
    loaded.packages.values().filter(|package| !package.recalled).map(|package| &package.name)
}
