//! Deploys killed at any moment: packets never notice, and the next deploy cleans up.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ouro_rules::manifest::{Attach, Tracepoint};

use crate::chain::{Chain, load, save};
use crate::probes::{call, own};
use crate::support::{Lab, lab};
use crate::{counting, deployed, nothing_left, seen, status, undeployed};

const CHILD: &str = "OURO_TEST_KILLED";

/// What the child process does instead of the test: deploys again and again, until it is killed.
fn deploy_for_ever(arguments: &str) {
    let (bpffs, folder) = arguments.split_once(':').unwrap();
    let bundle = load(Path::new(folder));
    std::io::stdout().write_all(b"ready\n").unwrap();
    loop {
        let force = ouro_deploy::Options { force: true };
        ouro_deploy::deploy(Path::new(bpffs), &bundle, &force, &mut |_| {}).unwrap();
    }
}

/// Starts deploying in another process and kills it after a while.
fn kill_after(lab: &Lab, test: &str, wait: Duration) {
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
        return deploy_for_ever(&arguments);
    }
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        save(&bundle, lab.folder());
        deployed(lab, &bundle);
        let flood = lab.flood();
        for round in 0..40 {
            kill_after(lab, "crash::killed_redeploys_lose_no_packet", Duration::from_micros(round * 7919 % 120_000));
        }
        deployed(lab, &bundle);
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let status = status(lab);
        assert_eq!((&status.problems, &status.foreign), (&vec![], &vec![]));
        let generations = std::fs::read_dir(lab.bpffs.join("ouro/fw"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("gen-"));
        assert_eq!(generations.count(), 1);
        undeployed(lab, "fw");
    });
}

#[test]
fn killed_first_deploys_can_be_undeployed() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return deploy_for_ever(&arguments);
    }
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        save(&bundle, lab.folder());
        for round in 0..15 {
            kill_after(lab, "crash::killed_first_deploys_can_be_undeployed", Duration::from_micros(round * 4001));
            let found = ouro_deploy::status(&lab.bpffs).unwrap();
            assert!(found.iter().all(|status| status.foreign.is_empty()), "{found:?}");
            ouro_deploy::undeploy(&lab.bpffs, "fw", &Default::default(), &mut |_| {}).unwrap();
            match found.first() {
                Some(status) => nothing_left(lab, status),
                None => assert!(!lab.bpffs.join("ouro/fw").exists()),
            }
            assert_eq!(lab.ping(2), 2);
        }
    });
}

/// A tracepoint's link takes no other program, so a new one is attached before the old one goes: no event is ever missed, and none
/// is counted twice once the next deploy has been.
#[test]
fn killed_redeploys_miss_no_event() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return deploy_for_ever(&arguments);
    }
    lab(|lab| {
        let place = Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_getpgid".to_owned() };
        let bundle = counting("tracepoint", &own("return 0;"), Attach::Tracepoint(place)).bundle(lab.folder());
        save(&bundle, lab.folder());
        deployed(lab, &bundle);
        for round in 0..40 {
            kill_after(lab, "crash::killed_redeploys_miss_no_event", Duration::from_micros(round * 1709 % 60_000));
            let before = seen(lab);
            call(10);
            assert!([10, 20].contains(&(seen(lab) - before)), "{} to {}", before, seen(lab));
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
