//! `ouro verify`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ouro_deploy::{Error, ErrorKind, Verdict, Verified, VerifyOptions, verify_bundle, verify_object};
use ouro_rules::Diagnostic;
use ouro_rules::bundle::Bundle;
use serde_json::{Value, json};

use crate::cli::Verify;
use crate::commands::build::build;
use crate::commands::bundle;
use crate::commands::deploy::require_types;
use crate::error::{CliError, Kind};
use crate::render::output::{Ink, paint};
use crate::session::{self, Session};

/// The verifier's own limits.
const INSTRUCTIONS: u32 = 1_000_000;
const STACK: u32 = 512;

/// The programs of one file, or why there are none.
struct Judged {
    file: String,
    /// What people call it.
    shown: String,
    verdicts: Result<Vec<Verdict>, Error>,
}

/// Has the kernel judge programs, and leaves nothing behind.
pub fn run(session: &Session, args: &Verify) -> Result<(), CliError> {
    require_types(args.btf.as_deref())?;
    let given = || args.object.iter().map(|file| (file.clone(), file.display().to_string())).collect();
    let files: Vec<(PathBuf, String)> = if args.object.is_empty() { built(session, args)? } else { given() };
    if files.is_empty() {
        return Err(CliError::new(Kind::Usage, "nothing that was named makes a program")
            .help("name `bpf_program` or `bpf_chain` targets"));
    }
    let options = VerifyOptions { btf: args.btf.clone(), whole_log: args.verifier_log };
    let mut judged = Vec::new();
    for (file, shown) in &files {
        let one = judge(file, shown, &options)?;
        // A program may take the verifier half a minute: what is known is told.
        if !args.json {
            show(session, &one, args)?;
        }
        judged.push(one);
    }
    if args.json {
        let facts: Vec<Value> = judged.iter().flat_map(|judged| facts(judged, args.verifier_log)).collect();
        session.fact(&format!("{:#}\n", Value::Array(facts)))?;
    }
    let refusals: Vec<&Error> = judged.iter().flat_map(serious).collect();
    match refusals.iter().find(|error| error.kind() == ErrorKind::NotPermitted) {
        Some(_) if judged.iter().all(|judged| judged.taken() == 0) => Err(CliError { kind: Kind::Refused, findings: Vec::new() }),
        _ if refusals.is_empty() => Ok(()),
        _ => Err(CliError { kind: Kind::Failed, findings: Vec::new() }),
    }
}

/// The objects and bundles that the patterns make, each with its name from the workspace's root.
fn built(session: &Session, args: &Verify) -> Result<Vec<(PathBuf, String)>, CliError> {
    let workspace = session.workspace()?;
    let patterns = session::patterns(&workspace, &args.patterns)?;
    let built = build(session, &workspace, &patterns, &args.how)?;
    let files: BTreeSet<&String> = built.targets.iter().flat_map(|target| &target.files).collect();
    let bundles = files.iter().filter(|file| file.ends_with(".bundle"));
    let bundles = bundles.map(|file| bundle::from_file(&workspace.root.join(file)).and_then(|bytes| bundle::read(&bytes, file)));
    let chained = bundles.collect::<Result<Vec<Bundle>, CliError>>()?.iter().flat_map(labels).collect::<BTreeSet<String>>();
    let judged_there = built.targets.iter().filter(|target| chained.contains(&target.label.to_string()));
    let judged_there: BTreeSet<&String> =
        judged_there.flat_map(|target| &target.files).filter(|file| file.ends_with(".o")).collect();
    let programs = files.into_iter().filter(|file| file.ends_with(".o") || file.ends_with(".bundle"));
    let programs = programs.filter(|file| !judged_there.contains(file));
    Ok(programs.map(|file| (workspace.root.join(file), file.clone())).collect())
}

/// The labels of a bundle's programs, with all candidates. They are judged as what they are there, and not alone once more.
fn labels(bundle: &Bundle) -> Vec<String> {
    let programs = bundle.manifest.programs.iter();
    programs.flat_map(|program| program.tried().into_iter().map(|tried| tried.label).chain([program.label.clone()])).collect()
}

fn judge(file: &Path, shown: &str, options: &VerifyOptions) -> Result<Judged, CliError> {
    let name = file.display().to_string();
    let bytes = bundle::from_file(file)?;
    let verdicts = if name.ends_with(".bundle") {
        verify_bundle(&bundle::read(&bytes, &name)?, options)
    } else {
        verify_object(&name, &bytes, options)
    };
    Ok(Judged { shown: shown.to_owned(), file: name, verdicts })
}

