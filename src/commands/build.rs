//! `ouro build`

use std::time::Instant;

use ouro_engine::build::{self, Analysis, BuildError, Built, Request, config};
use ouro_engine::execute::{ExecuteError, Options};
use ouro_engine::toolchain::Toolchain;
use ouro_engine::workspace::Workspace;
use ouro_engine::{load, plan};
use ouro_rules::label::Pattern;
use ouro_rules::{Diagnostic, builtin};

use crate::cli::{Build, BuildFlags};
use crate::error::{CliError, Kind};
use crate::render::output::Verbosity;
use crate::render::progress::{self, Progress};
use crate::session::{self, Session};

/// Builds what the patterns select.
pub fn run(session: &Session, args: &Build) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let patterns = session::patterns(&workspace, &args.patterns)?;
    if args.nobuild {
        return plan_only(session, &workspace, &patterns);
    }
    let built = build(session, &workspace, &patterns, &args.how)?;
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
    let cache = session::cache_folder(workspace, flags.cache.as_ref())?;
    let (rules, search_path, program) = (builtin::table(), session::search_path(), session::program());
    let request = Request { workspace, patterns, rules: &rules, search_path: &search_path, program: program.as_deref() };
    let options = Options {
        jobs: jobs(workspace, flags),
        keep_going: flags.keep_going,
        color: session.output.settings().err.color,
        cancelled: session::interrupted(),
    };
    let progress = Progress::new(&session.output, session.sources());
    let result = build::build(&request, &cache, &options, &|event| progress.event(&event));
    let counts = progress.finish();
    let built = result.map_err(failure)?;
    session.findings(&built.warnings)?;
    session.output.status(&format!("{}\n", progress::summary(built.targets.len(), began.elapsed(), &counts)));
    Ok(built)
}

/// Everything a build does before it runs or writes anything, and never by the snapshot: whoever asks wants it looked at.
fn plan_only(session: &Session, workspace: &Workspace, patterns: &[Pattern]) -> Result<(), CliError> {
    let began = Instant::now();
    let (rules, search_path) = (builtin::table(), session::search_path());
    let request = Request { workspace, patterns, rules: &rules, search_path: &search_path, program: None };
    let toolchain =
        Toolchain::find(&workspace.root, &workspace.settings.toolchain, &search_path).map_err(|error| failure(error.into()))?;
    let detail = |done: &str| session.detail(&format!("{done} after {:.1} ms", began.elapsed().as_secs_f64() * 1e3));
    let loaded = load::load(workspace, patterns, &rules)?;
    detail("loaded");
    let analysis = Analysis::of(&request, &loaded, &config(workspace, &toolchain))?;
    detail("analysed");
    let plan = plan::plan(&analysis.graph, &analysis.analysed)?;
    detail("planned");
    session.findings(&loaded.warnings)?;
    let (targets, actions) = (analysis.graph.requested().len(), plan.actions.len());
    let (targets, actions) = (count(targets, "target", "targets"), count(actions, "action", "actions"));
    session.output.status(&format!("planned {targets} in {:.2} s: {actions}, none run\n", began.elapsed().as_secs_f64()));
    // The process ends now, and the kernel takes memory back faster than it can be taken apart.
    std::mem::forget((plan, analysis));
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
        BuildError::Failed(summary) => {
            let skipped = if summary.skipped > 0 { format!(", {} not tried", summary.skipped) } else { String::new() };
            CliError::new(
                Kind::Failed,
                format!("build failed: {}{skipped}", count(summary.failed, "action failed", "actions failed")),
            )
        }
        BuildError::Toolchain(error) => {
            let finding = Diagnostic::bare(error.to_string()).maybe_help(error.remedy());
            CliError { kind: Kind::Refused, findings: vec![finding] }
        }
        BuildError::Execute(ExecuteError::Cancelled) => CliError::new(Kind::Interrupted, "interrupted"),
        BuildError::State(_) | BuildError::Cache(_) | BuildError::Execute(_) => CliError::new(Kind::Failed, error.to_string()),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
