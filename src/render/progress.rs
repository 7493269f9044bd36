//! Draws the engine's events: one bar on a terminal, a line for each action elsewhere.
//!
//! Does not know what actions do, nor who runs them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ouro_engine::event::{Event, How, Work};
use ouro_engine::execute::Step;
use ouro_rules::{Diagnostic, Label};

use super::compiler;
use super::output::{Ink, Output, Verbosity, paint};
use super::sources::Sources;

/// How many actions came to which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Ran and succeeded.
    pub ran: usize,
    /// Answered from the cache.
    pub cached: usize,
    /// There and current.
    pub up_to_date: usize,
    /// Files merely written.
    pub written: usize,
    /// Failed.
    pub failed: usize,
    /// Files that were put back, no action looked at.
    pub restored: usize,
}

impl Counts {
    fn done(&self) -> usize {
        self.ran + self.cached + self.up_to_date + self.written + self.failed
    }
}

/// Draws the events of one build. Threads may share it.
pub struct Progress<'a> {
    output: &'a Output,
    sources: &'a Sources,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    planned: usize,
    /// The first action of each configuration; empty when there is one.
    configurations: Vec<(usize, Arc<str>)>,
    counts: Counts,
    running: BTreeMap<usize, String>,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    /// A drawer that writes to `output`, with source lines from `sources`.
    pub fn new(output: &'a Output, sources: &'a Sources) -> Progress<'a> {
        Progress { output, sources, state: Mutex::default() }
    }

    /// Draws one event.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Waiting { pid } => {
                let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                self.output.status(&format!("waiting for another ouro that works in this workspace{who}\n"));
            }
            Event::WaitingForCache => self.output.status("waiting for another ouro that makes the cache smaller\n"),
            Event::Configured { name, first } => self.update(|state| state.configurations.push((*first, name.clone()))),
            // Phases are short; those who want to know ask for a profile.
            Event::Began(_) | Event::Ended(_) => {}
            Event::Planned { actions } => self.update(|state| state.planned = *actions),
            Event::Started { action, mnemonic, owner } => self.started(*action, self.name(*action, mnemonic, owner)),
            Event::Finished { action, mnemonic, owner, work, how, took, output } => {
                self.finished(*action, &|| self.name(*action, mnemonic, owner), *work, *how, *took, output);
            }
            Event::Failed { action, mnemonic, owner, output, findings } => {
                self.failed(*action, &self.name(*action, mnemonic, owner), output, findings);
            }
            Event::Restored { files } => self.update(|state| state.counts.restored += files),
            // Standard output can only be closed; the build's own result says what to do then.
            Event::Troubled(finding) => drop(self.output.findings(std::slice::from_ref(finding), self.sources)),
            Event::Stopped { action, .. } => self.update(|state| drop(state.running.remove(action))),
        }
    }

    /// Takes the bar away and tells how many actions came to which end.
    pub fn finish(self) -> Counts {
        self.output.hide_bar();
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).counts
    }

    /// The bar appears with the first action that really runs: a build with nothing to do does not flicker.
    fn started(&self, action: usize, name: String) {
        let settings = self.output.settings();
        let wanted = settings.err.terminal && settings.verbosity > Verbosity::Quiet;
        self.update(|state| {
            if wanted && state.bar.is_none() {
                let bar = bar(settings.err.color);
                self.output.show_bar(bar.clone());
                state.bar = Some(bar);
            }
            state.running.insert(action, name);
        });
    }

    fn finished(&self, action: usize, name: &dyn Fn() -> String, work: Work, how: How, took: Duration, output: &str) {
        self.update(|state| {
            state.running.remove(&action);
            match how {
                // A file that was merely written is no work worth counting.
                How::Ran if work == Work::Write => state.counts.written += 1,
                How::Ran => state.counts.ran += 1,
                How::Cached => state.counts.cached += 1,
                How::UpToDate => state.counts.up_to_date += 1,
            }
        });
        let line = self.line(name, work, how, took, output).unwrap_or_default();
        if !line.is_empty() || !output.is_empty() {
            self.output.say(&(line + &whole_lines(output)));
        }
        self.printed(output);
    }

    /// Tells programs what a compiler told people.
    fn printed(&self, output: &str) {
        if self.output.settings().json {
            // Standard output can only be closed; the build's own result says what to do then.
            let _ = self.output.findings(&compiler::findings(output), self.sources);
        }
    }

    /// The line for an action that is done: always when it printed something, else as asked.
    fn line(&self, name: &dyn Fn() -> String, work: Work, how: How, took: Duration, output: &str) -> Option<String> {
        let settings = self.output.settings();
        let listed = match settings.verbosity {
            Verbosity::Quiet => false,
            Verbosity::Normal => how == How::Ran && work == Work::Process && !settings.err.terminal,
            Verbosity::Verbose => true,
        };
        // Of thousands that were up to date nobody wants a line, so none is made.
        if !listed && output.is_empty() {
            return None;
        }
        let end = match how {
            How::Ran => duration(took),
            How::Cached => "cached".to_owned(),
            How::UpToDate => "up to date".to_owned(),
        };
        Some(format!("{} {}\n", name(), paint(settings.err.color, Ink::Dim, &end)))
    }

    fn failed(&self, action: usize, name: &str, output: &str, findings: &[Diagnostic]) {
        self.update(|state| {
            state.running.remove(&action);
            state.counts.failed += 1;
        });
        let failed = paint(self.output.settings().err.color, Ink::Red, "failed");
        let json = self.output.settings().json;
        // People read from above: what is told with a remedy comes first, and what the tool says of the same not at all.
        let said = if json { output.to_owned() } else { compiler::without(output, findings) };
        let (before, after) = if json { (said.as_str(), "") } else { ("", said.as_str()) };
        self.output.say(&format!("{name} {failed}\n{}", whole_lines(before)));
        self.printed(output);
        // Standard output can only be closed; the build's own result says what to do then.
        let _ = self.output.findings(findings, self.sources);
        if !after.is_empty() {
            self.output.say(&whole_lines(after));
        }
    }

    /// What an action does and for whom; for which configuration, when there are several.
    fn name(&self, action: usize, mnemonic: &str, owner: &Label) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.configurations.iter().rev().find(|(first, _)| *first <= action) {
            Some((_, configuration)) => format!("{mnemonic} {owner} [{configuration}]"),
            None => format!("{mnemonic} {owner}"),
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if let Some(bar) = &state.bar {
            bar.set_length(state.planned as u64);
            bar.set_position(state.counts.done() as u64);
            bar.set_message(state.running.values().cloned().collect::<Vec<_>>().join(", "));
        }
    }
}

