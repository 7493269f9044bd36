//! The action graph, pruned to what was asked.
//!
//! Pure; knows nothing of caches and processes.

use std::sync::Arc;

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic};
use rayon::prelude::*;

use crate::analyse::Analysed;
use crate::fast::{FastMap, FastSet};
use crate::graph::Graph;

/// Actions in an order in which each comes after those that make its inputs.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions, in a deterministic topological order.
    pub actions: Vec<Arc<Action>>,
    /// For each action, the places of those that make its inputs, sorted; all smaller than its own.
    pub needs: Vec<Vec<u32>>,
    /// The files that were asked for.
    pub requested: Vec<Artifact>,
}

/// Collects the actions that make what was asked for, and theirs.
pub fn plan(graph: &Graph<'_>, analysed: &Analysed) -> Result<Plan, Vec<Diagnostic>> {
    let (makers, requested) = rayon::join(|| makers(graph, analysed, analysed.shared()), || requested(graph, analysed));
    Ok(prune(&makers?, requested))
}

/// Collects the actions that make these files, and theirs; of those that belong to no target, these.
pub(crate) fn plan_for(
    graph: &Graph<'_>,
    analysed: &Analysed,
    shared: &[Arc<Action>],
    mut requested: Vec<Artifact>,
) -> Result<Plan, Vec<Diagnostic>> {
    let makers = makers(graph, analysed, shared)?;
    requested.par_sort_unstable();
    requested.dedup();
    Ok(prune(&makers, requested))
}

/// The files that were asked for, sorted, each once.
fn requested(graph: &Graph<'_>, analysed: &Analysed) -> Vec<Artifact> {
    let files = graph.requested().iter().filter_map(|node| analysed.get(*node)).flat_map(|analysis| analysis.providers.wanted());
    let mut requested: Vec<Artifact> = files.cloned().collect();
    requested.par_sort_unstable();
    requested.dedup();
    requested
}

impl Plan {
    /// Adds another plan, which makes other files, behind this one.
    pub fn append(&mut self, other: Plan) {
        let start = u32::try_from(self.actions.len()).expect("BUG: fewer than four billion actions");
        self.needs.extend(other.needs.into_iter().map(|needs| needs.into_iter().map(|place| place + start).collect()));
        self.actions.extend(other.actions);
        self.requested.extend(other.requested);
    }

    /// The part of the plan that makes these files.
    pub fn prune(&self, requested: Vec<Artifact>) -> Plan {
        let mut makers = Makers::default();
        self.actions.iter().for_each(|action| makers.add(action, |_, _| {}));
        prune(&makers, requested)
    }
}

fn prune(makers: &Makers<'_>, requested: Vec<Artifact>) -> Plan {
    let mut pruned = Pruned { makers, place: vec![None; makers.actions.len()], plan: Plan::default() };
    requested.iter().for_each(|file| pruned.visit(file));
    Plan { requested, ..pruned.plan }
}

/// The actions, by number, and which of them writes each file. Dependency files are among those: no action reads one, but each
/// needs its place.
#[derive(Default)]
struct Makers<'a> {
    actions: Vec<&'a Arc<Action>>,
    by_path: FastMap<&'a str, u32>,
}

impl<'a> Makers<'a> {
    /// Adds an action; `conflict` is told of every path that another one writes, too.
    fn add(&mut self, action: &'a Arc<Action>, mut conflict: impl FnMut(&str, &Action)) {
        let number = u32::try_from(self.actions.len()).expect("BUG: fewer than four billion actions");
        self.actions.push(action);
        for path in written(action) {
            if let Some(other) = self.by_path.insert(path, number) {
                conflict(path, self.actions[other as usize]);
            }
        }
    }

    fn action(&self, number: u32) -> &'a Arc<Action> {
        self.actions[number as usize]
    }

    fn of_path(&self, path: &str) -> &'a Arc<Action> {
        self.action(self.by_path[path])
    }

    fn paths(&self) -> impl Iterator<Item = &'a str> {
        self.actions.iter().flat_map(|action| written(action)).map(|path| &**path)
    }
}

fn makers<'a>(graph: &Graph<'_>, analysed: &'a Analysed, shared: &'a [Arc<Action>]) -> Result<Makers<'a>, Vec<Diagnostic>> {
    let own = || graph.ids().filter_map(|node| analysed.get(node)).flat_map(|analysis| &analysis.actions);
    let actions = || shared.iter().chain(own());
    let ((makers, mut findings), folders) = rayon::join(|| collect(graph, actions()), || folders(actions()));
    findings.extend(files_as_folders(graph, &makers, folders));
    if findings.is_empty() { Ok(makers) } else { Err(sorted(findings)) }
}

