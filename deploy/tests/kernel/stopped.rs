//! Commands that were stopped, or failed, at a given step, and pins that somebody removed: what the next command makes of it.
//!
//! A panic in the middle stands for a kill: all that was in memory is gone.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use ouro_deploy::{Error, Options, Problem, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Direction, MapSpec, OnChange, Order, TcVia};

use crate::chain::{Chain, map, xdp};
use crate::missing::precedes;
use crate::raw::{elements, fill, map_update};
use crate::support::{Lab, NEAR, bpftool, lab, sh};
use crate::{deploy, deployed, map_pin, redeployed, status, undeployed};

/// Deploys until the first step that `is_last` says, does what happens then, and is gone.
pub fn stopped(lab: &Lab, bundle: &Bundle, options: &Options, is_last: fn(&Step) -> bool, happen: &dyn Fn()) {
    let mut progress = |step: &Step| {
        if is_last(step) {
            happen();
            std::panic::resume_unwind(Box::new("stopped"));
        }
    };
    let ended = catch_unwind(AssertUnwindSafe(|| ouro_deploy::deploy(&lab.bpffs, bundle, options, &mut progress).map(drop)));
    assert!(ended.is_err(), "it came to its end: {ended:?}");
}

fn marks(step: &Step) -> bool {
    matches!(step, Step::MarkLive { .. })
}

/// Pings pass through its only jump, and are dropped where that misses.
fn gate(body: &str) -> Chain {
    Chain::new("fw").program("parse", "xdp", "JUMP(allow);", &["allow"]).program("allow", "xdp", body, &[])
}

#[test]
fn a_chain_without_its_pin_runs_until_another_does() {
    lab(|lab| {
        deployed(lab, &gate("return XDP_PASS;").bundle(lab.folder()));
        fs::remove_file(lab.bpffs.join("ouro/fw/gen-1/progs/parse")).unwrap();
        let refused = gate("return *(__u8 *)(long)ctx->data;").bundle(lab.folder());
        let options = Options { force_links: true, ..Options::default() };
        let flood = lab.flood();
        assert!(ouro_deploy::deploy(&lab.bpffs, &refused, &options, &mut |_| {}).is_err(), "the verifier refuses it");
        let next = gate("if (ctx->rx_queue_index == 99) return XDP_DROP; return XDP_PASS;").bundle(lab.folder());
        ouro_deploy::deploy(&lab.bpffs, &next, &options, &mut |_| {}).unwrap();
        let (sent, received) = flood.stop();
        assert!(sent > 500 && sent == received, "{sent} {received}");
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_dead_link_is_replaced_also_after_a_deploy_that_failed() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        let at = |body: &str| gate(body).attach(&[xdp("near1")]).bundle(lab.folder());
        let first = at("return XDP_PASS;");
        stopped(lab, &first, &Options::default(), marks, &|| {});
        sh("ip link del near1");
        lab.cable("near1", "far1", "10.98.0");
        assert!(deploy(lab, &at("return *(__u8 *)(long)ctx->data;")).is_err());
        let all = ouro_deploy::status(&lab.bpffs).unwrap();
        assert!(all.iter().all(|deployment| deployment.foreign.is_empty()), "nothing lost its record: {all:?}");
        deployed(lab, &at("if (ctx->rx_queue_index == 99) return XDP_DROP; return XDP_PASS;"));
        assert_eq!(status(lab).problems, []);
        assert!(sh("ip link show near1").contains("xdp"));
        undeployed(lab, "fw");
    });
}

#[test]
fn folders_that_were_removed_are_made_again() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        fs::remove_file(lab.bpffs.join("ouro/fw/links").join(format!("xdp-{NEAR}"))).unwrap();
        fs::remove_dir(lab.bpffs.join("ouro/fw/links")).unwrap();
        // The kernel detaches a moment late.
        while sh(&format!("ip link show {NEAR}")).contains("xdp") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        deployed(lab, &bundle);
        assert_eq!((status(lab).generation, status(lab).problems), (Some(1), vec![]));
        undeployed(lab, "fw");
        // An undeploy was killed between two folders.
        fs::create_dir_all(lab.bpffs.join("ouro/fw/links")).unwrap();
        ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

