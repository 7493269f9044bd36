//! What stopped commands and strangers leave: what may have run stays until another is live, and nothing loses its record.

use ouro_deploy::{Change, Generation, Hook, Observed, Options, RemoveOptions, Step, Trial, acceptance, diff, remove, way_back};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Direction, OnChange, Order, TcVia};

use crate::{attached, bundle, deployed, generation, hook, lines, made_live, pin, seen, steps, tc, xdp};

/// What somebody did.
type Damage = fn(&mut Observed);

const REMOVE_FIRST: Step = Step::RemoveGeneration { generation: 1 };

fn place(steps: &[Step], wanted: &Step) -> usize {
    steps.iter().position(|step| step == wanted).unwrap_or_else(|| panic!("no `{wanted}`: {steps:?}"))
}

fn is_dead(observed: &mut Observed) {
    observed.attachments.values_mut().for_each(|attached| attached.target = None);
}

/// Somebody removed the entry's pin: the link runs a program nobody knows, and that is the chain all the same. Its jump table was
/// emptied before the new chain was even verified, and what its map held was lost.
#[test]
fn a_chain_that_runs_without_its_pin_stays_until_another_is_live() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.get_mut(&1).unwrap().programs.remove("parse");
    observed.attachments.get_mut("xdp-eth0").unwrap().generation = None;
    let options = Options { force_links: true, ..Options::default() };
    for is_marked in [true, false] {
        observed.generations.get_mut(&1).unwrap().went_live = is_marked.then_some(1);
        let found = diff(&bundle("b", &[xdp("eth0")]), &observed, &options).unwrap().steps;
        let taken = place(&found, &Step::TakeBack { hook: hook("eth0"), program: 10, generation: 2 });
        assert!(taken < place(&found, &Step::Settle) && place(&found, &Step::Settle) < place(&found, &REMOVE_FIRST), "{found:?}");
        assert!(found.contains(&Step::ReuseMap { map: pin(&bundle("b", &[])) }), "{found:?}");
        assert!(!found.iter().any(|step| matches!(step, Step::RemoveMap { .. })), "{found:?}");
    }
}

#[test]
fn what_a_chain_with_a_lost_pin_counted_stays() {
    let unattached = |observed: &mut Observed| observed.attachments.clear();
    let cases: [(&str, Damage); 2] = [("nowhere", unattached), ("eth0", is_dead)];
    for (place, lose) in cases {
        let attach = if place == "nowhere" { Vec::new() } else { vec![xdp(place)] };
        let mut observed = deployed(&bundle("a", &attach));
        observed.generations.get_mut(&1).unwrap().programs.remove("block");
        lose(&mut observed);
        let found = steps(&bundle("b", &attach), &observed);
        assert!(found.contains(&Step::ReuseMap { map: pin(&bundle("b", &[])) }), "{place}: {found:?}");
        assert!(!found.iter().any(|step| matches!(step, Step::RemoveMap { .. })), "{place}: {found:?}");
    }
}

/// A deploy was killed right before its end, and then the device went: its link is recorded by that generation alone. A next deploy
/// that failed left a pin that no command knew, and none could replace.
#[test]
fn a_dead_link_goes_before_its_only_record() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.get_mut(&1).unwrap().went_live = None;
    is_dead(&mut observed);
    let found = steps(&bundle("b", &[xdp("eth0")]), &observed);
    assert!(place(&found, &Step::RemoveLink { hook: hook("eth0") }) < place(&found, &REMOVE_FIRST), "{found:?}");
    assert!(found.contains(&Step::ReuseMap { map: pin(&bundle("b", &[])) }), "what it counted stays: {found:?}");
}

#[test]
fn a_qdisc_of_ours_is_recorded_as_long_as_it_is_there() {
    let (old, new) = (bundle("a", &[xdp("eth0")]), bundle("b", &[tc(TcVia::Clsact)]));
    let mut observed = deployed(&old);
    observed.host.devices.get_mut("eth0").unwrap().clsact = true;
    let mut second = generation(&new, 2);
    second.meta.as_mut().unwrap().qdiscs = vec!["eth0".to_owned()];
    observed.generations.insert(2, second);
    let (record, remove) =
        (Step::RecordQdiscs { generation: 1, qdiscs: vec!["eth0".to_owned()] }, Step::RemoveGeneration { generation: 2 });
    let found = steps(&old, &observed);
    assert!(place(&found, &record) < place(&found, &remove), "killed before it was attached: {found:?}");
    let found = steps(&bundle("c", &[xdp("eth0")]), &observed);
    let written = |step: &Step| matches!(step, Step::WriteMeta { qdiscs, .. } if qdiscs == &["eth0"]);
    assert!(found.iter().position(written).unwrap() < place(&found, &remove), "{found:?}");
    let clsact = Hook::new(&tc(TcVia::Clsact), true);
    observed.attachments = [attached(clsact, 2)].into();
    let found = way_back(&observed).unwrap().steps;
    assert!(place(&found, &record) < place(&found, &remove), "rolled back: {found:?}");
}

/// Whoever took a program off a hook may have been killed before the wait for the packets inside of it.
#[test]
fn nothing_is_removed_before_a_wait() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.attachments.clear();
    let found = remove(&observed, &RemoveOptions::default()).unwrap();
    assert_eq!(found[0], Step::Settle, "{found:?}");
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.insert(2, generation(&bundle("b", &[xdp("eth0")]), 2));
    let found = steps(&bundle("c", &[xdp("eth0")]), &observed);
    assert_eq!(found[..2], [Step::Wait, Step::RemoveGeneration { generation: 2 }]);
    assert!(Step::Wait.inverse().is_none() && found.contains(&Step::Settle), "what comes after is undone still");
}

