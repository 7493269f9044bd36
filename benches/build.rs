//! The build benchmark: `make bench`. Generates workspaces of N programs and times ouro beside its rival in one run.
//!
//! Prints figures and the bound each must keep; exits 1 when one does not. Rounds alternate between the two, so a machine whose
//! speed drifts slows both; ratios and medians are what counts.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const OURO: &str = env!("CARGO_BIN_EXE_ouro");
/// Programs of the clean build; the overhead bound is stated for this many.
const CLEAN: usize = 200;
/// Programs of the null build; the bound is stated for this many.
const NULL: usize = 1_000;
/// Rounds of the clean build, and of the short ones.
const ROUNDS: usize = 5;
const SHORT_ROUNDS: usize = 15;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clean = clean_build(folder.path());
    let null = null_build(folder.path());
    if clean && null { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same clang command lines through ouro and through `xargs -P`, each time in a workspace nobody built in before: ext4 is
/// slow to make files where many were just deleted, and only one of the two would pay for it.
fn clean_build(folder: &Path) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let workspace = workspace(&folder.join(format!("xargs{round}")), CLEAN);
        ouro(&workspace, &["generate", "//..."]);
        let clang = compile_commands(&workspace)[0]["arguments"][0].as_str().expect("a path").to_owned();
        let commands = command_lines(&workspace);
        theirs.push(timed(|| xargs(&workspace, &clang, &commands, cores)));
        let workspace = self::workspace(&folder.join(format!("ouro{round}")), CLEAN);
        ours.push(timed(|| ouro(&workspace, &["build", "//..."])));
    }
    let ratio = median_ratio(&ours, &theirs);
    println!("clean build of {CLEAN} programs, {cores} jobs");
    println!("  xargs -P clang  {:>9.1} ms", ms(median(&theirs)));
    println!("  ouro build      {:>9.1} ms   {:.3} of xargs (at most 1.05)", ms(median(&ours)), ratio);
    ratio <= 1.05
}

fn null_build(folder: &Path) -> bool {
    let workspace = workspace(folder, NULL);
    ouro(&workspace, &["build", "//..."]);
    // A state written within the clock's grain of its files trusts none of them; the next build settles that.
    std::thread::sleep(Duration::from_millis(50));
    ouro(&workspace, &["build", "//..."]);
    let null: Vec<Duration> = (0..SHORT_ROUNDS).map(|_| timed(|| ouro(&workspace, &["build", "//..."]))).collect();
    let edits: Vec<Duration> = (0..SHORT_ROUNDS).map(|round| edit(&workspace, round)).collect();
    let one = clang_once(&workspace);
    println!("{NULL} programs");
    println!("  null build      {:>9.1} ms   (at most 30)", ms(median(&null)));
    println!("  one edit        {:>9.1} ms   clang alone {:.1} ms", ms(median(&edits)), ms(one));
    median(&null) < Duration::from_millis(30)
}

fn edit(workspace: &Path, round: usize) -> Duration {
    let source = workspace.join(format!("p{}/p{}.c", round * 7, round * 7));
    let text = fs::read_to_string(&source).expect("a source");
    fs::write(
        &source,
        text.replace("return XDP_PASS;", &format!("return ctx->ingress_ifindex == {round} ? XDP_DROP : XDP_PASS;")),
    )
    .expect("an edit");
    timed(|| ouro(workspace, &["build", "//..."]))
}

/// One program in each of `count` packages, and a library they all include.
fn workspace(folder: &Path, count: usize) -> PathBuf {
    let root = folder.join(format!("ws{count}"));
    write(&root.join("ouro.toml"), "[cache]\ndir = \".cache\"\n");
    write(
        &root.join("lib/BUILD.ouro"),
        "bpf_library(name = \"lib\", hdrs = [\"lib.h\"], visibility = [\"//visibility:public\"])\n",
    );
    write(&root.join("lib/lib.h"), "#pragma once\n#define LIMIT 64\n");
    for index in 0..count {
        let build = format!("bpf_program(name = \"p{index}\", srcs = [\"p{index}.c\"], type = \"xdp\", deps = [\"//lib\"])\n");
        write(&root.join(format!("p{index}/BUILD.ouro")), &build);
        let source = format!(
            "#include <ouro/program.h>\n#include \"lib/lib.h\"\n\nSEC(\"xdp\")\nint p{index}(struct xdp_md *ctx)\n{{\n\tif (ctx->data_end - ctx->data < LIMIT + {index})\n\t\treturn XDP_DROP;\n\treturn XDP_PASS;\n}}\n\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
        );
        write(&root.join(format!("p{index}/p{index}.c")), &source);
    }
    root
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn compile_commands(workspace: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(workspace.join("compile_commands.json")).expect("compile_commands.json");
    serde_json::from_str(&text).expect("JSON")
}

/// What `ouro generate` says clang is run with, the arguments of one run a line, as xargs reads them.
fn command_lines(workspace: &Path) -> String {
    let commands = compile_commands(workspace);
    assert_eq!(commands.len(), CLEAN, "one command for each program");
    let mut lines = String::new();
    for command in &commands {
        // The first is the compiler, which xargs runs itself.
        let arguments = &command["arguments"].as_array().expect("arguments")[1..];
        let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{}'", argument.as_str().expect("text"))).collect();
        writeln!(lines, "{}", quoted.join(" ")).expect("memory");
    }
    lines
}

fn xargs(workspace: &Path, clang: &str, commands: &str, cores: usize) {
    let lines = workspace.join(".commands");
    fs::write(&lines, commands).expect("the command lines");
    let input = fs::File::open(&lines).expect("the command lines");
    let status = Command::new("xargs").args(["-L1", &format!("-P{cores}"), clang]).current_dir(workspace).stdin(input).status();
    assert!(status.expect("xargs").success(), "xargs failed");
}

fn clang_once(workspace: &Path) -> Duration {
    ouro(workspace, &["generate", "//..."]);
    let commands = compile_commands(workspace);
    let arguments: Vec<&str> =
        commands[0]["arguments"].as_array().expect("arguments").iter().filter_map(|argument| argument.as_str()).collect();
    let times: Vec<Duration> = (0..SHORT_ROUNDS)
        .map(|_| {
            timed(|| {
                assert!(
                    Command::new(arguments[0]).args(&arguments[1..]).current_dir(workspace).status().expect("clang").success()
                )
            })
        })
        .collect();
    median(&times)
}

fn ouro(workspace: &Path, arguments: &[&str]) {
    let output = Command::new(OURO).args(arguments).current_dir(workspace).stdin(Stdio::null()).output().expect("ouro");
    assert!(output.status.success(), "ouro {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn median_ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
