//! Somebody removed the generations, or their records: what is pinned in the deployment's own folders is ours all the same.

use ouro_deploy::{Change, Conflict, Generation, LinkFacts, Observed, RemoveOptions, Step, diff, remove};
use ouro_rules::manifest::{Attach, Direction, Order};

use crate::{attached, bundle, conflicts, deployed, hook, lines, pin, steps, xdp};

/// A deployment at `place` of which only links and maps are left; the hook of the bundle to come has taken over the link.
fn unrecorded(place: &str, taken_over: bool) -> Observed {
    let mut observed = deployed(&bundle("a", &[xdp(place)]));
    observed.generations.clear();
    observed.attachments.clear();
    let facts = LinkFacts { id: 7, program: 10, target: Some(2) };
    observed.lost = [(format!("xdp-{place}"), facts)].into();
    if taken_over {
        let (name, mut attachment) = attached(hook(place), 1);
        attachment.generation = None;
        observed.attachments.insert(name, attachment);
    }
    observed.host.devices.get_mut(place).unwrap().xdp = Some(10);
    observed
}

fn lost(pin: &str) -> Step {
    Step::RemoveLost { pin: pin.to_owned() }
}

fn place(steps: &[Step], wanted: &Step) -> usize {
    steps.iter().position(|step| step == wanted).unwrap_or_else(|| panic!("no `{wanted}`: {steps:?}"))
}

#[test]
fn a_link_without_its_record_is_led_to_the_new_chain() {
    let wanted = bundle("b", &[xdp("eth0")]);
    let mut observed = unrecorded("eth0", true);
    let found = steps(&wanted, &observed);
    let taken = Step::TakeBack { hook: hook("eth0"), program: 10, generation: 1 };
    assert!(place(&found, &Step::FreezeTable { generation: 1 }) < place(&found, &taken), "{found:?}");
    assert!(place(&found, &taken) < place(&found, &Step::Settle), "{found:?}");
    assert!(found.contains(&Step::ReuseMap { map: pin(&wanted) }), "{found:?}");
    assert!(!found.iter().any(|step| matches!(step, Step::RemoveLost { .. } | Step::RemoveMap { .. })), "{found:?}");
    // What is left of its generation may be in use until then.
    observed.generations.insert(1, Generation::default());
    let found = steps(&wanted, &observed);
    assert!(place(&found, &Step::Settle) < place(&found, &Step::RemoveGeneration { generation: 1 }), "{found:?}");
}

#[test]
fn a_dead_link_without_its_record_is_replaced() {
    let mut observed = unrecorded("eth0", true);
    observed.host.devices.get_mut("eth0").unwrap().xdp = None;
    observed.attachments.values_mut().for_each(|attached| attached.target = None);
    let found = steps(&bundle("b", &[xdp("eth0")]), &observed);
    let (removed, attach) = (Step::RemoveLink { hook: hook("eth0") }, Step::Attach { hook: hook("eth0"), generation: 1 });
    assert!(place(&found, &removed) < place(&found, &attach), "{found:?}");
}

#[test]
fn a_link_without_its_record_goes_where_the_chain_is_wanted_no_more() {
    let (interface, direction) = ("eth0".to_owned(), Direction::Ingress);
    let tcx = Attach::Tcx { interface, direction, order: Order::Last, revision: None };
    let plan = diff(&bundle("b", &[tcx]), &unrecorded("eth0", false), &Default::default()).unwrap();
    assert!(place(&plan.steps, &lost("xdp-eth0")) < place(&plan.steps, &Step::Settle), "{:?}", plan.steps);
    let drift = plan.changes.iter().find(|change| matches!(change, Change::Drift { .. })).unwrap().to_string();
    assert!(drift.contains("the record of `xdp-eth0`"), "{drift}");
    let removed = plan.changes.iter().find(|change| matches!(change, Change::Removed { .. })).unwrap().to_string();
    assert_eq!(removed, "attach point xdp-eth0: its record is gone");
}

/// A place that a program of others has is theirs, also beside a dead link of ours.
#[test]
fn a_program_of_others_stays_where_ours_is_dead() {
    let mut observed = unrecorded("eth0", true);
    observed.attachments.values_mut().for_each(|attached| attached.target = None);
    observed.lost.values_mut().for_each(|link| link.target = None);
    let taken = Conflict::Taken { hook: hook("eth0"), program: Some(10), deployment: None };
    assert_eq!(conflicts(&bundle("b", &[xdp("eth0")]), &observed), [taken]);
}

#[test]
fn undeploying_removes_what_has_no_record() {
    let observed = unrecorded("eth0", false);
    let map = pin(&bundle("a", &[]));
    let all = [lost("xdp-eth0"), Step::Settle, Step::RemoveMap { map }, Step::RemoveFolders];
    assert_eq!(remove(&observed, &RemoveOptions::default()).unwrap(), all);
    let kept = RemoveOptions { keep_maps: true, ..RemoveOptions::default() };
    assert_eq!(remove(&observed, &kept).unwrap(), all[..2], "their maps stay, as asked");
    let mut theirs = observed.clone();
    theirs.maps = [("theirs".to_owned(), Default::default())].into();
    let found = lines(&remove(&theirs, &RemoveOptions::default()).unwrap());
    assert!(!found.iter().any(|line| line.contains("map `theirs`")), "{found:?}");
}
