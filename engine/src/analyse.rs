//! Analysis: runs each target's rule once what it waits for is done. Pure, in parallel.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ouro_rules::builtin::shared_actions;
use ouro_rules::diagnostic::sorted;
use ouro_rules::label::join;
use ouro_rules::{Action, Analysis, Artifact, Config, Context, Diagnostic, Label, Providers, RuleTable, Span, Target};

use crate::graph::{Graph, Node, NodeId};
use crate::load::{Crew, on_large_stack};

/// What every node of the graph means.
pub struct Analysed {
    results: Vec<OnceLock<Option<Analysis>>>,
    shared: Vec<Arc<Action>>,
    strangers: Mutex<Vec<Stranger>>,
}

/// A target that was asked what it offers by one that has no edge to it: rules of users hand on maps and programs by their names.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    /// Who asked.
    pub(crate) by: NodeId,
    /// For what.
    pub(crate) label: Label,
    /// Whether there was an answer.
    pub(crate) answered: bool,
}

impl Analysed {
    /// What a node means; none while or because its analysis is not done.
    pub fn get(&self, node: NodeId) -> Option<&Analysis> {
        self.results.get(node.place()).and_then(OnceLock::get).and_then(Option::as_ref)
    }

    /// Actions whose files any target may read.
    pub fn shared(&self) -> &[Arc<Action>] {
        &self.shared
    }

    /// What was found and stops nothing, sorted.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let analyses = self.results.iter().filter_map(OnceLock::get).flatten();
        sorted(analyses.flat_map(|analysis| analysis.warnings.iter().cloned()).collect())
    }

    /// Who asked for what without an edge to it, in no order.
    pub(crate) fn strangers(&self) -> Vec<Stranger> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the target of this label offers.
    pub fn providers(&self, graph: &Graph<'_>, label: &Label) -> Option<&Providers> {
        graph.find(label).and_then(|node| self.get(node)).map(|analysis| &analysis.providers)
    }
}

/// Below this many targets a wave is analysed by one thread: waking others costs more than it saves.
const PARALLEL: usize = 64;

/// Analyses the whole graph; every finding of every target at once. Set `cancelled` to stop it: that is a finding, too.
pub fn analyse(
    graph: &Graph<'_>,
    rules: &RuleTable,
    config: &Config,
    cancelled: &AtomicBool,
) -> Result<Analysed, Vec<Diagnostic>> {
    match sound(graph, rules, config, cancelled) {
        (Some(analysed), findings) if findings.is_empty() => Ok(analysed),
        (_, findings) => Err(findings),
    }
}

/// The same for those who go on without what is wrong and what needs that; none when it was stopped.
pub fn sound(
    graph: &Graph<'_>,
    rules: &RuleTable,
    config: &Config,
    cancelled: &AtomicBool,
) -> (Option<Analysed>, Vec<Diagnostic>) {
    // What rules of users do may need as deep a stack as what their files do while they load.
    on_large_stack(|| analyse_here(graph, rules, config, cancelled))
        .unwrap_or_else(|error| (None, vec![Diagnostic::bare(format!("cannot start a thread: {error}"))]))
}

fn analyse_here(
    graph: &Graph<'_>,
    rules: &RuleTable,
    config: &Config,
    cancelled: &AtomicBool,
) -> (Option<Analysed>, Vec<Diagnostic>) {
    let results = std::iter::repeat_with(OnceLock::new).take(graph.len()).collect();
    let analysed = Analysed { results, shared: shared_actions(config), strangers: Mutex::default() };
    let mut run = Run { graph, rules, config, cancelled, analysed };
    let crew = Crew::default();
    let waves = graph.waves();
    let mut findings: Vec<Diagnostic> = waves.iter().flat_map(|wave| on_all(&crew, wave, |node| run.analyse(node))).collect();
    let check = |node| run.check(node).into_iter().map(|finding| (node, finding)).collect();
    let (refused, more): (BTreeSet<NodeId>, Vec<Diagnostic>) =
        on_all(&crew, &graph.ids().collect::<Vec<_>>(), check).into_iter().unzip();
    findings.extend(more);
    if run.is_cancelled() {
        return (None, vec![Diagnostic::bare("interrupted")]);
    }
    if !findings.is_empty() {
        run.forget(&waves, refused);
    }
    (Some(run.analysed), sorted(findings))
}

fn on_all<T: Send>(crew: &Crew, nodes: &[NodeId], work: impl Fn(NodeId) -> Vec<T> + Send + Sync) -> Vec<T> {
    if nodes.len() < PARALLEL {
        return nodes.iter().flat_map(|node| work(*node)).collect();
    }
    crew.map(nodes.to_vec(), work).into_iter().flatten().collect()
}

/// One analysis.
struct Run<'a, 'l> {
    graph: &'a Graph<'l>,
    rules: &'a RuleTable,
    config: &'a Config,
    cancelled: &'a AtomicBool,
    analysed: Analysed,
}

