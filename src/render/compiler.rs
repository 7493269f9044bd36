//! What compilers print, read as findings. Pure.
//!
//! Knows the one form that clang and gcc share, `file:line:column: error: text`; lines of other forms are nobody's finding. The
//! text itself is never changed: people get it as the compiler wrote it.

use ouro_engine::execute::without_colors;
use ouro_rules::{Diagnostic, Severity, Span};

/// How a compiler begins what it says; a note belongs to what was said before.
const LEVELS: [(&str, Option<Severity>); 5] = [
    ("fatal error: ", Some(Severity::Error)),
    ("error: ", Some(Severity::Error)),
    ("warning: ", Some(Severity::Warning)),
    ("remark: ", Some(Severity::Warning)),
    ("note: ", None),
];

/// The findings in a compiler's output, in its order; notes stand with the finding they belong to.
pub fn findings(output: &str) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut included = Vec::new();
    for line in without_colors(output).lines() {
        if let Some(from) = line.strip_prefix("In file included from ") {
            included.push(format!("included from `{}`", from.trim_end_matches([':', ','])));
            continue;
        }
        let Some((span, severity, message)) = said(line) else { continue };
        match (severity, findings.last_mut(), span) {
            (Some(severity), _, span) => {
                let notes = std::mem::take(&mut included);
                findings.push(Diagnostic { severity, span, notes, ..Diagnostic::bare(message) });
            }
            (None, Some(finding), Some(span)) => finding.related.push((span, message.to_owned())),
            (None, Some(finding), None) => finding.notes.push(message.to_owned()),
            (None, None, _) => {}
        }
        // The way to a note is of no use to anyone.
        included.clear();
    }
    findings
}

/// Place, severity (none for a note) and message of a line that says something.
fn said(line: &str) -> Option<(Option<Span>, Option<Severity>, &str)> {
    // The earliest word counts: messages quote others. `fatal error: ` comes before the `error: ` inside it.
    let level = |(word, severity): &(&str, Option<Severity>)| Some((line.find(word)?, word.len(), *severity));
    let (at, length, severity) = LEVELS.iter().filter_map(level).min_by_key(|(at, ..)| *at)?;
    let (before, message) = (line[..at].trim_end(), &line[at + length..]);
    if let Some(span) = before.strip_suffix(':').and_then(place) {
        return Some((Some(span), severity, message));
    }
    match before {
        // What the code generator finds has its place behind the word: `error: a.c:3:5: in function f ...`.
        "" => match message.split_once(": ").and_then(|(before, rest)| Some((place(before)?, rest))) {
            Some((span, rest)) => Some((Some(span), severity, rest)),
            None => Some((None, severity, message)),
        },
        // The driver's own words: `clang: error: no such file`.
        program if program.ends_with(':') && !program.contains(' ') => Some((None, severity, message)),
        _ => None,
    }
}

/// `file:line:column` or `file:line`; the file may have colons in its name.
fn place(text: &str) -> Option<Span> {
    let (rest, last) = text.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    let (file, line, column) = match rest.rsplit_once(':').map(|(file, line)| (file, line.parse())) {
        Some((file, Ok(line))) => (file, line, last),
        _ => (rest, last, 1),
    };
    let file = file.strip_prefix("./").unwrap_or(file);
    (!file.is_empty() && !file.starts_with('<')).then(|| Span::point(file, line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clangs_words_become_findings() {
        let text = "\
In file included from fw/a.c:1:
In file included from ./lib/b.h:2,
fw/c.h:3:7: \x1b[1;31mfatal error: \x1b[0m'x.h' file not found
    3 | #include \"x.h\"
      |          ^~~~~
fw/a.c:4:12: warning: unused variable 'y' [-Wunused-variable]
./fw/a.c:9:1: error: redefinition of 'f': note: this is text
/usr/include/z.h:5:6: note: previous definition is here
1 warning and 2 errors generated.
";
        let findings = findings(text);
        let places: Vec<(&str, u32, u32)> = findings
            .iter()
            .map(|finding| finding.span.as_ref().map(|span| (&*span.file, span.line, span.column)).unwrap())
            .collect();
        assert_eq!(places, [("fw/c.h", 3, 7), ("fw/a.c", 4, 12), ("fw/a.c", 9, 1)]);
        assert_eq!(findings[0].notes, ["included from `fw/a.c:1`", "included from `./lib/b.h:2`"]);
        assert_eq!(
            (findings[1].severity, findings[1].message.as_str()),
            (Severity::Warning, "unused variable 'y' [-Wunused-variable]")
        );
        assert_eq!(findings[2].message, "redefinition of 'f': note: this is text");
        assert_eq!(findings[2].related, [(Span::point("/usr/include/z.h", 5, 6), "previous definition is here".to_owned())]);
    }

    #[test]
    fn what_has_no_place_or_an_odd_one_is_kept() {
        let text = "error: fw/a.c:3:5: in function f i32 (ptr): too many arguments\nclang-19: error: linker failed\n<inline asm>:1:2: error: bad\na:b.c:7: warning: w\n";
        let findings = findings(text);
        let found: Vec<_> = findings.iter().map(|one| (one.span.clone(), one.message.as_str())).collect();
        let expected = [
            (Some(Span::point("fw/a.c", 3, 5)), "in function f i32 (ptr): too many arguments"),
            (None, "linker failed"),
            (Some(Span::point("a:b.c", 7, 1)), "w"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn other_text_is_no_finding() {
        for text in ["", "all went well\n", "there was an error: none\n", "note: alone\n", "error", "\n\n", "3 | int error: 4;\n"]
        {
            assert_eq!(findings(text), [], "{text:?}");
        }
    }
}
