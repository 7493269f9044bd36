//! What people are told of a plan.

use ouro_deploy::{Change, Hook, MapFacts, NotAtomic, Observed, Options, Plan, Step, diff};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Bytes, Content, Direction, Element, OnChange, PacketTest, Scalar, TcVia, XdpMode};

use crate::{attached, bundle, deployed, generation, hook, made_live, nothing, program, seen, xdp};

fn plan(bundle: &Bundle, observed: &Observed) -> Plan {
    diff(bundle, observed, &Options::default()).unwrap()
}

/// As `ouro plan` shows them.
fn lines(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(|change| format!("{} {change}", change.sign())).collect()
}

#[test]
fn everything_of_a_first_deploy_is_new() {
    let plan = plan(&bundle("a", &[xdp("eth0")]), &nothing());
    assert_eq!(
        lines(&plan),
        [
            "+ program `block`: xdp ",
            "+ program `parse`: xdp ",
            "+ jump `parse -> block`: drop when missed",
            "+ map `seen`: hash of 4, 4+8 bytes, ABI 783bbb095789",
            "+ attach point native XDP of `eth0`: runs generation 1",
            "+ generation `1`: loads 2 programs",
        ]
    );
    assert_eq!(plan.counts(), [6, 0, 0]);
}

#[test]
fn what_differs_is_told_with_before_and_after() {
    let mut new = bundle("b", &[xdp("eth0")]);
    new.manifest.programs[0].digest = "f".repeat(64);
    new.manifest.programs[1] = program("limit", Some(0));
    new.manifest.edges[0].name = "limit".to_owned();
    new.manifest.counting = false;
    new.manifest.maps.clear();
    let plan = plan(&new, &deployed(&bundle("a", &[xdp("eth0")])));
    assert_eq!(
        lines(&plan),
        [
            "+ program `limit`: xdp ",
            "~ program `parse`: xdp  -> xdp ffffffffffff",
            "- program `block`: xdp ",
            "+ jump `parse -> limit`: drop when missed",
            "- jump `parse -> block`: drop when missed",
            "~ setting `counting`: true -> false",
            "~ attach point native XDP of `eth0`: generation 1 -> generation 2",
            "+ generation `2`: loads 2 programs",
        ],
        "the map stays for the previous generation"
    );
}

/// A deploy with other values was told as a new generation of the same bundle, for no reason.
#[test]
fn other_values_of_globals_are_told() {
    let with = |values: &[(&str, i64)]| {
        let mut bundle = bundle("a", &[xdp("eth0")]);
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), Scalar::Int(*value)));
        bundle.manifest.programs[0].globals = values.collect();
        bundle
    };
    let plan = plan(&with(&[("limit", 77), ("zone", 1)]), &deployed(&with(&[("limit", 5), ("old", 2)])));
    let told = ["~ global `parse.limit`: 5 -> 77", "+ global `parse.zone`: 1", "- global `parse.old`: 2"];
    assert_eq!(lines(&plan)[..3], told);
}

