//! Whether the oldest kernel that a chain is built for has what the chain needs.
//!
//! Knows what is declared; what the code calls is seen when a kernel is there.

use super::{Draft, Graph};
use crate::attr::Spanned;
use crate::configuration::KernelVersion;
use crate::diagnostic::{Diagnostic, Span};
use crate::hook;
use crate::provider::{MapInfo, ProgramInfo};
use crate::requirement::Requirement;
use crate::since;

/// Something that older kernels do not have.
struct Need<'a> {
    /// As the begin of a sentence.
    what: String,
    since: KernelVersion,
    at: &'a Span,
}

/// What needs a newer kernel. A program that is optional, or has a candidate which needs none, may need what it likes.
pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let Some(oldest) = draft.oldest else { return Vec::new() };
    let is_newer = |need: &Need<'_>| need.since > oldest;
    let mut needs = vec![Need { what: "every chain".to_owned(), since: since::CHAIN, at: draft.span }];
    let extensions = || draft.extensions.iter().filter(|extension| extension.program.optional.is_none());
    let members = graph.programs.iter().copied().filter(|program| program.optional.is_none());
    for program in members.chain(extensions().map(|extension| &extension.program)) {
        let last = program.tried().iter().map(|one| of_program(one)).find(|needs| !needs.iter().any(is_newer));
        needs.extend(last.unwrap_or_else(|| program.tried().last().map(|one| of_program(one)).unwrap_or_default()));
    }
    let attached = draft.attach.iter().filter_map(|(point, item)| Some((*item, since::place(point)?)));
    let extended = extensions().map(|extension| (extension.item, since::EXTENSION));
    needs.extend(attached.chain(extended).filter_map(|(item, since)| of_constructor(item, since)));
    needs.retain(is_newer);
    // Whoever follows one remedy shall not meet the next.
    let enough = needs.iter().map(|need| need.since).max().unwrap_or(oldest);
    needs.iter().map(|need| finding(draft, need, oldest, enough)).collect()
}

fn of_program(program: &ProgramInfo) -> Vec<Need<'_>> {
    let (label, at) = (&program.label, &program.span);
    let ty = hook::find(&program.ty).and_then(|hook| Some((hook.prefix, since::program(hook)?)));
    let ty = ty.map(|(prefix, since)| Need { what: format!("the type `{prefix}` of `{label}`"), since, at: &program.ty_span });
    let required = program.requires.iter().filter_map(|requirement| match requirement {
        Requirement::Kernel(since) => Some(*since),
        Requirement::MapType(name) => since::map(name),
        Requirement::ProgramType(name) => hook::find(name).and_then(since::program),
        Requirement::Helper(_) | Requirement::Kfunc(_) | Requirement::Btf => None,
    });
    let required = required.max().map(|since| Need { what: format!("what `{label}` requires"), since, at });
    let maps = program.maps.iter().flat_map(|map| [map].into_iter().chain(&map.holds));
    ty.into_iter().chain(required).chain(maps.filter_map(|map| of_map(map))).collect()
}

fn of_constructor(item: &Spanned, since: KernelVersion) -> Option<Need<'_>> {
    let what = format!("`{}()` as it stands here", item.value.as_record()?.kind);
    Some(Need { what, since, at: &item.span })
}

fn of_map(map: &MapInfo) -> Option<Need<'_>> {
    let what = format!("the type `{}` of `{}`", map.spec.ty, map.label);
    Some(Need { what, since: since::map(&map.spec.ty)?, at: &map.span })
}

fn finding(draft: &Draft<'_>, need: &Need<'_>, oldest: KernelVersion, enough: KernelVersion) -> Diagnostic {
    let Need { what, since, at } = need;
    let message = format!("{what} takes kernel {since}, and `{}` is built for {oldest} and newer", draft.chain);
    Diagnostic::error(at, message).help(format!(
        "`--min-kernel {enough}` (or `min_kernel` in ouro.toml) serves all of the chain; or give kernels before {since} something \
         else: by `select()`, `bpf_variants` or `optional`"
    ))
}
