//! What the interpreter says, as findings.
//!
//! The only place that reads the interpreter's errors; knows nothing of where evaluation goes on afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::target::Target;
use starlark::ErrorKind;
use starlark::codemap::FileSpan;

use super::nesting;
use super::parse::Language;

/// A finding on its way through the interpreter, which only carries errors of its own.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct Refusal(Box<Diagnostic>);

/// Ends the evaluation with this finding; the place is added from the call stack.
pub(super) fn refuse(finding: Diagnostic) -> starlark::Error {
    starlark::Error::new_other(Refusal(Box::new(finding)))
}

/// The place the interpreter means.
pub(super) fn span(at: &FileSpan) -> Span {
    let resolved = at.resolve_span();
    let end_column = resolved.end.column.max(resolved.begin.column + usize::from(resolved.begin.line == resolved.end.line));
    Span {
        file: at.filename().into(),
        line: resolved.begin.line as u32 + 1,
        column: resolved.begin.column as u32 + 1,
        end_line: resolved.end.line as u32 + 1,
        end_column: end_column as u32 + 1,
    }
}

/// A text that does not parse.
pub(super) fn syntax(error: &starlark::Error, language: Language) -> Diagnostic {
    let Some(at) = error.span() else { return Diagnostic::bare(message(error)) };
    if let Some(finding) = at_the_end(at) {
        return finding;
    }
    let message = message(error);
    let statement = message.ends_with("cannot be used outside `def` in this dialect");
    let (message, help) = match (message.as_str(), language) {
        ("`def` is not allowed in this dialect", _) => {
            ("a BUILD file defines no functions".to_owned(), Some("move the function to a `.star` file and `load()` it"))
        }
        (text, Language::Build) if statement => (
            format!("a BUILD file has no {} statement", keyword(text)),
            Some("use a list comprehension, or a macro in a `.star` file"),
        ),
        (text, Language::Star) if statement => {
            (format!("{} outside of a function", keyword(text)), Some("put it into a function"))
        }
        (text, Language::Build) if text.starts_with("type annotations") => {
            ("a BUILD file has no type annotations".to_owned(), None)
        }
        (text, _) => {
            let help = lacks_comma(text).then_some("is a comma missing before it?");
            (format!("syntax error: {}", text.strip_prefix("parse error: ").unwrap_or(text)), help)
        }
    };
    let finding = Diagnostic::error(&first_line(at), message).maybe_help(help.map(str::to_owned));
    match open_before(at) {
        Some((place, bracket)) => finding.related(&place, format!("this `{bracket}` is never closed")),
        None => finding,
    }
}

/// The parser met the end of the file: the cause is a bracket before.
fn at_the_end(at: &FileSpan) -> Option<Diagnostic> {
    let rest = at.file.source().get(at.span.begin().get() as usize..)?;
    let (place, bracket) = open_before(at).filter(|_| rest.trim().is_empty())?;
    Some(Diagnostic::error(&place, format!("syntax error: `{bracket}` is never closed")))
}

/// The bracket before a place that no other closes in the whole file.
fn open_before(at: &FileSpan) -> Option<(Span, &str)> {
    let text = at.file.source();
    let bracket = nesting::unclosed(text).filter(|bracket| *bracket < at.span.begin().get() as usize)?;
    Some((span(&at.file.file_span(bytes(bracket, bracket + 1))), &text[bracket..=bracket]))
}

/// Whether a value stands where a bracket could only be closed.
fn lacks_comma(text: &str) -> bool {
    let met = ["identifier", "string literal", "integer literal", "float literal"].map(|what| format!("unexpected {what} "));
    met.iter().any(|met| text.contains(met))
        && [')', ']', '}'].iter().any(|end| text.ends_with(&format!("expected symbol '{end}'")))
}

