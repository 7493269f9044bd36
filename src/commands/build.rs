//! `ouro build`

use std::time::Instant;

use ouro_engine::build::{self, BuildError, Built, Request};
use ouro_engine::event::Event;
use ouro_engine::execute::{ExecuteError, Options, Sandbox, SandboxMode};
use ouro_engine::plan;
use ouro_engine::state::StateError;
use ouro_engine::toolchain::ToolchainError;
use ouro_engine::unused;
use ouro_engine::workspace::{OUT_FOLDER, Workspace};
use ouro_rules::label::Pattern;
use ouro_rules::{Configuration, Diagnostic};

use crate::cli::{Build, BuildFlags, ConfigFlags, SandboxKind};
use crate::commands::analysed::{Asker, View, analysed};
use crate::commands::cache::tidy;
use crate::configurations;
use crate::error::{CliError, Kind};
use crate::record::Recorders;
use crate::render::output::Verbosity;
use crate::render::progress::{self, Progress};
use crate::session::{self, Session};

/// Builds what the patterns select.
pub fn run(session: &Session, args: &Build) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let patterns = session::patterns(&workspace, &args.patterns)?;
    if args.nobuild {
        return plan_only(session, &workspace, &patterns, &args.how.config);
    }
    let built = build(session, &workspace, &patterns, &args.how)?;
    if args.unused_headers {
        tell_unused(session, &workspace, &patterns, &args.how.config)?;
    }
    if session.output.settings().verbosity == Verbosity::Verbose {
        let files = built.targets.iter().flat_map(|target| &target.files);
        session.output.status(&files.map(|file| format!("  {file}\n")).collect::<String>());
    }
    Ok(())
}

/// Builds, showing progress, findings and a summary.
pub fn build(session: &Session, workspace: &Workspace, patterns: &[Pattern], flags: &BuildFlags) -> Result<Built, CliError> {
    session::catch_interrupts();
    let began = Instant::now();
    let cache = session::cache_folder_to_fill(session, workspace, flags.cache.as_ref())?;
    let (rules, search_path, program) = (session::rules(), session::search_path(), session::program());
    let configurations = configurations::all(workspace, &flags.config)?;
    let request = Request {
        workspace,
        patterns,
        configurations: &configurations,
        rules,
        search_path: &search_path,
        program: program.as_deref(),
    };
    let options = options(session, workspace, flags)?;
    let progress = Progress::new(&session.output, session.sources());
    let recorders = Recorders::new(flags, began, &session.output)?;
    let tell = |event: Event| {
        recorders.event(&event);
        progress.event(&event);
    };
    let result = build::build(&request, &cache, &options, &tell);
    let counts = progress.finish();
    let recorded = recorders.finish(&result);
    if flags.profile.is_some() {
        tell_critical_path(session, &result);
    }
    tidy(session, workspace, &cache);
    let built = result.map_err(failure)?;
    recorded?;
    tell_warmth(session, &built);
    session.findings(&built.warnings)?;
    session.output.status(&format!("{}\n", progress::summary(built.targets.len(), began.elapsed(), &counts)));
    if configurations.len() > 1 {
        session.output.status(&configurations.iter().map(|one| line(one, &built)).collect::<String>());
    }
    Ok(built)
}

/// What was built for one of several configurations.
fn line(configuration: &Configuration, built: &Built) -> String {
    let folder = &configuration.folder;
    let targets = built.targets.iter().filter(|target| target.configuration == *folder).count();
    format!("  {folder}: {} in {OUT_FOLDER}/{folder}\n", count(targets, "target", "targets"))
}

/// How to execute, as the flags and the workspace's settings say.
pub fn options<'w>(session: &Session, workspace: &'w Workspace, flags: &BuildFlags) -> Result<Options<'w>, CliError> {
    Ok(Options {
        jobs: jobs(workspace, flags),
        keep_going: flags.keep_going,
        color: session.output.settings().err.color,
        warm: !flags.no_warm,
        sandbox: sandbox(workspace, flags.sandbox)?,
        cancelled: session::interrupted(),
    })
}

/// The sandbox that the flag, or else the workspace, asks for. What is asked for and cannot be had is an error; without asking
/// there is what the machine has.
pub fn sandbox(workspace: &Workspace, flag: Option<SandboxKind>) -> Result<Sandbox<'_>, CliError> {
    let asked = flag.map(|kind| match kind {
        SandboxKind::Landlock => SandboxMode::Landlock,
        SandboxKind::Namespace => SandboxMode::Namespace,
        SandboxKind::Off => SandboxMode::Off,
    });
    let settings = &workspace.settings.sandbox;
    let mode = asked.unwrap_or(settings.mode);
    match mode.obstacle() {
        None => Ok(Sandbox { mode, read: &settings.read }),
        Some((why, remedy)) => Err(CliError::new(Kind::Refused, format!("there is no such sandbox: {why}")).help(remedy)),
    }
}

