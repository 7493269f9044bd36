//! The generation that stays: rollbacks without loss, trials, rehearsals, and hooks taken back.

use ouro_deploy::{Error, Options, Problem, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::PacketTest;

use crate::chain::{Chain, count, if_udp, map, xdp};
use crate::raw::{link_update, machine_code};
use crate::support::{Lab, NEAR, is_gone, lab, sh};
use crate::{deploy, deployed, generation_folders, redeployed, status, undeployed};

/// Passes UDP where [`Chain::firewall`] drops it; its own generation.
fn open() -> Chain {
    let chain = Chain::new("fw").map(map("seen", "array", 1));
    let chain = chain.program("parse", "xdp", &if_udp("JUMP(block);", "JUMP(allow);"), &["block", "allow"]);
    chain.program("block", "xdp", &format!("{}return XDP_PASS;", count("seen")), &[]).program(
        "allow",
        "xdp",
        "return XDP_PASS;",
        &[],
    )
}

fn rolled_back(lab: &Lab) -> Vec<Step> {
    ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_or_else(|error| panic!("{error}")).steps
}

fn on_trial(lab: &Lab, bundle: &Bundle, seconds: u64) {
    let options = Options { confirm: Some(seconds), ..Options::default() };
    ouro_deploy::deploy(&lab.bpffs, bundle, &options, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
}

fn live(lab: &Lab) -> (Option<u32>, Option<u32>) {
    let status = status(lab);
    assert_eq!(status.problems, []);
    (status.generation, status.previous.map(|previous| previous.generation))
}

#[test]
fn rollbacks_lose_no_packet_and_load_nothing() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let first = status(lab);
        deployed(lab, &open().bundle(lab.folder()));
        assert_eq!(live(lab), (Some(2), Some(1)));
        let flood = lab.flood();
        for round in 0..50 {
            let steps = rolled_back(lab);
            assert!(
                !steps.iter().any(|step| matches!(step, Step::LoadProgram { .. } | Step::RemoveGeneration { .. })),
                "{steps:?}"
            );
            let (now, before) = if round % 2 == 0 { (1, 2) } else { (2, 1) };
            assert_eq!(live(lab), (Some(now), Some(before)));
        }
        let (sent, received) = flood.stop();
        assert!(sent > 500, "the flood was thin: {sent}");
        assert_eq!(sent, received);
        rolled_back(lab);
        let last = status(lab);
        assert_eq!((&last.programs, &last.hooks, &last.maps), (&first.programs, &first.hooks, &first.maps));
        assert!(last.edges.iter().all(|edge| edge.counts.is_some_and(|counts| counts.missed == 0)));
        undeployed(lab, "fw");
    });
}

#[test]
fn only_one_generation_stays() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let first = status(lab);
        redeployed(lab, &bundle);
        assert!(!is_gone_now(first.programs[0].id.unwrap()), "kept for a rollback");
        redeployed(lab, &bundle);
        assert_eq!((live(lab), generation_folders(lab).len()), ((Some(3), Some(2)), 2));
        assert!(first.programs.iter().all(|program| is_gone("prog", program.id.unwrap())), "generation 1 is gone");
        undeployed(lab, "fw");
    });
}

fn is_gone_now(program: u32) -> bool {
    !std::process::Command::new("bpftool").args(["prog", "show", "id", &program.to_string()]).output().unwrap().status.success()
}

#[test]
fn a_rollback_brings_attach_points_back() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        // The same programs elsewhere: both generations have them, and a link tells only which program it runs.
        deployed(lab, &Chain::firewall().attach(&[xdp(NEAR), xdp("near1")]).bundle(lab.folder()));
        let names = || status(lab).hooks.into_iter().map(|hook| hook.name).collect::<Vec<_>>();
        assert_eq!((live(lab), names()), ((Some(2), Some(1)), vec!["xdp-near0".to_owned(), "xdp-near1".to_owned()]));
        rolled_back(lab);
        assert_eq!((live(lab), names()), ((Some(1), Some(2)), vec!["xdp-near0".to_owned()]));
        assert!(!sh("ip link show near1").contains("xdp"));
        rolled_back(lab);
        assert_eq!((live(lab), names().len()), ((Some(2), Some(1)), 2));
        assert!(sh("ip link show near1").contains("xdp"));
        undeployed(lab, "fw");
    });
}

