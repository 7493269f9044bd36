//! What the phases after loading make, as text that can be compared.

use std::collections::BTreeSet;
use std::fmt::Write;

use ouro_engine::build::Analysis;
use ouro_engine::plan::Plan;
use ouro_rules::{ActionKind, Label};

/// Nodes by wave, with their edges.
pub fn graph(analysis: &Analysis<'_>, _plan: &Plan) -> String {
    let graph = &analysis.graph;
    let label = |node| graph.node(node).label().to_string();
    let mut text = String::new();
    for (depth, wave) in graph.waves().iter().enumerate() {
        let _ = writeln!(text, "wave {depth}");
        let mut lines: Vec<String> = wave.iter().map(|node| format!("  {}\n", label(*node))).collect();
        lines.sort();
        text += &lines.concat();
    }
    let edges = graph.ids().flat_map(|from| graph.edges(from).map(move |(to, edge)| (from, to, edge)));
    let mut edges: Vec<String> =
        edges.map(|(from, to, edge)| format!("{} -{:?}-> {}\n", label(from), edge.kind, label(to))).collect();
    edges.sort();
    text + &edges.concat()
}

/// Every chain, whole.
pub fn chains(analysis: &Analysis<'_>, _plan: &Plan) -> String {
    let labels: BTreeSet<&Label> = analysis.graph.ids().map(|node| analysis.graph.node(node).label()).collect();
    let providers = labels.into_iter().filter_map(|label| analysis.providers(label));
    let specs = providers.filter_map(|providers| providers.chain.as_ref());
    specs.map(|chain| serde_json::to_string_pretty(&*chain.spec).expect("plain data") + "\n").collect()
}

/// What can be run, and how.
pub fn programs(analysis: &Analysis<'_>, _plan: &Plan) -> String {
    let labels: BTreeSet<&Label> = analysis.graph.ids().map(|node| analysis.graph.node(node).label()).collect();
    let mut text = String::new();
    for (label, providers) in labels.into_iter().filter_map(|label| Some((label, analysis.providers(label)?))) {
        match &providers.run {
            Some(run) => drop(writeln!(text, "{label} runs {} {:?} {:?}", run.executable.path(), run.args, run.env)),
            None if providers.runfiles.is_empty() => {}
            None => drop(writeln!(text, "{label}")),
        }
        if let Some(test) = &providers.test {
            let _ = writeln!(text, "  {test:?}");
        }
        providers.runfiles.iter().for_each(|file| text += &format!("  < {}\n", file.path()));
    }
    text
}

/// Every action in order, with what it needs.
pub fn plan(_analysis: &Analysis<'_>, plan: &Plan) -> String {
    let mut text = String::new();
    for (place, (action, needs)) in plan.actions.iter().zip(&plan.needs).enumerate() {
        let _ = writeln!(text, "{place} {} {} after {needs:?}", action.mnemonic, action.owner);
        if let ActionKind::Run { tool, args, .. } = &action.kind {
            let _ = writeln!(text, "  {tool:?} {}", args.iter().collect::<Vec<_>>().join(" "));
        }
        action.inputs.iter().for_each(|input| text += &format!("  < {}\n", input.path()));
        action.outputs.iter().for_each(|output| text += &format!("  > {}\n", output.path()));
    }
    let _ = writeln!(text, "requested");
    plan.requested.iter().for_each(|file| text += &format!("  {}\n", file.path()));
    text
}
