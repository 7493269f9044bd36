//! A test as data: the action that it is, and how it wants to be run.
//!
//! Pure; knows nothing of folders of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ouro_rules::diagnostic::sorted;
use ouro_rules::label::join;
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, Label, Providers, RunInfo, TestInfo, Tool, Words};

use super::{LOGS_FOLDER, Manner, TIMEOUT};
use crate::build::Analysis;
use crate::runfiles::WORKSPACE_FOLDER;
use crate::workspace::OUT_FOLDER;

/// Where tests find programs. Unlike that of actions it has the folders of what configures a machine, such as `ip`.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The outputs of every test, in the order of [`Case::outputs`].
const OUTPUTS: [&str; 3] = ["test.log", "test.xml", "test.json"];

/// A test.
#[derive(Debug)]
pub(super) struct Case {
    /// Its program, arguments and environment; its program and runfiles; what is told of its run.
    pub(super) action: Action,
    pub(super) executable: Artifact,
    pub(super) info: Arc<TestInfo>,
    pub(super) timeout: Duration,
}

/// What is told of a test's run: files, from the root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) log: &'a str,
    pub(super) xml: &'a str,
    /// The report, as JSON.
    pub(super) facts: &'a str,
}

/// All tests, sorted.
pub(super) fn cases(analysis: &Analysis<'_>, tests: &BTreeSet<Label>, manner: &Manner) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let (mut cases, mut findings) = (Vec::new(), Vec::new());
    for label in tests {
        let providers = analysis.providers(label);
        match providers.and_then(|providers| Some((providers, providers.run.as_ref()?, providers.test.as_ref()?))) {
            Some((providers, run, info)) => cases.push(Case::new(label, providers, run, info, manner)),
            None => findings.push(offers_nothing(analysis, label)),
        }
    }
    if findings.is_empty() { Ok(cases) } else { Err(sorted(findings)) }
}

fn offers_nothing(analysis: &Analysis<'_>, label: &Label) -> Diagnostic {
    let span = analysis.graph.place(label).cloned();
    let finding = Diagnostic { span, ..Diagnostic::bare(format!("`{label}` is of a rule for tests, and offers nothing to run")) };
    finding.help("let its rule say what is run")
}

impl Case {
    fn new(label: &Label, providers: &Providers, run: &RunInfo, info: &Arc<TestInfo>, manner: &Manner) -> Case {
        let folder = format!("{OUT_FOLDER}/{LOGS_FOLDER}/{}", join(&label.package, &label.name));
        let inputs: BTreeSet<Artifact> = [&run.executable].into_iter().chain(&providers.runfiles).cloned().collect();
        let (tool, env) = (Tool::File(run.executable.clone()), environment(label, run, &manner.env));
        let action = Action {
            mnemonic: "test".into(),
            owner: label.clone(),
            kind: ActionKind::Run { tool, args: run.args.clone().into(), env, depfile: None, fallback: None, check: None },
            inputs: inputs.into_iter().collect(),
            outputs: OUTPUTS.iter().map(|name| Artifact::Output(format!("{folder}/{name}").into())).collect(),
        };
        let timeout = manner.timeout.or(info.timeout).unwrap_or(TIMEOUT);
        Case { action, executable: run.executable.clone(), info: Arc::clone(info), timeout }
    }

    pub(super) fn label(&self) -> &Label {
        &self.action.owner
    }

    /// Its arguments and that part of its environment that is the same wherever it is run.
    pub(super) fn command(&self) -> (&Words, &BTreeMap<String, String>) {
        match &self.action.kind {
            ActionKind::Run { args, env, .. } => (args, env),
            ActionKind::Write { .. } | ActionKind::Native(_) => unreachable!("BUG: tests are processes"),
        }
    }

    pub(super) fn outputs(&self) -> Outputs<'_> {
        let [log, xml, facts] = &self.action.outputs[..] else { unreachable!("BUG: tests have three outputs") };
        Outputs { log: log.path(), xml: xml.path(), facts: facts.path() }
    }

    /// Where it finds programs.
    pub(super) fn search_path(&self) -> &str {
        search_path(self.command().1)
    }
}

/// Where a test with this environment finds programs.
pub(super) fn search_path(env: &BTreeMap<String, String>) -> &str {
    env.get("PATH").map_or(SEARCH_PATH, String::as_str)
}

/// What everybody's tests get, then its own, then what the command line says.
fn environment(label: &Label, run: &RunInfo, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (target, path) = (label.to_string(), SEARCH_PATH.to_owned());
    let common = [("PATH", path), ("TEST_TARGET", target), ("TEST_WORKSPACE", WORKSPACE_FOLDER.to_owned())];
    let common = common.into_iter().map(|(name, value)| (name.to_owned(), value));
    let own = run.env.iter().chain(given).map(|(name, value)| (name.clone(), value.clone()));
    common.chain(own).collect()
}
