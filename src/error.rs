//! What can go wrong with a command, and the exit code it ends with.
//!
//! The one place where errors of all crates become kinds, hints and codes.

use ouro_engine::workspace::SETTINGS_FILE;
use ouro_rules::Diagnostic;
use ouro_rules::diagnostic::Severity;

/// A command's failure.
#[derive(Debug)]
pub struct CliError {
    /// Its kind; decides the exit code.
    pub kind: Kind,
    /// What is shown; empty when everything was shown already.
    pub findings: Vec<Diagnostic>,
}

/// Kinds of failures, by exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: it failed: something is wrong in BUILD files or sources, an action failed, a deploy did.
    Failed,
    /// 2: what is asked for, on the command line or in `ouro.toml`, makes no sense here or is not there.
    Usage,
    /// 3: not allowed or not supported here, or a tool is missing.
    Refused,
    /// 4: tests did not pass.
    TestsFailed,
    /// 5: there was no test to run.
    NoTests,
    /// 10: there is something to do.
    Changes,
    /// 130: interrupted.
    Interrupted,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::TestsFailed => 4,
            Kind::NoTests => 5,
            Kind::Changes => 10,
            Kind::Interrupted => 130,
        }
    }
}

impl CliError {
    /// A failure with one message.
    pub fn new(kind: Kind, message: impl Into<String>) -> CliError {
        CliError { kind, findings: vec![Diagnostic::bare(message)] }
    }

    /// The same, with a remedy.
    pub fn help(mut self, text: impl Into<String>) -> CliError {
        let text = text.into();
        self.findings.iter_mut().for_each(|finding| finding.help = Some(text.clone()));
        self
    }
}

impl From<Vec<Diagnostic>> for CliError {
    fn from(findings: Vec<Diagnostic>) -> CliError {
        let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error).peekable();
        let settings = |finding: &Diagnostic| finding.span.as_ref().is_some_and(|span| *span.file == *SETTINGS_FILE);
        let is_asked = errors.peek().is_some() && errors.all(|finding| finding.is_asked || settings(finding));
        CliError { kind: if is_asked { Kind::Usage } else { Kind::Failed }, findings }
    }
}

/// An I/O error of a file that the command line names: one that is not there is no failure.
pub fn named(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> CliError {
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::Usage } else { Kind::Failed };
        CliError { kind, ..io(doing)(error) }
    }
}

/// An I/O error with what was being done.
pub fn io(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> CliError {
    move |error| CliError::new(Kind::Failed, format!("{doing}: {error}"))
}
