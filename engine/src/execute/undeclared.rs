//! Files that an action reads, or wants to, and does not declare: found in what it says it read, or in what its compiler says it
//! could not, and told with the line that includes them.
//!
//! Knows nothing of targets: who offers such a file is told by whoever knows the workspace (see `build::owners`).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ouro_rules::{Action, ActionKind, Diagnostic, Span, Words};

use super::action::Work;
use super::depfile;
use super::process::without_colors;

impl Work<'_> {
    /// Findings for files that were read and not declared; `read` is all that was.
    pub(super) fn undeclared(&self, action: &Action, read: &[Arc<str>], forbidden: &[&Arc<str>]) -> Vec<Diagnostic> {
        let own = || read.iter().filter(|path| !Path::new(&***path).is_absolute());
        let place = |path: &str| own().find_map(|file| include_in(&self.sight.real_root, file, path));
        forbidden.iter().map(|path| finding(action, path, place(path))).collect()
    }

    /// Whether a compiler stopped, by its words, at a file that another action makes and this one does not declare.
    pub(super) fn met_anothers(&self, action: &Action, printed: &str) -> bool {
        let is_compiler = matches!(action.kind, ActionKind::Run { depfile: Some(_), .. });
        let met = |complaint| match complaint {
            Complaint::Closed(path) => self.sight.is_anothers(action, &depfile::normalise(&self.sight.real_root, path)),
            Complaint::Absent(_) => false,
        };
        is_compiler && without_colors(printed).lines().filter_map(complaint).any(|(_, complaint)| met(complaint))
    }

    /// Findings for what a compiler could not read, by its words.
    pub(super) fn unreadable(&self, action: &Action, printed: &str) -> Vec<Diagnostic> {
        let ActionKind::Run { args, depfile: Some(_), .. } = &action.kind else { return Vec::new() };
        let mut findings: Vec<Diagnostic> = Vec::new();
        for (span, complaint) in without_colors(printed).lines().filter_map(complaint) {
            let place = span.clone();
            let found = match complaint {
                Complaint::Closed(path) => {
                    let path = depfile::normalise(&self.sight.real_root, path);
                    (!self.sight.is_allowed(action, &path)).then(|| finding(action, &path, Some(span)))
                }
                Complaint::Absent(name) => Some(match self.beside(args, &span.file, name) {
                    Some(path) if !self.sight.is_allowed(action, &path) => finding(action, &path, Some(span)),
                    _ => nowhere(action, name, span),
                }),
            };
            findings.extend(found);
            findings.extend(self.further(action, args, &place));
        }
        findings
    }

    /// What the same file includes below: compilers stop at the first file they cannot read.
    fn further(&self, action: &Action, args: &Words, after: &Span) -> Vec<Diagnostic> {
        let text = fs::read(self.sight.real_root.join(&*after.file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let further = |(row, line)| {
            let (column, name) = included(line)?;
            let path = self.beside(args, &after.file, name).filter(|path| !self.sight.is_allowed(action, path))?;
            Some(finding(action, &path, Some(Span::point(after.file.clone(), row, column as u32 + 1))))
        };
        (1..).zip(text.lines()).skip(after.line as usize).filter_map(further).collect()
    }

    /// Where the compiler would have found a file of the workspace, had it seen it.
    fn beside(&self, args: &Words, from: &str, name: &str) -> Option<String> {
        let own = Path::new(from).parent().and_then(Path::to_str).into_iter();
        let mut after = args.iter().zip(args.iter().skip(1)).filter(|(flag, _)| *flag == "-iquote").map(|(_, folder)| folder);
        let joined = args.iter().filter_map(|arg| arg.strip_prefix("-iquote").or_else(|| arg.strip_prefix("-I")));
        let folders = own.chain(after.by_ref()).chain(joined).filter(|folder| !folder.starts_with('/'));
        let paths = folders.map(|folder| depfile::normalise(&self.sight.real_root, &format!("{folder}/{name}")));
        paths.into_iter().find(|path| self.sight.real_root.join(path).is_file())
    }

    /// What to say of a process that failed, and was perhaps kept from something it needs.
    pub(super) fn kept_out(&self, action: &Action, printed: &str) -> Option<Diagnostic> {
        let is_compiler = matches!(action.kind, ActionKind::Run { depfile: Some(_), .. });
        let complains = self.sight.confinement.complaint().is_some_and(|words| printed.contains(words));
        (complains && !is_compiler).then(|| {
            let message = format!("`{}` may have been kept from a file that it does not declare", action.owner);
            let finding =
                Diagnostic::bare(message).warning().note("it sees its inputs and the system's folders, and nothing else");
            finding.help("declare what it reads; `--sandbox=off` tells whether that is the reason")
        })
    }
}

enum Complaint<'a> {
    /// It may not be opened.
    Closed(&'a str),
    /// It was found nowhere.
    Absent(&'a str),
}

/// A line in which clang says that it cannot read what is included.
fn complaint(line: &str) -> Option<(Span, Complaint<'_>)> {
    let (place, said) = line.split_once(": fatal error: ").or_else(|| line.split_once(": error: "))?;
    let complaint = if let Some(rest) = said.strip_prefix("cannot open file '") {
        Complaint::Closed(rest.strip_suffix("': Permission denied")?)
    } else {
        Complaint::Absent(said.strip_prefix('\'')?.strip_suffix("' file not found")?)
    };
    let (rest, column) = place.rsplit_once(':')?;
    let (file, row) = rest.rsplit_once(':')?;
    let file = file.strip_prefix("./").unwrap_or(file);
    Some((Span::point(file, row.parse().ok()?, column.parse().ok()?), complaint))
}

fn finding(action: &Action, path: &str, span: Option<Span>) -> Diagnostic {
    let message = match Path::new(path).is_absolute() {
        true => format!("`{}` includes `{path}`, which is neither the workspace's nor the toolchain's", action.owner),
        false => format!("`{}` includes `{path}`, which it does not declare", action.owner),
    };
    let finding = Diagnostic { span, about: Some(path.into()), ..Diagnostic::bare(message) };
    let finding = finding.note("a header that is not declared makes a build that works here and nowhere else");
    match Path::new(path).is_absolute() {
        true => finding.help("copy it into the workspace, or name its folder in `includes` of a `bpf_toolchain`"),
        false => finding.help("add a `bpf_library` with it to `deps`"),
    }
}

fn nowhere(action: &Action, name: &str, span: Span) -> Diagnostic {
    let message = format!("nothing that `{}` declares offers `{name}`", action.owner);
    let finding = Diagnostic { about: Some(name.into()), ..Diagnostic::error(&span, message) };
    finding.help("add the `bpf_library` with it to `deps`; what should be on this machine is listed by `ouro doctor`")
}

/// The line of `file` that includes a path.
fn include_in(root: &Path, file: &str, path: &str) -> Option<Span> {
    let text = String::from_utf8_lossy(&fs::read(root.join(file)).ok()?).into_owned();
    let found =
        text.lines().enumerate().find_map(|(row, line)| Some((row, included(line)?)).filter(|(_, (_, name))| leads(name, path)));
    found.map(|(row, (column, _))| Span::point(file, row as u32 + 1, column as u32 + 1))
}

/// What a line of C includes, or asks for, with its place in the line.
fn included(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start().strip_prefix('#')?.trim_start();
    let rest = match rest.split_once("__has_include") {
        Some((_, rest)) => rest.trim_start_matches("_next").trim_start().strip_prefix('(')?,
        None => ["include_next", "include", "import", "embed"].iter().find_map(|word| rest.strip_prefix(word))?,
    };
    let rest = rest.trim_start();
    let close = match rest.chars().next()? {
        '"' => '"',
        '<' => '>',
        _ => return None,
    };
    let name = &rest[1..1 + rest[1..].find(close)?];
    Some((line.len() - rest.len(), name))
}

/// Whether a name in an `#include` may have led to a path.
fn leads(name: &str, path: &str) -> bool {
    let name = name.trim_start_matches("./").trim_start_matches("../");
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_includes_is_read() {
        for (line, expected) in [
            ("#include \"a/b.h\"", Some((9, "a/b.h"))),
            ("  # include <c.h> // why", Some((12, "c.h"))),
            ("#include_next <d.h>", Some((14, "d.h"))),
            ("#embed \"e.bin\"", Some((7, "e.bin"))),
            ("#if X && __has_include( <f.h>)", Some((24, "f.h"))),
            ("#if __has_include_next(\"g.h\")", Some((23, "g.h"))),
            ("// #include \"a.h\"", None),
            ("#include MACRO", None),
            ("#include \"open", None),
            ("#define include", None),
            ("é", None),
        ] {
            assert_eq!(included(line), expected, "{line}");
        }
    }

    #[test]
    fn names_lead_to_paths_that_end_like_them() {
        assert!(leads("b.h", "a/b.h") && leads("../b.h", "a/b.h") && leads("a/b.h", "a/b.h"));
        assert!(!leads("b.h", "a/bb.h") && !leads("c/b.h", "a/b.h"));
    }

    #[test]
    fn clangs_complaints_are_told_from_its_other_words() {
        let said = |line: &'static str| {
            complaint(line).map(|(span, complaint)| match complaint {
                Complaint::Closed(path) => (span, "closed", path),
                Complaint::Absent(name) => (span, "absent", name),
            })
        };
        let closed = said("./fw/a.c:3:10: fatal error: cannot open file './fw/b.h': Permission denied");
        assert_eq!(closed, Some((Span::point("fw/a.c", 3, 10), "closed", "./fw/b.h")));
        assert_eq!(said("a:b.c:1:2: fatal error: 'x y.h' file not found"), Some((Span::point("a:b.c", 1, 2), "absent", "x y.h")));
        for other in ["a.c:1:2: fatal error: 'x.h' is bad", "clang: error: 'x' file not found", "a.c:1:2: error: no", ""] {
            assert_eq!(said(other), None, "{other}");
        }
    }
}
