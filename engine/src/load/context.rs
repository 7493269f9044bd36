//! What native functions know while a file is evaluated, and what they leave behind.
//!
//! One context per evaluation, so no locks. Knows no attribute types.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ouro_rules::diagnostic::{Diagnostic, Severity, Span, through};
use ouro_rules::label::Label;
use ouro_rules::repository::Repositories;
use ouro_rules::target::{Target, Visibility};
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;

use super::assigned::Assigned;
use super::errors::{self, refuse};
use super::glob::Patterns;
use super::places::{Places, Site};
use super::{Export, Reads};
use crate::workspace::Workspace;

/// One evaluation.
#[derive(ProvidesStaticType)]
pub(super) struct Context<'a> {
    /// The file's name in places.
    pub(super) file: &'a Arc<str>,
    /// Where labels start.
    pub(super) repo: &'a str,
    pub(super) package: &'a Arc<str>,
    pub(super) repositories: &'a Repositories,
    /// Set to end the evaluation.
    pub(super) cancelled: &'a AtomicBool,
    /// What is wrong, in the order found.
    pub(super) findings: RefCell<Vec<Diagnostic>>,
    /// The rules and providers the file defines.
    pub(super) assigned: RefCell<Vec<Arc<Assigned>>>,
    /// Only for BUILD files.
    pub(super) build: Option<Build<'a>>,
}

/// What a BUILD file declares.
pub(super) struct Build<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) places: Places,
    pub(super) targets: RefCell<BTreeMap<Arc<str>, Target>>,
    /// Targets that said nothing of their visibility; they get the package's default.
    pub(super) without_visibility: RefCell<Vec<Arc<str>>>,
    pub(super) default_visibility: RefCell<Visibility>,
    /// What `exports_files()` names.
    pub(super) exports: RefCell<BTreeMap<Arc<str>, Export>>,
    /// Where `package()` was called.
    pub(super) package_call: RefCell<Option<Span>>,
    pub(super) reads: RefCell<Reads>,
    /// The patterns of every `glob()`.
    pub(super) globs: RefCell<Vec<Patterns>>,
}

impl<'a> Context<'a> {
    /// The context of a running evaluation.
    pub(super) fn of<'b, 'e>(eval: &Evaluator<'_, 'b, 'e>) -> starlark::Result<&'b Context<'e>> {
        let context = eval.extra.and_then(|extra| extra.downcast_ref::<Context<'e>>());
        context.ok_or_else(|| refuse(Diagnostic::bare("only BUILD files, and macros that they call, can do this")))
    }

    /// The context of a `.star` file that loads, where `function` belongs.
    pub(super) fn of_star<'b, 'e>(eval: &Evaluator<'_, 'b, 'e>, function: &str) -> starlark::Result<&'b Context<'e>> {
        let finding = Diagnostic::bare(format!("`{function}` is for the top level of `.star` files"));
        let finding = finding.help("define rules, attributes and providers there, and `load()` them");
        let context = eval.extra.and_then(|extra| extra.downcast_ref::<Context<'e>>());
        context.filter(|context| context.build.is_none()).ok_or_else(|| refuse(finding))
    }

    /// Whether an error was found.
    pub(super) fn is_broken(&self) -> bool {
        self.findings.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// What a text names, seen from this file.
    pub(super) fn label(&self, text: &str) -> Result<Label, Diagnostic> {
        self.repositories.label(text, self.repo, self.package)
    }

    /// Records a finding; evaluation goes on.
    pub(super) fn report(&self, finding: Diagnostic) {
        self.findings.borrow_mut().push(finding);
    }

    /// How many findings there are.
    pub(super) fn found(&self) -> usize {
        self.findings.borrow().len()
    }

    /// Adds the calls inside macros to the findings about a call that came after the first `before`.
    pub(super) fn blame(&self, before: usize, site: &Site<'_>) {
        let mut findings = self.findings.borrow_mut();
        for finding in findings.iter_mut().skip(before).filter(|finding| finding.span.as_ref() == Some(&site.span)) {
            *finding = through(finding.clone(), &site.trace);
        }
    }

    /// Reports what was defined and has no name.
    pub(super) fn check_assigned(&self) {
        self.assigned.borrow().iter().filter_map(|assigned| assigned.finding()).for_each(|finding| self.report(finding));
    }

    /// The call that runs, seen from the BUILD file.
    pub(super) fn site<'s>(&'s self, eval: &Evaluator<'_, '_, '_>) -> Site<'s> {
        let places = self.build.as_ref().map(|build| &build.places);
        // Two frames: the file and the native function. Nothing lies between, unless a macro was inlined.
        if let (2, Some(at)) = (eval.call_stack_count(), eval.call_stack_top_location())
            && let Some(places) = places
            && places.is_of(&at.file)
        {
            let written = places.call(at.span).map(|call| (places, call));
            return Site { span: places.span(at.span), trace: Vec::new(), written };
        }
        let frames = eval.call_stack().into_frames();
        let mut spans = frames.iter().filter_map(|frame| frame.location.as_ref()).map(errors::span);
        let span = spans.next().unwrap_or_else(|| Span::point(self.file.clone(), 1, 1));
        Site { span, trace: spans.collect(), written: None }
    }
}
