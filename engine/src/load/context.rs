//! What native functions know while a file is evaluated, and what they leave behind.
//!
//! One context per evaluation, so no locks. Knows no attribute types.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, Severity, Span};
use ouro_rules::target::{Target, Visibility};
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;

use super::Reads;
use super::errors::{self, refuse};
use super::glob::Patterns;
use super::places::{Places, Site};
use crate::workspace::Workspace;

/// One evaluation.
#[derive(ProvidesStaticType)]
pub(super) struct Context<'a> {
    /// The file's name in places.
    pub(super) file: &'a Arc<str>,
    /// Where labels start.
    pub(super) repo: &'a str,
    pub(super) package: &'a Arc<str>,
    /// What is wrong, in the order found.
    pub(super) findings: RefCell<Vec<Diagnostic>>,
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
        context.ok_or_else(|| refuse(Diagnostic::bare("called outside of a BUILD file")))
    }

    /// Whether an error was found.
    pub(super) fn is_broken(&self) -> bool {
        self.findings.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Records a finding; evaluation goes on.
    pub(super) fn report(&self, finding: Diagnostic) {
        self.findings.borrow_mut().push(finding);
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
