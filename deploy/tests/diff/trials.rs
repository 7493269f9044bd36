//! What brings back what was live before, when things are not as they should be; and what a removal keeps.

use std::time::Duration;

use ouro_deploy::{Change, Conflict, MapFacts, Observed, Options, RemoveOptions, Step, Trial, diff, remove, way_back};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::OnChange;

use crate::{attached, bundle, deployed, generation, hook, made_live, meta, pin, seen, xdp};

/// What somebody did.
type Damage = fn(&mut Observed);

fn both(digest: &str) -> Bundle {
    bundle(digest, &[xdp("eth0"), xdp("eth1")])
}

/// Generation 1 was live for good at two hooks, and 2 is live there on trial.
fn on_trial() -> Observed {
    let mut observed = deployed(&both("a"));
    observed.generations.insert(2, generation(&both("b"), 2));
    observed.attachments.extend([attached(hook("eth0"), 2), attached(hook("eth1"), 2)]);
    observed.trial = Some(Trial { generation: 2, before: Some(1), until: 1000, left: Duration::ZERO });
    observed
}

fn switch(interface: &str) -> Step {
    Step::Switch { hook: hook(interface), from: 2, to: 1 }
}

/// The second try over a cut connection: when it fails, the first one's time runs on.
#[test]
fn a_trial_that_fails_leaves_the_one_before_it_as_it_was() {
    let observed = on_trial();
    let options = Options { confirm: Some(60), ..Options::default() };
    let steps = diff(&both("c"), &observed, &options).unwrap().steps;
    let trial = observed.trial.unwrap();
    let ask = Step::AskConfirmation { generation: 3, seconds: 60, before: Some(1), over: Some(trial) };
    assert!(steps.contains(&ask), "{steps:?}");
    assert_eq!(ask.inverse(), Some(Step::ResumeTrial { trial }));
    assert_eq!(Step::AskConfirmation { generation: 3, seconds: 60, before: Some(1), over: None }.inverse(), Some(Step::EndTrial));
}

/// The deploy that cut the connection broke the tunnel, too. Everything stayed on the new chain.
#[test]
fn a_hook_that_cannot_go_back_keeps_no_other_from_it() {
    let mut gone = on_trial();
    gone.host.devices.remove("eth1");
    gone.attachments.remove("xdp-eth1");
    let plan = way_back(&gone).unwrap();
    assert_eq!(plan.steps, [switch("eth0"), Step::EndTrial, Step::Settle, Step::RemoveGeneration { generation: 2 }]);
    let left = |changes: &[Change]| changes.iter().filter(|change| matches!(change, Change::Left { .. })).count();
    assert_eq!(left(&plan.changes), 1, "{:?}", plan.changes);

    let mut stolen = on_trial();
    stolen.attachments.get_mut("xdp-eth1").unwrap().generation = None;
    let plan = way_back(&stolen).unwrap();
    assert_eq!(plan.steps, [switch("eth0"), Step::EndTrial, Step::Settle], "who knows what it runs");
    assert_eq!(left(&plan.changes), 1);

    let mut renamed = on_trial();
    let device = renamed.host.devices.remove("eth1").unwrap();
    renamed.host.devices.insert("uplink".to_owned(), device);
    assert!(way_back(&renamed).unwrap().steps.contains(&switch("eth1")), "its link is the same");
}

#[test]
fn where_no_hook_can_go_back_nothing_is_done() {
    let mut observed = on_trial();
    observed.attachments.values_mut().for_each(|attached| attached.generation = None);
    assert!(matches!(way_back(&observed).unwrap_err()[..], [Conflict::Changed { .. }, Conflict::Changed { .. }]));
}