fn tell_warmth(session: &Session, built: &Built) {
    let Some(warmth) = built.summary.as_ref().map(|summary| &summary.warmth) else { return };
    if warmth.runs > 0 {
        session.detail(&format!("{} came from a warm compiler", count(warmth.runs, "process", "processes")));
    }
    if let Some(trouble) = &warmth.trouble {
        session.detail(trouble);
    }
}

fn tell_critical_path(session: &Session, result: &Result<Built, BuildError>) {
    let summary = match result {
        Ok(built) => built.summary.as_ref(),
        Err(BuildError::Failed(summary) | BuildError::Partly(_, summary)) => Some(summary),
        Err(_) => None,
    };
    if let Some(path) = summary.map(|summary| &summary.critical_path).filter(|path| !path.is_empty()) {
        session.output.status(&format!("{}\n", progress::critical_path(path)));
    }
}

/// Says which headers were declared and not read.
fn tell_unused(session: &Session, workspace: &Workspace, patterns: &[Pattern], flags: &ConfigFlags) -> Result<(), CliError> {
    analysed(session, workspace, patterns, (flags, "`ouro build --unused-headers`"), |view| {
        let plan = plan::plan(&view.analysis.graph, &view.analysis.analysed)?;
        let findings = unused::unused(&workspace.root, &view.analysis, &plan, view.toolchain(&plan.actions)?);
        if findings.is_empty() {
            session.output.status("every declared header is read\n");
        }
        session.findings(&findings)
    })
}

/// Everything a build does before it runs or writes anything, and never by the snapshot: whoever asks wants it looked at.
fn plan_only(session: &Session, workspace: &Workspace, patterns: &[Pattern], flags: &ConfigFlags) -> Result<(), CliError> {
    let began = Instant::now();
    let detail = |done: &str| session.detail(&format!("{done} after {:.1} ms", began.elapsed().as_secs_f64() * 1e3));
    let asker = Asker::new(session, workspace, flags, "`ouro build --nobuild`")?;
    let loaded = asker.load(patterns)?;
    detail("loaded");
    let configured = asker.configure(&loaded)?;
    let View { analysis, .. } = asker.analyse(&configured)?;
    detail("analysed");
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    detail("planned");
    let (targets, actions) = (analysis.graph.requested().len(), plan.actions.len());
    let (targets, actions) = (count(targets, "target", "targets"), count(actions, "action", "actions"));
    session.output.status(&format!("planned {targets} in {:.2} s: {actions}, none run\n", began.elapsed().as_secs_f64()));
    // The process ends now, and the kernel takes memory back faster than it can be taken apart.
    std::mem::forget((plan, analysis));
    std::mem::forget(configured);
    std::mem::forget(loaded);
    Ok(())
}

fn jobs(workspace: &Workspace, flags: &BuildFlags) -> usize {
    let set = flags.jobs.map(usize::from).or(workspace.settings.build.jobs.map(|jobs| jobs as usize));
    set.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// A failed build as the command's failure.
pub fn failure(error: BuildError) -> CliError {
    match error {
        BuildError::Findings(findings) => findings.into(),
        BuildError::Failed(_) => CliError::new(Kind::Failed, error.to_string()),
        BuildError::Partly(mut findings, summary) => {
            let failed = (summary.failed > 0).then(|| BuildError::Failed(summary).to_string());
            findings.extend(failed.map(Diagnostic::bare));
            findings.into()
        }
        BuildError::Toolchain(error) => no_toolchain(&error),
        BuildError::Execute(ExecuteError::Cancelled) | BuildError::State(StateError::Cancelled) => {
            CliError::new(Kind::Interrupted, "interrupted")
        }
        BuildError::State(error) => CliError::from(vec![Diagnostic::bare(error.to_string()).maybe_help(error.remedy())]),
        BuildError::Execute(_) => CliError::new(Kind::Failed, error.to_string()),
    }
}

/// The tools are not there.
pub fn no_toolchain(error: &ToolchainError) -> CliError {
    CliError { kind: Kind::Refused, findings: vec![Diagnostic::bare(error.to_string()).maybe_help(error.remedy())] }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
