//! Extensions: programs that take the place of a function of the entry while the chain is made, before anything runs it.
//!
//! Knows declarations; whether the function is there is seen when the objects are ([`crate::object`]).
//!
//! The kernel lets no program be extended that stands in a jump table, nor one stand there that is extended: both together could
//! run for ever (`prog_array_member_cnt` and `is_extended`, kernel 6.13). Older kernels are not asked for what newer ones refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Draft, Graph};
use crate::attr::Spanned;
use crate::diagnostic::{Diagnostic, Span, did_you_mean};
use crate::hook::{self, Hook};
use crate::label::Label;
use crate::manifest::{Attach, Replaces};
use crate::provider::ProgramInfo;

/// An extension as declared.
pub struct Extension<'a> {
    /// The program.
    pub program: Arc<ProgramInfo>,
    /// The program whose function it replaces; the entry when not said.
    pub target: Option<Label>,
    /// The function; what the extension's type says when not said.
    pub function: Option<String>,
    /// The whole declaration.
    pub item: &'a Spanned,
}

impl Extension<'_> {
    /// The name of the function.
    pub(super) fn function(&self) -> &str {
        let of_type = || self.program.ty.split_once('/').map_or("", |(_, name)| name);
        self.function.as_deref().unwrap_or_else(of_type)
    }

    /// For the manifest; the entry is all that can be extended.
    pub(super) fn replaces(&self, draft: &Draft<'_>) -> Replaces {
        Replaces { program: draft.entry.label.name.to_string(), function: self.function().to_owned() }
    }

    fn span(&self, argument: &str) -> &Span {
        self.item.value.as_record().and_then(|record| record.field(argument)).map_or(&self.item.span, |field| &field.span)
    }
}

pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = misplaced(draft, graph).collect();
    let mut seen: BTreeMap<&str, &Extension<'_>> = BTreeMap::new();
    for extension in &draft.extensions {
        findings.extend(unfit(extension));
        findings.extend(wrong_target(draft, graph, extension));
        if let Some(first) = seen.insert(extension.function(), extension) {
            let message = format!("`{}` is replaced twice", extension.function());
            let finding = Diagnostic::error(&extension.item.span, message).related(&first.item.span, "first here");
            findings.push(finding.help("remove one; the kernel lets a function be replaced once"));
        }
    }
    if let Some(first) = draft.extensions.first() {
        findings.extend(in_table(draft, graph, first));
    }
    findings
}

fn is_extension(program: &ProgramInfo) -> bool {
    hook::find(&program.ty).is_some_and(|hook| hook.prog_type == "ext")
}

/// Extensions where other programs belong: as entry, or at the end of a jump.
fn misplaced(draft: &Draft<'_>, graph: &Graph<'_>) -> impl Iterator<Item = Diagnostic> {
    let help = "list it in `extensions` of the chain whose program it extends";
    let finding = move |program: &ProgramInfo, span: &Span, what: &str| {
        let message = format!("`{}` replaces a function of another program and {what}", program.label);
        Diagnostic::error(span, message).related(&program.ty_span, "its type is set here").help(help)
    };
    let entry = is_extension(draft.entry).then(|| finding(draft.entry, draft.span, "cannot be an entry"));
    let jumps = graph.jumps.iter().filter(|edge| is_extension(graph.programs[edge.to]));
    let jumps: Vec<Diagnostic> =
        jumps.map(|edge| finding(graph.programs[edge.to], &edge.jump.span, "cannot be jumped to")).collect();
    entry.into_iter().chain(jumps)
}

/// What is wrong with the extension itself.
fn unfit(extension: &Extension<'_>) -> Option<Diagnostic> {
    let Extension { program, item, .. } = extension;
    if !is_extension(program) {
        let message = format!("`{}` is `{}` and cannot replace a function", program.label, program.ty);
        let finding = Diagnostic::error(&item.span, message).related(&program.ty_span, "its type is set here");
        return Some(
            finding.help(format!("give it the type `freplace/{}`", extension.function.as_deref().unwrap_or("<function>"))),
        );
    }
    if let Some(jump) = program.jumps.first() {
        let finding = Diagnostic::error(&item.span, format!("`{}` jumps, and no extension can", program.label));
        return Some(finding.related(&jump.span, "it jumps here").help("let the program that it extends jump instead"));
    }
    let (_, slot) = program.slot.as_ref()?;
    let finding = Diagnostic::error(slot, format!("`{}` replaces a function and stands in no jump table", program.label));
    Some(finding.help("remove `slot`"))
}

/// What it extends must be the entry.
fn wrong_target(draft: &Draft<'_>, graph: &Graph<'_>, extension: &Extension<'_>) -> Option<Diagnostic> {
    let target = extension.target.as_ref()?;
    let span = extension.span("program");
    let found = draft.programs.get(target).or_else(|| graph.programs.iter().find(|program| program.label == *target).copied());
    match found {
        Some(program) if program.label == draft.entry.label => None,
        Some(program) if is_extension(program) => {
            let finding = Diagnostic::error(span, format!("`{}` is an extension itself", program.label));
            Some(finding.help("the kernel lets no extension be extended; name the entry"))
        }
        Some(program) => {
            let finding = Diagnostic::error(span, format!("`{}` stands in the jump table and cannot be extended", program.label));
            let finding = finding.note("the kernel lets no program of a jump table be extended, lest both run for ever");
            Some(finding.help(format!("only the entry can be extended, which is `{}`", draft.entry.label)))
        }
        None => {
            let known: Vec<String> = draft.programs.keys().map(Label::to_string).collect();
            let help = did_you_mean(&target.to_string(), known.iter().map(String::as_str));
            let finding = Diagnostic::error(span, format!("`{target}` is no program of `{}`", draft.chain));
            Some(
                finding.help(help.unwrap_or_else(|| format!("only the entry can be extended, which is `{}`", draft.entry.label))),
            )
        }
    }
}

/// The entry must stand in no table: none of the chain, none that its hooks go by.
fn in_table(draft: &Draft<'_>, graph: &Graph<'_>, extension: &Extension<'_>) -> Option<Diagnostic> {
    let entry = &draft.entry.label;
    let finding = |why: &str| {
        let finding = Diagnostic::error(&extension.item.span, format!("`{entry}` cannot be extended: {why}"));
        finding.note("the kernel lets no program of a jump table be extended, lest both run for ever")
    };
    if let Some(edge) = graph.jumps.iter().find(|edge| graph.programs[edge.to].label == *entry) {
        let finding = finding("programs jump to it").related(&edge.jump.span, "one jumps here");
        return Some(finding.help("let them jump to a program that the entry jumps to, too"));
    }
    let hook: &Hook = hook::find(&draft.entry.ty)?;
    if !draft.entry.candidates.is_empty() {
        return Some(finding("which of its candidates runs is not known before").help("name one program as the entry"));
    }
    if draft.atomic {
        return Some(finding("the chain is `atomic`, so its hooks jump to the entry").help("leave `atomic` out"));
    }
    if let Some((_, item)) = draft.attach.iter().find(|(point, _)| matches!(point, Attach::SharedXdp(_))) {
        let finding = finding("it shares a device, and is jumped to from there").related(&item.span, "it is shared here");
        return Some(finding.help("leave `priority` out"));
    }
    if hook.needs_root() {
        let why = format!("hooks of `{}` programs jump to the entry", hook.prefix);
        return Some(
            finding(&why).help("extensions are for types whose links are updated in place: `xdp`, `tcx`, `cgroup_skb`, ..."),
        );
    }
    (hook.prog_type == "struct_ops").then(|| finding("it is a table of functions").help("replace the function in the table"))
}
