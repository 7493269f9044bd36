//! Stopping: kindly by a flag, brutally by a signal. Nothing half-made is ever taken for a result.

mod execute_support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use execute_support::{Workspace, script};
use ouro_engine::event::Event;
use ouro_engine::execute::ExecuteError;

/// Writes half of its output, and the rest much later.
fn slow() -> Vec<ouro_rules::Action> {
    let text = "printf half > ouro-out/slow; sleep 2; printf ' and half' >> ouro-out/slow";
    vec![
        script("slow", text, &[], &["ouro-out/slow"]),
        script("after", "cp ouro-out/slow ouro-out/after", &["ouro-out/slow"], &["ouro-out/after"]),
    ]
}

fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_interruption_ends_processes_and_removes_their_outputs() {
    let workspace = Workspace::new();
    let cancelled = AtomicBool::new(false);
    let start = Instant::now();
    let built = std::thread::scope(|scope| {
        let build = scope.spawn(|| workspace.build_until(slow(), &cancelled, &|_| {}));
        wait_for(|| workspace.exists("ouro-out/slow"));
        cancelled.store(true, Ordering::Relaxed);
        build.join().unwrap()
    });
    assert!(matches!(built.result, Err(ExecuteError::Cancelled)), "{:?}", built.result);
    assert!(start.elapsed() < Duration::from_millis(1500), "it did not wait for the sleep");
    assert_eq!((workspace.outputs(), built.complaints()), (Vec::new(), String::new()));
    assert!(!built.events.iter().any(|event| matches!(event, Event::Finished { .. })));
}

#[test]
fn a_process_that_does_not_listen_is_killed() {
    let workspace = Workspace::new();
    let cancelled = AtomicBool::new(false);
    let deaf = vec![script("deaf", "trap '' TERM; echo > ouro-out/deaf; sleep 30", &[], &["ouro-out/deaf"])];
    let start = Instant::now();
    let built = std::thread::scope(|scope| {
        let build = scope.spawn(|| workspace.build_until(deaf, &cancelled, &|_| {}));
        wait_for(|| workspace.exists("ouro-out/deaf"));
        cancelled.store(true, Ordering::Relaxed);
        build.join().unwrap()
    });
    assert!(matches!(built.result, Err(ExecuteError::Cancelled)));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(workspace.outputs(), Vec::<String>::new());
}

/// One fails while the other has half of its output, and a third waits for a free job.
fn one_fails() -> Vec<ouro_rules::Action> {
    let fails = "while ! test -e ouro-out/slow; do sleep 0.01; done; echo no good; exit 1";
    let mut actions = vec![script("fails", fails, &[], &["ouro-out/fails"])];
    actions.extend(slow());
    actions
}

#[test]
fn a_failure_ends_what_runs_beside_it() {
    let workspace = Workspace::new();
    let start = Instant::now();
    let built = workspace.build(one_fails());
    assert!(start.elapsed() < Duration::from_millis(1500), "it did not wait for the sleep");
    assert_eq!((built.which("failed"), built.which("stopped")), (vec!["fails".to_owned()], vec!["slow".to_owned()]));
    let summary = built.summary();
    assert_eq!((summary.failed, summary.stopped, summary.skipped), (1, 1, 2));
    let complaints = built.complaints();
    assert!(complaints.starts_with("no good\ngenrule of `//fw:fails` failed: exit status: 1\n"), "{complaints}");
    assert_eq!((workspace.outputs(), complaints.matches("failed").count()), (Vec::new(), 1), "the other one was stopped");
}

#[test]
fn keep_going_lets_what_runs_beside_a_failure_end() {
    let mut workspace = Workspace::new();
    workspace.keep_going = true;
    let built = workspace.build(one_fails());
    assert_eq!(
        (built.which("failed"), built.which("ran")),
        (vec!["fails".to_owned()], vec!["after".to_owned(), "slow".to_owned()])
    );
    assert_eq!(workspace.read("ouro-out/after"), b"half and half");
}

#[test]
fn a_flag_set_before_the_start_runs_nothing() {
    let workspace = Workspace::new();
    let built = workspace.build_until(slow(), &AtomicBool::new(true), &|_| {});
    assert!(matches!(built.result, Err(ExecuteError::Cancelled)));
    assert!(!built.events.iter().any(|event| matches!(event, Event::Started { .. })));
}

/// Kills a process that runs the test below, in the middle of an action.
#[test]
fn what_a_killed_build_left_is_not_taken_for_a_result() {
    let workspace = Workspace::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "build_until_killed", "--ignored"])
        .env("OURO_KILLED_BUILD", &workspace.root)
        .spawn()
        .unwrap();
    wait_for(|| workspace.exists("ouro-out/slow"));
    child.kill().unwrap();
    child.wait().unwrap();
    let built = workspace.build(slow());
    assert_eq!(built.which("ran"), ["after", "slow"], "{}", built.complaints());
    assert_eq!(workspace.read("ouro-out/after"), b"half and half");
    assert_eq!(workspace.read("ouro-out/slow"), b"half and half", "the shell of the killed build died with it");
}

#[test]
#[ignore = "is run, and killed, by `what_a_killed_build_left_is_not_taken_for_a_result`"]
fn build_until_killed() {
    let root = PathBuf::from(std::env::var_os("OURO_KILLED_BUILD").expect("run by the test above"));
    Workspace::at(root.clone(), root.join("cache")).build(slow());
    panic!("nobody killed it");
}
