//! The build benchmark: `make bench`. Generates workspaces of N programs and times ouro beside its rivals in one run.
//!
//! Prints figures and the bound each must keep; exits 1 when one does not. Rounds take turns, so a machine whose speed drifts
//! slows both sides; medians and ratios are what counts. Everything lies in a temporary folder that goes away at the end.
//!
//! `cargo bench --bench build -- thousand` measures one part alone; see [`PARTS`].

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measure;
#[allow(dead_code, reason = "the deploy benchmark uses more of it")]
mod report;
mod rivals;
mod standin;
mod workspace;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use measure::{Series, in_three_turns, in_turns, ms, rounds, run};
use report::{Bound, Report};
use workspace::{Shape, Workspace, alone};

/// What can be measured alone.
const PARTS: [&str; 4] = ["clean", "thousand", "ten-thousand", "fifty-thousand"];
/// Programs of the clean build; the bound on its overhead is stated for this many.
const CLEAN: usize = 200;
/// Programs that see the kernel's types.
const CO_RE: usize = 50;
/// Rounds of work that takes seconds, of work that takes longer, and of work that takes milliseconds.
const ROUNDS: usize = 5;
const LONG_ROUNDS: usize = 3;
const SHORT_ROUNDS: usize = 15;
/// Rounds of work that takes seconds, when milliseconds of it matter.
const FINE_ROUNDS: usize = 9;

/// Ninja's null build of 10,000 programs on the machine where bounds in milliseconds were set: they stretch as it does here.
const REFERENCE: Duration = Duration::from_millis(51);

/// A run of the compiler on that machine.
const REFERENCE_COMPILE: Duration = Duration::from_millis(35);

/// What this program is asked when it runs itself: to be the floor, or to tell the peak memory of a command.
const LOOK: &str = "--look-at-all";
const LINK: &str = "--link-all";
const PEAK: &str = "--peak-of";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(LOOK) => rivals::look_at_all(),
        Some(LINK) => rivals::link_all(),
        Some(PEAK) => {
            run(Command::new(&arguments[1]).args(&arguments[2..]));
            println!("{}", measure::peak_of_children());
        }
        _ => return compare(&arguments.into_iter().filter(|argument| PARTS.contains(&argument.as_str())).collect::<Vec<_>>()),
    }
    ExitCode::SUCCESS
}

/// Measures these parts; all when there are none.
fn compare(parts: &[String]) -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let mut report = Report::default();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut sizes = Vec::new();
    if is_wanted("clean") {
        clean_build(&mut report, folder);
        clean_co_re(&mut report, folder);
        clean_thousand(&mut report, folder);
        each_action(&mut report, folder);
    }
    if is_wanted("thousand") {
        sizes.push(thousand(&mut report, folder));
    }
    let compiler = standin::build(&folder.join("standin"));
    if is_wanted("ten-thousand") {
        sizes.push(ten_thousand(&mut report, folder, &compiler));
    }
    if is_wanted("fifty-thousand") {
        let [ours, theirs] = pair(folder, Shape::Alone(50_000), &settings(&compiler));
        sizes.push(Size::measure(&ours, &theirs, ROUNDS));
    }
    growth(&mut report, &sizes);
    if report.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same through ouro and through ninja, and how much of it is due to compilers that are kept warm.
fn clean_thousand(report: &mut Report, folder: &Path) {
    let generate = |name: &str, round| Workspace::generate(folder.join(format!("{name}-clean{round}")), Shape::Tens(1_000), "");
    let ninja = |round| {
        let workspace = generate("ninja", round);
        rivals::write_ninja(&workspace, &workspace.compile_commands());
        rivals::ninja(&workspace)
    };
    let [theirs, ours] = in_turns(LONG_ROUNDS, ninja, |round| generate("ouro", round).build());
    report.row("clean build, 1,000 programs", &ours, Some(("ninja", &theirs)), Some(Bound::OfRival(0.6)));
    let cold = rounds(LONG_ROUNDS, |round| generate("cold", round).ouro(&["build", "--no-warm", "//..."]));
    report.row("  every compiler started anew", &cold, None, None);
}

/// The same clang command lines through ouro and through `xargs -P`, each time in a workspace nobody built in before: ext4 is
/// slow to make files where many were just deleted, and only one of the two would pay for it.
fn clean_build(report: &mut Report, folder: &Path) {
    let xargs = |round| {
        let workspace = Workspace::generate(folder.join(format!("xargs{round}")), Shape::Alone(CLEAN), "");
        let commands = workspace.compile_commands();
        rivals::xargs(&workspace, &commands)
    };
    let ouro = |round| Workspace::generate(folder.join(format!("ouro{round}")), Shape::Alone(CLEAN), "").build();
    let [theirs, ours] = in_turns(ROUNDS, xargs, ouro);
    report.title("with clang");
    let work = format!("clean build, {CLEAN} programs");
    report.row(&work, &ours, Some(("xargs -P", &theirs)), Some(Bound::OfRival(1.05)));
}

