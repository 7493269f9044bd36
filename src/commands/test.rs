//! `ouro test`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::slice;
use std::time::{Duration, Instant};

use ouro_engine::build::Request;
use ouro_engine::execute::Options;
use ouro_engine::testing::{self, Filter, Manner, Ready, Report, Status, TestEvent};
use ouro_engine::workspace::Workspace;

use crate::cli::{Test, TestOutput};
use crate::commands::build::{failure, options};
use crate::configurations;
use crate::error::{CliError, Kind};
use crate::files;
use crate::render::output::Verbosity;
use crate::render::progress::{self, Progress};
use crate::render::reports::{self, Look};
use crate::session::{self, Session};

/// Builds what the patterns select and runs the tests among it.
pub fn run(session: &Session, args: &Test) -> Result<(), CliError> {
    session::catch_interrupts();
    let workspace = session.workspace()?;
    let manner = manner(args)?;
    check_files(args)?;
    let options = options(session, &workspace, &args.how)?;
    let mut ready = prepare(session, &workspace, args, &options, &manner)?;
    let findings = std::mem::take(&mut ready.findings);
    if ready.labels().next().is_none() && findings.is_empty() {
        return Err(CliError::new(Kind::NoTests, "there is no test to run").help(match args.filter {
            Some(_) => "`--filter` looks at labels such as `//fw:parse_test`",
            None => "declare one with `sh_test`; those tagged `manual` must be named",
        }));
    }
    let began = Instant::now();
    let width = ready.labels().map(|label| label.to_string().chars().count()).max().unwrap_or_default();
    let show = Show { session, args, root: &workspace.root, look: Look { width, color: session.output.settings().out.color } };
    let reports = ready.run(&options, &manner, &|event| show.event(event)).map_err(failure)?;
    show.end(&reports, began.elapsed())?;
    if let Some(file) = &args.junit {
        files::replace(file, testing::junit(&workspace.root, &reports).as_bytes())?;
    }
    if findings.is_empty() { verdict(&reports) } else { Err(CliError::from(findings)) }
}

/// What cannot be written is better said before the tests run than after.
fn check_files(args: &Test) -> Result<(), CliError> {
    if args.how.profile.is_some() || args.how.events.is_some() {
        let error = CliError::new(Kind::Usage, "`ouro test` writes neither a profile nor events");
        return Err(error.help("`ouro build` does, of the same targets; `--junit` and `--json` tell of tests"));
    }
    let folder = args.junit.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(CliError::new(Kind::Usage, format!("there is no folder `{}` for the JUnit file", folder.display()))),
        None => args.junit.as_deref().map_or(Ok(()), files::check),
    }
}

fn manner(args: &Test) -> Result<Manner, CliError> {
    let usage = |finding| CliError { kind: Kind::Usage, findings: vec![finding] };
    Ok(Manner {
        filter: args.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?,
        env: variables(args)?,
        runs: args.runs,
        cached: !args.no_cached,
        timeout: args.timeout.map(|seconds| Duration::from_secs(seconds.into())),
        streamed: args.test_output == TestOutput::Streamed && !args.json,
        temp: session::temporary_folder()?,
    })
}

/// What `--test-env` and `--test-filter` say. A variable that is not set here is not set for the tests.
fn variables(args: &Test) -> Result<BTreeMap<String, String>, CliError> {
    let mut variables = BTreeMap::new();
    for text in &args.env {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), session::variable(text)),
        };
        if name.is_empty() {
            let error = CliError::new(Kind::Usage, format!("`--test-env {text}` names no variable"));
            return Err(error.help("write `NAME=VALUE`, or `NAME` for its value here"));
        }
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    variables.extend(args.test_filter.iter().map(|cases| ("TESTBRIDGE_TEST_ONLY".to_owned(), cases.clone())));
    Ok(variables)
}

fn prepare(
    session: &Session,
    workspace: &Workspace,
    args: &Test,
    options: &Options<'_>,
    manner: &Manner,
) -> Result<Ready, CliError> {
    let began = Instant::now();
    let patterns = session::patterns(workspace, &args.patterns)?;
    let cache = session::cache_folder_to_fill(session, workspace, args.how.cache.as_ref())?;
    let (rules, search_path, program) = (session::rules(), session::search_path(), session::program());
    let configuration = configurations::one(workspace, &args.how.config, "`ouro test`")?;
    let request = Request {
        workspace,
        patterns: &patterns,
        configurations: slice::from_ref(&configuration),
        rules,
        search_path: &search_path,
        program: program.as_deref(),
    };
    let progress = Progress::new(&session.output, session.sources());
    let ready = testing::prepare(&request, &cache, options, manner, &|event| progress.event(&event));
    let counts = progress.finish();
    let ready = ready.map_err(failure)?;
    session.findings(&ready.warnings)?;
    let tests = ready.labels().count();
    if tests > 0 {
        session.output.status(&format!("{}\n", progress::summary(tests, began.elapsed(), &counts)));
    }
    Ok(ready)
}

/// What the whole command comes to; everything has been shown.
fn verdict(reports: &[Report]) -> Result<(), CliError> {
    let some = |status| reports.iter().any(|report| report.status == status);
    let failed = |kind| Err(CliError { kind, findings: Vec::new() });
    if some(Status::NotBuilt) {
        failed(Kind::Failed)
    } else if some(Status::Failed) || some(Status::TimedOut) {
        failed(Kind::TestsFailed)
    } else {
        Ok(())
    }
}

/// Shows reports as they come.
struct Show<'a> {
    session: &'a Session,
    args: &'a Test,
    root: &'a Path,
    look: Look,
}

impl Show<'_> {
    fn event(&self, event: TestEvent) {
        let text = match event {
            TestEvent::Printed(text) => text,
            TestEvent::Done(report) if self.args.json => reports::json(&report),
            TestEvent::Done(report) => self.report(&report),
        };
        // Nobody reads it any more; the tests go on for their logs' sake.
        let _ = self.session.output.fact(&text);
    }

    /// The line of a test, and what it printed when that is wanted.
    fn report(&self, report: &Report) -> String {
        let passed = report.status == Status::Passed;
        if passed && self.is_quiet() {
            return String::new();
        }
        let wanted = match self.args.test_output {
            TestOutput::All => true,
            TestOutput::Errors => !passed,
            TestOutput::Streamed | TestOutput::Summary => false,
        };
        let path = report.log.as_ref().filter(|_| wanted).map(|log| self.root.join(log));
        let printed = path.and_then(|path| fs::read(path).ok()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        reports::report(report, printed.as_deref(), self.look)
    }

    fn is_quiet(&self) -> bool {
        self.session.output.settings().verbosity == Verbosity::Quiet
    }

    fn end(&self, reports: &[Report], took: Duration) -> Result<(), CliError> {
        self.session.fact(&match self.args.json {
            true => reports::json_summary(reports, took),
            false if self.is_quiet() && reports.iter().all(|report| report.status == Status::Passed) => String::new(),
            false => reports::summary(reports, took, self.look),
        })
    }
}
