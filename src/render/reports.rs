//! Draws what became of tests: a line for each, and one for all.
//!
//! Knows nothing of how they were run.

use std::time::Duration;

use ouro_engine::testing::{Report, Status};
use serde_json::json;

use super::output::{Ink, paint};

/// Longer labels do not push all others aside.
const WIDEST: usize = 60;

/// How lines are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The characters of the longest label.
    pub width: usize,
    /// Whether with colours.
    pub color: bool,
}

/// A test's line; where its log is when it did not pass; and what it printed, if that is to be shown.
pub fn report(report: &Report, printed: Option<&str>, look: Look) -> String {
    let mut text = line(report, look);
    if let Some(log) = report.log.as_ref().filter(|_| report.status != Status::Passed) {
        text += &format!("  {}\n", paint(look.color, Ink::Dim, log));
    }
    match printed {
        Some(printed) if !printed.is_empty() => {
            let end = if printed.ends_with('\n') { "" } else { "\n" };
            text + &rule(&format!("output of {}", report.label)) + printed + end + &rule("end")
        }
        _ => text,
    }
}

fn rule(title: &str) -> String {
    format!("---- {title} ----\n")
}

/// `//fw:parse_test  (cached) PASSED in 0.3s`
fn line(report: &Report, look: Look) -> String {
    let (label, width) = (report.label.to_string(), look.width.min(WIDEST));
    let cached = if report.cached { "(cached) " } else { "" };
    let (word, ink) = word(report.status);
    let times = match (report.runs, report.status) {
        (0 | 1, _) => String::new(),
        (runs, Status::Passed) => format!(" in all {runs} runs,"),
        (runs, _) => format!(" in {} out of {runs},", report.failed),
    };
    let took = if report.runs == 0 { String::new() } else { format!(" in {:.1}s", report.took.as_secs_f64()) };
    let why = report.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("{label:<width$}  {cached}{}{times}{took}{why}\n", paint(look.color, ink, word))
}

fn word(status: Status) -> (&'static str, Ink) {
    match status {
        Status::Passed => ("PASSED", Ink::Bold),
        Status::Failed => ("FAILED", Ink::Red),
        Status::TimedOut => ("TIMEOUT", Ink::Red),
        Status::NotBuilt => ("NOT BUILT", Ink::Red),
    }
}

/// The tests that did not pass once more, when there are others between them; then how many came to which end.
pub fn summary(reports: &[Report], took: Duration, look: Look) -> String {
    let bad: Vec<&Report> = reports.iter().filter(|report| report.status != Status::Passed).collect();
    let again = if reports.len() > 1 { bad.iter().map(|report| line(report, look)).collect() } else { String::new() };
    let count = |status| reports.iter().filter(|report| report.status == status).count();
    let cached = reports.iter().filter(|report| report.cached).count();
    let passed = match (count(Status::Passed), cached) {
        (passed, 0) => format!("{passed} passed"),
        (passed, cached) => format!("{passed} passed ({cached} cached)"),
    };
    let others = [(Status::Failed, "failed"), (Status::TimedOut, "timed out"), (Status::NotBuilt, "not built")];
    let others =
        others.iter().filter(|(status, _)| count(*status) > 0).map(|(status, end)| format!(", {} {end}", count(*status)));
    let blank = if again.is_empty() { "" } else { "\n" };
    let tests = if reports.len() == 1 { "test" } else { "tests" };
    format!("{blank}{again}{} {tests} in {:.1}s: {passed}{}\n", reports.len(), took.as_secs_f64(), others.collect::<String>())
}

/// A test as a line of JSON.
pub fn json(report: &Report) -> String {
    format!("{}\n", json!(report))
}

/// How many tests came to which end, as a line of JSON.
pub fn json_summary(reports: &[Report], took: Duration) -> String {
    let count = |status| reports.iter().filter(|report| report.status == status).count();
    let facts = json!({
        "tests": reports.len(),
        "passed": count(Status::Passed),
        "cached": reports.iter().filter(|report| report.cached).count(),
        "failed": count(Status::Failed),
        "timed_out": count(Status::TimedOut),
        "not_built": count(Status::NotBuilt),
        "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    });
    format!("{}\n", json!({ "summary": facts }))
}

#[cfg(test)]
mod tests {
    use ouro_rules::Label;

    use super::*;

    const LOOK: Look = Look { width: 8, color: false };

    fn ended(name: &str, status: Status, runs: u32, failed: u32) -> Report {
        let (label, took, log) = (Label::new("fw", name), Duration::from_millis(340), Some("a/test.log".to_owned()));
        Report { label, status, cached: false, runs, failed, took, why: None, log }
    }

    #[test]
    fn a_line_says_how_a_test_ended() {
        let cached = Report { cached: true, ..ended("a", Status::Passed, 1, 0) };
        assert_eq!(report(&cached, None, LOOK), "//fw:a    (cached) PASSED in 0.3s\n");
        let failed = Report { why: Some("exit code 3".to_owned()), ..ended("long", Status::Failed, 1, 1) };
        let text = "//fw:long  FAILED in 0.3s (exit code 3)\n  a/test.log\n";
        assert_eq!(report(&failed, None, LOOK), text);
        let printed = "---- output of //fw:long ----\nno\n---- end ----\n";
        assert_eq!(report(&failed, Some("no"), LOOK), text.to_owned() + printed);
        assert_eq!(line(&ended("a", Status::Failed, 10, 2), LOOK), "//fw:a    FAILED in 2 out of 10, in 0.3s\n");
        assert_eq!(line(&ended("a", Status::TimedOut, 1, 1), LOOK), "//fw:a    TIMEOUT in 0.3s\n");
        assert_eq!(line(&ended("a", Status::NotBuilt, 0, 0), LOOK), "//fw:a    NOT BUILT\n");
        assert_eq!(line(&ended("a", Status::Passed, 3, 0), LOOK), "//fw:a    PASSED in all 3 runs, in 0.3s\n");
    }

    #[test]
    fn the_summary_repeats_what_did_not_pass() {
        let cached = Report { cached: true, ..ended("a", Status::Passed, 1, 0) };
        let took = Duration::from_secs(2);
        assert_eq!(summary(std::slice::from_ref(&cached), took, LOOK), "1 test in 2.0s: 1 passed (1 cached)\n");
        let reports = [cached, ended("b", Status::Failed, 1, 1), ended("c", Status::NotBuilt, 0, 0)];
        let text = summary(&reports, took, LOOK);
        assert!(text.starts_with("\n//fw:b    FAILED in 0.3s\n//fw:c    NOT BUILT\n3 tests in 2.0s: "), "{text}");
        assert!(text.ends_with(": 1 passed (1 cached), 1 failed, 1 not built\n"), "{text}");
    }
}
