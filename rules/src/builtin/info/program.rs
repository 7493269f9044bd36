//! The program a rule of a user makes: its type, its maps, its jumps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::JUMP;
use super::fields::Fields;
use super::returned::{Edges, Offer};
use crate::action::Action;
use crate::attr::{Record, Spanned, Value};
use crate::builtin::bpf_program::{add_map, facts, name_findings, program_type};
use crate::builtin::compile::{expected, inspect_action};
use crate::builtin::jumps::jumps;
use crate::data::{Data, Info};
use crate::diagnostic::{Diagnostic, Span};
use crate::hook::Hook;
use crate::label::Label;
use crate::provider::{Jump, MapInfo, ProgramInfo, Vmlinux};
use crate::rule::Context;

/// The program, and the action that inspects it.
pub(super) fn program(offer: &mut Offer<'_, '_>, attrs: Edges<'_>) -> Option<(ProgramInfo, Action)> {
    let Some(object) = offer.fields("BpfObjectInfo") else {
        for name in ["BpfMapsInfo", "BpfEdgesInfo"] {
            if offer.fields(name).is_some() {
                offer.wrong(format!("`{name}` is returned without `BpfObjectInfo`"), "it speaks of a program; return that, too");
            }
        }
        return None;
    };
    let ctx = offer.ctx;
    let target = ctx.target;
    offer.findings.extend(name_findings(ctx));
    let ty = object.text("type")?;
    let hook = program_type(ty, target.span_of("type")).map_err(|finding| offer.findings.push(finding)).ok()?;
    let maps = offer.fields("BpfMapsInfo").map(|fields| maps(ctx, fields)).unwrap_or(Ok(Vec::new()));
    let maps = maps.map_err(|findings| offer.findings.extend(findings)).ok()?;
    let edges = offer.fields("BpfEdgesInfo").map(|fields| edges(ctx, fields, attrs, hook)).unwrap_or(Ok(Vec::new()));
    let jumps = edges.map_err(|findings| offer.findings.extend(findings)).ok()?;
    let expected = expected(ctx, ty, object.text("function"), &jumps, &maps);
    let program = ProgramInfo {
        label: target.label.clone(),
        ty: ty.to_owned(),
        ty_span: target.span_of("type").clone(),
        object: object.file("object")?.clone(),
        expected,
        facts: facts(ctx),
        jumps,
        maps,
        slot: object.int("slot").map(|slot| (slot, target.span_of("slot").clone())),
        hidden: object.flag("hidden"),
        globals: BTreeMap::new(),
        requires: Vec::new(),
        optional: None,
        candidates: Vec::new(),
        span: target.span.clone(),
    };
    let inspect = inspect_action(&program);
    Some((program, inspect))
}

/// The map that a `BpfMapInfo` is of: they are only ever handed on, so the map's target is known by its label.
pub(super) fn map_of(ctx: &Context<'_>, info: &Info) -> Option<Arc<MapInfo>> {
    let label = Fields::of(info).label("label")?;
    (ctx.deps)(label).and_then(|providers| providers.map.clone())
}

/// The kernels in the field `kernels`, each known by the label of its `vmlinux_header`.
pub(super) fn kernels(ctx: &Context<'_>, fields: Fields<'_>) -> Vec<Arc<Vmlinux>> {
    let labels = fields.list("kernels").iter().filter_map(|item| if let Data::Label(label) = item { Some(label) } else { None });
    let offered = labels.filter_map(|label| Some((label, (ctx.deps)(label)?.headers.as_deref()?)));
    let own = offered.filter_map(|(label, headers)| headers.kernels.iter().find(|kernel| kernel.label == *label));
    own.cloned().collect()
}

/// The maps in the field `maps`.
pub(super) fn maps(ctx: &Context<'_>, fields: Fields<'_>) -> Result<Vec<Arc<MapInfo>>, Vec<Diagnostic>> {
    let (mut maps, mut findings) = (Vec::new(), Vec::new());
    for map in fields.infos("maps").filter_map(|info| map_of(ctx, info)) {
        findings.extend(add_map(&mut maps, &map, &ctx.target.span));
    }
    if findings.is_empty() { Ok(maps) } else { Err(findings) }
}

/// The jumps in the fields `jumps` and `on_miss`.
pub(super) fn edges(
    ctx: &Context<'_>,
    fields: Fields<'_>,
    attrs: Edges<'_>,
    hook: &'static Hook,
) -> Result<Vec<Jump>, Vec<Diagnostic>> {
    let known = Known::of(ctx, attrs);
    let items: Vec<Spanned> = fields.list("jumps").iter().map(|jump| known.item(jump)).collect::<Result<_, _>>()?;
    let on_miss = verdict(fields.get("on_miss")).map(|value| Spanned { value, span: ctx.target.span.clone() });
    jumps(&items, on_miss.as_ref(), hook)
}

fn verdict(data: &Data) -> Option<Value> {
    match data {
        Data::Str(name) => Some(Value::Str(name.clone())),
        Data::Int(number) => Some(Value::Int(*number)),
        _ => None,
    }
}

/// The jumps a target may make: those its attributes name, and those of the programs it is made from. Chains follow no others.
struct Known<'a, 'c> {
    ctx: &'a Context<'c>,
    targets: Vec<(&'a Label, &'a Span)>,
}

impl<'a, 'c: 'a> Known<'a, 'c> {
    fn of(ctx: &'a Context<'c>, attrs: Edges<'_>) -> Known<'a, 'c> {
        let mut targets = Vec::new();
        for attr in attrs.jumps.iter().filter_map(|name| ctx.target.attrs.get(name)) {
            attr.value.each_label(&attr.span, &mut |label, span| targets.push((label, span)));
        }
        for attr in attrs.programs.iter().filter_map(|name| ctx.target.attrs.get(name)) {
            attr.value.each_label(&attr.span, &mut |label, _| {
                let program = (ctx.deps)(label).and_then(|providers| providers.program.as_ref());
                targets.extend(program.iter().flat_map(|program| &program.jumps).map(|jump| (&jump.target, &jump.span)));
            });
        }
        Known { ctx, targets }
    }

    /// A jump as an attribute would hold it, with the place it was written at.
    fn item(&self, jump: &Data) -> Result<Spanned, Vec<Diagnostic>> {
        let (target, info) = match jump {
            Data::Label(label) => (label, None),
            Data::Info(info) => match Fields::of(info).label("target") {
                Some(label) => (label, Some(info)),
                None => return Err(vec![Diagnostic::error(&self.ctx.target.span, "a jump has no target")]),
            },
            _ => return Err(vec![Diagnostic::error(&self.ctx.target.span, "expected a jump")]),
        };
        let Some((_, span)) = self.targets.iter().find(|(label, _)| *label == target) else {
            let finding = Diagnostic::error(&self.ctx.target.span, format!("nothing declares the jump to `{target}`"));
            return Err(vec![
                finding.help("take jumps from an `attr.jumps()`, or from a target of an attribute that requires `BpfObjectInfo`"),
            ]);
        };
        let value = info.map_or_else(|| Value::Label(target.clone()), |info| record(info, span));
        Ok(Spanned { value, span: (*span).clone() })
    }
}

fn record(info: &Info, span: &Span) -> Value {
    let value = |data: &Data| match data {
        Data::Label(label) => Some(Value::Label(label.clone())),
        other => verdict(other),
    };
    let field = |(name, data): (&Arc<str>, &Data)| Some((name.clone(), Spanned { value: value(data)?, span: span.clone() }));
    Value::Record(Record { kind: JUMP.into(), fields: info.fields.iter().filter_map(field).collect() })
}
