//! What the phases after loading make, as text that can be compared.

use std::fmt::Write;

use ouro_engine::build::Analysis;
use ouro_engine::plan::Plan;
use ouro_rules::ActionKind;

/// Nodes by wave, with their edges.
pub fn graph(analysis: &Analysis<'_>, _plan: &Plan) -> String {
    let nodes = &analysis.graph.nodes;
    let mut text = String::new();
    for (depth, wave) in analysis.graph.waves().iter().enumerate() {
        let _ = writeln!(text, "wave {depth}");
        let mut lines: Vec<String> = wave.iter().map(|node| format!("  {}", nodes[*node].label())).collect();
        lines.sort();
        lines.iter().for_each(|line| text += &format!("{line}\n"));
    }
    let edge = |index| {
        let (from, to) = nodes.edge_endpoints(index)?;
        Some(format!("{} -{:?}-> {}\n", nodes[from].label(), nodes[index].kind, nodes[to].label()))
    };
    let mut edges: Vec<String> = nodes.edge_indices().filter_map(edge).collect();
    edges.sort();
    text + &edges.concat()
}

/// Every chain, whole.
pub fn chains(analysis: &Analysis<'_>, _plan: &Plan) -> String {
    let providers = analysis.graph.index.keys().filter_map(|label| analysis.providers(label));
    let specs = providers.filter_map(|providers| providers.chain.as_ref());
    specs.map(|chain| serde_json::to_string_pretty(&*chain.spec).expect("plain data") + "\n").collect()
}

/// Every action in order, with what it needs.
pub fn plan(_analysis: &Analysis<'_>, plan: &Plan) -> String {
    let mut text = String::new();
    for (place, (action, needs)) in plan.actions.iter().zip(&plan.needs).enumerate() {
        let _ = writeln!(text, "{place} {} {} after {needs:?}", action.mnemonic, action.owner);
        if let ActionKind::Run { tool, args, .. } = &action.kind {
            let _ = writeln!(text, "  {tool:?} {}", args.join(" "));
        }
        action.inputs.iter().for_each(|input| text += &format!("  < {}\n", input.path()));
        action.outputs.iter().for_each(|output| text += &format!("  > {}\n", output.path()));
    }
    let _ = writeln!(text, "requested");
    plan.requested.iter().for_each(|file| text += &format!("  {}\n", file.path()));
    text
}
