//! Deploys, rollbacks and trials killed at any moment: packets never notice, and the next command cleans up.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ouro_deploy::Options;
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Tracepoint};

use crate::chain::{Chain, load, save};
use crate::probes::{call, lacks_links_for_events, own};
use crate::support::{Lab, lab};
use crate::{deployed, nothing_left, redeployed, seen, status, undeployed};

pub const CHILD: &str = "OURO_TEST_KILLED";

/// What the child process does instead of the test, again and again, until it is killed.
pub fn for_ever(arguments: &str, round: fn(&Path, &Bundle)) {
    let (bpffs, folder) = arguments.split_once(':').unwrap();
    let bundle = load(Path::new(folder));
    std::io::stdout().write_all(b"ready\n").unwrap();
    loop {
        round(Path::new(bpffs), &bundle);
    }
}

pub fn deploy_anew(bpffs: &Path, bundle: &Bundle) {
    let force = Options { force: true, ..Options::default() };
    ouro_deploy::deploy(bpffs, bundle, &force, &mut |_| {}).unwrap();
}

fn deploy_on_trial(bpffs: &Path, bundle: &Bundle) {
    let trial = Options { force: true, confirm: Some(600), ..Options::default() };
    ouro_deploy::deploy(bpffs, bundle, &trial, &mut |_| {}).unwrap();
}

/// Every way of changing what is live.
fn change_all(bpffs: &Path, bundle: &Bundle) {
    let name = &bundle.manifest.name;
    deploy_anew(bpffs, bundle);
    ouro_deploy::rollback(bpffs, name, &mut |_| {}).unwrap();
    ouro_deploy::rollback(bpffs, name, &mut |_| {}).unwrap();
    deploy_on_trial(bpffs, bundle);
    ouro_deploy::confirm(bpffs, name, &mut |_| {}).unwrap();
    deploy_on_trial(bpffs, bundle);
    let generation = ouro_deploy::trial(bpffs, name).unwrap().unwrap().generation;
    ouro_deploy::withdraw(bpffs, name, generation, &mut |_| {}).unwrap();
}

/// To a root table, by it, and away from it.
fn change_root(bpffs: &Path, bundle: &Bundle) {
    let mut atomic = bundle.clone();
    (atomic.manifest.atomic, atomic.digest) = (true, format!("{}a", bundle.digest));
    deploy_anew(bpffs, &atomic);
    deploy_anew(bpffs, &atomic);
    ouro_deploy::rollback(bpffs, &bundle.manifest.name, &mut |_| {}).unwrap();
    deploy_anew(bpffs, bundle);
    ouro_deploy::rollback(bpffs, &bundle.manifest.name, &mut |_| {}).unwrap();
}

fn come_and_go(bpffs: &Path, bundle: &Bundle) {
    deploy_anew(bpffs, bundle);
    deploy_on_trial(bpffs, bundle);
    ouro_deploy::undeploy(bpffs, &bundle.manifest.name, &Default::default(), &mut |_| {}).unwrap();
}

/// How often the time that a deploy takes on a usual machine it takes here and now, where the processor may be emulated.
pub fn slowness(lab: &Lab) -> u32 {
    let bundle = Chain { name: "pace".to_owned(), ..Chain::firewall().attach(&[]) }.bundle(lab.folder());
    let start = Instant::now();
    deployed(lab, &bundle);
    ouro_deploy::undeploy(&lab.bpffs, "pace", &Default::default(), &mut |_| {}).unwrap();
    u32::try_from(start.elapsed().as_millis() / 40).unwrap().clamp(1, 8)
}

/// Starts deploying in another process and kills it after a while.
pub fn kill_after(lab: &Lab, test: &str, wait: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, format!("{}:{}", lab.bpffs.display(), lab.folder().display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.is_ok_and(|line| line.ends_with("ready")));
    std::thread::sleep(wait);
    let still_running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready && still_running, "a deploy after a killed one failed");
}