impl Judged {
    fn taken(&self) -> usize {
        self.verdicts.iter().flatten().filter(|verdict| verdict.outcome.is_ok()).count()
    }
}

/// What there is to show: all, or what keeps a chain from being deployed.
fn refusals(judged: &Judged, all: bool) -> Vec<&Error> {
    match &judged.verdicts {
        Ok(verdicts) if all => verdicts.iter().filter_map(|verdict| verdict.outcome.as_ref().err()).collect(),
        _ => serious(judged),
    }
}

/// Those that keep a chain from being deployed: not of a program that is optional, nor of a candidate beside one that is taken.
fn serious(judged: &Judged) -> Vec<&Error> {
    let verdicts = match &judged.verdicts {
        Ok(verdicts) => verdicts,
        Err(error) => return vec![error],
    };
    let stands = |verdict: &Verdict| verdicts.iter().any(|other| other.place == verdict.place && other.outcome.is_ok());
    let is_serious = |verdict: &&Verdict| !verdict.optional && (verdict.place.is_none() || !stands(verdict));
    verdicts.iter().filter(is_serious).filter_map(|verdict| verdict.outcome.as_ref().err()).collect()
}

fn show(session: &Session, judged: &Judged, args: &Verify) -> Result<(), CliError> {
    let verdicts = judged.verdicts.as_deref().unwrap_or_default();
    let table = table(verdicts, session.output.settings().out.color);
    session.fact(&format!("{}\n{table}", judged.shown))?;
    for verdict in verdicts.iter().filter(|verdict| args.verifier_log && !verdict.log.is_empty()) {
        session.fact(&format!("the verifier's log of `{}`:\n{}\n", verdict.program, verdict.log.trim_end()))?;
    }
    session.findings(&refusals(judged, args.explain).into_iter().map(finding).collect::<Vec<_>>())
}

fn finding(error: &Error) -> Diagnostic {
    let finding = Diagnostic::bare(error.to_string()).maybe_help(error.help());
    match error {
        Error::Rejected(_) => finding.note("`--verifier-log` shows the verifier's whole log"),
        _ => finding,
    }
}

fn table(verdicts: &[Verdict], color: bool) -> String {
    let rows: Vec<[String; 6]> = verdicts.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |(row, verdict): (&[String; 6], &Verdict)| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let ink = if verdict.outcome.is_ok() { Ink::Dim } else { Ink::Red };
        format!("  {}  {}\n", paint(color, ink, &cells[0]), cells[1..].join("  ").trim_end())
    };
    rows.iter().zip(verdicts).map(line).collect()
}

fn row(verdict: &Verdict) -> [String; 6] {
    let of = verdict.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let (program, section) = (format!("{of}{}", verdict.program), verdict.section.clone());
    match &verdict.outcome {
        Ok(verified) => {
            let Verified { instructions, stack, states, microseconds, .. } = verified;
            let share = f64::from(*instructions) * 100.0 / f64::from(INSTRUCTIONS);
            let instructions = format!("{instructions} instructions ({share:.2} %)");
            let time = format!("{:.2} ms", *microseconds as f64 / 1e3);
            [program, section, instructions, format!("stack {stack} of {STACK}"), format!("{states} states"), time]
        }
        Err(Error::Rejected(_)) => [program, section, "rejected".to_owned(), String::new(), String::new(), String::new()],
        Err(_) => [program, section, "not loaded".to_owned(), String::new(), String::new(), String::new()],
    }
}

fn facts(judged: &Judged, with_log: bool) -> Vec<Value> {
    match &judged.verdicts {
        Ok(verdicts) => verdicts.iter().map(|verdict| fact(&judged.file, verdict, with_log)).collect(),
        Err(error) => vec![json!({ "file": judged.file, "ok": false, "error": error.to_string(), "help": error.help() })],
    }
}

fn fact(file: &str, verdict: &Verdict, with_log: bool) -> Value {
    let mut fact = json!({ "file": file, "program": verdict.program, "section": verdict.section, "ok": verdict.outcome.is_ok() });
    if let Some(place) = &verdict.place {
        fact["place"] = json!(place);
    }
    if verdict.optional {
        fact["optional"] = json!(true);
    }
    match &verdict.outcome {
        Ok(verified) => fact["verified"] = json!(verified),
        Err(error) => {
            fact["error"] = json!(error.to_string());
            fact["help"] = json!(error.help());
        }
    }
    if with_log {
        fact["log"] = json!(verdict.log);
    }
    fact
}
