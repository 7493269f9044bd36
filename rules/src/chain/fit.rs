//! What must fit together: program types in one table, attach points and the entry's type, names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Draft, Graph};
use crate::attr::Spanned;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::hook::{self, Hook};
use crate::manifest::{Attach, Direction, SharedXdp};
use crate::provider::{Jump, MapInfo, ProgramInfo};

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut findings = same_names(graph);
    findings.extend(optional_entry(draft));
    findings.extend(same_map_names(graph));
    findings.extend(attach(draft));
    findings.extend(draft.attach.iter().filter_map(|(point, item)| point_map(graph, point, item)));
    findings.extend(draft.attach.iter().filter_map(|(point, item)| atomic_share(draft, point, item)));
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

/// What is attached must be there.
fn optional_entry(draft: &Draft<'_>) -> Option<Diagnostic> {
    let place = draft.entry.optional.as_ref()?;
    let message =
        format!("the entry of `{}` is optional: without `{}` there is nothing to attach", draft.chain, draft.entry.label);
    let help = "remove `optional`, or give it a candidate that every kernel takes: `bpf_variants`";
    Some(Diagnostic::error(draft.span, message).related(place, "it is said here").help(help))
}

/// Pins and reports name programs by the last part of their label.
fn same_names(graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, &Arc<ProgramInfo>> = BTreeMap::new();
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
    let mut findings = Vec::new();
    for (index, (point, item)) in draft.attach.iter().enumerate() {
        findings.extend(wrong_direction(draft, point, item));
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

/// Checks that a constructor takes programs of the entry's type. Before that nothing of what it was given has a meaning.
pub fn check_point(entry: &ProgramInfo, item: &Spanned) -> Option<Diagnostic> {
    let (hook, constructor) = (hook::find(&entry.ty)?, &*item.value.as_record()?.kind);
    if hook.attach().contains(&constructor) {
        return None;
    }
    let message = format!("`{constructor}()` does not fit: the entry `{}` is `{}`", entry.label, entry.ty);
    let fitting = hook.attach().iter().map(|name| format!("`{name}()`")).collect::<Vec<_>>().join(" or ");
    let help = match hook.attach() {
        [] => format!("others run `{}` programs, which ouro loads and pins for them; leave `attach` out", hook.prefix),
        _ => format!("attach it with {fitting}"),
    };
    Some(Diagnostic::error(&item.span, message).related(&entry.ty_span, "its type is set here").help(help))
}

/// What an attach point calls a map must be one of the chain, and of a type that fits.
fn point_map(graph: &Graph<'_>, point: &Attach, item: &Spanned) -> Option<Diagnostic> {
    let (name, types) = match point {
        Attach::Sockmap(place) => (&place.map, &["sockmap", "sockhash"][..]),
        Attach::Iter(place) => (place.map.as_ref()?, &[][..]),
        _ => return None,
    };
    let span = item.value.as_record().and_then(|record| record.field("map")).map_or(&item.span, |field| &field.span);
    let maps = || graph.programs.iter().flat_map(|program| &program.maps);
    let Some(map) = maps().find(|map| map.spec.name == *name) else {
        let near = did_you_mean(name, maps().map(|map| map.spec.name.as_str()));
        let help = near.unwrap_or_else(|| "list it in `maps` of a program of the chain".to_owned());
        return Some(Diagnostic::error(span, format!("the chain has no map `{name}`")).help(help));
    };
    let fits = types.is_empty() || types.contains(&map.spec.ty.as_str());
    let finding = || {
        Diagnostic::error(span, format!("map `{name}` is `{}` and holds no sockets", map.spec.ty))
            .related(&map.span, "it is declared here")
            .help("give it the type `sockmap` or `sockhash`")
    };
    (!fits).then(finding)
}

/// `tcx/ingress` programs belong to ingress, `tcx/egress` programs to egress; `tc` programs to either.
fn wrong_direction(draft: &Draft<'_>, point: &Attach, item: &Spanned) -> Option<Diagnostic> {
    let (Attach::Tc { direction, .. } | Attach::Tcx { direction, .. }) = point else { return None };
    let (declared, fits) = match &*draft.entry.ty {
        "tcx/ingress" | "tc/ingress" => ("ingress", *direction == Direction::Ingress),
        "tcx/egress" | "tc/egress" => ("egress", *direction == Direction::Egress),
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

/// Hooks that switch at one instant follow a table of the chain's own, and the dispatcher of a shared device has its own.
fn atomic_share(draft: &Draft<'_>, point: &Attach, item: &Spanned) -> Option<Diagnostic> {
    let (what, help) = match point {
        Attach::SharedXdp(_) => (
            "a chain that is `atomic` cannot share a device",
            "leave `priority` out, or `atomic`: a chain with one hook switches at one instant anyway",
        ),
        Attach::StructOps(_) => {
            ("a table of functions cannot be `atomic`: there is nothing that could jump", "leave `atomic` out")
        }
        _ => return None,
    };
    draft.atomic.then(|| Diagnostic::error(&item.span, what).help(help))
}

/// The place of an attach point; two points of one chain at the same place would run it twice.
fn place(point: &Attach) -> (String, String) {
    match point {
        Attach::Xdp { interface, .. } | Attach::SharedXdp(SharedXdp { interface, .. }) => (interface.clone(), "xdp".to_owned()),
        Attach::Tc { interface, direction, .. } | Attach::Tcx { interface, direction, .. } => {
            (interface.clone(), format!("tc {direction}"))
        }
        other => other.words(),
    }
}
