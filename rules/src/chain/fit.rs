//! What must fit together: program types in one table, attach points and the entry's type, names.

use std::collections::BTreeMap;

use super::{Draft, Graph};
use crate::diagnostic::Diagnostic;
use crate::hook::{self, Hook};
use crate::manifest::{Attach, Direction};
use crate::provider::{Jump, MapInfo, ProgramInfo};

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut findings = same_names(graph);
    findings.extend(same_map_names(graph));
    findings.extend(attach(draft));
    findings
}

/// Checks that a jump leads to a program that may stand in the same table. `target` is what stands behind the label, if
/// that is a program.
pub fn check_jump(from: &ProgramInfo, jump: &Jump, target: Option<&ProgramInfo>) -> Option<Diagnostic> {
    let Some(to) = target else {
        let finding = Diagnostic::error(&jump.span, format!("`{}` jumps to `{}`, which is no program", from.label, jump.target));
        return Some(finding.help("jumps lead to `bpf_program` targets"));
    };
    let (from_hook, to_hook) = (hook::find(&from.ty)?, hook::find(&to.ty)?);
    if from_hook.table_class(&from.ty) == to_hook.table_class(&to.ty) {
        return None;
    }
    let message = format!("`{}` is `{}` and cannot jump to `{}`, which is `{}`", from.label, from.ty, to.label, to.ty);
    let finding = Diagnostic::error(&jump.span, message).related(&to.ty_span, "its type is set here");
    Some(finding.note(why_not(from_hook, to_hook)).help("give both the same type, or make two chains"))
}

fn why_not(from: &Hook, to: &Hook) -> &'static str {
    match () {
        () if from.prog_type != to.prog_type => "a jump table holds programs of one type",
        () if from.frags != to.frags => "a jump table holds programs with multi-buffer support (`.frags`) or without, not both",
        () if from.attach_type != to.attach_type => "a jump table holds programs of one expected attach type",
        () => "a jump table holds programs for one function of the kernel",
    }
}

/// Pins and reports name programs by the last part of their label.
fn same_names(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, &ProgramInfo> = BTreeMap::new();
    let mut findings = Vec::new();
    for program in &graph.programs {
        if let Some(other) = seen.insert(&program.label.name, program) {
            findings.push(
                Diagnostic::error(
                    &program.span,
                    format!(
                        "two programs of the chain are named `{}`: `{}` and `{}`",
                        program.label.name, other.label, program.label
                    ),
                )
                .related(&other.span, "the other one")
                .help("rename one; a chain pins its programs by name"),
            );
        }
    }
    findings
}

fn same_map_names(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, &MapInfo> = BTreeMap::new();
    let mut findings = Vec::new();
    for map in super::all_maps(graph) {
        match seen.insert(&map.spec.name, map) {
            Some(other) if other.label != map.label => findings.push(
                Diagnostic::error(
                    &map.span,
                    format!("two maps of the chain are named `{}`: `{}` and `{}`", map.spec.name, other.label, map.label),
                )
                .related(&other.span, "the other one")
                .help("rename one; a chain pins its maps by name"),
            ),
            _ => {}
        }
    }
    findings
}

fn attach(draft: &Draft<'_>) -> Vec<Diagnostic> {
    let Some(hook) = hook::find(&draft.entry.ty) else { return Vec::new() };
    let mut findings = Vec::new();
    for (index, (point, item)) in draft.attach.iter().enumerate() {
        let constructor = item.value.as_record().map_or("", |record| &record.kind);
        if !hook.attach.contains(&constructor) {
            findings.push(wrong_point(draft, hook, constructor, item));
        } else if let Some(finding) = wrong_direction(draft, point, item) {
            findings.push(finding);
        }
        if let Some((_, first)) = draft.attach[..index].iter().find(|(earlier, _)| place(earlier) == place(point)) {
            findings.push(
                Diagnostic::error(&item.span, "the chain is attached there twice")
                    .related(&first.span, "first here")
                    .help("remove one"),
            );
        }
    }
    findings
}

fn wrong_point(draft: &Draft<'_>, hook: &Hook, constructor: &str, item: &crate::attr::Spanned) -> Diagnostic {
    let message = format!("`{constructor}()` does not fit: the entry `{}` is `{}`", draft.entry.label, draft.entry.ty);
    let fitting = hook.attach.iter().map(|name| format!("`{name}()`")).collect::<Vec<_>>().join(" or ");
    let help = match hook.attach {
        [] => format!("ouro builds `{}` programs but cannot attach them yet; leave `attach` out", hook.prefix),
        _ => format!("attach it with {fitting}"),
    };
    Diagnostic::error(&item.span, message).related(&draft.entry.ty_span, "its type is set here").help(help)
}

/// `tcx/ingress` programs belong to ingress, `tcx/egress` programs to egress; `tc` programs to either.
fn wrong_direction(draft: &Draft<'_>, point: &Attach, item: &crate::attr::Spanned) -> Option<Diagnostic> {
    let Attach::Tc { direction, .. } = point else { return None };
    let (declared, fits) = match &*draft.entry.ty {
        "tcx/ingress" => ("ingress", *direction == Direction::Ingress),
        "tcx/egress" => ("egress", *direction == Direction::Egress),
        _ => return None,
    };
    if fits {
        return None;
    }
    let message =
        format!("the entry `{}` is `{}` and cannot be attached in the other direction", draft.entry.label, draft.entry.ty);
    Some(
        Diagnostic::error(&item.span, message)
            .help(format!("write `direction = \"{declared}\"`, or give the program the type `tc`")),
    )
}

/// The place of an attach point; two points of one chain at the same place would run it twice.
fn place(point: &Attach) -> (&'static str, &str, Option<Direction>) {
    match point {
        Attach::Xdp { interface, .. } => ("xdp", interface, None),
        Attach::Tc { interface, direction, .. } => ("tc", interface, Some(*direction)),
    }
}