impl Run<'_, '_> {
    fn analyse(&self, node: NodeId) -> Vec<Diagnostic> {
        let (result, findings) = match self.graph.node(node) {
            Node::File(label) => (Some(offering(vec![Artifact::Source(label.path().into())])), Vec::new()),
            Node::Generated(label) => (self.generated(node, label).map(|file| offering(vec![file])), Vec::new()),
            Node::Target(_) if self.is_cancelled() => (None, Vec::new()),
            // What it names, or waits for, has failed and been reported; its own findings would only repeat that.
            Node::Target(_) if self.graph.is_broken(node) || !self.is_ready(node) => (None, Vec::new()),
            Node::Target(target) => match self.run_rule(node, target) {
                Ok(analysis) => (Some(analysis), Vec::new()),
                Err(findings) => (None, findings.into_iter().map(|finding| target.blamed(finding)).collect()),
            },
        };
        let _first_and_only = self.analysed.results[node.place()].set(result);
        findings
    }

    /// The one file of its maker that a generated file's label names; none when the maker failed.
    fn generated(&self, node: NodeId, label: &Label) -> Option<Artifact> {
        let path = join(&self.config.out_dir, &label.path());
        let makers = self.graph.edges(node).filter_map(|(maker, _)| self.analysed.get(maker));
        makers.flat_map(|analysis| &analysis.providers.files).find(|file| **file.path() == *path).cloned()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn is_ready(&self, node: NodeId) -> bool {
        self.graph.edges(node).filter(|(_, edge)| edge.waits()).all(|(next, _)| self.analysed.get(next).is_some())
    }

    /// Forgets what checks refused, and what stands on something that is not there: by an edge, or by asking for it by name.
    fn forget(&mut self, waves: &[Vec<NodeId>], mut refused: BTreeSet<NodeId>) {
        let strangers = self.analysed.strangers();
        loop {
            for node in waves.iter().flatten() {
                if refused.contains(node) || !self.is_ready(*node) {
                    self.analysed.results[node.place()] = OnceLock::from(None);
                }
            }
            let is_there = |node: NodeId| self.analysed.get(node).is_some();
            let in_vain = |asked: &&Stranger| self.graph.find(&asked.label).is_some_and(|node| !is_there(node));
            refused = strangers.iter().filter(in_vain).map(|asked| asked.by).filter(|by| is_there(*by)).collect();
            if refused.is_empty() {
                return;
            }
        }
    }

    fn run_rule(&self, node: NodeId, target: &Target) -> Result<Analysis, Vec<Diagnostic>> {
        let unknown = || vec![Diagnostic::error(&target.span, format!("unknown rule `{}`", target.rule))];
        let rule = self.rules.rule(&target.rule).ok_or_else(unknown)?;
        self.with_context(node, target, |ctx| rule.analyse(ctx))
    }

    /// What rules see of the world.
    fn with_context<T>(&self, node: NodeId, target: &Target, work: impl FnOnce(&Context<'_>) -> T) -> T {
        let kind = |label: &Label| match self.graph.node(self.graph.find(label)?) {
            Node::Target(target) => self.rules.rule(&target.rule).map(|rule| rule.name()),
            Node::File(_) | Node::Generated(_) => None,
        };
        let near = OnceCell::new();
        let deps = |label: &Label| {
            let found = self.graph.find(label);
            let offer = found.and_then(|found| self.analysed.get(found)).map(|analysis| &analysis.providers);
            if found.is_none_or(|found| near.get_or_init(|| self.near(node)).binary_search(&found).is_err()) {
                let stranger = Stranger { by: node, label: label.clone(), answered: offer.is_some() };
                self.analysed.strangers.lock().unwrap_or_else(PoisonError::into_inner).push(stranger);
            }
            offer
        };
        work(&Context { target, config: self.config, deps: &deps, kind: &kind, cancelled: self.cancelled })
    }

    /// A node and all it has an edge to, sorted.
    fn near(&self, node: NodeId) -> Vec<NodeId> {
        let mut near: Vec<NodeId> = self.graph.edges(node).map(|(next, _)| next).chain([node]).collect();
        near.sort_unstable();
        near
    }

    /// Runs the rule's check on a target that was analysed. What it says of a label whose target failed only repeats that.
    fn check(&self, node: NodeId) -> Vec<Diagnostic> {
        let (Node::Target(target), Some(_)) = (self.graph.node(node), self.analysed.get(node)) else { return Vec::new() };
        let Some(rule) = self.rules.rule(&target.rule) else { return Vec::new() };
        let findings = self.with_context(node, target, |ctx| rule.check(ctx));
        if findings.is_empty() {
            return findings;
        }
        let failed = self.graph.edges(node).filter(|(next, _)| self.analysed.get(*next).is_none());
        let failed: Vec<&Span> = failed.map(|(_, edge)| &edge.span).collect();
        let repeats =
            |finding: &Diagnostic| finding.span.as_ref().is_some_and(|span| failed.iter().any(|label| covers(span, label)));
        findings.into_iter().filter(|finding| !repeats(finding)).map(|finding| target.blamed(finding)).collect()
    }
}

fn offering(files: Vec<Artifact>) -> Analysis {
    Analysis { providers: Providers { files, ..Providers::default() }, ..Analysis::default() }
}

/// Whether `inner` lies in `outer`: a label in the constructor that holds it.
fn covers(outer: &Span, inner: &Span) -> bool {
    let (start, end) = (|span: &Span| (span.line, span.column), |span: &Span| (span.end_line, span.end_column));
    outer.file == inner.file && start(outer) <= start(inner) && end(inner) <= end(outer)
}
