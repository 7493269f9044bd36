//! The one place that writes to standard output and standard error, and knows what they can show.
//!
//! Does not know what the text means.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use ouro_rules::{Diagnostic, Severity};

use super::diagnostic::{self, Look};
use super::sources::Sources;

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal that can, unless `NO_COLOR` is set; also elsewhere when `CLICOLOR_FORCE` is.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Errors, warnings and what was asked for.
    Quiet,
    /// Progress too.
    #[default]
    Normal,
    /// Also what was not done, and why.
    Verbose,
}

/// What a stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stream {
    /// Whether a person looks at it.
    pub terminal: bool,
    /// Whether it takes colours.
    pub color: bool,
}

/// What all commands have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Standard output.
    pub out: Stream,
    /// Standard error.
    pub err: Stream,
    /// Columns of the terminal.
    pub width: usize,
    /// How much is said.
    pub verbosity: Verbosity,
    /// Findings as JSON on standard output.
    pub json: bool,
}

impl Settings {
    /// Looks at the environment and the terminal.
    pub fn detect(color: ColorChoice, verbosity: Verbosity, json: bool) -> Settings {
        let stream = |terminal: bool| Stream { terminal, color: wants_color(color, terminal) };
        Settings {
            out: stream(io::stdout().is_terminal()),
            err: stream(io::stderr().is_terminal()),
            width: width(),
            verbosity,
            json,
        }
    }
}

/// The meaning of `NO_COLOR` is told by no-color.org, that of `CLICOLOR_FORCE` by bixense.com/clicolors.
fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        ColorChoice::Auto => set("CLICOLOR_FORCE") || terminal && env::var_os("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// The terminal's columns; 100 where there is no terminal, so that files get the same text everywhere.
fn width() -> usize {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel fills `size`, which lives past the call and is valid when zero, too.
    let columns = unsafe {
        match libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) {
            0 => size.assume_init().ws_col,
            _ => 0,
        }
    };
    if columns == 0 { 100 } else { usize::from(columns) }
}

/// The colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Titles and names that matter.
    Bold,
    /// What may be overlooked.
    Dim,
    /// Failure, and what goes.
    Red,
    /// What is new.
    Green,
    /// What changes, and what one should know.
    Yellow,
    /// Something to type or to find again.
    Cyan,
}

/// The text in a colour, or as it is.
pub fn paint(color: bool, ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Bold => "1",
        Ink::Dim => "2",
        Ink::Red => "1;31",
        Ink::Green => "32",
        Ink::Yellow => "33",
        Ink::Cyan => "36",
    };
    if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Standard output and standard error. Threads may share it: what one call writes stays together, and above a progress bar.
pub struct Output {
    settings: Settings,
    streams: Mutex<Streams>,
}

struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    bar: Option<ProgressBar>,
    /// Whether a finding stands above: what follows is set apart from it.
    apart: bool,
}

