//! What ouro tells a user about their files: findings with a place, a reason and a remedy.
//!
//! Knows nothing of how they are drawn; the CLI does that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A stretch of a file; lines and columns count from 1, the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Path from the workspace root (or absolute, for a file outside it).
    pub file: Arc<str>,
    /// First line.
    pub line: u32,
    /// First column, in characters.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// The column after the last character.
    pub end_column: u32,
}

impl Span {
    /// A single point of a file; columns 1..2 of `line`.
    pub fn point(file: impl Into<Arc<str>>, line: u32, column: u32) -> Span {
        Span { file: file.into(), line, column, end_line: line, end_column: column + 1 }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is built or deployed.
    Error,
    /// Said, and gone on.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A lowercase fragment, names in backticks.
    pub message: String,
    /// Where; none only when no file is to blame.
    pub span: Option<Span>,
    /// Short text beside the caret; often empty.
    pub label: String,
    /// Other places that belong to it, each with what it is: `first declared here`.
    pub related: Vec<(Span, String)>,
    /// Facts that explain it.
    pub notes: Vec<String>,
    /// What to do next.
    pub help: Option<String>,
    /// The file (by path or name), the function or the part of a map (`value of map stats`) it is about, for whoever knows more of that
    /// and completes the finding; not shown.
    pub about: Option<Arc<str>>,
    /// Whether it is about what was asked for, and no file is wrong.
    pub is_asked: bool,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(span.clone()), ..Diagnostic::bare(message) }
    }

    /// An error no file is to blame for.
    pub fn bare(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: String::new(),
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
            about: None,
            is_asked: false,
        }
    }

    /// The same about something that is named there, or else by whoever asks.
    pub fn named_at(self, span: Option<Span>) -> Diagnostic {
        Diagnostic { is_asked: span.is_none(), span, ..self }
    }

    /// The same finding as a warning.
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// With text beside the caret.
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.label = text.into();
        self
    }

    /// With another place.
    pub fn related(mut self, span: &Span, text: impl Into<String>) -> Diagnostic {
        self.related.push((span.clone(), text.into()));
        self
    }

    /// With a fact.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// With a remedy.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// With a remedy, when there is one.
    pub fn maybe_help(mut self, text: Option<String>) -> Diagnostic {
        self.help = text.or(self.help);
        self
    }
}

/// A finding about a call in a BUILD file, with the calls that led from there through macros, outermost first.
pub fn through(finding: Diagnostic, calls: &[Span]) -> Diagnostic {
    let known: Vec<Span> = finding.related.iter().map(|(span, _)| span.clone()).collect();
    let new = calls.iter().filter(|call| !known.contains(call));
    new.fold(finding, |finding, call| finding.related(call, "through this call"))
}

/// Sorts findings by place and removes repetitions, so that parallel phases report alike every time.
pub fn sorted(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.sort_by(|a, b| (&a.span, &a.message).cmp(&(&b.span, &b.message)));
    findings.dedup();
    findings
}

/// The candidate nearest to `name`, worded as a question, if one is near enough to be what was meant.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|best| format!("did you mean `{best}`?"))
}

/// What C calls things that BUILD files name without it.
const C_PREFIXES: &[&str] = &["bpf_map_type_", "bpf_prog_type_", "bpf_f_", "xdp_", "tc_act_", "tcx_"];

/// The candidate nearest to `name`: the one that C spells so (`XDP_DROP` for `drop`), else one whose edit distance is at most a
/// third of the name.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let lower = name.to_lowercase();
    let bare = C_PREFIXES.iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or(&lower);
    if let Some(meant) = candidates.iter().find(|candidate| **candidate == bare || **candidate == lower) {
        return Some(meant);
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= name.chars().count().max(candidate.chars().count()).div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        assert_eq!(did_you_mean("src", ["srcs", "deps"]).as_deref(), Some("did you mean `srcs`?"));
        assert_eq!(did_you_mean("bpf_porgram", ["bpf_program", "bpf_map"]).as_deref(), Some("did you mean `bpf_program`?"));
        assert_eq!(did_you_mean("zzz", ["srcs", "deps"]), None);
        assert_eq!(nearest("XDP_DROP", ["pass", "drop"]), Some("drop"));
        assert_eq!(nearest("BPF_MAP_TYPE_LRU_HASH", ["hash", "lru_hash"]), Some("lru_hash"));
        assert_eq!(nearest("XDP", ["tc", "xdp"]), Some("xdp"));
    }
}