/// Programs that see the kernel's types: the parts they can reach, beside clang and all of them.
fn clean_co_re(report: &mut Report, folder: &Path) {
    let work = format!("clean build, {CO_RE} CO-RE programs");
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return report.note(&work, "this kernel does not tell its types");
    }
    let xargs = |round| {
        let whole = Workspace::generate_co_re(folder.join(format!("whole{round}")), CO_RE, ", slim = False");
        let commands = whole.compile_commands();
        rivals::xargs(&whole, &commands)
    };
    let ouro = |round| Workspace::generate_co_re(folder.join(format!("slim{round}")), CO_RE, "").build();
    let [theirs, ours] = in_turns(LONG_ROUNDS, xargs, ouro);
    report.row(&work, &ours, Some(("xargs -P", &theirs)), Some(Bound::OfRival(0.25)));
}

/// What the sandbox and the cache cost each action, over the compiler that it starts anew like any other. By time on CPUs: it
/// is spread over all cores. Which compiler it is has been found out before, once for all builds to come; and what it takes to know
/// the actions, which xargs is given, does not count.
fn each_action(report: &mut Report, folder: &Path) {
    let generate = |name: &str, round| Workspace::generate(folder.join(format!("{name}-each{round}")), Shape::Alone(CLEAN), "");
    let plain = |round| {
        let workspace = generate("plain", round);
        rivals::xargs(&workspace, &workspace.compile_commands())
    };
    let caged = |round| {
        let workspace = generate("caged", round);
        workspace.ouro(&["generate", "//..."]);
        let planned = workspace.ouro(&["build", "--nobuild", "//..."]);
        workspace.ouro(&["build", "--no-warm", "//..."]).without(planned)
    };
    let [plain, ours] = in_turns(FINE_ROUNDS, plain, caged);
    let most = (Duration::from_millis(1), REFERENCE_COMPILE);
    report.each("sandbox and cache of an action", &ours, ("xargs -P", &plain), CLEAN, most);
}

/// Outputs that are gone and in the cache, through ouro and through ninja with ccache.
fn restore_thousand(report: &mut Report, ours: &Workspace, folder: &Path) {
    let work = "outputs restored, 1,000 programs";
    let Some(ccache) = rivals::Ccache::find(folder) else { return report.note(work, "ccache is not installed") };
    let theirs = Workspace::generate(folder.join("ccache"), Shape::Tens(1_000), "");
    ccache.write_ninja(&theirs, &theirs.compile_commands());
    rivals::ninja(&theirs);
    let theirs_again = |_| {
        theirs.remove_outputs();
        theirs.ouro(&["generate", "//..."]);
        rivals::ninja(&theirs)
    };
    let ours_again = |_| {
        ours.remove_outputs();
        ours.build()
    };
    let [ccache, again] = in_turns(ROUNDS, theirs_again, ours_again);
    report.row(work, &again, Some(("ccache", &ccache)), Some(Bound::OfRival(0.05)));
    remove([theirs]);
}

/// 1,000 programs, compiled by clang.
fn thousand(report: &mut Report, folder: &Path) -> Size {
    let [ours, theirs] = pair(folder, Shape::Tens(1_000), "");
    let size = Size::measure(&ours, &theirs, SHORT_ROUNDS);
    report.row("null build, 1,000 programs", &size.null, Some(("ninja", &size.ninja)), Some(Bound::OfRival(0.6)));
    let touched = rounds(SHORT_ROUNDS, |round| {
        ours.touch(round * 7);
        ours.build()
    });
    let most = size.null.wall() + Duration::from_millis(1);
    report.row("one source touched, of 1,000", &touched, None, Some(Bound::Time(most, "the null build + 1 ms".to_owned())));
    let commands = theirs.compile_commands();
    let edit = |workspace: &Workspace, round: usize| workspace.edit_source(round * 7, round);
    let ninja = |round| {
        edit(&theirs, round);
        rivals::ninja(&theirs)
    };
    // What ninja has just had compiled: a compiler that runs again and again takes less than one that others run between.
    let clang = |round: usize| alone(&theirs.root, &commands[round * 7]);
    let ouro = |round| {
        edit(&ours, round);
        ours.build()
    };
    let [ninja, clang, ouro] = in_three_turns(SHORT_ROUNDS, ninja, clang, ouro);
    let most = clang.wall() + size.null.wall();
    let what = format!("clang alone, {:.1} ms, + the null build", ms(clang.wall()));
    report.row("one source edited, of 1,000", &ouro, Some(("ninja", &ninja)), Some(Bound::Time(most, what)));
    restore_thousand(report, &ours, folder);
    remove([ours, theirs]);
    size
}

