//! The deploy benchmark: `make bench-deploy`. Chains of N programs, deployed by ouro, by a program that uses libbpf and by
//! bpftool; the same objects, taking turns in one run. Then: whether a switch loses packets, and what a second core is worth.
//!
//! Prints figures and the bound each must keep; exits 1 when one does not. Everything happens in network namespaces and a bpffs of
//! its own, which end with it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod chain;
#[path = "../../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than a benchmark uses")]
mod lab;
#[path = "../build/measure.rs"]
#[allow(dead_code, reason = "the build benchmark uses more of it")]
mod measure;
#[path = "../build/report.rs"]
#[allow(dead_code, reason = "the build benchmark uses more of it")]
mod report;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use chain::Chain;
use lab::{Lab, NEAR};
use measure::{Cost, Series, in_three_turns, in_turns, ms, run};
use report::{Bound, Report};

const OURO: &str = env!("CARGO_BIN_EXE_ouro");
const ROUNDS: usize = 31;
/// Rounds beside what starts two processes for each program.
const FEW_ROUNDS: usize = 5;
/// Packets that must all arrive while generations are switched.
const PACKETS: u32 = 10_000_000;
/// Programs that take the verifier long.
const HEAVY: usize = 8;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rival = libbpf(folder.path());
    let mut held = false;
    lab::lab(|lab| {
        let mut report = Report::default();
        report.title("load, pin, wire and attach");
        for count in [8, 32, 128] {
            first_deploy(&mut report, lab, folder.path(), &rival, count);
        }
        report.title("what is live");
        switches(&mut report, lab, folder.path());
        second_core(&mut report, lab, folder.path());
        held = report.end();
    });
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The program that uses libbpf, compiled; the benchmark says what is missing if it cannot be.
fn libbpf(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("libbpf");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/deploy/libbpf.c");
    run(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).arg("-lbpf"));
    program
}

/// The kernel lets go of a device a moment after the last pin of its link is gone: nobody is to wait for what another removed.
const PAUSE: Duration = Duration::from_millis(100);

/// Attaching ends at a tick of the timer, and so does what cleans up: rounds after pauses of whole ticks would all begin at the same
/// part of one, which may be the best for one rival and the worst for the other. Each round begins at another.
fn pause(round: usize) {
    thread::sleep(PAUSE + Duration::from_micros(round as u64 * 1_300 % 8_000));
}

/// ouro in the laboratory, timed.
fn ouro(lab: &Lab, words: &[&str]) -> Cost {
    run(Command::new(OURO).args(words).arg("--bpffs").arg(&lab.bpffs))
}

fn first_deploy(report: &mut Report, lab: &Lab, folder: &Path, rival: &Path, count: usize) {
    let chain = Chain::star(&folder.join(format!("star{count}")), count);
    let bundle = chain.bundle.to_str().expect("a plain path");
    let ours = |round| {
        pause(round);
        let cost = ouro(lab, &["deploy", "--bundle", bundle, "--interface", NEAR]);
        ouro(lab, &["undeploy", &chain.name]);
        cost
    };
    let pins = lab.bpffs.join("rival");
    let timed = |round, command: &mut Command| {
        pause(round);
        let cost = run(command);
        fs::remove_dir_all(&pins).expect("pins");
        cost
    };
    let libbpf = |round| timed(round, Command::new(rival).arg(&pins).arg(NEAR).args(chain.words()));
    let [theirs, fast] = in_turns(ROUNDS, libbpf, ours);
    let work = format!("chain of {count} programs");
    report.row(&work, &fast, Some(("libbpf", &theirs)), Some(Bound::OfRival(1.0)));
    let bpftool = |round| timed(round, Command::new("sh").arg("-ec").arg(chain.script(&pins, NEAR)));
    let [theirs, fast] = in_turns(FEW_ROUNDS, bpftool, ours);
    report.row("", &fast, Some(("bpftool", &theirs)), Some(Bound::OfRival(0.2)));
}

/// New generations one after another under a flood of packets: each must be answered.
fn switches(report: &mut Report, lab: &Lab, folder: &Path) {
    let chain = Chain::star(&folder.join("live"), 8);
    let bundle = chain.bundle.to_str().expect("a plain path");
    ouro(lab, &["deploy", "--bundle", bundle, "--interface", NEAR]);
    let (mut sent, mut lost, mut count, mut costs) = (0, 0, 0, Series::default());
    while sent < PACKETS {
        let flood = lab.floods(2);
        for _ in 0..50 {
            count += 1;
            costs.push(ouro(lab, &["deploy", "--force", "--bundle", bundle, "--interface", NEAR]));
        }
        let (out, back) = flood.stop();
        sent += out;
        lost += out - back;
    }
    report.row(&format!("a new generation, {count} times"), &costs, None, None);
    report.count(&format!("  packets lost of {sent}"), lost as usize, 0);
    ouro(lab, &["undeploy", &chain.name]);
}

/// Programs that take the verifier long, with one core and with two; beside two deployments of half as many at the same time,
/// each on a core of its own. That is what the machine gives: where cores share their units it is not twice as much.
fn second_core(report: &mut Report, lab: &Lab, folder: &Path) {
    lab.cable("second0", "second1", "10.98.0");
    let [all, half, other] = [("heavy", HEAVY), ("half", HEAVY / 2), ("other", HEAVY / 2)]
        .map(|(name, count)| Chain::heavy(&folder.join(name), name, count));
    let bpffs = lab.bpffs.display();
    let words = |chain: &Chain, device: &str, cores: &str| {
        format!("taskset -c {cores} {OURO} deploy --bundle {} --interface {device} --bpffs {bpffs}", chain.bundle.display())
    };
    let deploy = |script: String, chains: &[&Chain]| {
        let cost = run(Command::new("sh").args(["-ec", &script]));
        for chain in chains {
            ouro(lab, &["undeploy", &chain.name]);
        }
        cost
    };
    let at_once = format!("{} & {}; wait $!", words(&half, NEAR, "0"), words(&other, "second0", "1"));
    let [one, two, apart] = in_three_turns(
        FEW_ROUNDS,
        |_| deploy(words(&all, NEAR, "0"), &[&all]),
        |_| deploy(words(&all, NEAR, "0,1"), &[&all]),
        |_| deploy(at_once.clone(), &[&half, &other]),
    );
    report.row(&format!("{HEAVY} programs verified on one core"), &one, None, None);
    let what = format!("two deployments of {} at the same time, {:.0} ms, by 0.95", HEAVY / 2, ms(apart.wall()));
    report.row("  on two", &two, None, Some(Bound::Time(apart.wall().div_f64(0.95), what)));
    report.note(
        "  how much faster",
        &format!("{:.2} times; the machine gives {:.2}", 1.0 / two.ratio(&one), 1.0 / apart.ratio(&one)),
    );
}
