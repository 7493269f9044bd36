//! What became of tests, as the XML of JUnit, which all that shows tests can read.
//!
//! Knows nothing of how tests are run. What tests wrote of themselves is taken as it is, when it is well-formed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ouro_rules::Label;

use super::attempt::{Attempt, End};
use super::{Report, Status, xml};
use crate::execute::process::without_colors;

/// One test case.
struct Row<'a> {
    name: String,
    took: Duration,
    /// The element and the message of what went wrong.
    wrong: Option<(&'static str, &'a str)>,
    printed: &'a str,
}

/// One document of all tests, whose own are read from beside their logs.
pub fn document(root: &Path, reports: &[Report]) -> String {
    whole(&reports.iter().map(|report| of_report(root, report)).collect::<String>())
}

/// The document of one test: what it wrote itself, or else a case for each run.
pub(super) fn of_test(label: &Label, attempts: &[Attempt]) -> String {
    let ours = || {
        let row = |(run, attempt)| row(label, attempts.len(), run, attempt);
        suite(label, &(1..).zip(attempts).map(row).collect::<Vec<_>>())
    };
    let [Attempt { xml: Some(text), end, .. }] = attempts else { return whole(&ours()) };
    let Some(own) = xml::suites(text) else { return whole(&ours()) };
    let tells = *end == End::Passed || own.contains("<failure") || own.contains("<error");
    // A test that died after it wrote that all was well.
    whole(&if tells { own.trim().to_owned() + "\n" } else { format!("{}\n{}", own.trim(), ours()) })
}

fn of_report(root: &Path, report: &Report) -> String {
    let beside = report.log.as_ref().map(|log| root.join(log).with_file_name("test.xml"));
    let text = beside.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    if let Some(suites) = xml::suites(&text) {
        return format!("{}\n", suites.trim());
    }
    let message = match (&report.why, report.status) {
        (Some(why), _) => why,
        (None, Status::NotBuilt) => "it could not be built",
        (None, _) => "it did not run",
    };
    let (name, wrong) = (report.label.name.to_string(), Some(("error", message)));
    suite(&report.label, &[Row { name, took: report.took, wrong, printed: "" }])
}

fn row<'a>(label: &Label, runs: usize, run: usize, attempt: &'a Attempt) -> Row<'a> {
    let name = if runs == 1 { label.name.to_string() } else { format!("{} (run {run} of {runs})", label.name) };
    let wrong = match &attempt.end {
        End::Passed => None,
        End::Failed(why) => Some(("failure", why.as_str())),
        End::TimedOut | End::Cancelled => Some(("failure", "it took too long")),
    };
    Row { name, took: attempt.took, wrong, printed: &attempt.printed }
}

fn whole(suites: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n")
}

fn suite(label: &Label, rows: &[Row<'_>]) -> String {
    let count = |element: &str| rows.iter().filter(|row| row.wrong.is_some_and(|(wrong, _)| wrong == element)).count();
    let (failures, errors) = (count("failure"), count("error"));
    let (tests, time) = (rows.len(), seconds(rows.iter().map(|row| row.took).sum()));
    let name = xml::escaped(&label.to_string());
    let mut text = format!(
        "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{time}\">\n"
    );
    rows.iter().for_each(|row| text += &case(label, row));
    text + "</testsuite>\n"
}

fn case(label: &Label, row: &Row<'_>) -> String {
    let class = xml::escaped(&format!("//{}", label.package));
    let mut text =
        format!("<testcase name=\"{}\" classname=\"{class}\" time=\"{}\">", xml::escaped(&row.name), seconds(row.took));
    if let Some((element, message)) = row.wrong {
        let _ = write!(text, "<{element} message=\"{}\"/>", xml::escaped(message));
    }
    if !row.printed.is_empty() {
        let _ = write!(text, "<system-out>{}</system-out>", xml::escaped(&without_colors(row.printed)));
    }
    text + "</testcase>\n"
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(end: End, printed: &str, xml: Option<&str>) -> Attempt {
        Attempt { end, took: Duration::from_millis(1500), printed: printed.to_owned(), xml: xml.map(str::to_owned) }
    }

    fn failed() -> End {
        End::Failed("exit code 1".to_owned())
    }

    #[test]
    fn each_run_is_a_case() {
        let attempts = [attempt(End::Passed, "", None), attempt(failed(), "a <b> & \x1b[31mred\x1b[0m\x07\n", None)];
        let text = of_test(&Label::new("fw", "t"), &attempts);
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n\
             <testsuite name=\"//fw:t\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"3.000\">\n\
             <testcase name=\"t (run 1 of 2)\" classname=\"//fw\" time=\"1.500\"></testcase>\n\
             <testcase name=\"t (run 2 of 2)\" classname=\"//fw\" time=\"1.500\"><failure message=\"exit code 1\"/>\
             <system-out>a &lt;b&gt; &amp; red\u{fffd}\n</system-out></testcase>\n\
             </testsuite>\n</testsuites>\n"
        );
        assert!(xml::suites(&text).is_some());
    }

    #[test]
    fn what_a_test_wrote_is_taken_unless_it_hides_a_failure() {
        let own = "<testsuite name=\"own\"><testcase name=\"one\"/></testsuite>";
        let of = |end: End, xml: &str| of_test(&Label::new("", "t"), &[attempt(end, "", Some(xml))]);
        assert_eq!(of(End::Passed, own), whole(&format!("{own}\n")));
        let text = of(failed(), own);
        assert!(text.contains(own) && text.contains("<failure message=\"exit code 1\"/>"), "{text}");
        let told = own.replace("/></", "><failure/></testcase></");
        assert_eq!(of(failed(), &told), whole(&format!("{told}\n")));
        let text = of(End::Passed, "<testsuite");
        assert!(text.contains("name=\"//:t\""), "{text}");
    }
}
