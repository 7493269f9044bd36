//! Root tables: all hooks of a chain switch at one instant, and so do hooks whose links take no other program.

use std::path::PathBuf;

use ouro_deploy::{Change, NotAtomic, Options, Problem, Step};
use ouro_rules::manifest::{Attach, Direction, RawTracepoint, TcVia};

use crate::chain::{Chain, count, if_udp, map, xdp};
use crate::missing::precedes;
use crate::support::{Lab, NEAR, bpftool, is_gone, lab, sh};
use crate::{deployed, generation_folders, pinned_programs, redeployed, status, undeployed};

fn root(lab: &Lab, class: &str) -> PathBuf {
    lab.bpffs.join("ouro/fw/root").join(class)
}

fn tcx(interface: &str) -> Attach {
    Attach::Tc { interface: interface.to_owned(), direction: Direction::Ingress, priority: 1, handle: 1, via: TcVia::Auto }
}

/// The stub's id and that of the program it jumps to.
fn stub_and_program(lab: &Lab, class: &str) -> (u64, u64) {
    let stub = bpftool(&["prog", "show", "pinned", root(lab, class).join("stub").to_str().unwrap()]);
    let table = bpftool(&["map", "dump", "pinned", root(lab, class).join("table").to_str().unwrap()]);
    let bytes = table[0]["value"].as_array().unwrap().iter().rev();
    let byte = |value: &serde_json::Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    (stub["id"].as_u64().unwrap(), bytes.fold(0, |sum, value| sum << 8 | byte(value)))
}

fn switches_root(steps: &[Step]) -> bool {
    let moved = steps.iter().any(|step| step.moved_hook().is_some());
    !moved && steps.iter().any(|step| matches!(step, Step::SwitchRoot { .. }))
}

#[test]
fn two_devices_switch_at_one_instant() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.98.0");
        for (class, points) in [("xdp-XDP", vec![xdp(NEAR), xdp("near1")]), ("sched_cls", vec![tcx(NEAR), tcx("near1")])] {
            let section = if class == "sched_cls" { "tc" } else { "xdp" };
            let (drop, pass) = if class == "sched_cls" { ("TC_ACT_SHOT", "TC_ACT_UNSPEC") } else { ("XDP_DROP", "XDP_PASS") };
            let chain = |verdict: &str| {
                let block = format!("{}return {verdict};", count("seen"));
                let chain = Chain { atomic: true, ..Chain::new("fw") }.map(map("seen", "array", 1)).attach(&points);
                let chain = chain.program("parse", section, &if_udp("JUMP(block);", "JUMP(allow);"), &["block", "allow"]);
                chain.program("block", section, &block, &[]).program("allow", section, &format!("return {pass};"), &[])
            };
            let bundle = chain(drop).bundle(lab.folder());
            deployed(lab, &bundle);
            assert_eq!((lab.ping(5), lab.ping_address("10.98.0.1", 5)), (5, 5));
            lab.udp(4000, 5);
            assert_eq!(status(lab).edges[0].counts.unwrap().taken, 5, "{class}");
            let (stub, program) = stub_and_program(lab, class);
            assert_eq!(Some(program), status(lab).programs[0].id.map(u64::from));
            let flood = lab.flood();
            for _ in 0..30 {
                let steps = redeployed(lab, &bundle);
                assert!(switches_root(&steps), "{steps:?}");
            }
            for _ in 0..30 {
                let plan = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
                assert!(switches_root(&plan.steps), "{plan:?}");
                assert!(!plan.changes.iter().any(|change| matches!(change, Change::NotAtomic { .. })), "{plan:?}");
                assert_eq!(plan.changes.iter().filter(|change| matches!(change, Change::Changed { .. })).count(), 2, "{plan:?}");
            }
            let (sent, received) = flood.stop();
            assert!(sent > 500, "the flood was thin: {sent}");
            assert_eq!(sent, received, "{class}");
            let last = status(lab);
            assert_eq!((last.problems.as_slice(), last.hooks.len(), generation_folders(lab).len()), (&[][..], 2, 2));
            assert!(last.edges.iter().all(|edge| edge.counts.is_some_and(|counts| counts.missed == 0)));
            assert_eq!(stub_and_program(lab, class).0, stub, "the stub stays");
            undeployed(lab, "fw");
            assert!(is_gone("prog", u32::try_from(stub).unwrap()));
        }
    });
}