impl Output {
    /// The process's own streams.
    pub fn standard(settings: Settings) -> Output {
        Output::new(settings, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Any streams.
    pub fn new(settings: Settings, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Output {
        Output { settings, streams: Mutex::new(Streams { out, err, bar: None, apart: false }) }
    }

    /// What the streams can show and how much is said.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Writes what was asked for to standard output. Fails when nobody reads it any more.
    pub fn fact(&self, text: &str) -> io::Result<()> {
        self.with(|streams| streams.out.write_all(text.as_bytes()).and_then(|()| streams.out.flush()))
    }

    /// Says how things go on standard error, a whole line or more, unless quiet.
    pub fn status(&self, text: &str) {
        if self.settings.verbosity > Verbosity::Quiet {
            self.say(text);
        }
    }

    /// Says something on standard error in any case.
    pub fn say(&self, text: &str) {
        self.tell(text, false);
    }

    /// Says something on standard error, behind an empty line if a finding stands above.
    fn tell(&self, text: &str, is_finding: bool) {
        if text.is_empty() {
            return;
        }
        // Nobody is left to tell that standard error is closed.
        let _ = self.with(|streams| {
            let gap = if std::mem::replace(&mut streams.apart, is_finding) { "\n" } else { "" };
            streams.err.write_all(format!("{gap}{text}").as_bytes()).and_then(|()| streams.err.flush())
        });
    }

    /// Writes findings in the order given: drawn on standard error, or as JSON lines on standard output.
    pub fn findings(&self, findings: &[Diagnostic], sources: &Sources) -> io::Result<()> {
        if self.settings.json {
            return self.fact(&findings.iter().map(diagnostic::json).collect::<String>());
        }
        let look = Look { color: self.settings.err.color, width: self.settings.width };
        let shown =
            findings.iter().filter(|finding| self.settings.verbosity > Verbosity::Quiet || finding.severity == Severity::Error);
        let drawn: Vec<String> = shown.map(|finding| diagnostic::draw(finding, &|file| sources.text(file), look)).collect();
        self.tell(&drawn.join("\n"), true);
        Ok(())
    }

    /// Shows a bar below everything written from now on; it replaces the one before.
    pub fn show_bar(&self, bar: ProgressBar) {
        self.lock().bar = Some(bar);
    }

    /// Takes the bar away.
    pub fn hide_bar(&self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn with<R>(&self, write: impl FnOnce(&mut Streams) -> R) -> R {
        let mut streams = self.lock();
        match streams.bar.clone() {
            Some(bar) => bar.suspend(|| write(&mut streams)),
            None => write(&mut streams),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Streams into memory, for tests.
#[cfg(test)]
pub(crate) mod memory {
    use super::*;
    use std::sync::Arc;

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output with its two streams.
    pub(crate) fn output(settings: Settings) -> (Output, Memory, Memory) {
        let (out, err) = (Memory::default(), Memory::default());
        (Output::new(settings, Box::new(out.clone()), Box::new(err.clone())), out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning_and_error() -> [Diagnostic; 2] {
        [Diagnostic::bare("odd").warning(), Diagnostic::bare("bad")]
    }

    #[test]
    fn facts_and_findings_go_their_own_ways() {
        let (output, out, err) = memory::output(Settings { width: 80, ..Settings::default() });
        output.fact("4\n").unwrap();
        output.status("working\n");
        output.findings(&warning_and_error(), &Sources::default()).unwrap();
        assert_eq!(out.text(), "4\n");
        output.status("done\n");
        output.findings(&warning_and_error()[..1], &Sources::default()).unwrap();
        assert_eq!(
            err.text(),
            "working\nwarning: odd\n\nerror: bad\n\ndone\nwarning: odd\n",
            "nothing but what follows a finding is set apart"
        );
    }

    #[test]
    fn quiet_keeps_errors_and_facts() {
        let (output, out, err) = memory::output(Settings { width: 80, verbosity: Verbosity::Quiet, ..Settings::default() });
        output.fact("4\n").unwrap();
        output.status("working\n");
        output.findings(&warning_and_error(), &Sources::default()).unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("4\n", "error: bad\n"));
    }

    #[test]
    fn json_findings_are_lines_on_standard_output() {
        let (output, out, err) = memory::output(Settings { json: true, ..Settings::default() });
        output.findings(&warning_and_error(), &Sources::default()).unwrap();
        assert_eq!(out.text().lines().count(), 2);
        assert!(out.text().starts_with("{\"severity\":\"warning\""));
        assert_eq!(err.text(), "");
    }

    #[test]
    fn colour_is_a_choice() {
        assert!(wants_color(ColorChoice::Always, false) && !wants_color(ColorChoice::Never, true));
        assert_eq!(paint(true, Ink::Red, "x"), "\u{1b}[1;31mx\u{1b}[0m");
        assert_eq!(paint(false, Ink::Red, "x"), "x");
    }
}