#[test]
fn without_a_previous_generation_a_rollback_says_so() {
    lab(|lab| {
        assert!(matches!(ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}), Err(Error::NotDeployed(_))));
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let error = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "`fw` has no generation to go back to");
        undeployed(lab, "fw");
    });
}

#[test]
fn a_trial_is_confirmed_or_withdrawn() {
    lab(|lab| {
        let (old, new) = (Chain::firewall().bundle(lab.folder()), open().bundle(lab.folder()));
        deployed(lab, &old);
        let flood = lab.flood();
        on_trial(lab, &new, 600);
        let trial = status(lab).trial.expect("it is on trial");
        assert!(trial.generation == 2 && (590..=600).contains(&trial.seconds_left), "{trial:?}");
        assert_eq!(live(lab), (Some(2), Some(1)));
        let withdraw = |generation| ouro_deploy::withdraw(&lab.bpffs, "fw", generation, &mut |_| {}).unwrap();
        assert!(withdraw(1).is_empty(), "another one is on trial");
        assert!(!withdraw(2).is_empty());
        assert_eq!((live(lab), status(lab).trial, generation_folders(lab).len()), ((Some(1), None), None, 1));
        on_trial(lab, &new, 600);
        ouro_deploy::confirm(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert!(withdraw(3).is_empty(), "too late");
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let now = status(lab);
        assert_eq!((now.generation, now.trial.is_some(), now.problems), (Some(2), false, vec![]));
        assert!(ouro_deploy::confirm(&lab.bpffs, "fw", &mut |_| {}).is_err(), "once is enough");
        undeployed(lab, "fw");
    });
}

/// Monitoring alarmed at every trial: two generations stay beside the one on trial, and one of them was told as left over.
#[test]
fn what_a_trial_keeps_is_no_drift() {
    lab(|lab| {
        let (old, new) = (Chain::firewall().bundle(lab.folder()), open().bundle(lab.folder()));
        deployed(lab, &old);
        redeployed(lab, &old);
        on_trial(lab, &new, 600);
        assert_eq!((live(lab), generation_folders(lab).len()), ((Some(3), Some(2)), 3));
        // One that was stopped in the middle is none of them.
        std::fs::create_dir_all(lab.bpffs.join("ouro/fw/gen-9/maps")).unwrap();
        assert_eq!(status(lab).problems, [Problem::Leftover { generation: 9 }]);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_first_deploy_that_nobody_confirms_is_removed() {
    lab(|lab| {
        on_trial(lab, &Chain::firewall().bundle(lab.folder()), 1);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(status(lab).problems, [Problem::Unconfirmed { generation: 1 }], "whoever waited is gone");
        rolled_back(lab);
        assert!(!lab.bpffs.join("ouro").exists());
        assert_eq!(lab.ping(3), 3);
    });
}

#[test]
fn attach_points_stay_as_they_are_in_a_trial() {
    lab(|lab| {
        on_trial(lab, &Chain::firewall().bundle(lab.folder()), 600);
        let error = ouro_deploy::reattach(&lab.bpffs, "fw", &mut |_| Vec::new(), &mut |_| {}).unwrap_err();
        assert!(error.help().unwrap().contains("ouro confirm fw"), "{error}");
        undeployed(lab, "fw");
    });
}

/// A program that is verified with a table of its own type makes that table its own: a rehearsal must not touch a live one.
#[test]
fn a_rehearsal_leaves_nothing_and_touches_nothing() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        let rehearse = |bundle: &Bundle| ouro_deploy::rehearse(&lab.bpffs, bundle, &Options::default(), &mut |_| {});
        let plan = rehearse(&bundle).unwrap();
        assert_eq!(plan, ouro_deploy::plan(&lab.bpffs, &bundle, &Options::default()).unwrap());
        assert!(!lab.bpffs.join("ouro").exists());
        deployed(lab, &bundle);
        let (before, code) = (status(lab), machine_code(&lab.bpffs.join("ouro/fw/gen-1/progs/parse")));
        let flood = lab.flood();
        for _ in 0..5 {
            rehearse(&open().bundle(lab.folder())).unwrap();
        }
        let rejected = Chain::firewall().program("broken", "xdp", "return *(__u8 *)(long)ctx->data;", &[]);
        let error = rehearse(&rejected.bundle(lab.folder())).unwrap_err();
        assert!(error.to_string().contains("rejected `broken`"), "{error}");
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let after = status(lab);
        assert_eq!(
            (&after.programs, &after.hooks, &after.maps, &after.foreign),
            (&before.programs, &before.hooks, &before.maps, &vec![])
        );
        assert_eq!(code, machine_code(&lab.bpffs.join("ouro/fw/gen-1/progs/parse")));
        assert!(redeployed(lab, &bundle).len() > 5, "its table is still its own");
        undeployed(lab, "fw");
    });
}

fn packet(name: &str, protocol: u8, verdict: i32) -> PacketTest {
    // Ethernet: two addresses and IPv4. Then twenty bytes of IPv4, with the protocol in the tenth.
    let data = format!("{}0800450000140000000040{protocol:02x}{}", "00".repeat(12), "00".repeat(20));
    PacketTest { name: name.to_owned(), data, verdict }
}

#[test]
fn a_chain_is_tried_before_it_goes_live() {
    lab(|lab| {
        let tests = || vec![packet("udp is dropped", 17, 1), packet("icmp passes", 1, 2)];
        let tried = Chain { tests: tests(), ..Chain::firewall() }.bundle(lab.folder());
        deployed(lab, &tried);
        assert_eq!(seen(lab), 0, "the packets of tests are counted nowhere");
        let before = status(lab);
        let wrong = Chain { tests: tests(), ..open() }.bundle(lab.folder());
        let Error::Failed { cause, undo: None, .. } = deploy(lab, &wrong).unwrap_err() else { panic!("a test must fail") };
        assert_eq!(cause.to_string(), "test `udp is dropped`: the chain says `pass` instead of `drop`");
        assert!(matches!(ouro_deploy::rehearse(&lab.bpffs, &wrong, &Options::default(), &mut |_| {}), Err(Error::Test { .. })));
        let after = status(lab);
        assert_eq!((after.generation, &after.programs, &after.problems), (Some(1), &before.programs, &vec![]));
        assert_eq!(generation_folders(lab).len(), 1);
        let untried = Options { no_tests: true, ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, &wrong, &untried, &mut |_| {}).unwrap();
        undeployed(lab, "fw");
    });
}

fn seen(lab: &Lab) -> u64 {
    let path = crate::map_pin(lab, "seen");
    crate::support::bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])[0]["formatted"]["value"].as_u64().unwrap()
}

#[test]
fn a_stolen_link_is_taken_back() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let before = status(lab);
        link_update(before.hooks[0].path.as_ref().unwrap(), &before.programs[2].path);
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.help().unwrap().contains("--force-links"), "{error}");
        let options = Options { force_links: true, ..Options::default() };
        let taken = ouro_deploy::deploy(&lab.bpffs, &bundle, &options, &mut |_| {}).unwrap();
        assert!(matches!(taken.steps.as_slice(), [Step::TakeBack { .. }, Step::Settle]), "{taken:?}");
        assert_eq!((live(lab), &status(lab).hooks), ((Some(1), None), &before.hooks));
        undeployed(lab, "fw");
    });
}
