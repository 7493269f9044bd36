//! `ouro doctor`

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use ouro_engine::build::{self, Request};
use ouro_engine::toolchain::{Toolchain, ToolchainError};
use ouro_engine::workspace::Workspace;
use ouro_rules::builtin::ToolchainSpec;
use ouro_rules::{Configuration, Tool, label::Pattern};
use serde_json::json;
use tempfile::TempDir;

use crate::cli::Doctor;
use crate::commands::build::failure;
use crate::configurations;
use crate::doctor::{Distribution, Fact, Machine, Status, facts, kernel_facts};
use crate::error::{CliError, Kind};
use crate::render::output::Verbosity;
use crate::session::{self, Session};

/// Says what is there and what is missing; fails when nothing could be built.
pub fn run(session: &Session, args: &Doctor) -> Result<(), CliError> {
    let workspace = session.workspace_if_any()?;
    let facts = match args.kernel {
        true => kernel_facts(&bpffs(workspace.as_ref(), args)),
        false => facts(&machine(workspace.as_ref(), args)?),
    };
    let works = facts.iter().all(|fact| fact.status != Status::Missing);
    let is_quiet = session.output.settings().verbosity == Verbosity::Quiet;
    let told: Vec<&Fact> = facts.iter().filter(|fact| !is_quiet || fact.status != Status::Ok).collect();
    session.fact(&if args.json { format!("{}\n", json!({ "ok": works, "checks": told })) } else { text(&told) })?;
    if works { Ok(()) } else { Err(CliError { kind: Kind::Refused, findings: Vec::new() }) }
}

fn machine(workspace: Option<&Workspace>, args: &Doctor) -> Result<Machine, CliError> {
    let search_path = session::search_path();
    let here = session::current_folder()?;
    let toolchain = match workspace {
        Some(workspace) => of_workspace(workspace, args)?,
        None => outside(&search_path),
    };
    Ok(Machine {
        distribution: Distribution::of(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        toolchain,
        search_path,
        cache: session::any_cache_folder(workspace),
        root: workspace.map_or(here, |workspace| workspace.root.clone()),
        bpffs: bpffs(workspace, args),
    })
}

/// Where `ouro deploy` would pin.
fn bpffs(workspace: Option<&Workspace>, args: &Doctor) -> PathBuf {
    let set = || workspace.and_then(|workspace| Some(workspace.root.join(workspace.settings.deploy.bpffs.as_ref()?)));
    args.bpffs.clone().or_else(set).unwrap_or_else(|| PathBuf::from(ouro_deploy::BPFFS))
}

type Found = Result<Toolchain, ToolchainError>;

/// The toolchain that builds of the workspace use.
fn of_workspace(workspace: &Workspace, args: &Doctor) -> Result<Found, CliError> {
    let configuration: Configuration = configurations::one(workspace, &args.config, "`ouro doctor`")?;
    let (rules, search_path) = (session::rules(), session::search_path());
    let patterns: &[Pattern] = &[];
    let (configurations, rules, search_path) = (slice::from_ref(&configuration), rules, search_path.as_os_str());
    let request = Request { workspace, patterns, configurations, rules, search_path, program: None };
    let loaded = build::load(&request, (false, session::interrupted())).map_err(failure)?;
    let found = build::tools(&request, &loaded, None).map_err(failure)?;
    Ok(found.tool(&Tool::Clang).map(|_| found))
}

/// The machine's own; what is learnt of it is kept nowhere.
fn outside(search_path: &OsStr) -> Found {
    let folder = tempfile::tempdir();
    let root = folder.as_ref().map_or(Path::new("/"), TempDir::path);
    Toolchain::find(root, &ToolchainSpec::default(), search_path)
}

/// A line for each check, and what to do below it.
fn text(facts: &[&Fact]) -> String {
    let width = facts.iter().map(|fact| fact.check.len()).max().unwrap_or_default();
    let line = |fact: &&Fact| {
        let word = match fact.status {
            Status::Ok => "ok     ",
            Status::Warning => "warning",
            Status::Missing => "missing",
            Status::No => "no     ",
            Status::Refused => "refused",
        };
        let remedy =
            fact.remedy.iter().map(|remedy| format!("{:indent$}{remedy}\n", "", indent = width + 11)).collect::<String>();
        format!("{word}  {:width$}  {}\n{remedy}", fact.check, fact.what)
    };
    facts.iter().map(line).collect()
}
