//! The build benchmark: `make bench`. Generates workspaces of N programs and times ouro beside its rivals in one run.
//!
//! Prints figures and the bound each must keep; exits 1 when one does not. Rounds take turns, so a machine whose speed drifts
//! slows both sides; medians and ratios are what counts. Everything lies in a temporary folder that goes away at the end.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measure;
mod report;
mod rivals;
mod standin;
mod workspace;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use measure::{Series, in_turns, ms, rounds, run};
use report::{Bound, Report};
use workspace::{Workspace, alone};

/// Programs of the clean build; the bound on its overhead is stated for this many.
const CLEAN: usize = 200;
/// Rounds of work that takes seconds, and of work that takes milliseconds.
const ROUNDS: usize = 5;
const SHORT_ROUNDS: usize = 15;

/// What this program is asked when it runs itself: to be the floor, or to tell the peak memory of a command.
const FLOOR: &str = "--look-at-all";
const PEAK: &str = "--peak-of";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(FLOOR) => rivals::look_at_all(),
        Some(PEAK) => {
            run(Command::new(&arguments[1]).args(&arguments[2..]));
            println!("{}", measure::peak_of_children());
        }
        _ => return compare(),
    }
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut report = Report::default();
    clean_build(&mut report, folder.path());
    thousand(&mut report, folder.path());
    let compiler = standin::build(&folder.path().join("standin"));
    ten_thousand(&mut report, folder.path(), &compiler);
    growth(&mut report, folder.path(), &compiler);
    if report.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same clang command lines through ouro and through `xargs -P`, each time in a workspace nobody built in before: ext4 is
/// slow to make files where many were just deleted, and only one of the two would pay for it.
fn clean_build(report: &mut Report, folder: &Path) {
    let xargs = |round| {
        let workspace = Workspace::generate(folder.join(format!("xargs{round}")), CLEAN, "");
        let commands = workspace.compile_commands();
        rivals::xargs(&workspace, &commands)
    };
    let ouro = |round| Workspace::generate(folder.join(format!("ouro{round}")), CLEAN, "").build();
    let [theirs, ours] = in_turns(ROUNDS, xargs, ouro);
    report.title("with clang");
    let work = format!("clean build, {CLEAN} programs");
    report.row(&work, &ours, Some(("xargs -P", &theirs)), Some(Bound::OfRival(1.05)));
}

/// 1,000 programs, compiled by clang.
fn thousand(report: &mut Report, folder: &Path) {
    let [ours, theirs] = pair(folder, 1_000, "");
    let null = null_builds(&ours, &theirs, SHORT_ROUNDS);
    null.row(report, "null build, 1,000 programs", 0.6);
    let touched = rounds(SHORT_ROUNDS, |round| {
        ours.touch(round * 7);
        ours.build()
    });
    let most = null.ours.wall() + Duration::from_millis(1);
    report.row("one source touched, of 1,000", &touched, None, Some(Bound::Time(most, "the null build + 1 ms".to_owned())));
    let clang = ours.compile_commands();
    let clang = rounds(SHORT_ROUNDS, |round| alone(&ours.root, &clang[round]));
    // `alone` wrote over outputs.
    ours.settle();
    let edit = |workspace: &Workspace, round: usize| workspace.edit_source(round * 7, round);
    let ninja = |round| {
        edit(&theirs, round);
        rivals::ninja(&theirs)
    };
    let ouro = |round| {
        edit(&ours, round);
        ours.build()
    };
    let [ninja, ouro] = in_turns(SHORT_ROUNDS, ninja, ouro);
    let most = clang.wall() + null.ours.wall();
    let what = format!("clang alone, {:.1} ms, + the null build", ms(clang.wall()));
    report.row("one source edited, of 1,000", &ouro, Some(("ninja", &ninja)), Some(Bound::Time(most, what)));
}

/// 10,000 programs and a compiler that takes no time.
fn ten_thousand(report: &mut Report, folder: &Path, compiler: &Path) {
    report.title("with a compiler that takes no time");
    let [ours, theirs] = pair(folder, 10_000, &settings(compiler));
    let null = null_builds(&ours, &theirs, SHORT_ROUNDS);
    null.row(report, "null build, 10,000 programs", 0.5);
    report.row("  the least: stat of every file", &null.floor, None, None);

    let standin = ours.compile_commands();
    let standin = rounds(SHORT_ROUNDS, |round| alone(&ours.root, &standin[round]));
    ours.settle();
    let edited = rounds(SHORT_ROUNDS, |round| {
        ours.edit_build_file(round * 7, round);
        ours.build()
    });
    let most = 3 * null.ours.wall() + standin.wall();
    let what = "3 null builds + the compiler".to_owned();
    report.row("one BUILD file edited, of 10,000", &edited, None, Some(Bound::Time(most, what)));

    let load = load_and_analyse(&ours);
    let most = Bound::Time(Duration::from_millis(200), "whole process".to_owned());
    report.row("load, analyse and plan 10,000 programs", &load, None, Some(most));
    query(report, &ours);
    report.figure("  its peak memory", peak(&ours, &["build", "--nobuild", "//..."]), 100.0, "MB");
    ours.edit_build_file(0, SHORT_ROUNDS);
    report.figure("peak memory, one BUILD file edited", peak(&ours, &["build", "//..."]), 100.0, "MB");
    remove([ours, theirs]);
}

