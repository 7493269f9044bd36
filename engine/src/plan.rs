//! The action graph, pruned to what was asked.
//!
//! Pure; knows nothing of caches and processes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, Span};

use crate::analyse::Analysed;
use crate::graph::{Graph, Node};

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
    let makers = makers(graph, analysed)?;
    let requested: BTreeSet<Artifact> = graph
        .requested()
        .iter()
        .filter_map(|node| analysed.get(*node))
        .flat_map(|analysis| analysis.providers.wanted().cloned())
        .collect();
    Ok(prune(&makers, requested.into_iter().collect()))
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
        let makers = self.actions.iter().flat_map(|action| written(action).map(move |path| (path, action))).collect();
        prune(&makers, requested)
    }
}

fn prune(makers: &Makers<'_>, requested: Vec<Artifact>) -> Plan {
    let mut pruned = Pruned { makers, place: HashMap::new(), plan: Plan::default() };
    requested.iter().for_each(|file| pruned.visit(file));
    Plan { requested, ..pruned.plan }
}

/// The action that writes each file. Dependency files are among them: no action reads one, but each needs its place.
type Makers<'a> = HashMap<&'a Arc<str>, &'a Arc<Action>>;

fn makers<'a>(graph: &Graph<'_>, analysed: &'a Analysed) -> Result<Makers<'a>, Vec<Diagnostic>> {
    let mut makers = Makers::new();
    let mut findings = Vec::new();
    for action in graph.ids().filter_map(|node| analysed.get(node)).flat_map(|analysis| &analysis.actions) {
        for path in written(action) {
            if let Some(other) = makers.insert(path, action) {
                let message = format!("`{path}` is made by `{}` and by `{}`", other.owner, action.owner);
                findings.push(conflict(graph, action, other, message));
            }
        }
    }
    findings.extend(files_as_folders(graph, &makers));
    if findings.is_empty() { Ok(makers) } else { Err(sorted(findings)) }
}

fn written(action: &Action) -> impl Iterator<Item = &Arc<str>> {
    let depfile = match &action.kind {
        ActionKind::Run { depfile, .. } => depfile.as_ref(),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    };
    action.outputs.iter().map(Artifact::path).chain(depfile)
}

/// Files where other actions need folders: `q` and `q/r`.
fn files_as_folders(graph: &Graph<'_>, makers: &Makers<'_>) -> Vec<Diagnostic> {
    let folders = folders(makers);
    let in_the_way = makers.iter().filter_map(|(path, file)| Some((path, file, folders.get(&***path)?)));
    let finding = |(path, file, inner): (&&Arc<str>, &&Arc<Action>, &&Arc<str>)| {
        let other = makers[*inner];
        let message = format!("`{path}` is a file made by `{}`, and `{}` makes `{inner}` in it", file.owner, other.owner);
        conflict(graph, file, other, message)
    };
    in_the_way.map(finding).collect()
}

/// Every folder that is written to, with the first file in it. Most files find their folder known and look no further.
fn folders<'a>(makers: &Makers<'a>) -> HashMap<&'a str, &'a Arc<str>> {
    let mut folders: HashMap<&str, &Arc<str>> = HashMap::new();
    for path in makers.keys() {
        for folder in path.rmatch_indices('/').map(|(at, _)| &path[..at]) {
            match folders.entry(folder) {
                // So does every folder above know a file as early.
                Entry::Occupied(known) if known.get() <= path => break,
                Entry::Occupied(mut known) => drop(known.insert(path)),
                Entry::Vacant(new) => drop(new.insert(path)),
            }
        }
    }
    folders
}

fn conflict(graph: &Graph<'_>, action: &Action, other: &Action, message: String) -> Diagnostic {
    let finding = Diagnostic { span: span(graph, action), ..Diagnostic::bare(message) };
    let finding = finding.help("rename one of the targets or outputs");
    match span(graph, other) {
        Some(place) if action.owner != other.owner => finding.related(&place, "the other is declared here"),
        _ => finding,
    }
}

/// Where the target of an action is declared.
fn span(graph: &Graph<'_>, action: &Action) -> Option<Span> {
    match graph.node(graph.find(&action.owner)?) {
        Node::Target(target) => Some(target.span.clone()),
        Node::File(_) | Node::Generated(_) => None,
    }
}

struct Pruned<'a> {
    makers: &'a Makers<'a>,
    /// The place of each action already planned, by its first output.
    place: HashMap<&'a str, u32>,
    plan: Plan,
}

impl<'a> Pruned<'a> {
    /// Plans the action that makes `file` after those it needs. Depth first with a stack of its own: chains of generated files may
    /// be longer than the thread's stack.
    fn visit(&mut self, file: &Artifact) {
        let mut open: Vec<(&'a Arc<Action>, bool)> = self.maker(file).map(|action| (action, false)).into_iter().collect();
        while let Some((action, inputs_done)) = open.pop() {
            if self.place.contains_key(key(action)) {
                continue;
            }
            if inputs_done {
                self.add(action);
                continue;
            }
            open.push((action, true));
            let makers = action.inputs.iter().rev().filter_map(|input| self.maker(input));
            open.extend(makers.filter(|maker| !self.place.contains_key(key(maker))).map(|maker| (maker, false)));
        }
    }

    fn maker(&self, file: &Artifact) -> Option<&'a Arc<Action>> {
        self.makers.get(file.path()).copied()
    }

    fn add(&mut self, action: &'a Arc<Action>) {
        let needs: BTreeSet<u32> = action
            .inputs
            .iter()
            .filter_map(|input| self.maker(input))
            .filter_map(|maker| self.place.get(key(maker)).copied())
            .collect();
        let place = u32::try_from(self.plan.actions.len()).expect("BUG: fewer than four billion actions");
        self.place.insert(key(action), place);
        self.plan.needs.push(needs.into_iter().collect());
        self.plan.actions.push(Arc::clone(action));
    }
}

fn key(action: &Action) -> &str {
    action.outputs[0].path()
}