/// The second try of somebody whose connection is cut.
#[test]
fn a_trial_that_fails_goes_on_with_the_one_before() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let trial = |bundle: &Bundle, seconds, progress: &mut dyn FnMut(&Step)| {
            let options = Options { force: true, confirm: Some(seconds), ..Options::default() };
            ouro_deploy::deploy(&lab.bpffs, bundle, &options, progress)
        };
        trial(&bundle, 600, &mut |_| {}).unwrap();
        let before = ouro_deploy::trial(&lab.bpffs, "fw").unwrap().unwrap();
        assert_eq!((before.generation, before.before), (2, Some(1)));
        lab.cable("near1", "far1", "10.98.0");
        let wider = Chain::firewall().attach(&[xdp(NEAR), xdp("near1")]).bundle(lab.folder());
        let cut = &mut |step: &Step| {
            if matches!(step, Step::AskConfirmation { .. }) {
                sh("ip link del near1");
            }
        };
        assert!(matches!(trial(&wider, 60, cut), Err(Error::Failed { undo: None, settled: false, .. })));
        let now = ouro_deploy::trial(&lab.bpffs, "fw").unwrap().unwrap();
        assert_eq!((now.generation, now.before, now.until), (2, Some(1), before.until));
        assert_eq!((status(lab).generation, status(lab).foreign), (Some(2), vec![]));
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert_eq!(status(lab).generation, Some(1));
        undeployed(lab, "fw");
    });
}

#[test]
fn the_qdisc_of_a_trial_goes_with_the_deployment() {
    lab(|lab| {
        deployed(lab, &gate("return XDP_PASS;").bundle(lab.folder()));
        let (interface, direction) = (NEAR.to_owned(), Direction::Ingress);
        let place = Attach::Tc { interface, direction, priority: 9, via: TcVia::Clsact, handle: 1 };
        let filter = Chain::new("fw").program("look", "tc", "return 0;", &[]).attach(&[place]).bundle(lab.folder());
        let options = Options { confirm: Some(600), ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, &filter, &options, &mut |_| {}).unwrap();
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        let has_qdisc = || sh(&format!("tc qdisc show dev {NEAR}")).contains("clsact");
        assert!(has_qdisc(), "taking it away stops the device's queues");
        assert_eq!((status(lab).generation, status(lab).foreign), (Some(1), vec![]));
        undeployed(lab, "fw");
        assert!(!has_qdisc(), "nobody had recorded it");
    });
}

/// Nothing but this test writes the map `flows`, whose copies have other flags.
fn table(max_entries: u32, flags: u32) -> Chain {
    let spec = MapSpec { flags, on_change: OnChange::Copy, ..map("flows", "hash", max_entries) };
    let body = "__u32 key = 0; return bpf_map_lookup_elem(&flows, &key) ? XDP_PASS : XDP_PASS;";
    Chain::new("fw").map(spec).program("look", "xdp", body, &[])
}

fn flows(lab: &Lab, pin: &str) -> PathBuf {
    lab.bpffs.join("ouro/fw/maps").join(pin)
}

#[test]
fn a_full_table_is_carried_over_with_what_came_and_went() {
    lab(|lab| {
        let (old, new) = (table(4, 0).bundle(lab.folder()), table(4, 1).bundle(lab.folder()));
        deployed(lab, &old);
        let path = map_pin(lab, "flows");
        fill(&path, 1..5);
        let happen = &mut |step: &Step| {
            if matches!(step, Step::Switch { .. }) {
                sh(&format!("bpftool map delete pinned {} key 4 0 0 0", path.display()));
                map_update(&path, 0, &7u64.to_ne_bytes()).unwrap();
            }
        };
        let plan = ouro_deploy::deploy(&lab.bpffs, &new, &Options::default(), happen).unwrap();
        assert!(!plan.changes.iter().any(ouro_deploy::Change::falls_short), "{:?}", plan.changes);
        assert_eq!(elements(&map_pin(lab, "flows")), [(0, 7), (1, 2), (2, 3), (3, 4)].into());
        undeployed(lab, "fw");
    });
}