fn bar(color: bool) -> ProgressBar {
    let template = if color {
        "{prefix:.cyan.bold} [{bar:24}] {pos}/{len} {elapsed} {wide_msg:.dim}"
    } else {
        "{prefix} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}"
    };
    let style = ProgressStyle::with_template(template).expect("BUG: the template is fixed").progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style).with_prefix("building");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The text, ending in a line feed unless empty.
fn whole_lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// For people: `34 ms`, `1.24 s`, `2 min 5 s`.
pub fn duration(took: Duration) -> String {
    match took.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.2} s", took.as_secs_f64()),
        _ => format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}

/// The last line of a build, without its end: `built 5 targets in 0.41 s: 4 actions ran, 12 cached, 3 up to date`.
pub fn summary(targets: usize, took: Duration, counts: &Counts) -> String {
    let seconds = if took.as_secs() < 60 { format!("{:.2} s", took.as_secs_f64()) } else { duration(took) };
    let parts = [(counts.failed, "failed"), (counts.ran, "ran"), (counts.cached, "cached"), (counts.up_to_date, "up to date")];
    let parts = parts.iter().filter(|(number, _)| *number > 0).enumerate();
    let restored = Some(counts.restored).filter(|files| *files > 0).map(|files| format!("{} restored", plural(files, "file")));
    let ends: Vec<String> = restored.into_iter().chain(parts.map(|(place, (number, end))| part(place, *number, end))).collect();
    let ends = if ends.is_empty() { "nothing to do".to_owned() } else { ends.join(", ") };
    match counts.failed {
        0 => format!("built {} in {seconds}: {ends}", plural(targets, "target")),
        _ => format!("build failed after {seconds}: {ends}"),
    }
}