/// Of `reset` nothing was said, and what was said of a third map of that name looked as if it were this one.
#[test]
fn what_becomes_of_what_maps_hold_is_told() {
    let of = |digest: &str, max_entries, on_change| {
        let mut bundle = bundle(digest, &[xdp("eth0")]);
        (bundle.manifest.maps[0].max_entries, bundle.manifest.maps[0].on_change) = (max_entries, on_change);
        bundle
    };
    let told = |bundle: &Bundle, observed: &Observed| -> Vec<String> {
        lines(&plan(bundle, observed)).into_iter().filter(|line| line.contains("map `seen`")).collect()
    };
    let (old, new) = (of("a", 4, OnChange::Keep), of("b", 8, OnChange::Reset));
    let abi = |bundle: &Bundle| bundle.manifest.maps[0].abi();
    let change = format!("hash of 4, 4+8 bytes, ABI {} -> hash of 8, 4+8 bytes, ABI {}", abi(&old), abi(&new));
    assert_eq!(told(&new, &deployed(&old)), [format!("~ map `seen`: {change}, beginning empty")]);
    let mut filled = new.clone();
    filled.manifest.maps[0].contents = vec![Element { key: Bytes(vec![0; 4]), value: Content::Bytes(Bytes(vec![0; 8])) }];
    assert_eq!(told(&filled, &deployed(&old)), [format!("~ map `seen`: {change}, beginning with its `contents`")]);
    let mut observed = deployed(&old);
    observed.generations.insert(2, made_live(generation(&new, 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    observed.maps.insert(new.manifest.maps[0].pin(), MapFacts { max_entries: 8, ..seen() });
    let gone = format!("- map `seen`: ABI {}, no generation uses it, and what it holds is lost", abi(&old));
    assert_eq!(told(&of("c", 16, OnChange::Reset), &observed).last(), Some(&gone));
}

#[test]
fn nothing_to_do_is_no_change() {
    let bundle = bundle("a", &[xdp("eth0")]);
    assert_eq!(plan(&bundle, &deployed(&bundle)), Plan::default());
}

#[test]
fn a_plan_with_steps_has_changes() {
    let old = bundle("a", &[xdp("eth0")]);
    let mut unmarked = deployed(&old);
    unmarked.generations.get_mut(&1).unwrap().went_live = None;
    let mut leftover = deployed(&old);
    leftover.generations.insert(2, generation(&bundle("b", &[xdp("eth0")]), 2));
    let mut dead = deployed(&old);
    dead.attachments.get_mut("xdp-eth0").unwrap().target = None;
    for observed in [unmarked, leftover, dead, deployed(&bundle("b", &[xdp("eth0")]))] {
        let plan = plan(&old, &observed);
        assert!(!plan.is_empty() && plan.counts() != [0; 3], "{plan:?}");
    }
    let forced = diff(&old, &deployed(&old), &Options { force: true, ..Options::default() }).unwrap();
    assert!(lines(&forced).contains(&"+ generation `2`: loads 2 programs".to_owned()));
}

#[test]
fn drift_is_told() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&wanted);
    observed.generations.get_mut(&1).unwrap().slots.insert(0, 99);
    assert!(lines(&plan(&wanted, &observed)).contains(&"! drift: slot 0 holds program 99 instead of `block`".to_owned()));
}

#[test]
fn what_is_not_atomic_is_told() {
    let (old, both) = (bundle("a", &[xdp("eth0")]), bundle("b", &[xdp("eth0"), xdp("eth1")]));
    assert!(lines(&plan(&both, &deployed(&old))).contains(&"! not atomic: 2 hooks change one after another".to_owned()));
    let generic = Attach::Xdp { interface: "eth0".to_owned(), mode: XdpMode::Generic };
    let found = plan(&bundle("b", std::slice::from_ref(&generic)), &deployed(&old));
    let gap = Change::NotAtomic { why: NotAtomic::Gap { hook: Hook::new(&generic, true) } };
    assert!(found.changes.contains(&gap), "{found:?}");
}

#[test]
fn programs_of_others_at_the_same_place_are_told() {
    let tc = Attach::Tc { interface: "eth0".to_owned(), direction: Direction::Ingress, priority: 9, handle: 1, via: TcVia::Tcx };
    let (old, new) = (bundle("a", std::slice::from_ref(&tc)), bundle("b", &[tc]));
    let mut observed = deployed(&old);
    observed.foreign_programs.insert("tcx-ingress-eth0".to_owned(), vec![77, 10]);
    observed.foreign_programs.get_mut("tcx-ingress-eth0").unwrap().push(78);
    observed.owners.insert(78, "lb".to_owned());
    let text = "! TCX ingress of `eth0` also runs programs of others, which stay: 77, 78 of `lb`";
    assert!(lines(&plan(&new, &observed)).contains(&text.to_owned()));
}

#[test]
fn a_generation_that_goes_says_why() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.insert(2, made_live(generation(&bundle("b", &[xdp("eth0")]), 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    let found = plan(&bundle("c", &[xdp("eth0")]), &observed);
    assert_eq!(lines(&found).last().unwrap(), "- generation `1`: one is kept beside the live one, and no more");
}

#[test]
fn tests_that_cannot_be_run_are_told() {
    let mut wanted = bundle("a", &[]);
    wanted.manifest.tests = vec![PacketTest { name: "udp".to_owned(), data: "00".repeat(14), verdict: 1 }];
    let tried = plan(&wanted, &nothing());
    assert_eq!(tried.steps[0].to_string(), "try the chain with 1 packet on maps of its own");
    wanted.manifest.programs.iter_mut().for_each(|program| program.ty = "xdp/devmap".to_owned());
    wanted.manifest.program_type = "xdp/devmap".to_owned();
    let untried = plan(&wanted, &nothing());
    assert!(!untried.steps.iter().any(|step| matches!(step, Step::RunTests { .. })));
    let text = "! cannot be tried: the kernel runs no packets through `xdp/devmap` programs: udp";
    assert_eq!(lines(&untried).last().map(String::as_str), Some(text));
}
