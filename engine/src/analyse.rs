//! Analysis: runs each target's rule once what it waits for is done. Pure, in parallel.

use std::sync::OnceLock;

use ouro_rules::diagnostic::sorted;
use ouro_rules::{Analysis, Artifact, Config, Context, Diagnostic, Label, Providers, RuleTable, Target};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use crate::graph::{Graph, Node};

/// What every node of the graph means.
pub struct Analysed {
    results: Vec<OnceLock<Option<Analysis>>>,
    /// Findings that do not stop the build.
    pub warnings: Vec<Diagnostic>,
}

impl Analysed {
    /// What a node means; none while or because its analysis is not done.
    pub fn get(&self, node: NodeIndex) -> Option<&Analysis> {
        self.results.get(node.index()).and_then(OnceLock::get).and_then(Option::as_ref)
    }

    /// What the target of this label offers.
    pub fn providers(&self, graph: &Graph<'_>, label: &Label) -> Option<&Providers> {
        graph.index.get(label).and_then(|node| self.get(*node)).map(|analysis| &analysis.providers)
    }
}

/// Below this many targets a wave is analysed by one thread: waking others costs more than it saves.
const PARALLEL: usize = 64;

/// Analyses the whole graph; every finding of every target at once.
pub fn analyse(graph: &Graph<'_>, rules: &RuleTable, config: &Config) -> Result<Analysed, Vec<Diagnostic>> {
    let results = std::iter::repeat_with(OnceLock::new).take(graph.nodes.node_count()).collect();
    let mut analysed = Analysed { results, warnings: Vec::new() };
    let mut findings = Vec::new();
    for wave in graph.waves() {
        findings.extend(on_all(&wave, |node| analyse_node(graph, rules, config, &analysed, node)));
    }
    if findings.is_empty() {
        let all: Vec<NodeIndex> = graph.nodes.node_indices().collect();
        findings = on_all(&all, |node| check_node(graph, rules, config, &analysed, node));
    }
    let warnings = analysed.results.iter().filter_map(|result| result.get()?.as_ref()).flat_map(|analysis| analysis.warnings.clone());
    analysed.warnings = sorted(warnings.collect());
    if findings.is_empty() { Ok(analysed) } else { Err(sorted(findings)) }
}

fn on_all(nodes: &[NodeIndex], work: impl Fn(NodeIndex) -> Vec<Diagnostic> + Sync) -> Vec<Diagnostic> {
    if nodes.len() < PARALLEL {
        return nodes.iter().flat_map(|node| work(*node)).collect();
    }
    nodes.par_iter().flat_map_iter(|node| work(*node)).collect()
}

fn analyse_node(graph: &Graph<'_>, rules: &RuleTable, config: &Config, analysed: &Analysed, node: NodeIndex) -> Vec<Diagnostic> {
    let (result, findings) = match &graph.nodes[node] {
        Node::File(label) => (Some(offering(vec![Artifact::Source(label.path().into())])), Vec::new()),
        Node::Generated(label) => (Some(offering(generated(graph, analysed, node, label))), Vec::new()),
        // What it waits for has failed and been reported; its own findings would only repeat that.
        Node::Target(_) if !ready(graph, analysed, node) => (None, Vec::new()),
        Node::Target(target) => match run_rule(graph, rules, config, analysed, target) {
            Ok(analysis) => (Some(analysis), Vec::new()),
            Err(findings) => (None, findings),
        },
    };
    let _first_and_only = analysed.results[node.index()].set(result);
    findings
}

fn offering(files: Vec<Artifact>) -> Analysis {
    Analysis { providers: Providers { files, ..Providers::default() }, ..Analysis::default() }
}

/// The one file of its maker that a generated file's label names.
fn generated(graph: &Graph<'_>, analysed: &Analysed, node: NodeIndex, label: &Label) -> Vec<Artifact> {
    let made = graph.nodes.neighbors(node).filter_map(|maker| analysed.get(maker)).flat_map(|analysis| &analysis.providers.files);
    made.filter(|file| file.path().ends_with(&format!("/{}", label.path()))).cloned().collect()
}

fn ready(graph: &Graph<'_>, analysed: &Analysed, node: NodeIndex) -> bool {
    use petgraph::visit::EdgeRef;
    graph.nodes.edges(node).filter(|edge| edge.weight().waits()).all(|edge| analysed.get(edge.target()).is_some())
}

fn run_rule(graph: &Graph<'_>, rules: &RuleTable, config: &Config, analysed: &Analysed, target: &Target) -> Result<Analysis, Vec<Diagnostic>> {
    let rule = rules.rule(&target.rule).ok_or_else(|| vec![Diagnostic::error(&target.span, format!("unknown rule `{}`", target.rule))])?;
    rule.analyse(&Context { target, config, deps: &|label| analysed.providers(graph, label) })
}

fn check_node(graph: &Graph<'_>, rules: &RuleTable, config: &Config, analysed: &Analysed, node: NodeIndex) -> Vec<Diagnostic> {
    let Node::Target(target) = &graph.nodes[node] else { return Vec::new() };
    let Some(rule) = rules.rule(&target.rule) else { return Vec::new() };
    rule.check(&Context { target, config, deps: &|label| analysed.providers(graph, label) })
}