/// How many actions of the critical path are named.
const NAMED: usize = 5;

/// The chain of actions that bounded a build, without its line end: how long it took and its longest actions, in their order.
pub fn critical_path(path: &[Step]) -> String {
    let whole: Duration = path.iter().map(|step| step.took).sum();
    let mut longest: Vec<usize> = (0..path.len()).collect();
    longest.sort_by_key(|place| std::cmp::Reverse(path[*place].took));
    longest.truncate(NAMED);
    // What took no time bounds nothing.
    let named = longest.iter().filter(|place| path[**place].took >= Duration::from_millis(1)).count();
    longest.truncate(named.max(1));
    longest.sort_unstable();
    let named = longest.iter().map(|place| &path[*place]);
    let mut parts: Vec<String> = named.map(|step| format!("{} {} {}", step.mnemonic, step.owner, duration(step.took))).collect();
    if path.len() > longest.len() {
        parts.push(format!("and {} shorter", path.len() - longest.len()));
    }
    format!("critical path {}: {}", duration(whole), parts.join(", "))
}

/// Only the first part says what is counted.
fn part(place: usize, number: usize, end: &str) -> String {
    if place == 0 { format!("{} {end}", plural(number, "action")) } else { format!("{number} {end}") }
}

fn plural(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::output::{Settings, memory};
    use super::*;

    fn started(action: usize, name: &str) -> Event {
        Event::Started { action, mnemonic: "compile".into(), owner: Label::new("fw", name) }
    }

    fn finished(action: usize, name: &str, how: How, output: &str) -> Event {
        let took = Duration::from_millis(34);
        let (mnemonic, owner, work) = ("compile".into(), Label::new("fw", name), Work::Process);
        Event::Finished { action, mnemonic, owner, work, how, took, output: output.to_owned() }
    }

    /// What the engine does itself.
    fn done_inside(action: usize, mnemonic: &str, work: Work) -> Event {
        let (owner, took) = (Label::new("fw", "parse"), Duration::ZERO);
        Event::Finished { action, mnemonic: mnemonic.into(), owner, work, how: How::Ran, took, output: String::new() }
    }

    fn failed(action: usize, name: &str) -> Event {
        let findings = vec![Diagnostic::bare("undeclared jump")];
        Event::Failed { action, mnemonic: "inspect".into(), owner: Label::new("fw", name), output: String::new(), findings }
    }

    fn drawn(settings: Settings, events: &[Event]) -> (String, Counts) {
        let (output, _, err) = memory::output(settings);
        let sources = Sources::default();
        let progress = Progress::new(&output, &sources);
        events.iter().for_each(|event| progress.event(event));
        let counts = progress.finish();
        (err.text(), counts)
    }

    #[test]
    fn without_a_terminal_each_action_that_ran_is_a_line() {
        let events = [
            Event::Waiting { pid: Some(7) },
            Event::Planned { actions: 4 },
            started(0, "parse"),
            finished(0, "parse", How::Ran, ""),
            finished(1, "allow", How::Cached, ""),
            finished(2, "limit", How::UpToDate, ""),
            failed(3, "block"),
        ];
        let (text, counts) = drawn(Settings::default(), &events);
        let waiting = "waiting for another ouro that works in this workspace (process 7)\n";
        let text = text.strip_prefix(waiting).unwrap();
        assert_eq!(text, "compile //fw:parse 34 ms\ninspect //fw:block failed\nerror: undeclared jump\n");
        assert_eq!(counts, Counts { ran: 1, cached: 1, up_to_date: 1, failed: 1, written: 0, restored: 0 });
        let (text, _) = drawn(Settings { verbosity: Verbosity::Verbose, ..Settings::default() }, &events[4..6]);
        assert_eq!(text, "compile //fw:allow cached\ncompile //fw:limit up to date\n");
    }

    #[test]
    fn what_the_engine_does_itself_is_for_those_who_ask() {
        let events = [done_inside(0, "header", Work::Write), done_inside(1, "inspect", Work::Function)];
        let (text, counts) = drawn(Settings::default(), &events);
        assert_eq!((text.as_str(), counts), ("", Counts { ran: 1, written: 1, ..Counts::default() }));
        let (text, _) = drawn(Settings { verbosity: Verbosity::Verbose, ..Settings::default() }, &events);
        assert_eq!(text, "header //fw:parse 0 ms\ninspect //fw:parse 0 ms\n");
    }

    #[test]
    fn what_a_tool_printed_is_shown_even_when_cached_or_quiet() {
        let events = [finished(0, "parse", How::Cached, "parse.c:1: warning: w")];
        let quiet = Settings { verbosity: Verbosity::Quiet, ..Settings::default() };
        assert_eq!(drawn(quiet, &events).0, "compile //fw:parse cached\nparse.c:1: warning: w\n");
    }

    #[test]
    fn outputs_of_parallel_actions_stay_whole() {
        let (output, _, err) = memory::output(Settings::default());
        let sources = Sources::default();
        let progress = Progress::new(&output, &sources);
        thread::scope(|scope| {
            for action in 0..16 {
                let progress = &progress;
                scope.spawn(move || {
                    progress.event(&started(action, "p"));
                    progress.event(&finished(action, "p", How::Ran, "one\ntwo\n"));
                });
            }
        });
        assert_eq!(progress.finish().ran, 16);
        assert_eq!(err.text(), "compile //fw:p 34 ms\none\ntwo\n".repeat(16));
    }

    #[test]
    fn the_summary_says_what_happened() {
        let took = Duration::from_millis(410);
        let counts = Counts { ran: 4, cached: 12, up_to_date: 3, ..Counts::default() };
        assert_eq!(summary(5, took, &counts), "built 5 targets in 0.41 s: 4 actions ran, 12 cached, 3 up to date");
        let null = Counts { up_to_date: 1, ..Counts::default() };
        assert_eq!(summary(1, took, &null), "built 1 target in 0.41 s: 1 action up to date");
        assert_eq!(summary(0, took, &Counts::default()), "built 0 targets in 0.41 s: nothing to do");
        let failed = Counts { failed: 1, ran: 2, ..Counts::default() };
        assert_eq!(summary(5, took, &failed), "build failed after 0.41 s: 1 action failed, 2 ran");
    }

    #[test]
    fn the_critical_path_names_its_longest_actions_in_order() {
        let step = |name: &str, millis: u64| Step {
            mnemonic: "compile".into(),
            owner: Label::new("fw", name),
            took: Duration::from_millis(millis),
        };
        let path = [step("a", 10), step("b", 1990)];
        assert_eq!(critical_path(&path), "critical path 2.00 s: compile //fw:a 10 ms, compile //fw:b 1.99 s");
        assert_eq!(
            critical_path(&[step("a", 0), step("b", 2), step("c", 0)]),
            "critical path 2 ms: compile //fw:b 2 ms, and 2 shorter"
        );
        let many: Vec<Step> = (1..8).map(|n| step(&format!("p{n}"), n)).collect();
        let text = critical_path(&many);
        assert!(text.starts_with("critical path 28 ms: compile //fw:p3 3 ms, ") && text.ends_with(", and 2 shorter"), "{text}");
    }

    #[test]
    fn programs_get_a_compilers_words_as_findings_and_people_as_they_are() {
        let events = [finished(0, "parse", How::Cached, "fw/parse.c:1:2: warning: w\n")];
        let (output, out, err) = memory::output(Settings { json: true, ..Settings::default() });
        let sources = Sources::default();
        Progress::new(&output, &sources).event(&events[0]);
        assert!(
            out.text().contains("\"message\":\"w\"") && out.text().contains("\"file\":\"fw/parse.c\",\"line\":1"),
            "{}",
            out.text()
        );
        assert_eq!(err.text(), "compile //fw:parse cached\nfw/parse.c:1:2: warning: w\n");
    }

    #[test]
    fn durations_are_for_people() {
        assert_eq!(duration(Duration::from_millis(34)), "34 ms");
        assert_eq!(duration(Duration::from_millis(1240)), "1.24 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
    }
}
