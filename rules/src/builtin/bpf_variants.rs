//! `bpf_variants`: alternatives of one program; the first that a kernel takes stands in its place.
//!
//! Compiles nothing: its candidates are programs of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bpf_program::{OPTIONAL, name_findings, optional};
use crate::attr::{AttrSpec, AttrType, EdgeKind, Spanned, Value};
use crate::diagnostic::{Diagnostic, Span};
use crate::provider::{Jump, ProgramInfo, Providers};
use crate::rule::{Analysis, Context, Rule};

pub(super) struct BpfVariants {
    attrs: Vec<AttrSpec>,
}

impl BpfVariants {
    pub(super) fn new() -> BpfVariants {
        let candidates = "The `bpf_program` targets, the one most wanted first. They have the same type, jumps and maps.";
        let attrs = vec![
            AttrSpec::new("candidates", AttrType::Label.list(), candidates).required().edge(EdgeKind::Program),
            AttrSpec::new("slot", AttrType::Int, "Its place in the jump table; chosen by ouro when not given."),
            AttrSpec::new("optional", AttrType::Bool, OPTIONAL).default(Value::Bool(false)),
            AttrSpec::new("hidden", AttrType::Bool, "Whether drawings of the chain leave it out.").default(Value::Bool(false)),
        ];
        BpfVariants { attrs }
    }
}

impl Rule for BpfVariants {
    fn name(&self) -> &str {
        "bpf_variants"
    }

    fn doc(&self) -> &str {
        "Alternatives of one program. Jumps and chains name it like a program; when the chain is deployed, the first candidate that \
         the kernel takes stands in its place."
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let mut findings = name_findings(ctx);
        let candidates = candidates(ctx, &mut findings);
        let Some((first, first_item)) = candidates.first() else {
            findings.extend(ctx.target.get("candidates").items().is_empty().then(|| nothing(ctx)));
            return Err(findings);
        };
        findings.extend(same_names(&candidates));
        for (other, item) in &candidates[1..] {
            findings.extend(differences(first, first_item, other, &item.span));
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let candidates: Vec<Arc<ProgramInfo>> = candidates.iter().map(|(program, _)| (*program).clone()).collect();
        let files = candidates.iter().map(|program| program.object.clone()).collect();
        let program = Some(Arc::new(program(ctx, candidates)));
        Ok(Analysis { providers: Providers { files, program, ..Providers::default() }, ..Analysis::default() })
    }
}

fn nothing(ctx: &Context<'_>) -> Diagnostic {
    Diagnostic::error(ctx.target.span_of("candidates"), "there are no candidates").help("list `bpf_program` targets")
}

/// The programs listed, each with its place, as far as they can be candidates.
fn candidates<'a>(ctx: &Context<'a>, findings: &mut Vec<Diagnostic>) -> Vec<(&'a Arc<ProgramInfo>, &'a Spanned)> {
    let mut found = Vec::new();
    for (item, label, providers) in ctx.listed("candidates") {
        match providers.and_then(|providers| providers.program.as_ref()) {
            None => findings
                .push(Diagnostic::error(&item.span, format!("`{label}` is no program")).help("list `bpf_program` targets here")),
            Some(program) => {
                findings.extend(misplaced(program, &item.span));
                found.push((program, item));
            }
        }
    }
    found
}

/// What belongs to the place belongs to the variants.
fn misplaced(program: &ProgramInfo, span: &Span) -> Vec<Diagnostic> {
    let label = &program.label;
    let mut findings = Vec::new();
    if !program.candidates.is_empty() {
        let finding = Diagnostic::error(span, format!("`{label}` has candidates itself")).related(&program.span, "declared here");
        findings.push(finding.help("list its candidates here instead"));
    }
    if let Some((_, place)) = &program.slot {
        let finding = Diagnostic::error(span, format!("the candidate `{label}` asks for a slot")).related(place, "here");
        findings.push(finding.help("give the `slot` to the `bpf_variants`: that is what jumps lead to"));
    }
    if let Some(place) = &program.optional {
        let finding = Diagnostic::error(span, format!("the candidate `{label}` is optional")).related(place, "it is said here");
        findings.push(finding.help("say it of the `bpf_variants`: any candidate may be refused while there is another"));
    }
    findings
}

/// Bundles and reports name candidates by the last part of their labels.
fn same_names(candidates: &[(&Arc<ProgramInfo>, &Spanned)]) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, &Spanned> = BTreeMap::new();
    let mut findings = Vec::new();
    for (program, item) in candidates {
        if let Some(first) = seen.insert(&program.label.name, item) {
            let finding = Diagnostic::error(&item.span, format!("two candidates are named `{}`", program.label.name));
            findings.push(finding.related(&first.span, "the other one").help("remove one, or rename it"));
        }
    }
    findings
}

/// Whatever stands in the place, those that jump to it and those it jumps to see the same.
fn differences(first: &ProgramInfo, first_item: &Spanned, other: &ProgramInfo, span: &Span) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    if first.ty != other.ty {
        let message = format!("`{}` is `{}`, and `{}` is `{}`", other.label, other.ty, first.label, first.ty);
        let finding = Diagnostic::error(span, message).related(&other.ty_span, "its type is set here");
        let finding = finding.related(&first.ty_span, "the other's type is set here");
        findings.push(finding.help("candidates stand in the same place: give them the same type"));
    }
    for (one, two) in [(first, other), (other, first)] {
        for jump in one.jumps.iter().filter(|jump| two.jumps.iter().all(|known| !is_same(jump, known))) {
            let finding =
                Diagnostic::error(span, format!("`{}` declares {}, and `{}` does not", one.label, said(jump), two.label));
            let finding = finding.related(&jump.span, "declared here").related(&first_item.span, "the first candidate");
            findings.push(finding.help("give all candidates the same `jumps`, with the same `on_miss` and `loop`"));
        }
        for map in one.maps.iter().filter(|map| two.maps.iter().all(|known| known.label != map.label)) {
            let finding =
                Diagnostic::error(span, format!("`{}` uses map `{}`, and `{}` does not", one.label, map.label, two.label));
            let finding = finding.related(&first_item.span, "the first candidate");
            findings.push(finding.help("list the same `maps` for all candidates; a program need not touch all that it lists"));
        }
    }
    findings
}

fn is_same(one: &Jump, other: &Jump) -> bool {
    (&one.name, &one.target, one.on_miss, one.bound) == (&other.name, &other.target, other.on_miss, other.bound)
}

fn said(jump: &Jump) -> String {
    let bound = jump.bound.map(|bound| format!(", at most {bound} times")).unwrap_or_default();
    format!("the jump `{}` to `{}` ({} when missed{bound})", jump.name, jump.target, jump.on_miss)
}

/// Stands for its candidates; what they have in common is the first one's.
fn program(ctx: &Context<'_>, candidates: Vec<Arc<ProgramInfo>>) -> ProgramInfo {
    let target = ctx.target;
    let first = ProgramInfo::clone(&candidates[0]);
    ProgramInfo {
        candidates,
        label: target.label.clone(),
        slot: target.get("slot").as_int().map(|slot| (slot, target.span_of("slot").clone())),
        hidden: target.get("hidden").as_bool().unwrap_or(false),
        globals: BTreeMap::new(),
        requires: Vec::new(),
        optional: optional(ctx),
        span: target.span.clone(),
        ..first
    }
}
