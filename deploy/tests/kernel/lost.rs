//! Somebody removed generations by hand, and left links and maps: the chain still runs, and nothing records what it is.

use ouro_deploy::{Problem, RemoveOptions, Step};

use crate::chain::{Chain, xdp};
use crate::support::{Lab, NEAR, is_gone, lab, sh};
use crate::{deployed, map_pin, pinned_programs, redeployed, seen, status, undeployed};

/// What can be removed, from the deployment's folder.
const DAMAGES: [&str; 3] = ["gen-*", "gen-*/maps", "gen-*/maps/meta"];

/// Counts packets by a jump, at these devices.
fn chain(devices: &[&str]) -> Chain {
    let count = "__u32 key = 0; __u64 *found = bpf_map_lookup_elem(&seen, &key); if (found) __sync_fetch_and_add(found, 1); \
                 return XDP_PASS;";
    let chain = Chain::new("fw").map(crate::chain::map("seen", "array", 1));
    let chain = chain.program("parse", "xdp", "JUMP(count); return XDP_PASS;", &["count"]).program("count", "xdp", count, &[]);
    chain.attach(&devices.iter().map(|device| xdp(device)).collect::<Vec<_>>())
}

fn damage(lab: &Lab, what: &str) {
    sh(&format!("rm -r {}/{what}", lab.bpffs.join("ouro/fw").display()));
}

fn is_told(lab: &Lab) {
    let problems = status(lab).problems;
    let told = |problem: &Problem| matches!(problem, Problem::RecordGone { links, .. } if links == &[format!("xdp-{NEAR}")]);
    assert!(problems.iter().any(told), "{problems:?}");
}

fn has_xdp(device: &str) -> bool {
    sh(&format!("ip link show {device}")).contains("xdp")
}

#[test]
fn a_deploy_takes_over_what_runs_without_a_record() {
    lab(|lab| {
        let bundle = chain(&[NEAR]).bundle(lab.folder());
        for what in DAMAGES {
            deployed(lab, &bundle);
            redeployed(lab, &bundle);
            let (before, programs, map) = (status(lab), pinned_programs(lab), map_pin(lab, "seen"));
            damage(lab, what);
            is_told(lab);
            let flood = lab.flood();
            let steps = deployed(lab, &bundle);
            assert!(steps.iter().any(|step| matches!(step, Step::TakeBack { .. })), "{what}: {steps:?}");
            let (sent, received) = flood.stop();
            // Without its jump table the chain drops packets until another takes its place.
            assert!(sent > 0 && (sent == received || !what.ends_with("meta")), "{what}: {sent} {received}");
            let after = status(lab);
            assert_eq!((&after.problems, &after.foreign, map_pin(lab, "seen")), (&vec![], &vec![], map), "{what}");
            assert_eq!(after.hooks[0].link, before.hooks[0].link, "{what}: the link is the same");
            let counted = seen(lab);
            assert_eq!(lab.ping(3), 3);
            assert!(seen(lab) >= counted + 3, "{what}: packets pass the new chain");
            assert!(programs.iter().all(|program| is_gone("prog", *program)), "{what}: {programs:?}");
            assert_eq!(deployed(lab, &bundle), [], "{what}: and then it is known");
            undeployed(lab, "fw");
        }
    });
}

#[test]
fn a_dead_link_without_a_record_is_replaced() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        let bundle = chain(&["near1"]).bundle(lab.folder());
        deployed(lab, &bundle);
        damage(lab, "gen-*");
        sh("ip link del near1");
        lab.cable("near1", "far1", "10.98.0");
        deployed(lab, &bundle);
        assert!(has_xdp("near1"));
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn an_undeploy_removes_what_runs_without_a_record() {
    lab(|lab| {
        let bundle = chain(&[NEAR]).bundle(lab.folder());
        for what in DAMAGES {
            deployed(lab, &bundle);
            let (before, programs) = (status(lab), pinned_programs(lab));
            damage(lab, what);
            is_told(lab);
            let done = ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
            assert_eq!(done.foreign, Vec::<std::path::PathBuf>::new(), "{what}");
            crate::nothing_left(lab, &before, &programs);
            assert!(!has_xdp(NEAR), "{what}");
        }
    });
}
