//! Expected findings as comments in the files they are about.
//!
//! `# error: text` stands on the line a finding points to, or on lines of its own directly above it; `text` is part of the
//! message. `# warning:` likewise. `# help: text` behind or below it is part of the same finding's hint; `# related: text`
//! stands where a finding's other place is. In C files the comments begin with `//`. A finding without a place is expected in
//! `patterns.txt`. Every finding needs a comment, and every comment a finding.

use std::path::Path;

use ouro_rules::{Diagnostic, Severity};

use super::golden::PATTERNS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Warning,
    Help,
    Related,
}

#[derive(Debug)]
struct Comment {
    file: String,
    /// The line it speaks of.
    line: u32,
    kind: Kind,
    text: String,
    /// The hint the finding must have.
    help: Option<String>,
}

/// Compares findings with the comments of the workspace.
pub fn compare(root: &Path, findings: &[Diagnostic]) -> Result<(), String> {
    let mut comments = Vec::new();
    collect(root, root, &mut comments);
    let (related, mut expected): (Vec<Comment>, Vec<Comment>) =
        comments.into_iter().partition(|comment| comment.kind == Kind::Related);
    let mut report = String::new();
    for finding in findings {
        match expected.iter().position(|comment| speaks_of(comment, finding)) {
            Some(index) => report += &check_help(&expected.remove(index), finding),
            None => report += &format!("not expected: {}", show(finding)),
        }
    }
    let lost = expected.iter().chain(related.iter().filter(|comment| !is_related(comment, findings)));
    lost.for_each(|comment| {
        report += &format!("not found: {}:{}: {:?}: {}\n", comment.file, comment.line, comment.kind, comment.text)
    });
    if report.is_empty() { Ok(()) } else { Err(report) }
}

/// A finding on a few lines.
pub fn show(finding: &Diagnostic) -> String {
    let at =
        |span: &ouro_rules::Span| format!("{}:{}:{}-{}:{}", span.file, span.line, span.column, span.end_line, span.end_column);
    let place = finding.span.as_ref().map_or_else(|| "(no place)".to_owned(), at);
    let related: String = finding.related.iter().map(|(span, text)| format!("    {}: {text}\n", at(span))).collect();
    let help = finding.help.as_ref().map(|help| format!("    help: {help}\n")).unwrap_or_default();
    format!("{place}: {:?}: {}\n{related}{help}", finding.severity, finding.message)
}

fn speaks_of(comment: &Comment, finding: &Diagnostic) -> bool {
    let severity = if finding.severity == Severity::Error { Kind::Error } else { Kind::Warning };
    let at = match &finding.span {
        Some(span) => *span.file == *comment.file && span.line == comment.line,
        None => comment.file == PATTERNS,
    };
    at && comment.kind == severity && finding.message.contains(&comment.text)
}

fn check_help(comment: &Comment, finding: &Diagnostic) -> String {
    match &comment.help {
        Some(help) if !finding.help.as_ref().is_some_and(|given| given.contains(help)) => {
            format!("hint `{help}` is missing: {}", show(finding))
        }
        _ => String::new(),
    }
}

fn is_related(comment: &Comment, findings: &[Diagnostic]) -> bool {
    let places = findings.iter().flat_map(|finding| &finding.related);
    places
        .into_iter()
        .any(|(span, text)| *span.file == *comment.file && span.line == comment.line && text.contains(&comment.text))
}

fn collect(root: &Path, folder: &Path, comments: &mut Vec<Comment>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("a readable entry").path()) {
        if entry.is_dir() {
            collect(root, &entry, comments);
        } else if let Ok(text) = std::fs::read_to_string(&entry) {
            let file = entry.strip_prefix(root).expect("an entry is below the root").to_str().expect("a UTF-8 name");
            comments.extend(read(file, &text));
        }
    }
}

/// The comments of one file.
fn read(file: &str, text: &str) -> Vec<Comment> {
    let mut comments: Vec<Comment> = Vec::new();
    // Comments on lines of their own wait for the line they speak of.
    let mut waiting = 0;
    for (index, line) in text.lines().enumerate() {
        let (code, found) = split(line);
        for (kind, text) in found {
            match (kind, comments.last_mut()) {
                (Kind::Help, Some(before)) => before.help = Some(text),
                (kind, _) => comments.push(Comment { file: file.to_owned(), line: 0, kind, text, help: None }),
            }
        }
        if !code.trim().is_empty() {
            comments[waiting..].iter_mut().for_each(|comment| comment.line = index as u32 + 1);
            waiting = comments.len();
        }
    }
    comments
}

/// The line's code and its comments.
fn split(line: &str) -> (&str, Vec<(Kind, String)>) {
    const MARKS: [(&str, Kind); 4] =
        [("error: ", Kind::Error), ("warning: ", Kind::Warning), ("help: ", Kind::Help), ("related: ", Kind::Related)];
    let mut starts: Vec<(usize, usize, Kind)> = Vec::new();
    for (word, kind) in MARKS {
        for begin in ["# ", "// "] {
            let mark = format!("{begin}{word}");
            starts.extend(line.match_indices(&mark).map(|(at, _)| (at, at + mark.len(), kind)));
        }
    }
    starts.sort_by_key(|(at, ..)| *at);
    let ends = starts.iter().skip(1).map(|(at, ..)| *at).chain([line.len()]);
    let found = starts.iter().zip(ends).map(|((_, from, kind), to)| (*kind, line[*from..to].trim().to_owned())).collect();
    (&line[..starts.first().map_or(line.len(), |(at, ..)| *at)], found)
}
