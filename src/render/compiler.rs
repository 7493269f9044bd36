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

/// The output without what is said at places that these findings tell of already, and without the count of errors if nothing else
/// is left.
pub fn without(output: &str, findings: &[Diagnostic]) -> String {
    if findings.is_empty() {
        return output.to_owned();
    }
    let is_told = |place: &Span| findings.iter().filter_map(|finding| finding.span.as_ref()).any(|span| is_same(span, place));
    let (mut kept, mut way, mut told) = (String::new(), String::new(), false);
    for line in output.split_inclusive('\n') {
        let plain = without_colors(line);
        // The way to a place belongs to what is said there.
        if plain.starts_with("In file included from ") {
            way.push_str(line);
            continue;
        }
        if let Some((place, Some(_), _)) = said(plain.trim_end()) {
            told = place.as_ref().is_some_and(is_told);
        }
        let way = std::mem::take(&mut way);
        let is_left = if is_count(&plain) { !kept.trim().is_empty() } else { !told };
        kept.extend(is_left.then_some([way.as_str(), line]).into_iter().flatten());
    }
    kept
}

fn is_same(one: &Span, other: &Span) -> bool {
    (&one.file, one.line, one.column) == (&other.file, other.line, other.column)
}

/// `2 errors generated.`
fn is_count(line: &str) -> bool {
    line.trim_end().ends_with(" generated.") && line.starts_with(|c: char| c.is_ascii_digit())
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

    /// clang's words for a jump that is not declared are those of a macro's inside, and stood above the finding.
    #[test]
    fn what_a_finding_tells_is_not_told_again() {
        let jump = "fw/a.c:3:1: \x1b[1;31merror: \x1b[0mcall to undeclared function 'ouro_no_such_jump__nope'\n    3 | OURO_JUMP(ctx, nope);\n\
                    <scratch space>:69:1: note: expanded from here\n";
        let other = "In file included from fw/a.c:1:\nfw/b.h:7:2: error: bad\n    7 |  bad\n";
        let findings = [Diagnostic::error(&Span::point("fw/a.c", 3, 1), "no such jump")];
        assert_eq!(without(&format!("{jump}1 error generated.\n"), &findings), "");
        let both = format!("{jump}{other}2 errors generated.\n");
        assert_eq!(without(&both, &findings), format!("{other}2 errors generated.\n"));
        assert_eq!(without(&format!("{other}{jump}"), &findings), other);
        for all in [&*both, "", "some words\n", "1 error generated.\n"] {
            assert_eq!(without(all, &[]), all);
        }
        let included = "In file included from fw/a.c:1:\nfw/b.h:7:2: error: bad\n";
        assert_eq!(without(included, &[Diagnostic::error(&Span::point("fw/b.h", 7, 2), "why")]), "");
    }

    #[test]
    fn other_text_is_no_finding() {
        for text in ["", "all went well\n", "there was an error: none\n", "note: alone\n", "error", "\n\n", "3 | int error: 4;\n"]
        {
            assert_eq!(findings(text), [], "{text:?}");
        }
    }
}
