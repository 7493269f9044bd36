//! What a network card cannot do of what a chain wants, where one is to run it: `xdp(mode = "offload")`.
//!
//! Knows what all cards lack (kernel/bpf/offload.c); what one lacks, its driver tells when it is asked.

use std::sync::Arc;

use super::{Draft, Graph, all_maps};
use crate::attr::Spanned;
use crate::diagnostic::Diagnostic;
use crate::hook;
use crate::manifest::CARD_MAPS;
use crate::provider::{MapInfo, ProgramInfo};

const NATIVE: &str = "or let the driver run the chain: `mode = \"native\"`";

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let Some((_, item)) = draft.attach.iter().find(|(point, _)| point.is_offloaded()) else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(elsewhere(draft, item));
    findings.extend(jumps(graph, item));
    findings.extend(tables(draft, item));
    findings.extend(graph.programs.iter().flat_map(|program| programs(program.tried(), item)));
    findings.extend(all_maps(graph).filter_map(|map| map_finding(map, item)));
    findings
}

/// A program on a card is loaded for that one, and nothing else takes it.
fn elsewhere(draft: &Draft<'_>, item: &Spanned) -> Option<Diagnostic> {
    let (_, other) = draft.attach.iter().find(|(_, other)| !std::ptr::eq(*other, item))?;
    let finding = Diagnostic::error(&item.span, "a network card runs what was loaded for it alone");
    let help = "attach the chain nowhere else, and make another `bpf_chain` of its programs for the other places";
    Some(finding.related(&other.span, "the chain is attached here, too").help(help))
}

fn jumps(graph: &Graph<'_>, item: &Spanned) -> Option<Diagnostic> {
    let first = graph.jumps.first()?;
    let message = format!("a network card has no tail calls, and `{}` jumps", graph.programs[first.from].label);
    let finding = Diagnostic::error(&item.span, message).related(&first.jump.span, "it jumps here");
    Some(finding.help(format!("make one program of them, with functions; {NATIVE}")))
}

/// Both need a table that is jumped through, or a place in a program that the kernel can change.
fn tables(draft: &Draft<'_>, item: &Spanned) -> Option<Diagnostic> {
    if draft.atomic {
        let finding = Diagnostic::error(&item.span, "a chain on a network card cannot be `atomic`");
        return Some(finding.help("leave `atomic` out: a chain with one hook switches at one instant anyway"));
    }
    let extension = draft.extensions.first()?;
    let finding = Diagnostic::error(&extension.item.span, "no function of a program on a network card can be replaced");
    let finding = finding.related(&item.span, "the chain is attached to a card here");
    Some(finding.help(format!("call the function that is meant; {NATIVE}")))
}

/// Of candidates one will do.
fn programs(tried: &[Arc<ProgramInfo>], item: &Spanned) -> Vec<Diagnostic> {
    let each: Vec<Vec<Diagnostic>> = tried.iter().map(|program| program_findings(program, item)).collect();
    if each.iter().any(Vec::is_empty) { Vec::new() } else { each.concat() }
}

fn program_findings(program: &ProgramInfo, item: &Spanned) -> Vec<Diagnostic> {
    let here = |finding: Diagnostic| finding.related(&item.span, "the chain is attached to a card here");
    let has_frags = hook::find(&program.ty).is_some_and(|hook| hook.frags);
    let frags = has_frags.then(|| {
        let message = format!("`{}` is `{}`, and a network card knows no packets of several buffers", program.label, program.ty);
        here(Diagnostic::error(&program.ty_span, message)).help("give it the type `xdp`")
    });
    let globals = program.globals.keys().next().map(|name| {
        let message =
            format!("`{}` gives the global variable `{name}` a value, and a network card has none of them", program.label);
        here(Diagnostic::error(&program.span, message)).help(format!("write it into the source, or keep it in a map; {NATIVE}"))
    });
    frags.into_iter().chain(globals).collect()
}

fn map_finding(map: &MapInfo, item: &Spanned) -> Option<Diagnostic> {
    // The kernel's own, which the card's events are written to.
    if map.spec.ty == "perf_event_array" {
        return None;
    }
    let (why, help) = match () {
        () if !CARD_MAPS.contains(&map.spec.ty.as_str()) => {
            (format!("is `{}`, which no network card has", map.spec.ty), "use `hash` or `array`")
        }
        () if map.spec.flags != 0 => ("has flags, and a network card takes none".to_owned(), "leave `flags` and `numa_node` out"),
        () => return None,
    };
    let finding = Diagnostic::error(&map.span, format!("map `{}` {why}", map.label));
    Some(finding.related(&item.span, "the chain is attached to a card here").help(format!("{help}; {NATIVE}")))
}
