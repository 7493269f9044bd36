//! Draws findings: as rustc does for people, as one JSON object a line for machines.
//!
//! Does not know where source text comes from, nor where the drawing goes.

use std::iter;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use ouro_rules::{Diagnostic, Severity, Span};
use serde::Serialize;

/// The text of a source file by its path as in [`Span::file`]; none when there is no such text any more.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<Arc<str>>;

/// How a finding is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
}

/// A finding with its source lines and carets; ends in a line feed.
pub fn draw(finding: &Diagnostic, read: Read<'_>, look: Look) -> String {
    let texts = Texts::of(finding, read);
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(finding.message.as_str()));
    for (file, places) in places(finding) {
        group = match texts.get(file) {
            Some(text) => group.element(snippet(file, text, &places)),
            None => places.iter().fold(group, without_text),
        };
    }
    let notes = finding.notes.iter().map(|note| (Level::NOTE, normalize_untrusted_str(note)));
    let remarks = notes.chain(finding.help.iter().map(|help| (Level::HELP, normalize_untrusted_str(help))));
    let renderer = if look.color { Renderer::styled() } else { Renderer::plain() }.term_width(look.width);
    // Without a place there is no gutter for remarks to hang on; each is then drawn as a line of its own.
    let parts: Vec<Group<'_>> = if finding.span.is_some() || !finding.related.is_empty() {
        vec![group.elements(remarks.map(|(level, text)| level.message(text)))]
    } else {
        iter::once(group).chain(remarks.map(|(level, text)| Group::with_title(level.secondary_title(text)))).collect()
    };
    let mut drawing = parts.iter().map(|part| renderer.render(slice::from_ref(part))).collect::<Vec<_>>().join("\n");
    drawing.push('\n');
    drawing
}

/// A finding as a JSON object on a line of its own.
pub fn json(finding: &Diagnostic) -> String {
    let mut line = serde_json::to_string(&Json::of(finding)).expect("BUG: findings are plain data");
    line.push('\n');
    line
}

/// A finding as a JSON object.
///
/// `severity` is `"error"` or `"warning"`; `file`, `line`, `column`, `end_line` and `end_column` are null when no file is to
/// blame; lines and columns count from 1, in characters, and the end is exclusive. `related` holds objects with the same five
/// keys and a `caret`, the text beside the place. That and `help` may be null.
#[derive(Serialize)]
pub struct Json<'a> {
    severity: Severity,
    message: &'a str,
    caret: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
    related: Vec<JsonRelated<'a>>,
    notes: &'a [String],
    help: Option<&'a str>,
}

impl Json<'_> {
    /// Every fact of the finding.
    pub fn of(finding: &Diagnostic) -> Json<'_> {
        let place = finding.span.as_ref();
        Json {
            severity: finding.severity,
            message: &finding.message,
            caret: said(&finding.label),
            file: place.map(|span| &*span.file),
            line: place.map(|span| span.line),
            column: place.map(|span| span.column),
            end_line: place.map(|span| span.end_line),
            end_column: place.map(|span| span.end_column),
            related: finding.related.iter().map(|(span, text)| JsonRelated { caret: said(text), span }).collect(),
            notes: &finding.notes,
            help: finding.help.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct JsonRelated<'a> {
    caret: Option<&'a str>,
    #[serde(flatten)]
    span: &'a Span,
}

fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// One place to underline.
struct Place<'a> {
    span: &'a Span,
    label: &'a str,
    kind: AnnotationKind,
}

/// Every place of a finding by file, the blamed file first, the others in the order they are mentioned.
fn places(finding: &Diagnostic) -> Vec<(&Arc<str>, Vec<Place<'_>>)> {
    let primary = finding.span.iter().map(|span| Place { span, label: &finding.label, kind: AnnotationKind::Primary });
    let related = finding.related.iter().map(|(span, label)| Place { span, label, kind: AnnotationKind::Context });
    let mut files: Vec<(&Arc<str>, Vec<Place<'_>>)> = Vec::new();
    for place in primary.chain(related) {
        match files.iter_mut().find(|(file, _)| **file == place.span.file) {
            Some((_, places)) => places.push(place),
            None => files.push((&place.span.file, vec![place])),
        }
    }
    files
}

/// The texts of the files whose places can all be shown: a file that was cut since would be underlined at random.
struct Texts<'a>(Vec<(&'a Arc<str>, Arc<str>)>);

impl<'a> Texts<'a> {
    fn of(finding: &'a Diagnostic, read: Read<'_>) -> Texts<'a> {
        let shown = |file: &'a Arc<str>, places: &[Place<'_>]| {
            let text = read(file)?;
            places.iter().all(|place| place.span.line as usize <= text.lines().count()).then_some((file, text))
        };
        Texts(places(finding).iter().filter_map(|(file, places)| shown(file, places)).collect())
    }

    fn get(&self, file: &Arc<str>) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == file).map(|(_, text)| &**text)
    }
}

fn snippet<'a>(file: &'a str, text: &'a str, places: &[Place<'a>]) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let annotation = |place: &Place<'a>| {
        let label = (!place.label.is_empty()).then_some(place.label);
        place.kind.span(bytes(text, place.span)).label(label)
    };
    Snippet::source(text).path(file).annotations(places.iter().map(annotation))
}

/// A place whose text is gone: where it was, and what would have stood beside the caret.
fn without_text<'a>(group: Group<'a>, place: &Place<'a>) -> Group<'a> {
    let origin = Origin::path(&*place.span.file).line(place.span.line as usize).char_column(place.span.column as usize);
    let group = group.element(origin);
    if place.label.is_empty() { group } else { group.element(Level::NOTE.message(normalize_untrusted_str(place.label))) }
}

