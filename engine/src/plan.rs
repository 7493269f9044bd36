//! The action graph, pruned to what was asked.
//!
//! Pure; knows nothing of caches and processes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ouro_rules::{Action, Artifact, Diagnostic};

use crate::analyse::Analysed;
use crate::graph::{Graph, Node};

/// Actions in an order in which each comes after those that make its inputs.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions, in a deterministic topological order.
    pub actions: Vec<Action>,
    /// For each action, the places of those that make its inputs, sorted; all smaller than its own.
    pub needs: Vec<Vec<u32>>,
    /// The files that were asked for.
    pub requested: Vec<Artifact>,
}

/// Collects the actions that make what was asked for, and theirs.
pub fn plan(graph: &Graph<'_>, analysed: &Analysed) -> Result<Plan, Vec<Diagnostic>> {
    let makers = makers(graph, analysed)?;
    let requested: BTreeSet<Artifact> =
        graph.requested.iter().filter_map(|node| analysed.get(*node)).flat_map(|analysis| analysis.providers.files.iter().cloned()).collect();
    Ok(prune(&makers, requested.into_iter().collect()))
}

impl Plan {
    /// The part of the plan that makes these files.
    pub fn prune(&self, requested: Vec<Artifact>) -> Plan {
        let makers = self.actions.iter().flat_map(|action| action.outputs.iter().map(move |output| (output.path(), action))).collect();
        prune(&makers, requested)
    }
}

fn prune(makers: &Makers<'_>, requested: Vec<Artifact>) -> Plan {
    let mut pruned = Pruned { makers, place: HashMap::new(), plan: Plan::default() };
    requested.iter().for_each(|file| pruned.visit(file));
    Plan { requested, ..pruned.plan }
}

/// The action that makes each file.
type Makers<'a> = HashMap<&'a Arc<str>, &'a Action>;

fn makers<'a>(graph: &'a Graph<'_>, analysed: &'a Analysed) -> Result<Makers<'a>, Vec<Diagnostic>> {
    let mut makers = Makers::new();
    let mut findings = Vec::new();
    for node in graph.nodes.node_indices() {
        for action in analysed.get(node).iter().flat_map(|analysis| &analysis.actions) {
            for output in &action.outputs {
                if let Some(other) = makers.insert(output.path(), action) {
                    findings.push(made_twice(&graph.nodes[node], output, action, other));
                }
            }
        }
    }
    if findings.is_empty() { Ok(makers) } else { Err(findings) }
}

fn made_twice(node: &Node<'_>, output: &Artifact, action: &Action, other: &Action) -> Diagnostic {
    let message = format!("`{}` is made by `{}` and by `{}`", output.path(), other.owner, action.owner);
    let finding = match node {
        Node::Target(target) => Diagnostic::error(&target.span, message),
        Node::File(_) | Node::Generated(_) => Diagnostic::bare(message),
    };
    finding.help("rename one of the targets or outputs")
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
        let mut open: Vec<(&'a Action, bool)> = self.maker(file).map(|action| (action, false)).into_iter().collect();
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

    fn maker(&self, file: &Artifact) -> Option<&'a Action> {
        self.makers.get(file.path()).copied()
    }

    fn add(&mut self, action: &'a Action) {
        let needs: BTreeSet<u32> = action.inputs.iter().filter_map(|input| self.maker(input)).filter_map(|maker| self.place.get(key(maker)).copied()).collect();
        let place = u32::try_from(self.plan.actions.len()).expect("BUG: fewer than four billion actions");
        self.place.insert(key(action), place);
        self.plan.needs.push(needs.into_iter().collect());
        self.plan.actions.push(action.clone());
    }
}

fn key(action: &Action) -> &str {
    action.outputs[0].path()
}
