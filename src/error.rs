//! What can go wrong with a command, and the exit code it ends with.
//!
//! The one place where errors of all crates become kinds, hints and codes.

use ouro_rules::Diagnostic;

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
    /// 1: the build or deploy failed.
    Failed,
    /// 2: the command or its arguments make no sense.
    Usage,
    /// 3: not allowed or not supported here.
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
        CliError { kind: Kind::Failed, findings }
    }
}

/// An I/O error with what was being done.
pub fn io(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> CliError {
    move |error| CliError::new(Kind::Failed, format!("{doing}: {error}"))
}