/// The span as bytes of `text`, cut to what is there. The span of a whole call is drawn as its first line: ten lines of carets
/// say no more, and hide the rest.
fn bytes(text: &str, span: &Span) -> Range<usize> {
    let start = offset(text, span.line, span.column);
    let end = if span.end_line == span.line { offset(text, span.line, span.end_column) } else { line_end(text, span.line) };
    start..end.max(start)
}

fn offset(text: &str, line: u32, column: u32) -> usize {
    let start = line_start(text, line);
    let content = &text[start..line_end(text, line)];
    let column = column.saturating_sub(1) as usize;
    start + content.char_indices().nth(column).map_or(content.len(), |(at, _)| at)
}

fn line_start(text: &str, line: u32) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1) as usize).map(str::len).sum()
}

fn line_end(text: &str, line: u32) -> usize {
    let start = line_start(text, line);
    start + text[start..].lines().next().map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "bpf_program(\n    name = \"parse\",\n    srcs = [\"parse.c\"],\n    jumps = [\":ä\", \":limit\"],\n)\n";

    fn span(file: &str, line: u32, column: u32, end_line: u32, end_column: u32) -> Span {
        Span { file: file.into(), line, column, end_line, end_column }
    }

    fn plain(finding: &Diagnostic) -> String {
        let read = |file: &str| match file {
            "fw/BUILD.ouro" => Some(Arc::from(BUILD)),
            "fw/other.star" => Some(Arc::from("x = 1\ny = 2")),
            "empty" => Some(Arc::from("")),
            _ => None,
        };
        draw(finding, &read, Look { color: false, width: 100 })
    }

    #[test]
    fn a_finding_is_drawn_with_its_line_and_carets() {
        let finding = Diagnostic::error(&span("fw/BUILD.ouro", 4, 20, 4, 28), "no target `//fw:limit`")
            .label("not in this package")
            .related(&span("fw/BUILD.ouro", 1, 1, 5, 2), "the program that jumps")
            .related(&span("fw/other.star", 2, 1, 2, 2), "made here")
            .note("`//fw` has 3 targets")
            .help("did you mean `rate_limit`?");
        let expected = "\
error: no target `//fw:limit`
 --> fw/BUILD.ouro:4:20
  |
1 | bpf_program(
  | ------------ the program that jumps
...
4 |     jumps = [\":ä\", \":limit\"],
  |                    ^^^^^^^^ not in this package
  |
 ::: fw/other.star:2:1
  |
2 | y = 2
  | - made here
  |
  = note: `//fw` has 3 targets
  = help: did you mean `rate_limit`?
";
        assert_eq!(plain(&finding), expected);
    }

    #[test]
    fn places_that_are_no_more_are_named_without_source() {
        let vanished = plain(&Diagnostic::error(&span("gone/BUILD", 3, 5, 3, 9), "bad").label("why"));
        assert!(
            vanished.starts_with("error: bad\n") && vanished.contains("gone/BUILD:3:5\n") && vanished.contains("note: why"),
            "{vanished}"
        );
        let cut = plain(&Diagnostic::error(&span("fw/BUILD.ouro", 99, 1, 120, 2), "bad"));
        assert!(cut.contains("fw/BUILD.ouro:99:1") && !cut.contains("bpf_program"), "{cut}");
        assert!(plain(&Diagnostic::error(&span("empty", 1, 1, 1, 2), "bad")).contains("empty:1:1"));
    }

    #[test]
    fn wrong_columns_are_cut_to_the_line() {
        for place in [(2, 900, 2, 901), (2, 5, 2, 900), (2, 9, 2, 3), (5, 1, 900, 1), (0, 0, 0, 0), (5, 2, 5, 3)] {
            let drawn = plain(&Diagnostic::error(&span("fw/BUILD.ouro", place.0, place.1, place.2, place.3), "bad"));
            assert!(drawn.starts_with("error: bad\n --> fw/BUILD.ouro"), "{drawn}");
        }
    }

    #[test]
    fn colour_only_when_asked() {
        let finding = Diagnostic::bare("no clang").warning().help("install it");
        assert_eq!(plain(&finding), "warning: no clang\nhelp: install it\n");
        assert!(draw(&finding, &|_| None, Look { color: true, width: 80 }).contains("\u{1b}["));
    }

    #[test]
    fn terminal_codes_in_names_do_not_reach_the_terminal() {
        let finding = Diagnostic::bare("bad \u{1b}[31mname").note("also \u{1b}]0;title\u{7}").help("not \u{1b}[2J");
        assert!(!plain(&finding).contains('\u{1b}'));
    }

    #[test]
    fn json_has_every_fact_on_one_line() {
        let finding = Diagnostic::error(&span("a", 1, 2, 3, 4), "line\nfeed").related(&span("b", 5, 6, 7, 8), "here").note("n");
        let expected = "{\"severity\":\"error\",\"message\":\"line\\nfeed\",\"caret\":null,\"file\":\"a\",\"line\":1,\"column\":2,\
                        \"end_line\":3,\"end_column\":4,\"related\":[{\"caret\":\"here\",\"file\":\"b\",\"line\":5,\"column\":6,\
                        \"end_line\":7,\"end_column\":8}],\"notes\":[\"n\"],\"help\":null}\n";
        assert_eq!(json(&finding), expected);
    }
}
