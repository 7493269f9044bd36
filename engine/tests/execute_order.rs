//! The order of work: what took long is begun first, and nothing but the order depends on that.

mod execute_support;

use std::sync::atomic::{AtomicUsize, Ordering};

use execute_support::{NEVER, Workspace, script};
use ouro_engine::event::Event;
use ouro_rules::Action;

fn with_jobs(jobs: usize) -> Workspace {
    let mut workspace = Workspace::new();
    workspace.jobs = jobs;
    workspace
}

/// Four quick actions, then two chains of two slow ones each; all read `seed`.
fn actions() -> Vec<Action> {
    let quick = |name: &str| script(name, &format!("cp seed ouro-out/{name}"), &["seed"], &[&format!("ouro-out/{name}")]);
    let slow = |name: &str, input: &str| {
        let text = format!("sleep 0.5; cp {input} ouro-out/{name}");
        script(name, &text, &[input], &[&format!("ouro-out/{name}")])
    };
    let mut actions = ["q1", "q2", "q3", "q4"].map(quick).to_vec();
    for chain in ["a", "b"] {
        let (head, tail) = (format!("{chain}1"), format!("{chain}2"));
        actions.extend([slow(&head, "seed"), slow(&tail, &format!("ouro-out/{head}"))]);
    }
    actions
}

/// Without a measure the quick ones stand as high as the ends of the chains, so they are begun in the order of the plan.
#[test]
fn with_measured_times_the_long_chains_come_first() {
    let workspace = with_jobs(1);
    workspace.write("seed", "one");
    let first = workspace.build(actions());
    assert_eq!(first.started(), ["a1", "b1", "q1", "q2", "q3", "q4", "a2", "b2"]);
    workspace.write("seed", "two");
    let second = workspace.build(actions());
    // Which of two alike took longer is up to the machine.
    let mut started = second.started();
    for alike in [0..2, 2..4, 4..8] {
        started[alike].sort_unstable();
    }
    assert_eq!(started, ["a1", "b1", "a2", "b2", "q1", "q2", "q3", "q4"]);
    assert!(["a2", "b2", "q4"].iter().all(|name| workspace.read(&format!("ouro-out/{name}")) == b"two"));
}

#[test]
fn the_number_of_jobs_changes_nothing_but_time() {
    let outputs = |jobs: usize| {
        let workspace = with_jobs(jobs);
        workspace.write("seed", "same");
        assert_eq!(workspace.build(actions()).summary().ran, 8);
        workspace.outputs().into_iter().map(|path| (workspace.read(&path), path)).collect::<Vec<_>>()
    };
    assert_eq!(outputs(1), outputs(5));
}

#[test]
fn no_more_run_at_once_than_jobs() {
    for jobs in [1, 3] {
        let workspace = with_jobs(jobs);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let actions: Vec<Action> = (0..9)
            .map(|n| script(&format!("s{n}"), &format!("sleep 0.05; echo > ouro-out/s{n}"), &[], &[&format!("ouro-out/s{n}")]))
            .collect();
        workspace.build_until(actions, &NEVER, &|event| match event {
            Event::Started { .. } => drop(most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst)),
            Event::Finished { .. } => drop(running.fetch_sub(1, Ordering::SeqCst)),
            _ => {}
        });
        assert_eq!(most.into_inner(), jobs);
    }
}

/// A measure stays when the result of another run is taken from the cache.
#[test]
fn a_cached_result_does_not_forget_how_long_it_took() {
    let workspace = with_jobs(1);
    for seed in ["one", "two", "one"] {
        workspace.write("seed", seed);
        workspace.build(actions());
    }
    workspace.write("seed", "three");
    let built = workspace.build(actions());
    let mut first = built.started()[..4].to_vec();
    first.sort_unstable();
    assert_eq!(first, ["a1", "a2", "b1", "b2"]);
}

#[test]
fn the_critical_path_is_the_longest_chain() {
    let workspace = Workspace::new();
    workspace.write("seed", "one");
    let mut actions = actions();
    let last = "sleep 0.3; cat ouro-out/a2 ouro-out/q1 > ouro-out/last";
    actions.push(script("last", last, &["ouro-out/a2", "ouro-out/q1"], &["ouro-out/last"]));
    let built = workspace.build(actions);
    let path: Vec<&str> = built.summary().critical_path.iter().map(|step| &*step.owner.name).collect();
    assert_eq!(path, ["a1", "a2", "last"]);
    assert!(built.summary().critical_path.iter().all(|step| step.took.as_millis() >= 150));
}