/// The new chain had filled the table itself: one element has no room, the others are there, and the deploy says so.
#[test]
fn what_has_no_room_is_told_and_hinders_nothing() {
    lab(|lab| {
        let (old, new) = (table(4, 0), table(4, 1));
        deployed(lab, &old.bundle(lab.folder()));
        let path = map_pin(lab, "flows");
        fill(&path, 1..3);
        let copy = flows(lab, &new.maps[0].pin());
        let happen = &mut |step: &Step| match step {
            Step::Switch { .. } => {
                map_update(&path, 0, &7u64.to_ne_bytes()).unwrap();
                map_update(&path, 2, &9u64.to_ne_bytes()).unwrap();
            }
            Step::CatchUpMap { .. } => fill(&copy, 10..12),
            _ => {}
        };
        let plan = ouro_deploy::deploy(&lab.bpffs, &new.bundle(lab.folder()), &Options::default(), happen).unwrap();
        let told: Vec<String> = plan.changes.iter().filter(|change| change.falls_short()).map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].starts_with("1 elements that changed while map `flows`"), "{told:?}");
        assert_eq!(elements(&copy), [(1, 2), (2, 9), (10, 11), (11, 12)].into());
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn what_a_killed_deploy_had_not_carried_over_the_next_command_does() {
    lab(|lab| {
        let (old, new) = (table(8, 0), table(16, 0));
        for confirm in [None, Some(600)] {
            deployed(lab, &old.bundle(lab.folder()));
            let path = map_pin(lab, "flows");
            fill(&path, 1..3);
            let options = Options { confirm, ..Options::default() };
            let bundle = new.bundle(lab.folder());
            let came = || map_update(&path, 5, &7u64.to_ne_bytes()).unwrap();
            stopped(lab, &bundle, &options, |step| matches!(step, Step::Settle), &came);
            let copy = flows(lab, &new.maps[0].pin());
            assert_eq!(elements(&copy), [(1, 2), (2, 3)].into());
            let found = status(lab);
            assert!(found.problems.contains(&Problem::Behind { map: "flows".to_owned() }), "{found:?}");
            assert_eq!((found.foreign, found.maps.len()), (vec![], 2));
            match confirm {
                None => drop(deployed(lab, &bundle)),
                Some(_) => drop(ouro_deploy::confirm(&lab.bpffs, "fw", &mut |_| {}).unwrap()),
            }
            assert_eq!(elements(&copy), [(1, 2), (2, 3), (5, 7)].into());
            assert_eq!(status(lab).problems, []);
            sh(&format!("bpftool map delete pinned {} key 5 0 0 0", copy.display()));
            assert_eq!(deployed(lab, &bundle), [], "once, and not again");
            redeployed(lab, &bundle);
            assert_eq!(elements(&copy), [(1, 2), (2, 3)].into());
            undeployed(lab, "fw");
        }
    });
}

/// A link does not tell the order it was attached in.
#[test]
fn the_order_that_a_killed_deploy_left_is_put_right() {
    if precedes("tcx", "6.6") {
        return;
    }
    lab(|lab| {
        let tcx = |order| Attach::Tcx { interface: NEAR.to_owned(), direction: Direction::Ingress, order, revision: None };
        let chain = |name: &str, order| {
            Chain::new(name).program(name, "tcx/ingress", "return -1;", &[]).attach(&[tcx(order)]).bundle(lab.folder())
        };
        let mine = chain("mine", Order::Last);
        deployed(lab, &chain("other", Order::Last));
        deployed(lab, &mine);
        let ids = || {
            let shown = bpftool(&["net", "show", "dev", NEAR]);
            let id = |program: &serde_json::Value| program["prog_id"].as_u64().or(program["id"].as_u64());
            shown[0]["tc"].as_array().into_iter().flatten().filter_map(id).collect::<Vec<_>>()
        };
        let (before, mut first) = (ids(), mine.clone());
        first.manifest.attach = vec![tcx(Order::First)];
        stopped(lab, &first, &Options::default(), marks, &|| {});
        assert_eq!(ids(), before.iter().rev().copied().collect::<Vec<_>>());
        deployed(lab, &mine);
        assert_eq!(ids(), before);
        assert_eq!(deployed(lab, &mine), [], "and then it is known");
        for name in ["mine", "other"] {
            ouro_deploy::undeploy(&lab.bpffs, name, &RemoveOptions::default(), &mut |_| {}).unwrap();
        }
    });
}