/// Every dependency of everything; timed once `ouro` has the command.
fn query(report: &mut Report, workspace: &Workspace) {
    let work = "ouro query 'deps(//...)', 10,000 programs";
    if !workspace.command(&["query", "--help"]).output().is_ok_and(|help| help.status.success()) {
        return report.absent(work, "no such command yet");
    }
    let query = rounds(SHORT_ROUNDS, |_| workspace.ouro(&["query", "deps(//...)"]));
    report.row(work, &query, None, Some(Bound::Time(Duration::from_millis(80), "whole process".to_owned())));
}

/// The same work at three sizes: the last column must not grow.
fn growth(report: &mut Report, folder: &Path, compiler: &Path) {
    report.title("growth, and in brackets time on CPUs; a program's share must stay the same");
    for count in [1_000, 10_000, 50_000] {
        let count_rounds = if count > 10_000 { ROUNDS } else { SHORT_ROUNDS };
        let [ours, theirs] = pair(&folder.join("growth"), count, &settings(compiler));
        let null = null_builds(&ours, &theirs, count_rounds);
        report.row(&format!("null build, {count}"), &null.ours, Some(("ninja", &null.ninja)), None);
        report.row("  the least: stat of every file", &null.floor, None, None);
        let load = load_and_analyse(&ours);
        let share = |series: &Series| 1e6 * series.wall().as_secs_f64() / count as f64;
        report.row(&format!("load, analyse and plan, {count}"), &load, None, None);
        report.absent("  for each program", &format!("null {:.1} µs, load {:.1} µs", share(&null.ours), share(&load)));
        remove([ours, theirs]);
    }
}

/// Null builds of ouro, of ninja, and the least of both.
struct NullBuilds {
    ours: Series,
    ninja: Series,
    floor: Series,
}

impl NullBuilds {
    fn row(&self, report: &mut Report, work: &str, of_ninja: f64) {
        report.row(work, &self.ours, Some(("ninja", &self.ninja)), Some(Bound::OfRival(of_ninja)));
    }
}

fn null_builds(ours: &Workspace, theirs: &Workspace, count: usize) -> NullBuilds {
    let [ninja, null] = in_turns(count, |_| rivals::ninja(theirs), |_| ours.build());
    rivals::write_list(ours);
    NullBuilds { ours: null, ninja, floor: rounds(count, |_| rivals::floor(ours)) }
}

fn load_and_analyse(workspace: &Workspace) -> Series {
    rounds(SHORT_ROUNDS.min(500_000 / workspace.count), |_| workspace.ouro(&["build", "--nobuild", "//..."]))
}

/// The same programs for ouro and for ninja, both built with nothing left to do.
fn pair(folder: &Path, count: usize, settings: &str) -> [Workspace; 2] {
    let [ours, theirs] =
        ["ouro", "ninja"].map(|name| Workspace::generate(folder.join(format!("{name}{count}")), count, settings));
    let commands = theirs.compile_commands();
    rivals::write_ninja(&theirs, &commands);
    rivals::ninja(&theirs);
    ours.settle();
    [ours, theirs]
}

fn settings(compiler: &Path) -> String {
    format!("[toolchain]\nclang = \"{}\"\n", compiler.display())
}

/// The most memory a command holds at once, in MB. This program measures it in a small process of its own: a child begins with
/// the memory of its parent, and that is counted.
fn peak(workspace: &Workspace, arguments: &[&str]) -> f64 {
    let ouro = workspace.command(arguments);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(PEAK).arg(ouro.get_program()).args(arguments).current_dir(&workspace.root).env_remove("OURO_CACHE");
    let output = command.output().expect("this program");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Large trees go as soon as they are of no more use.
fn remove(workspaces: [Workspace; 2]) {
    workspaces.iter().for_each(|workspace| fs::remove_dir_all(&workspace.root).expect("an own folder"));
}
