//! Single sockets whose commands are stopped at any step, or killed: the next command puts them right, and packets never notice.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ouro_deploy::{Options, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;

use crate::chain::save;
use crate::crash::{CHILD, deploy_anew, for_ever, kill_after, slowness};
use crate::sockets::{arrives, at, classic, filter, flow, forced, named, option, pair};
use crate::support::{Lab, lab};
use crate::{deploy, deployed, seen, status, undeployed};

/// Runs a command until the step with this number, and is gone then; whether it came so far.
fn stopped_at(number: usize, command: impl FnOnce(&mut dyn FnMut(&Step))) -> bool {
    let mut left = number;
    let mut progress = |_: &Step| {
        if left == 0 {
            std::panic::resume_unwind(Box::new("stopped"));
        }
        left -= 1;
    };
    catch_unwind(AssertUnwindSafe(|| command(&mut progress))).is_err()
}

fn undeploy(lab: &Lab, progress: &mut dyn FnMut(&Step)) {
    ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), progress).unwrap();
}

#[test]
fn a_command_that_is_stopped_at_any_step_is_put_right_by_the_next() {
    lab(|lab| {
        let wire = pair();
        stopped_anywhere(lab, &wire, &|verdict| filter(lab, at(&wire.0), if verdict { -1 } else { 0 }), &|| {
            assert_eq!(classic(&wire.0), Some(0));
        });
    });
}

/// Stops first deploys, redeploys, rollbacks and undeploys at each of their steps. `bundle` gives a chain that lets all pass, or nothing.
pub fn stopped_anywhere(lab: &Lab, wire: &(UdpSocket, UdpSocket), bundle: &dyn Fn(bool) -> Bundle, is_free: &dyn Fn()) {
    let (pass, drop_all) = (bundle(true), bundle(false));
    let deploy = |bundle: &Bundle, progress: &mut dyn FnMut(&Step)| {
        let force = Options { force: true, ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, bundle, &force, progress).unwrap();
    };
    // A first deploy; the next command is the same, or takes all away.
    for next_is_deploy in [true, false] {
        let mut number = 0;
        while stopped_at(number, |progress| deploy(&drop_all, progress)) {
            if next_is_deploy {
                deployed(lab, &drop_all);
                assert!(!arrives(wire), "step {number}");
                assert_eq!(status(lab).problems, [], "step {number}");
            }
            undeploy(lab, &mut |_| {});
            assert!(arrives(wire), "step {number}");
            is_free();
            number += 1;
        }
        assert!(number > 5, "{number}");
        undeploy(lab, &mut |_| {});
    }
    // A redeploy: the old or the new one runs; then the next command is the same, or leads back.
    deployed(lab, &pass);
    let mut number = 0;
    while stopped_at(number, |progress| deploy(&drop_all, progress)) {
        deployed(lab, &drop_all);
        assert!(!arrives(wire) && status(lab).problems.is_empty(), "step {number}: {:?}", status(lab));
        deployed(lab, &pass);
        assert!(arrives(wire) && status(lab).problems.is_empty(), "step {number}: {:?}", status(lab));
        number += 1;
    }
    assert!(number > 5 && !arrives(wire), "{number}");
    // A rollback, and the same again.
    let mut number = 0;
    let back = |progress: &mut dyn FnMut(&Step)| drop(ouro_deploy::rollback(&lab.bpffs, "fw", progress).unwrap());
    while stopped_at(number, back) {
        deployed(lab, &drop_all);
        assert!(!arrives(wire) && status(lab).problems.is_empty(), "step {number}: {:?}", status(lab));
        number += 1;
    }
    assert!(number > 1 && arrives(wire), "{number}");
    // An undeploy; what it had not taken away the next one does.
    let mut number = 0;
    while stopped_at(number, |progress| undeploy(lab, progress)) {
        undeploy(lab, &mut |_| {});
        assert!(arrives(wire), "step {number}");
        is_free();
        deployed(lab, &drop_all);
        number += 1;
    }
    assert!(number > 3 && arrives(wire), "{number}");
    is_free();
}

/// A killed deploy by force left another's program in the place, which the next one took for ours.
#[test]
fn a_deploy_by_force_that_is_stopped_at_any_step_is_finished_by_the_next() {
    lab(|lab| {
        let wire = pair();
        let theirs = named("theirs", filter(lab, at(&wire.0), -1));
        let bundle = filter(lab, at(&wire.0), 0);
        let lose = || {
            let _ = std::fs::remove_dir_all(lab.bpffs.join("ouro"));
            // Else the program that is left there is told from others by nothing.
            option(&wire.0, libc::SO_DETACH_FILTER, &0i32.to_ne_bytes());
        };
        let mut number = 0;
        loop {
            deployed(lab, &theirs);
            std::fs::remove_dir_all(lab.bpffs.join("ouro")).unwrap();
            assert!(arrives(&wire) && classic(&wire.0).is_none(), "another's program is there");
            let was_stopped =
                stopped_at(number, |progress| drop(ouro_deploy::deploy(&lab.bpffs, &bundle, &forced(), progress).unwrap()));
            // Before there is a root table nothing can be taken for ours, and the place is refused without force.
            match deploy(lab, &bundle) {
                Err(error) => assert!(was_stopped && error.to_string().contains("is a program that is not ours"), "{error}"),
                Ok(_) => assert!(!arrives(&wire) && status(lab).problems.is_empty(), "step {number}: {:?}", status(lab)),
            }
            if !was_stopped {
                break;
            }
            lose();
            number += 1;
        }
        assert!(number > 5, "{number}");
        undeployed(lab, "fw");
    });
}

#[test]
fn killed_redeploys_of_a_socket_lose_no_packet() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, deploy_anew);
    }
    lab(|lab| {
        let wire = pair();
        let bundle = filter(lab, at(&wire.0), -1);
        save(&bundle, lab.folder());
        deployed(lab, &bundle);
        let (stop, sent, pace) = (AtomicBool::new(false), AtomicU64::new(0), slowness(lab));
        std::thread::scope(|scope| {
            scope.spawn(|| sent.store(flow(&wire, &stop), Ordering::Relaxed));
            for round in 0..24 / u64::from(pace.min(4)) {
                let test = "socket_stops::killed_redeploys_of_a_socket_lose_no_packet";
                kill_after(lab, test, pace * Duration::from_micros(round * 7919 % 80_000));
                assert_eq!(status(lab).foreign, Vec::<std::path::PathBuf>::new());
            }
            deployed(lab, &bundle);
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!((seen(lab), status(lab).problems), (sent.load(Ordering::Relaxed), vec![]));
        undeployed(lab, "fw");
    });
}
