//! Redeploys: no packet lost, nothing done twice, and a failure leaves the old chain whole.

use ouro_deploy::{Error, RemoveOptions, Step};

use crate::chain::{Chain, count, map};
use crate::support::{Lab, bpftool, is_gone, lab};
use crate::{deploy, deployed, nothing_left, redeployed, status, undeployed};

#[test]
fn fifty_generations_lose_no_packet() {
    lab(|lab| {
        // A missed jump drops, so a lost answer is a broken chain.
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let first = status(lab);
        assert_eq!(lab.ping(3), 3);
        let flood = lab.flood();
        for _ in 0..50 {
            redeployed(lab, &bundle);
        }
        let (sent, received) = flood.stop();
        assert!(sent > 5_000, "the flood was thin: {sent}");
        assert_eq!(sent, received);
        let last = status(lab);
        assert_eq!((last.generation, &last.problems), (Some(51), &vec![]));
        assert_eq!(last.hooks[0].link, first.hooks[0].link, "one link lives through all of it");
        assert!(last.edges.iter().all(|edge| edge.counts.is_some_and(|counts| counts.missed == 0)));
        assert!(first.programs.iter().all(|program| is_gone("prog", program.id.unwrap())), "generation 1 is gone");
        undeployed(lab, "fw");
    });
}

#[test]
fn the_same_bundle_needs_nothing() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        assert_eq!(deployed(lab, &bundle), []);
        assert_eq!(ouro_deploy::plan(&lab.bpffs, &bundle, &Default::default()).unwrap().steps, []);
        assert_eq!(status(lab).generation, Some(1));
    });
}

#[test]
fn a_plan_changes_nothing_and_is_what_deploy_does() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        let plan = ouro_deploy::plan(&lab.bpffs, &bundle, &Default::default()).unwrap();
        assert!(!lab.bpffs.join("ouro").exists());
        let mut told = Vec::new();
        let taken = ouro_deploy::deploy(&lab.bpffs, &bundle, &Default::default(), &mut |step| told.push(step.clone())).unwrap();
        assert_eq!((&plan, &plan.steps), (&taken, &told));
    });
}

#[test]
fn shared_maps_outlive_generations() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        lab.udp(4000, 10);
        let before = status(lab);
        // Another `block` that counts twice, and a map more.
        let chain = Chain::new("fw").map(map("seen", "array", 1)).map(map("more", "hash", 8));
        let chain = chain.program("parse", "xdp", &crate::chain::if_udp("JUMP(block);", "return XDP_PASS;"), &["block"]).program(
            "block",
            "xdp",
            &format!("{0}{0}{1}return XDP_DROP;", count("seen"), count("more")),
            &[],
        );
        let steps = deployed(lab, &chain.bundle(lab.folder()));
        assert!(
            steps.contains(&Step::ReuseMap { map: map("seen", "array", 1).pin() })
                && steps.contains(&Step::CreateMap { map: map("more", "hash", 8).pin() })
        );
        lab.udp(4000, 10);
        assert_eq!(seen(lab), 30);
        assert_eq!(status(lab).maps.iter().find(|map| map.name == "seen"), before.maps.first());
        // And a map less, once nothing can go back to what uses it.
        let less = Chain::firewall().bundle(lab.folder());
        let removed = Step::RemoveMap { map: map("more", "hash", 8).pin() };
        assert!(!redeployed(lab, &less).contains(&removed));
        let steps = redeployed(lab, &less);
        assert!(steps.contains(&removed), "{steps:?}");
        assert_eq!(status(lab).maps, before.maps);
        undeployed(lab, "fw");
    });
}

fn seen(lab: &Lab) -> u64 {
    let path = lab.bpffs.join("ouro/fw/maps").join(map("seen", "array", 1).pin());
    bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])[0]["formatted"]["value"].as_u64().unwrap()
}

#[test]
fn kept_maps_are_found_again() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        lab.udp(4000, 10);
        let before = status(lab);
        let keep = RemoveOptions { keep_maps: true, ..RemoveOptions::default() };
        let undeploy = |options: &RemoveOptions| ouro_deploy::undeploy(&lab.bpffs, "fw", options, &mut |_| {}).unwrap();
        undeploy(&keep);
        let kept = status(lab);
        let mut maps = before.maps.clone();
        maps.iter_mut().for_each(|map| map.live = false);
        assert_eq!((kept.chain.as_str(), kept.generation, &kept.maps, &kept.foreign), ("//test:fw", None, &maps, &vec![]));
        assert_eq!(kept.hooks, []);
        assert_eq!(undeploy(&keep).steps, [], "twice is no error and does nothing");
        deployed(lab, &bundle);
        lab.udp(4000, 10);
        assert_eq!(seen(lab), 20);
        undeploy(&keep);
        undeploy(&RemoveOptions::default());
        nothing_left(lab, &before, &[]);
        assert_eq!(undeploy(&RemoveOptions::default()).steps, []);
    });
}

#[test]
fn a_failing_redeploy_leaves_the_old_chain() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let before = status(lab);
        let rejected =
            Chain::firewall().program("broken", "xdp", "return *(__u8 *)(long)ctx->data;", &[]).map(map("more", "array", 4));
        let rejected = Chain {
            globals: "__attribute__((used)) static void touch(void) { bpf_map_lookup_elem(&more, &more); }".to_owned(),
            ..rejected
        };
        let bundle = rejected.bundle(lab.folder());
        let flood = lab.flood();
        for _ in 0..10 {
            let error = deploy(lab, &bundle).unwrap_err();
            let Error::Failed { cause, undo: None, settled: false, .. } = &error else { panic!("{error:?}") };
            assert!(matches!(**cause, Error::Rejected(_)), "{error}");
        }
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let after = status(lab);
        let without_counts = |mut status: ouro_deploy::DeploymentStatus| {
            status.edges.clear();
            status
        };
        assert_eq!(without_counts(before), without_counts(after));
        assert!(
            !lab.bpffs.join("ouro/fw/gen-2").exists()
                && !lab.bpffs.join("ouro/fw/maps").join(map("more", "array", 4).pin()).exists()
        );
        undeployed(lab, "fw");
    });
}