#[test]
fn killed_redeploys_lose_no_packet() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, deploy_anew);
    }
    survives("crash::killed_redeploys_lose_no_packet", 40);
}

#[test]
fn killed_rollbacks_and_trials_lose_no_packet() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, change_all);
    }
    survives("crash::killed_rollbacks_and_trials_lose_no_packet", 80);
}

#[test]
fn killed_switches_of_a_root_lose_no_packet() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, change_root);
    }
    survives("crash::killed_switches_of_a_root_lose_no_packet", 60);
}

/// Kills the child of `test` this often. No packet is lost meanwhile, and afterwards nothing is left that should not be.
fn survives(test: &str, rounds: u64) {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        save(&bundle, lab.folder());
        deployed(lab, &bundle);
        let flood = lab.flood();
        let pace = slowness(lab);
        // Where all is slow there are fewer rounds, so that the test ends in minutes.
        for round in 0..rounds / u64::from(pace.min(4)) {
            kill_after(lab, test, pace * Duration::from_micros(round * 7919 % 120_000));
            let found = status(lab);
            assert_eq!((found.foreign, lab.bpffs.join("ouro/fw/links/xdp-near0").exists()), (vec![], true));
        }
        deployed(lab, &bundle);
        // On a slow machine every child may have been killed before it was done once.
        redeployed(lab, &bundle);
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let status = status(lab);
        assert_eq!((&status.problems, &status.foreign, &status.trial), (&vec![], &vec![], &None));
        assert!(status.edges.iter().all(|edge| edge.counts.is_some_and(|counts| counts.missed == 0)), "{status:?}");
        assert!(status.previous.is_some());
        assert_eq!(crate::generation_folders(lab).len(), 2, "the live one and the one before");
        undeployed(lab, "fw");
    });
}

#[test]
fn killed_first_deploys_and_removals_can_be_undeployed() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, come_and_go);
    }
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        save(&bundle, lab.folder());
        let pace = slowness(lab);
        for round in 0..25 / u64::from(pace.min(2)) {
            let test = "crash::killed_first_deploys_and_removals_can_be_undeployed";
            kill_after(lab, test, pace * Duration::from_micros(round * 4001));
            let found = ouro_deploy::status(&lab.bpffs).unwrap();
            assert!(found.iter().all(|status| status.foreign.is_empty()), "{found:?}");
            let programs = crate::pinned_programs(lab);
            ouro_deploy::undeploy(&lab.bpffs, "fw", &Default::default(), &mut |_| {}).unwrap();
            match found.first() {
                Some(status) => nothing_left(lab, status, &programs),
                None => assert!(!lab.bpffs.join("ouro/fw").exists()),
            }
            assert_eq!(lab.ping(2), 2);
        }
    });
}

/// A tracepoint's link takes no other program, so its stub stays and the root table leads elsewhere: no event is ever missed, and
/// none is counted twice.
#[test]
fn killed_redeploys_miss_no_event() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, deploy_anew);
    }
    if lacks_links_for_events() {
        return;
    }
    lab(|lab| {
        let place = Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_getpgid".to_owned() };
        let bundle = own("tracepoint", Attach::Tracepoint(place)).bundle(lab.folder());
        save(&bundle, lab.folder());
        deployed(lab, &bundle);
        let pace = slowness(lab);
        for round in 0..40 / u64::from(pace.min(4)) {
            kill_after(lab, "crash::killed_redeploys_miss_no_event", pace * Duration::from_micros(round * 1709 % 60_000));
            let before = seen(lab);
            call(10);
            assert_eq!(seen(lab) - before, 10, "{before} before");
            deployed(lab, &bundle);
            let before = seen(lab);
            call(10);
            assert_eq!(seen(lab) - before, 10, "{:?}", status(lab));
        }
        let status = status(lab);
        assert_eq!((&status.problems, &status.foreign), (&vec![], &vec![]));
        undeployed(lab, "fw");
    });
}