/// Who makes what, and the files that several make.
fn collect<'a>(graph: &Graph<'_>, actions: impl Iterator<Item = &'a Arc<Action>>) -> (Makers<'a>, Vec<Diagnostic>) {
    let mut makers = Makers::default();
    // About two files for each node; growing would hash every path again.
    makers.by_path.reserve(2 * graph.len());
    let mut findings = Vec::new();
    for action in actions {
        makers.add(action, |path, other| {
            let message = format!("`{path}` is made by `{}` and by `{}`", other.owner, action.owner);
            findings.push(conflict(graph, action, other, message));
        });
    }
    (makers, findings)
}

fn written(action: &Action) -> impl Iterator<Item = &Arc<str>> {
    let depfile = match &action.kind {
        ActionKind::Run { depfile, .. } => depfile.as_ref(),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    };
    action.outputs.iter().map(Artifact::path).chain(depfile)
}

/// Files where other actions need folders: `q` and `q/r`.
fn files_as_folders(graph: &Graph<'_>, makers: &Makers<'_>, folders: FastSet<&str>) -> Vec<Diagnostic> {
    let in_the_way: Vec<&str> = folders.into_iter().filter(|folder| makers.by_path.contains_key(folder)).collect();
    if in_the_way.is_empty() {
        return Vec::new();
    }
    let mut paths: Vec<&str> = makers.paths().collect();
    paths.sort_unstable();
    let first_in = |folder: &str| paths[paths.partition_point(|path| *path < &*format!("{folder}/"))];
    let finding = |path: &str| {
        let (file, inner) = (makers.of_path(path), first_in(path));
        let other = makers.of_path(inner);
        let message = format!("`{path}` is a file made by `{}`, and `{}` makes `{inner}` in it", file.owner, other.owner);
        conflict(graph, file, other, message)
    };
    in_the_way.into_iter().map(finding).collect()
}

/// Every folder that is written to. Most files lie where the one before does, or in a folder that is known, and so are those above.
fn folders<'a>(actions: impl Iterator<Item = &'a Arc<Action>>) -> FastSet<&'a str> {
    let mut folders = FastSet::default();
    let mut last = "";
    for path in actions.flat_map(|action| written(action)) {
        let mut above = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
        let Some(folder) = above.next().filter(|folder| *folder != last) else { continue };
        last = folder;
        if folders.insert(folder) {
            above.all(|folder| folders.insert(folder));
        }
    }
    folders
}

fn conflict(graph: &Graph<'_>, action: &Action, other: &Action, message: String) -> Diagnostic {
    let finding = Diagnostic { span: graph.place(&action.owner).cloned(), ..Diagnostic::bare(message) };
    let finding = finding.help("rename one of the targets or outputs");
    match graph.place(&other.owner) {
        Some(place) if action.owner != other.owner => finding.related(place, "the other is declared here"),
        _ => finding,
    }
}

struct Pruned<'a> {
    makers: &'a Makers<'a>,
    /// The place in the plan of each action, by its number; none while it is not planned.
    place: Vec<Option<u32>>,
    plan: Plan,
}

impl Pruned<'_> {
    /// Plans the action that makes `file` after those it needs. Depth first with a stack of its own: chains of generated files may
    /// be longer than the thread's stack.
    fn visit(&mut self, file: &Artifact) {
        let mut open: Vec<(u32, bool)> = self.maker(file).map(|action| (action, false)).into_iter().collect();
        while let Some((action, inputs_done)) = open.pop() {
            if self.place(action).is_some() {
                continue;
            }
            if inputs_done {
                self.add(action);
                continue;
            }
            open.push((action, true));
            let makers = self.makers.action(action).inputs.iter().rev().filter_map(|input| self.maker(input));
            open.extend(makers.filter(|maker| self.place(*maker).is_none()).map(|maker| (maker, false)));
        }
    }

    fn maker(&self, file: &Artifact) -> Option<u32> {
        self.makers.by_path.get(&**file.path()).copied()
    }

    fn place(&self, action: u32) -> Option<u32> {
        self.place[action as usize]
    }

    fn add(&mut self, number: u32) {
        let action = self.makers.action(number);
        let makers = action.inputs.iter().filter_map(|input| self.maker(input));
        let mut needs: Vec<u32> = makers.filter_map(|maker| self.place(maker)).collect();
        needs.sort_unstable();
        needs.dedup();
        self.place[number as usize] = Some(self.plan.actions.len() as u32);
        self.plan.needs.push(needs);
        self.plan.actions.push(Arc::clone(action));
    }
}