/// A rollback was killed while it put one link in another's place: two generations ran, one of them stays for a rollback, and no deploy
/// found anything to do.
#[test]
fn a_second_link_goes_first_whatever_comes_next() {
    let (old, new) = (bundle("a", &[xdp("eth0")]), bundle("b", &[xdp("eth0")]));
    let mut observed = deployed(&old);
    observed.generations.insert(2, made_live(generation(&new, 2), 2));
    observed.attachments = [attached(hook("eth0"), 2)].into();
    assert_eq!(steps(&new, &observed), []);
    observed.beside.insert("xdp-eth0".to_owned(), hook("eth0"));
    let first = [Step::RemoveBeside { hook: hook("eth0") }, Step::Wait];
    let plan = diff(&new, &observed, &Options::default()).unwrap();
    assert_eq!(plan.steps, first);
    let drift = plan.changes.iter().find(|change| matches!(change, Change::Drift { .. })).unwrap().to_string();
    assert!(drift.contains("a second link at `xdp-eth0`"), "{drift}");
    assert_eq!(steps(&old, &observed)[..2], first);
    assert_eq!(way_back(&observed).unwrap().steps[..2], first);
    assert_eq!(remove(&observed, &RemoveOptions::default()).unwrap()[0], first[0]);
    // Nobody waited for the packets inside of one that never was live, before its jump table was gone.
    observed.generations.get_mut(&2).unwrap().went_live = None;
    observed.attachments = [attached(hook("eth0"), 1)].into();
    assert_eq!(steps(&old, &observed), [&first[..], &[Step::RemoveGeneration { generation: 2 }]].concat());
}

/// `rm -r links` is the quickest way to detach everything.
#[test]
fn folders_that_somebody_removed_are_made_again() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&wanted);
    (observed.has_folders, observed.has_a_folder) = (false, true);
    observed.attachments.clear();
    let attach = Step::Attach { hook: hook("eth0"), generation: 1 };
    assert_eq!(steps(&wanted, &observed), [Step::CreateFolders, attach]);
    observed.generations.insert(2, made_live(generation(&bundle("b", &[xdp("eth0")]), 2), 2));
    assert_eq!(way_back(&observed).unwrap().steps[0], Step::CreateFolders);
    assert_eq!(remove(&observed, &RemoveOptions::default()).unwrap().last(), Some(&Step::RemoveFolders));
    let half = Observed { generations: Default::default(), maps: Default::default(), ..observed };
    assert_eq!(lines(&remove(&half, &RemoveOptions::default()).unwrap()), ["remove the deployment's folders"]);
}

/// The same programs in another order: a deploy was killed when they were attached anew, or right before, and no link says which.
#[test]
fn what_may_be_attached_in_another_way_is_attached_again() {
    let at = |order| {
        let (interface, direction) = ("eth0".to_owned(), Direction::Ingress);
        bundle("a", &[Attach::Tcx { interface, direction, order, revision: None }])
    };
    let (last, first) = (at(Order::Last), at(Order::First));
    let place = |bundle: &Bundle| Hook::new(&bundle.manifest.attach[0], true);
    let mut observed = deployed(&last);
    assert_eq!(steps(&last, &observed), []);
    observed.generations.insert(2, Generation { programs: observed.generations[&1].programs.clone(), ..generation(&first, 2) });
    let again = [Step::Detach { hook: place(&last), generation: 1 }, Step::Attach { hook: place(&last), generation: 1 }];
    let found = steps(&last, &observed);
    assert_eq!(found, [&again[..], &[Step::Settle, Step::RemoveGeneration { generation: 2 }]].concat(), "it is the witness");
    observed.trial = Some(Trial { generation: 2, ..Trial::default() });
    observed.attachments = [attached(place(&first), 2)].into();
    observed.attachments.values_mut().for_each(|attached| attached.program = 10);
    assert!(
        !acceptance(&observed).unwrap().steps.iter().any(|step| step.moved_hook().is_some()),
        "a trial is attached as it says"
    );
}

/// What stopped before it ran is removed as ever, and its copies are made again.
#[test]
fn an_abandoned_copy_is_made_again_also_beside_a_qdisc() {
    let old = bundle("a", &[tc(TcVia::Clsact)]);
    let mut changed = bundle("b", &[tc(TcVia::Clsact)]);
    (changed.manifest.maps[0].max_entries, changed.manifest.maps[0].on_change) = (8, OnChange::Copy);
    let mut observed = deployed(&old);
    observed.host.devices.get_mut("eth0").unwrap().clsact = true;
    let mut second = generation(&changed, 2);
    second.meta.as_mut().unwrap().qdiscs = vec!["eth0".to_owned()];
    observed.generations.insert(2, second);
    observed.maps.insert(pin(&changed), ouro_deploy::MapFacts { max_entries: 8, ..seen() });
    let found = steps(&changed, &observed);
    let (removed, copied) = (Step::RemoveMap { map: pin(&changed) }, Step::CopyMap { map: pin(&changed), from: pin(&old) });
    assert!(place(&found, &removed) < place(&found, &copied), "{found:?}");
    assert_eq!(found.iter().filter(|step| **step == removed).count(), 1, "{found:?}");
}