/// The word in backticks at the start of a message, with them.
fn keyword(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Of a whole function or statement only the first line is shown.
fn first_line(at: &FileSpan) -> Span {
    let begin = at.span.begin().get() as usize;
    let written = at.source_span();
    span(&at.file.file_span(bytes(begin, begin + written.find('\n').unwrap_or(written.len()))))
}

fn bytes(begin: usize, end: usize) -> starlark::codemap::Span {
    use starlark::codemap::Pos;
    starlark::codemap::Span::new(Pos::new(begin as u32), Pos::new(end as u32))
}

/// An evaluation of `file` that was ended.
pub(super) fn runtime(error: &starlark::Error, file: &Arc<str>) -> Diagnostic {
    let places = places(error, file);
    let (finding, raised) = said(error);
    if raised { at_the_call(finding, &places) } else { at_the_cause(finding, &places) }
}

/// An implementation of a rule that was ended: told where the target is declared, with the way to the cause. `rule` is where the rule
/// is defined.
pub(super) fn analysis(error: &starlark::Error, target: &Target, rule: &Span) -> Diagnostic {
    let (finding, _) = said(error);
    let finding = Diagnostic { span: Some(finding.span.clone().unwrap_or_else(|| target.span.clone())), ..finding };
    let mut way: Vec<Span> = Vec::new();
    // Functions that call one another without end pass the same places again and again.
    calls(error).into_iter().rev().for_each(|place| {
        if !way.contains(&place) {
            way.push(place)
        }
    });
    match way.split_first() {
        None => finding.related(rule, "the rule is defined here"),
        Some((cause, calls)) => {
            let finding = finding.related(cause, "raised here");
            calls.iter().fold(finding, |finding, place| finding.related(place, "called from here"))
        }
    }
}

/// What the error says, and whether somebody said it rather than the code being wrong.
fn said(error: &starlark::Error) -> (Diagnostic, bool) {
    match error.kind() {
        ErrorKind::Other(inner) => match inner.downcast_ref::<Refusal>() {
            Some(Refusal(finding)) => ((**finding).clone(), true),
            None => (Diagnostic::bare(message(error)), false),
        },
        ErrorKind::Fail(_) => (Diagnostic::bare(message(error)), true),
        ErrorKind::StackOverflow(_) => {
            (Diagnostic::bare("functions call one another too deeply").help("a macro that calls itself never ends"), false)
        }
        _ => (Diagnostic::bare(message(error)), false),
    }
}

/// The calls, outermost first, and the place of the error itself; never empty.
fn places(error: &starlark::Error, file: &Arc<str>) -> Vec<Span> {
    let mut places = calls(error);
    if places.is_empty() {
        places.push(Span::point(file.clone(), 1, 1));
    }
    places
}

/// The calls, outermost first, and the place of the error itself, as far as they are known.
fn calls(error: &starlark::Error) -> Vec<Span> {
    let calls = error.call_stack().frames.iter().filter_map(|frame| frame.location.as_ref());
    let mut places: Vec<Span> = calls.chain(error.span()).map(span).collect();
    places.dedup();
    places
}

/// A macro refused its arguments: the outermost call is to blame.
fn at_the_call(finding: Diagnostic, places: &[Span]) -> Diagnostic {
    let Some((call, inner)) = places.split_first() else { return finding };
    let finding = Diagnostic { span: Some(finding.span.clone().unwrap_or_else(|| call.clone())), ..finding };
    inner.iter().fold(finding, |finding, place| finding.related(place, "raised from here"))
}

/// The code is wrong: the innermost place is to blame.
fn at_the_cause(finding: Diagnostic, places: &[Span]) -> Diagnostic {
    let Some((cause, calls)) = places.split_last() else { return finding };
    let finding = Diagnostic { span: Some(cause.clone()), ..finding };
    // Functions that call one another are on the stack hundreds of times.
    let mut told = BTreeSet::from([cause]);
    let calls = calls.iter().rev().filter(|place| told.insert(place));
    calls.fold(finding, |finding, place| finding.related(place, "called from here"))
}

/// The name that an error says is not defined, if that is what it says.
pub(super) fn unknown_name(error: &starlark::Error) -> Option<&FileSpan> {
    let is_scope =
        matches!(error.kind(), ErrorKind::Scope(_)) && error.without_diagnostic().to_string().starts_with("Variable `");
    error.span().filter(|_| is_scope)
}

/// The first line of the error as a lowercase fragment.
fn message(error: &starlark::Error) -> String {
    let text = match error.kind() {
        // The words of the macro's author, as they are; the interpreter puts a space before each.
        ErrorKind::Fail(words) => return words.to_string().trim().to_owned(),
        _ => error.without_diagnostic().to_string(),
    };
    let line = text.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line.to_owned(),
    }
}