/// 10,000 programs and a compiler that takes no time.
fn ten_thousand(report: &mut Report, folder: &Path, compiler: &Path) -> Size {
    report.title("with a compiler that takes no time");
    let [ours, theirs] = pair(folder, Shape::Alone(10_000), &settings(compiler));
    let size = Size::measure(&ours, &theirs, SHORT_ROUNDS);
    report.row("null build, 10,000 programs", &size.null, Some(("ninja", &size.ninja)), Some(Bound::OfRival(0.5)));
    let standin = ours.compile_commands();
    let standin = rounds(SHORT_ROUNDS, |round| alone(&ours.root, &standin[round]));
    ours.settle();
    let edited = rounds(SHORT_ROUNDS, |round| {
        ours.edit_build_file(round * 7, round);
        ours.build()
    });
    let most = 3 * size.null.wall() + standin.wall();
    let what = "3 null builds + the compiler".to_owned();
    report.row("one BUILD file edited, of 10,000", &edited, None, Some(Bound::Time(most, what)));

    report.row("load, analyse and plan 10,000 programs", &size.load, None, Some(stretched(200, &size.ninja)));
    report.memory("  its peak memory", peak(&ours, &["build", "--nobuild", "//..."]), Some(100.0));
    ours.edit_build_file(0, SHORT_ROUNDS);
    report.memory("peak memory, one BUILD file edited", peak(&ours, &["build", "//..."]), Some(100.0));
    query(report, &ours, &size.ninja);
    restore(report, "outputs restored, 10,000 programs, each alone", &ours, None);
    remove([ours, theirs]);
    let ours = Workspace::generate(folder.join("tens"), Shape::Tens(10_000), &settings(compiler));
    ours.settle();
    restore(report, "outputs restored, 10,000 programs", &ours, Some(stretched(150, &size.ninja)));
    remove([ours]);
    size
}

/// Outputs that are gone and in the cache, beside the least that putting them back takes.
fn restore(report: &mut Report, work: &str, ours: &Workspace, bound: Option<Bound>) {
    rivals::write_outputs(ours);
    let least = |_| {
        ours.remove_outputs();
        rivals::least(ours, LINK)
    };
    let ouro = |_| {
        ours.remove_outputs();
        ours.build()
    };
    let [least, ouro] = in_turns(ROUNDS, least, ouro);
    report.row(work, &ouro, Some(("links", &least)), bound);
}

/// Every dependency of everything.
fn query(report: &mut Report, workspace: &Workspace, ninja: &Series) {
    let query = rounds(SHORT_ROUNDS, |_| workspace.ouro(&["query", "deps(//...)"]));
    report.row("ouro query 'deps(//...)', 10,000 programs", &query, None, Some(stretched(80, ninja)));
    let edited = rounds(ROUNDS, |round| {
        workspace.edit_build_file(round * 7, 2 * SHORT_ROUNDS + round);
        workspace.ouro(&["query", "deps(//...)"])
    });
    report.row("  after an edit of a BUILD file", &edited, None, None);
}

/// A bound that was set where ninja's null build took [`REFERENCE`].
fn stretched(milliseconds: u64, ninja: &Series) -> Bound {
    let factor = ninja.wall().as_secs_f64() / REFERENCE.as_secs_f64();
    let what = format!("{milliseconds} ms where ninja's null build takes {} ms", REFERENCE.as_millis());
    Bound::Time(Duration::from_millis(milliseconds).mul_f64(factor), what)
}

/// The same work at several sizes.
fn growth(report: &mut Report, sizes: &[Size]) {
    report.title("growth: a program's share must not rise");
    for Size { count, null, ninja, floor, load } in sizes {
        report.row(&format!("null build, {count} programs"), null, Some(("ninja", ninja)), None);
        report.row("  the least: stat of every file", floor, None, None);
        report.row("  load, analyse and plan", load, None, None);
        let share = |series: &Series| 1e6 * series.cpu().as_secs_f64() / *count as f64;
        let shares = format!("null {:.1} µs, load {:.1} µs on CPUs", share(null), share(load));
        report.note("  for each program", &shares);
    }
}

/// What depends on the size of a workspace alone.
struct Size {
    count: usize,
    /// Null builds of ouro, of ninja, and the least that any tool must do.
    null: Series,
    ninja: Series,
    floor: Series,
    /// All before execution.
    load: Series,
}

impl Size {
    fn measure(ours: &Workspace, theirs: &Workspace, count: usize) -> Size {
        let [ninja, null] = in_turns(count, |_| rivals::ninja(theirs), |_| ours.build());
        rivals::write_list(ours);
        let floor = rounds(count, |_| rivals::least(ours, LOOK));
        let load = rounds(count, |_| ours.ouro(&["build", "--nobuild", "//..."]));
        Size { count: ours.count, null, ninja, floor, load }
    }
}

/// The same programs for ouro and for ninja, both built with nothing left to do.
fn pair(folder: &Path, shape: Shape, settings: &str) -> [Workspace; 2] {
    let [ours, theirs] =
        ["ouro", "ninja"].map(|name| Workspace::generate(folder.join(format!("{name}-{shape}")), shape, settings));
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
fn remove<const N: usize>(workspaces: [Workspace; N]) {
    workspaces.iter().for_each(|workspace| fs::remove_dir_all(&workspace.root).expect("an own folder"));
}