#[test]
fn a_chain_goes_over_to_a_root_and_back_without_loss() {
    lab(|lab| {
        let (plain, atomic) = (Chain::firewall(), Chain { atomic: true, ..Chain::firewall() });
        let (plain, atomic) = (plain.bundle(lab.folder()), atomic.bundle(lab.folder()));
        deployed(lab, &plain);
        let link = status(lab).hooks[0].link;
        let flood = lab.flood();
        for _ in 0..5 {
            deployed(lab, &atomic);
            assert!(root(lab, "xdp-XDP").join("stub").exists());
            deployed(lab, &plain);
            assert!(!lab.bpffs.join("ouro/fw/root").exists());
        }
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let now = status(lab);
        assert_eq!((now.hooks[0].link, now.problems, now.foreign), (link, vec![], vec![]));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_root_that_lost_its_pins_is_made_anew() {
    lab(|lab| {
        let bundle = Chain { atomic: true, ..Chain::firewall() }.bundle(lab.folder());
        deployed(lab, &bundle);
        std::fs::remove_file(root(lab, "xdp-XDP").join("table")).unwrap();
        let gone = Problem::RootGone { hook: "xdp-near0".to_owned() };
        assert!(status(lab).problems.contains(&gone), "{:?}", status(lab).problems);
        deployed(lab, &bundle);
        assert_eq!((lab.ping(3), status(lab).problems), (3, vec![]));
        lab.udp(4000, 3);
        assert_eq!(status(lab).edges[0].counts.unwrap().taken, 3);
        undeployed(lab, "fw");
    });
}

#[test]
fn another_kind_of_program_gets_another_root() {
    if precedes("`xdp.frags` programs", "5.18") {
        return;
    }
    lab(|lab| {
        let of = |section: &str| {
            let chain = Chain { atomic: true, ..Chain::new("fw") }.program("parse", section, "JUMP(allow);", &["allow"]);
            chain.program("allow", section, "return XDP_PASS;", &[]).bundle(lab.folder())
        };
        deployed(lab, &of("xdp"));
        let flood = lab.flood();
        deployed(lab, &of("xdp.frags"));
        let kinds = || (root(lab, "xdp-XDP").exists(), root(lab, "xdp-XDP-frags").exists());
        assert_eq!(kinds(), (false, true));
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert_eq!((kinds(), status(lab).generation), ((true, false), Some(1)));
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_raw_tracepoint_switches_by_its_root() {
    lab(|lab| {
        let class = "raw_tracepoint";
        let of = |step: u32| {
            let add = format!(
                "{{ __u32 zero = 0; __u64 *n = bpf_map_lookup_elem(&seen, &zero); if (n) __sync_fetch_and_add(n, {step}); }} return 0;"
            );
            let chain = Chain::new("fw")
                .map(map("seen", "array", 1))
                .attach(&[Attach::RawTracepoint(RawTracepoint { name: "sys_enter".to_owned() })]);
            let chain = chain.program("parse", "raw_tp/sys_enter", "JUMP(add);", &["add"]);
            chain.program("add", "raw_tp/sys_enter", &add, &[]).bundle(lab.folder())
        };
        let (old, new) = (of(1), of(1000));
        deployed(lab, &old);
        let seen = || {
            let path = crate::map_pin(lab, "seen");
            bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])[0]["formatted"]["value"].as_u64().unwrap()
        };
        let rise = || {
            let before = seen();
            sh("true");
            seen() - before
        };
        assert!((1..1_000_000).contains(&rise()));
        let link = status(lab).hooks[0].link;
        for round in 0..10 {
            let steps = deployed(lab, if round % 2 == 0 { &new } else { &old });
            assert!(switches_root(&steps), "{steps:?}");
            assert_eq!((status(lab).hooks[0].link, status(lab).problems), (link, vec![]), "attached once");
        }
        assert!(status(lab).edges[0].counts.is_some_and(|counts| counts.taken > 0 && counts.missed == 0));
        let stub = u32::try_from(stub_and_program(lab, class).0).unwrap();
        undeployed(lab, "fw");
        assert!(is_gone("prog", stub));
    });
}

#[test]
fn a_trial_of_an_atomic_chain_goes_back_at_one_instant() {
    lab(|lab| {
        let bundle = Chain { atomic: true, ..Chain::firewall() }.bundle(lab.folder());
        deployed(lab, &bundle);
        let trial = Options { force: true, confirm: Some(600), ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, &bundle, &trial, &mut |_| {}).unwrap();
        assert_eq!(status(lab).generation, Some(2));
        let plan = ouro_deploy::withdraw(&lab.bpffs, "fw", 2, &mut |_| {}).unwrap();
        assert!(switches_root(&plan.steps), "{plan:?}");
        assert!(!plan.changes.contains(&Change::NotAtomic { why: NotAtomic::OneAfterAnother { hooks: 2 } }));
        assert_eq!((status(lab).generation, pinned_programs(lab).len()), (Some(1), 3));
        undeployed(lab, "fw");
    });
}