/// Who is careful with a deployment that is not quite as it should be deploys on trial: what comes back is what was there.
#[test]
fn what_was_live_before_comes_back_as_it_was() {
    let cases: [(&str, Damage); 2] = [
        ("a slot is empty", |observed| observed.generations.get_mut(&1).unwrap().slots.clear()),
        ("its deploy was killed before the mark", |observed| observed.generations.get_mut(&1).unwrap().went_live = None),
    ];
    for (case, damage) in cases {
        let mut before = deployed(&both("a"));
        damage(&mut before);
        let options = Options { confirm: Some(60), ..Options::default() };
        let steps = diff(&both("b"), &before, &options).unwrap().steps;
        let asked = steps.iter().find(|step| matches!(step, Step::AskConfirmation { .. }));
        assert!(matches!(asked, Some(Step::AskConfirmation { before: Some(1), .. })), "{case}: {steps:?}");
        let mut observed = on_trial();
        damage(&mut observed);
        let back = way_back(&observed).unwrap().steps;
        assert!(back.contains(&switch("eth0")) && back.contains(&switch("eth1")), "{case}: {back:?}");
        assert!(!back.iter().any(|step| matches!(step, Step::RemoveMap { .. })), "{case}: {back:?}");
    }
}

#[test]
fn a_first_deploy_on_trial_takes_no_map_that_was_there() {
    let (old, mut new) = (bundle("a", &[xdp("eth0")]), bundle("b", &[xdp("eth0")]));
    (new.manifest.maps[0].max_entries, new.manifest.maps[0].on_change) = (8, OnChange::Copy);
    let mut observed = deployed(&new);
    observed.generations.get_mut(&1).unwrap().went_live = None;
    observed.trial = Some(Trial { generation: 1, ..Trial::default() });
    observed.kept = Some(meta(&old, &[]));
    observed.maps.insert(pin(&old), seen());
    let back = way_back(&observed).unwrap().steps;
    assert_eq!(
        back,
        [
            Step::Detach { hook: hook("eth0"), generation: 1 },
            Step::Settle,
            Step::RemoveMap { map: pin(&new) },
            Step::RemoveGeneration { generation: 1 },
            Step::EndTrial,
        ]
    );
    // What was live before lost its entry: it cannot come back, but what it counted can.
    let mut observed = on_trial();
    observed.generations.get_mut(&1).unwrap().programs.clear();
    let back = way_back(&observed).unwrap().steps;
    assert!(back.contains(&Step::KeepMeta { generation: 1 }), "{back:?}");
    assert!(!back.iter().any(|step| matches!(step, Step::RemoveMap { .. })), "{back:?}");
}

/// After a rollback the newest generation is not the one that was live. An `undeploy --keep-maps` was killed when it had detached
/// it, and the second one kept the maps of the other.
#[test]
fn the_maps_of_what_was_live_last_are_kept() {
    let (old, mut new) = (bundle("a", &[xdp("eth0")]), bundle("b", &[xdp("eth0")]));
    new.manifest.maps[0].max_entries = 8;
    let mut observed = deployed(&old);
    observed.generations = [(1, made_live(generation(&old, 1), 3)), (2, made_live(generation(&new, 2), 2))].into();
    observed.maps.insert(pin(&new), MapFacts { max_entries: 8, ..seen() });
    observed.attachments.clear();
    let steps = remove(&observed, &RemoveOptions { keep_maps: true, force: false }).unwrap();
    let (removed, kept) = (Step::RemoveGeneration { generation: 2 }, Step::RemoveGeneration { generation: 1 });
    let end = [Step::Settle, Step::RemoveMap { map: pin(&new) }, Step::KeepMeta { generation: 1 }, removed, kept];
    assert_eq!(steps, end, "and it goes last, so that the next command sees which it is");
    // Kept already, and then a deploy was stopped while it loaded.
    observed.generations = [(1, generation(&new, 1))].into();
    observed.kept = Some(meta(&old, &[]));
    let steps = remove(&observed, &RemoveOptions { keep_maps: true, force: false }).unwrap();
    assert_eq!(steps, [Step::Settle, Step::RemoveMap { map: pin(&new) }, Step::RemoveGeneration { generation: 1 }]);
}
