//! One run of an implementation: what it declared so far.
//!
//! Knows nothing of values of the interpreter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_rules::action::{Action, ActionKind, Artifact};
use ouro_rules::builtin::info::{self, Arguments, Edges, FunctionSpec, Made, Returned};
use ouro_rules::data::{Data, Info};
use ouro_rules::diagnostic::{Diagnostic, Severity, Span};
use ouro_rules::label::{Label, join};
use ouro_rules::rule::{Analysis, Config, Context};
use ouro_rules::target::Target;
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;

use crate::load::errors::{self, refuse};
use crate::load::rule_function::Definition;

/// Calls a function of `ctx.bpf`.
pub(super) type Call<'a> = dyn Fn(&FunctionSpec, &Arguments) -> Result<Made, Vec<Diagnostic>> + 'a;

/// One run.
#[derive(ProvidesStaticType)]
pub(in crate::load) struct Run<'a> {
    pub(super) target: &'a Target,
    config: &'a Config,
    definition: &'a Definition,
    call: &'a Call<'a>,
    /// Files the rule said it would make, each with the place where it did.
    declared: RefCell<BTreeMap<Arc<str>, Span>>,
    /// Files that actions make, each with the place of the action.
    made: RefCell<BTreeMap<Arc<str>, Span>>,
    actions: RefCell<Vec<Arc<Action>>>,
    findings: RefCell<Vec<Diagnostic>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(target: &'a Target, config: &'a Config, definition: &'a Definition, call: &'a Call<'a>) -> Run<'a> {
        let (declared, made) = (RefCell::default(), RefCell::default());
        let (actions, findings) = (RefCell::default(), RefCell::default());
        Run { target, config, definition, call, declared, made, actions, findings }
    }

    /// The run that an evaluation belongs to.
    pub(super) fn of<'b, 'e>(eval: &Evaluator<'_, 'b, 'e>) -> starlark::Result<&'b Run<'e>> {
        let run = eval.extra.and_then(|extra| extra.downcast_ref::<Run<'e>>());
        run.ok_or_else(|| refuse(Diagnostic::bare("only the implementation of a rule can do this")))
    }

    /// Where the code that runs stands.
    pub(super) fn place(&self, eval: &Evaluator<'_, '_, '_>) -> Span {
        eval.call_stack_top_location().map_or_else(|| self.definition.span().clone(), |at| errors::span(&at))
    }

    /// Records a finding at the target, with the place in the rule; the run goes on.
    pub(super) fn report(&self, message: impl Into<String>, place: &Span, help: &str) {
        let finding = Diagnostic::error(&self.target.span, message).related(place, "here").help(help);
        self.findings.borrow_mut().push(finding);
    }

    /// Says something to the user.
    pub(super) fn print(&self, words: &str, eval: &Evaluator<'_, '_, '_>) {
        let finding = Diagnostic::error(&self.target.span, words).warning().related(&self.place(eval), "printed from here");
        self.findings.borrow_mut().push(finding);
    }

    /// A file the rule will make, relative to its package.
    pub(super) fn declare(&self, name: &str, place: &Span) -> Result<Artifact, Diagnostic> {
        Label::parse(&format!(":{name}"), "", &self.target.label.package).map_err(|error| {
            let finding = Diagnostic::bare(format!("output `{}` is no plain path inside the package", name.escape_debug()));
            finding.note(error.to_string()).help("name it relative to the package, without `..`")
        })?;
        let path: Arc<str> = format!("{}/{}", self.config.out_dir, join(&self.target.label.package, name)).into();
        if self.declared.borrow().contains_key(&path) {
            self.report(format!("`{path}` is declared twice"), place, "use the file that the first declaration gave");
        } else {
            self.declared.borrow_mut().insert(path.clone(), place.clone());
        }
        Ok(Artifact::Output(path))
    }

    /// An action of the rule.
    pub(super) fn act(&self, action: Action, place: &Span) {
        let depfile = match &action.kind {
            ActionKind::Run { depfile, .. } => depfile.clone(),
            ActionKind::Write { .. } | ActionKind::Native(_) => None,
        };
        if action.outputs.is_empty() {
            return self.report(format!("an action of `{}` makes no file", action.owner), place, "name its `outputs`");
        }
        for path in action.outputs.iter().map(Artifact::path).chain(&depfile) {
            if !self.declared.borrow().contains_key(path) {
                let help = "make it by `ctx.actions.declare_file()` first";
                self.report(format!("`{path}` is an output of an action, and the rule has not declared it"), place, help);
            }
        }
        self.add(action, depfile, place);
    }

    /// Calls a function of `ctx.bpf`. Its files are as good as declared.
    pub(super) fn native(&self, function: &FunctionSpec, args: &Arguments, place: &Span) -> Result<Data, Vec<Diagnostic>> {
        let made = (self.call)(function, args)?;
        made.actions.into_iter().for_each(|action| self.add(action, None, place));
        Ok(made.value)
    }

    /// Ends the run for the last of these findings and keeps the others.
    pub(super) fn refuse_all(&self, mut findings: Vec<Diagnostic>) -> starlark::Error {
        let last = findings.pop().unwrap_or_else(|| Diagnostic::bare("a function of `ctx.bpf` failed"));
        self.findings.borrow_mut().extend(findings);
        refuse(last)
    }

    fn add(&self, action: Action, depfile: Option<Arc<str>>, place: &Span) {
        let mut made = self.made.borrow_mut();
        for path in action.outputs.iter().map(Artifact::path).chain(&depfile) {
            if let Some(first) = made.insert(path.clone(), place.clone()) {
                let finding = Diagnostic::error(&self.target.span, format!("two actions make `{path}`"));
                let finding = finding.related(&first, "made here").related(place, "and here");
                self.findings.borrow_mut().push(finding.help("declare one file for each"));
            }
        }
        self.actions.borrow_mut().push(Arc::new(action));
    }

    /// What was found besides the error that ended the run.
    pub(super) fn give_up(self, error: Diagnostic) -> Vec<Diagnostic> {
        let findings = self.findings.into_inner().into_iter();
        findings.filter(|finding| finding.severity == Severity::Error).chain([error]).collect()
    }

    /// What the target means, with what the implementation returned.
    pub(super) fn finish(self, ctx: &Context<'_>, infos: &[Arc<Info>], edges: Edges<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let (declared, made) = (self.declared.into_inner(), self.made.into_inner());
        let (warnings, mut findings): (Vec<_>, Vec<_>) =
            self.findings.into_inner().into_iter().partition(|finding| finding.severity == Severity::Warning);
        for (path, place) in declared.iter().filter(|(path, _)| !made.contains_key(*path)) {
            let finding = Diagnostic::error(&ctx.target.span, format!("`{path}` is declared, and no action makes it"));
            let finding = finding.related(place, "declared here");
            findings.push(finding.help("make it by `ctx.actions.write()`, `ctx.actions.run()` or another action"));
        }
        match info::analysis(ctx, &Returned { infos, edges }) {
            Ok(mut analysis) => {
                findings.extend(promised(self.definition, ctx, &analysis));
                analysis.actions.splice(0..0, self.actions.into_inner());
                if self.definition.test {
                    let said = analysis.providers.test.take().map(|test| (*test).clone()).unwrap_or_default();
                    analysis.providers.test = Some(Arc::new(said.with_tags(&ctx.target.tags)));
                }
                if findings.is_empty() { Ok(Analysis { warnings, ..analysis }) } else { Err(findings) }
            }
            Err(more) => {
                Err(findings.into_iter().chain(more.into_iter().map(|finding| by_rule(finding, self.definition))).collect())
            }
        }
    }
}

/// What is wrong with a returned provider is the rule's fault, not the target's.
fn by_rule(finding: Diagnostic, definition: &Definition) -> Diagnostic {
    finding.related(definition.span(), "the rule is defined here")
}

/// What `rule()` promised and the implementation did not return.
fn promised(definition: &Definition, ctx: &Context<'_>, analysis: &Analysis) -> Vec<Diagnostic> {
    let wrong = |message: String, help: String| by_rule(Diagnostic::error(&ctx.target.span, message).help(help), definition);
    let name = definition.name();
    let mut findings = Vec::new();
    if (definition.test || definition.executable) && analysis.providers.run.is_none() {
        let (what, flag) = if definition.test { ("tests", "test") } else { ("executables", "executable") };
        let message = format!("targets of `{name}` are {what}, and this one has no executable");
        findings
            .push(wrong(message, format!("return `DefaultInfo(executable = ...)`, or define the rule without `{flag} = True`")));
    }
    for provider in definition.provides.iter().filter(|provider| !info::has(&analysis.providers, &provider.id())) {
        let message = format!("`{name}` provides `{}`, and its implementation returned none", provider.name());
        findings.push(wrong(message, format!("return `{}(...)`, or remove it from `provides`", provider.name())));
    }
    findings
}
