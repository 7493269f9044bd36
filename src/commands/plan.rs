//! `ouro plan`

use ouro_deploy::{Choice, Plan};
use ouro_rules::bundle::Bundle;
use serde_json::json;

use crate::cli;
use crate::commands::deploy::{bpffs, bundle, failure, options};
use crate::error::{CliError, Kind};
use crate::netns;
use crate::render::output::{Ink, paint};
use crate::session::Session;

/// Says what a deploy would change.
pub fn run(session: &Session, args: &cli::Plan) -> Result<(), CliError> {
    let plan = show(session, &args.what, &args.how, &args.place)?;
    // Shown already; the exit code is for those who watch.
    let waits = args.exit_code && !plan.is_empty();
    if waits { Err(CliError { kind: Kind::Changes, findings: Vec::new() }) } else { Ok(()) }
}

/// Makes a plan and shows it.
pub fn show(session: &Session, what: &cli::What, how: &cli::Manner, place: &cli::Place) -> Result<Plan, CliError> {
    let bundle = bundle(session, what)?;
    let bpffs = bpffs(session, place)?;
    netns::enter(place.netns.as_deref())?;
    let plan = ouro_deploy::plan(&bpffs, &bundle, &options(session, what, how)?);
    ouro_deploy::drop_capabilities().map_err(failure)?;
    let plan = plan.map_err(failure)?;
    if place.json {
        session.fact(&facts(&bundle, &plan))?;
        return Ok(plan);
    }
    let manifest = &bundle.manifest;
    let color = session.output.settings().out.color;
    let title = match plan.is_empty() {
        true => format!("`{}` is live already as `{}`; nothing to do\n", manifest.chain, manifest.name),
        false => format!("plan for `{}` as `{}`:\n", manifest.chain, manifest.name),
    };
    session.fact(&(title + &draw(&plan, color)))?;
    if how.explain {
        session.fact(&explained(&plan.choices))?;
    }
    plan.steps.iter().zip(1..).for_each(|(step, number)| session.detail(&format!("{number:>3}  {step}")));
    Ok(plan)
}

/// The changes, a line each, and how many there are.
fn draw(plan: &Plan, color: bool) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        let sign = change.sign();
        let ink = match sign {
            '+' => Ink::Green,
            '-' => Ink::Red,
            _ => Ink::Yellow,
        };
        text += &format!("  {} {change}\n", paint(color, ink, &sign.to_string()));
    }
    if plan.is_empty() {
        return text;
    }
    let [added, changed, removed] = plan.counts();
    text + &format!("{added} to add, {changed} to change, {removed} to remove\n")
}

/// What became of each program that depends on the kernel, and why.
pub fn explained(choices: &[Choice]) -> String {
    let one = |choice: &Choice| {
        let what = match &choice.taken {
            Some(taken) => format!("`{}`: the kernel takes `{taken}`\n", choice.program),
            None => format!("`{}`: left out\n", choice.program),
        };
        choice.rejected.iter().fold(what, |text, no| {
            let how = if no.probed { "not tried" } else { "not taken" };
            let help = no.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
            format!("{text}  `{}` {how}: {}{help}\n", no.candidate, no.why.replace('\n', "\n  "))
        })
    };
    choices.iter().map(one).collect()
}

/// How much was done.
pub fn summary(plan: &Plan) -> String {
    let [added, changed, removed] = plan.counts();
    format!("{added} added, {changed} changed, {removed} removed")
}

/// The plan as JSON.
pub fn facts(bundle: &Bundle, plan: &Plan) -> String {
    let manifest = &bundle.manifest;
    let (changes, steps, choices) = (&plan.changes, &plan.steps, &plan.choices);
    let facts = json!({
        "name": manifest.name, "chain": manifest.chain, "digest": bundle.digest, "changes": changes, "steps": steps,
        "choices": choices,
    });
    format!("{facts:#}\n")
}
