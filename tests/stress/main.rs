//! Random edits for hundreds of steps: after each, the workspace that was built a hundred times before equals one that is built from
//! nothing, byte for byte, and says the same when something is wrong.
//!
//! `OURO_STRESS_STEPS` and `OURO_STRESS_SEED` make it longer or other; a failure prints the seed and the step.

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod model;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use disk::outputs;
use model::Model;
use support::random::Random;
use support::{Said, Workspace};

/// Enough that every kind of edit meets every other; about two minutes.
const STEPS: usize = 200;

/// Every so many steps nothing at all is taken from a cache.
const WITHOUT_CACHE: usize = 20;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn an_incremental_build_equals_a_clean_one() {
    let (steps, seed) = (number("OURO_STRESS_STEPS", STEPS), number("OURO_STRESS_SEED", 1));
    let mut random = Random::new(seed as u64);
    let mut model = Model::new(&mut random);
    let workspace = Workspace::new();
    let clean_cache = tempfile::tempdir().expect("a folder");
    let (mut told, mut failed, mut reloaded) = (BTreeSet::new(), 0, 0);
    let events = workspace.path("../events.jsonl");
    model.write(&workspace.root());
    for step in 0..steps {
        let edit = model.step(&workspace, &mut random);
        told.insert(edit.split(' ').next().unwrap_or_default().to_owned());
        let flags = model.flags();
        let mut command = workspace.command(&flags);
        let ours = build(command.arg("--events").arg(&events));
        reloaded += usize::from(loaded_a_part(&fs::read_to_string(&events).expect("events")));
        let clean = Workspace::new();
        model.write(&clean.root());
        let mut command = clean.command(&flags);
        if step % WITHOUT_CACHE != 0 {
            command.env("XDG_CACHE_HOME", clean_cache.path());
        }
        let theirs = build(&mut command);
        let at = format!("seed {seed}, step {step}: {edit}");
        assert_eq!(ours.code, theirs.code, "{at}\nincremental: {}\nclean: {}", ours.err, theirs.err);
        assert_eq!(errors(&ours), errors(&theirs), "{at}");
        compare(&workspace, &clean, &at);
        failed += usize::from(ours.code != 0);
    }
    assert!(steps < STEPS || told.len() >= model::KINDS, "only these kinds of edits came up: {told:?}");
    assert!(failed * 2 < steps, "{failed} of {steps} builds failed: that compares too little");
    assert!(reloaded * 8 > steps, "only {reloaded} of {steps} builds loaded a few packages alone");
}

/// Whether a few packages were loaded, and the others were not.
fn loaded_a_part(events: &str) -> bool {
    let ended = |phase: &str| events.contains(&format!("\"event\":\"phase_ended\",\"phase\":\"{phase}\""));
    ended("reload") && !ended("load")
}

fn build(command: &mut Command) -> Said {
    Said::of(command.stdin(Stdio::null()).output().expect("ouro runs"))
}

/// What was wrong, without the order in which it was told.
fn errors(said: &Said) -> BTreeSet<&str> {
    said.err.lines().filter(|line| line.starts_with("error") || line.contains(": error:") || line.contains("warning:")).collect()
}

/// Every file of the clean build is there with the same bytes; what older builds left beside them does not count.
fn compare(ours: &Workspace, clean: &Workspace, at: &str) {
    let (ours, clean) = (outputs(&ours.root()), outputs(&clean.root()));
    for (path, bytes) in &clean {
        match ours.get(path) {
            None => panic!("{at}\n`{path}` is missing"),
            Some(own) => assert!(own == bytes, "{at}\n`{path}` differs from a clean build's"),
        }
    }
}

/// Runs a build that something happens to: killed, or its files are edited meanwhile.
fn disturbed(workspace: &Workspace, flags: &[&str], after: Duration, disturb: impl FnOnce(&mut std::process::Child)) {
    let mut command = workspace.command(flags);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ouro starts");
    std::thread::sleep(after);
    disturb(&mut child);
    child.wait().expect("it ends");
    assert!(fs::metadata(workspace.root()).is_ok());
}
