//! The `jumps` of a program: targets, names in the C source, verdicts on a miss, bounds.

use super::is_c_identifier;
use crate::attr::{Spanned, Value};
use crate::diagnostic::{Diagnostic, Span, did_you_mean};
use crate::hook::{Hook, Verdicts};
use crate::provider::Jump;

/// The declared jumps; `on_miss` is the verdict of those that name none.
pub(super) fn jumps(items: &[Spanned], on_miss: Option<&Spanned>, hook: &'static Hook) -> Result<Vec<Jump>, Vec<Diagnostic>> {
    let mut jumps: Vec<Jump> = Vec::new();
    let mut findings = Vec::new();
    for item in items {
        match jump(item, on_miss, hook) {
            Ok(jump) => match jumps.iter().find(|known| known.name == jump.name) {
                Some(known) => findings.push(twice(&jump, known)),
                None => jumps.push(jump),
            },
            Err(finding) => findings.push(finding),
        }
    }
    if hook.sleepable
        && let Some(first) = jumps.first()
    {
        findings.push(
            Diagnostic::error(
                &first.span,
                format!("`{}` programs may sleep, and the kernel lets those make no tail calls", hook.prefix),
            )
            .help("remove `jumps`, or use the type without `.s`"),
        );
    }
    if findings.is_empty() { Ok(jumps) } else { Err(findings) }
}

fn twice(jump: &Jump, known: &Jump) -> Diagnostic {
    let finding =
        Diagnostic::error(&jump.span, format!("two jumps are named `{}`", jump.name)).related(&known.span, "first declared here");
    match jump.target == known.target {
        true => finding.help("remove one"),
        false => finding.help(format!("give one another name for the C source: `jump(\"{}\", name = \"...\")`", jump.target)),
    }
}

fn jump(item: &Spanned, own: Option<&Spanned>, hook: &'static Hook) -> Result<Jump, Diagnostic> {
    let record = item.value.as_record();
    let target = record.map_or(&item.value, |record| record.get("target")).as_label();
    let target = target.ok_or_else(|| Diagnostic::error(&item.span, "expected a label or `jump(...)`"))?.clone();
    let field = |name: &str| record.and_then(|record| record.field(name)).filter(|field| field.value != Value::None);
    let given_name = field("name");
    let name = given_name.and_then(|name| name.value.as_str()).unwrap_or(&target.name).to_owned();
    if !is_c_identifier(&name) {
        let span = given_name.map_or(&item.span, |name| &name.span);
        return Err(Diagnostic::error(span, format!("jump name `{name}` is no C identifier"))
            .help(format!("name it for the C source: `jump(\"{target}\", name = \"...\")`")));
    }
    let on_miss = match field("on_miss").or(own) {
        Some(verdict) => verdict_number(hook, verdict)?,
        None => default_miss(hook, &item.span)?,
    };
    Ok(Jump { target, name, on_miss, bound: field("loop").map(bound).transpose()?, span: item.span.clone() })
}

fn bound(given: &Spanned) -> Result<u32, Diagnostic> {
    let times = given.value.as_int().unwrap_or_default();
    u32::try_from(times).ok().filter(|times| (1..=crate::chain::MAX_DEPTH).contains(times)).ok_or_else(|| {
        Diagnostic::error(&given.span, format!("a jump cannot be taken {times} times in one run"))
            .help(format!("the kernel allows 1 to {} tail calls in one run", crate::chain::MAX_DEPTH))
    })
}

pub(super) fn verdict_number(hook: &Hook, given: &Spanned) -> Result<i32, Diagnostic> {
    let invalid = |shown: String| {
        let known = match hook.verdicts {
            Verdicts::Named(_) => format!("verdicts of `{}`: {}", hook.prefix, hook.verdict_names().join(", ")),
            Verdicts::Numbers(first, last) => format!("give a number from {first} to {last}"),
        };
        Diagnostic::error(&given.span, format!("{shown} is no verdict of `{}`", hook.prefix)).help(known)
    };
    match (&given.value, hook.verdicts) {
        (Value::Str(name), _) => hook.verdict(name).ok_or_else(|| {
            let finding = invalid(format!("`{name}`"));
            finding.maybe_help(did_you_mean(name, hook.verdict_names()))
        }),
        (Value::Int(number), Verdicts::Named(verdicts)) => {
            let known = verdicts.iter().find(|(_, known)| i64::from(*known) == *number);
            known.map(|(_, number)| *number).ok_or_else(|| invalid(format!("{number}")))
        }
        (Value::Int(number), Verdicts::Numbers(first, last)) => i32::try_from(*number)
            .ok()
            .filter(|number| (first..=last).contains(number))
            .ok_or_else(|| invalid(format!("{number}"))),
        _ => Err(invalid("this".to_owned())),
    }
}

fn default_miss(hook: &Hook, span: &Span) -> Result<i32, Diagnostic> {
    match hook.verdicts {
        Verdicts::Numbers(..) => Ok(0),
        Verdicts::Named(verdicts) => Err(Diagnostic::error(span, "no verdict is declared for the case that the jump misses")
            .note("when a slot is empty, the kernel goes on behind the jump instead of failing")
            .help(format!(
                "add `on_miss = \"{}\"` to the program (or another of its verdicts)",
                verdicts.get(1).map_or("0", |(name, _)| name)
            ))),
    }
}
