//! What stays beside the live generation, and the ways back to it.

use std::time::Duration;

use ouro_deploy::{
    Conflict, Generation, MapFacts, Observed, Options, RemoveOptions, Root, Step, Trial, acceptance, diff, remove, way_back,
};

use crate::{attached, bundle, deployed, generation, hook, made_live, steps, xdp};

/// Generation 1 of `a` and generation 2 of `b`; 2 is live.
fn two() -> Observed {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.insert(2, made_live(generation(&bundle("b", &[xdp("eth0")]), 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    observed
}

/// The same in the middle of a trial of 2.
fn on_trial(left: u64) -> Observed {
    let mut observed = two();
    observed.generations.get_mut(&2).unwrap().went_live = None;
    observed.trial = Some(Trial { generation: 2, left: Duration::from_secs(left), ..Trial::default() });
    observed
}

fn back(observed: &Observed) -> Vec<Step> {
    way_back(observed).unwrap().steps
}

fn switch(from: u32, to: u32) -> Step {
    Step::Switch { hook: hook("eth0"), from, to }
}

#[test]
fn one_generation_stays_and_the_one_before_it_goes() {
    let observed = two();
    assert_eq!((observed.current(), observed.previous()), (Some(2), Some(1)));
    let found = steps(&bundle("c", &[xdp("eth0")]), &observed);
    let end = [switch(2, 3), Step::MarkLive { generation: 3, order: 3 }, Step::Settle, Step::RemoveGeneration { generation: 1 }];
    assert_eq!(found[found.len() - 4..], end);
    assert!(!found[..found.len() - 4].iter().any(|step| matches!(step, Step::RemoveGeneration { .. })), "not before it is live");
}

/// A deploy that was killed between making the root and attaching its stub left both; the next one failed, as what the root led to
/// was gone when it was to be switched.
#[test]
fn what_a_root_leads_to_goes_after_it_is_switched() {
    let atomic = |digest: &str| {
        let mut bundle = bundle(digest, &[xdp("eth0")]);
        bundle.manifest.atomic = true;
        bundle
    };
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.insert(2, generation(&atomic("b"), 2));
    let root = Root { stub: Some(7), table: Some(MapFacts::default()), program: Some(20) };
    observed.roots.insert("xdp-XDP".to_owned(), root);
    let found = steps(&atomic("c"), &observed);
    let at = |wanted: &Step| found.iter().position(|step| step == wanted);
    let switched = at(&Step::SwitchRoot { root: "xdp-XDP".to_owned(), from: Some(2), to: 3 });
    assert!(switched.is_some() && switched < at(&Step::RemoveGeneration { generation: 2 }), "{found:?}");
}

#[test]
fn a_rollback_loads_nothing_and_the_next_one_leads_forward() {
    let mut observed = two();
    assert_eq!(back(&observed), [switch(2, 1), Step::MarkLive { generation: 1, order: 3 }, Step::Settle]);
    observed.attachments.extend([attached(hook("eth0"), 1)]);
    observed.generations.get_mut(&1).unwrap().went_live = Some(3);
    assert_eq!((observed.current(), observed.previous()), (Some(1), Some(2)));
    assert_eq!(back(&observed), [switch(1, 2), Step::MarkLive { generation: 2, order: 4 }, Step::Settle]);
    let found = steps(&bundle("c", &[xdp("eth0")]), &observed);
    assert_eq!(found.last(), Some(&Step::RemoveGeneration { generation: 2 }), "what was live last stays, not what is newest");
}

#[test]
fn what_was_live_before_is_not_loaded_again() {
    let found = steps(&bundle("a", &[xdp("eth0")]), &two());
    assert_eq!(found, [switch(2, 1), Step::MarkLive { generation: 1, order: 3 }, Step::Settle]);
}

#[test]
fn a_rollback_follows_the_attach_points_of_its_generation() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.insert(2, made_live(generation(&bundle("b", &[xdp("eth1")]), 2), 2));
    observed.attachments = [attached(hook("eth1"), 2)].into();
    let (attach, detach) =
        (Step::Attach { hook: hook("eth0"), generation: 1 }, Step::Detach { hook: hook("eth1"), generation: 2 });
    assert_eq!(back(&observed), [attach, detach, Step::MarkLive { generation: 1, order: 3 }, Step::Settle]);
}

#[test]
fn without_a_previous_generation_there_is_no_way_back() {
    let observed = deployed(&bundle("a", &[xdp("eth0")]));
    assert_eq!(way_back(&observed).unwrap_err(), [Conflict::NothingBefore { name: "fw".to_owned() }]);
    let mut broken = two();
    broken.generations.get_mut(&1).unwrap().slots.clear();
    assert!(way_back(&broken).is_err(), "a chain with a hole is none to go back to");
}

#[test]
fn a_rollback_that_was_stopped_goes_on_and_a_deploy_goes_back() {
    let (old, new) = (bundle("a", &[xdp("eth0"), xdp("eth1")]), bundle("b", &[xdp("eth0"), xdp("eth1")]));
    let mut observed = deployed(&old);
    observed.generations.insert(2, made_live(generation(&new, 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    let to_first = [switch(2, 1), Step::MarkLive { generation: 1, order: 3 }, Step::Settle];
    assert_eq!(back(&observed), to_first, "between two hooks");
    observed.attachments.extend([attached(hook("eth0"), 1)]);
    assert_eq!(back(&observed), [Step::MarkLive { generation: 1, order: 3 }], "before the mark");
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    observed.generations.get_mut(&2).unwrap().went_live = None;
    assert_eq!(back(&observed), [switch(2, 1), Step::Settle, Step::RemoveGeneration { generation: 2 }], "a deploy");
}

#[test]
fn a_trial_marks_nothing_as_live_and_removes_nothing() {
    let options = Options { confirm: Some(60), ..Options::default() };
    let plan = diff(&bundle("c", &[xdp("eth0")]), &two(), &options).unwrap();
    let end = [Step::AskConfirmation { generation: 3, seconds: 60, before: Some(2), over: None }, switch(2, 3), Step::Settle];
    assert_eq!(plan.steps[plan.steps.len() - 3..], end);
    assert_eq!(diff(&bundle("b", &[xdp("eth0")]), &two(), &options).unwrap().steps, [], "what is live needs no trial");
}

#[test]
fn a_trial_ends_well_or_with_what_was_live_before() {
    for left in [10, 0] {
        let observed = on_trial(left);
        assert_eq!((observed.current(), observed.previous()), (Some(2), Some(1)));
        let accepted = acceptance(&observed).unwrap().steps;
        assert_eq!(accepted, [Step::MarkLive { generation: 2, order: 2 }, Step::EndTrial]);
        assert_eq!(back(&observed), [switch(2, 1), Step::EndTrial, Step::Settle, Step::RemoveGeneration { generation: 2 }]);
        assert_eq!(steps(&bundle("b", &[xdp("eth0")]), &observed), accepted, "a deploy without a trial says so, too");
    }
    assert_eq!(acceptance(&two()).unwrap_err(), [Conflict::NothingOnTrial { name: "fw".to_owned() }]);
}

#[test]
fn a_deploy_over_a_trial_keeps_what_was_live_for_good() {
    let found = steps(&bundle("c", &[xdp("eth0")]), &on_trial(10));
    let end = [
        switch(2, 3),
        Step::MarkLive { generation: 3, order: 2 },
        Step::EndTrial,
        Step::Settle,
        Step::RemoveGeneration { generation: 2 },
    ];
    assert_eq!(found[found.len() - 5..], end);
}

#[test]
fn a_trial_that_never_began_is_only_forgotten() {
    let mut observed = on_trial(10);
    observed.attachments.extend([attached(hook("eth0"), 1)]);
    assert_eq!(back(&observed), [Step::Wait, Step::RemoveGeneration { generation: 2 }, Step::EndTrial]);
    assert!(acceptance(&observed).is_err());
}

#[test]
fn a_trial_of_what_was_live_before_goes_back_to_what_was_live_last() {
    let mut observed = two();
    let options = Options { confirm: Some(60), ..Options::default() };
    let begin = [Step::AskConfirmation { generation: 1, seconds: 60, before: Some(2), over: None }, switch(2, 1), Step::Settle];
    assert_eq!(diff(&bundle("a", &[xdp("eth0")]), &observed, &options).unwrap().steps, begin);
    observed.attachments.extend([attached(hook("eth0"), 1)]);
    observed.trial = Some(Trial { generation: 1, left: Duration::from_secs(10), ..Trial::default() });
    assert_eq!(back(&observed), [switch(1, 2), Step::EndTrial, Step::Settle]);
    assert_eq!(acceptance(&observed).unwrap().steps, [Step::MarkLive { generation: 1, order: 3 }, Step::EndTrial]);
}

#[test]
fn of_a_first_deploy_on_trial_nothing_stays() {
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.generations.get_mut(&1).unwrap().went_live = None;
    observed.trial = Some(Trial { generation: 1, left: Duration::ZERO, ..Trial::default() });
    let found = back(&observed);
    assert_eq!(found, remove(&observed, &RemoveOptions::default()).unwrap());
    assert!(found.contains(&Step::EndTrial) && found.contains(&Step::RemoveFolders));
}

#[test]
fn a_chain_that_attaches_nowhere_goes_back_by_its_mark() {
    let mut observed = deployed(&bundle("a", &[]));
    assert_eq!(observed.live(), [1].into());
    observed.generations.insert(2, Generation { went_live: Some(2), ..generation(&bundle("b", &[]), 2) });
    assert_eq!((observed.live(), observed.previous()), ([2].into(), Some(1)));
    assert_eq!(back(&observed), [Step::MarkLive { generation: 1, order: 3 }]);
}

#[test]
fn a_previous_generation_that_attaches_nowhere_is_not_live_because_devices_are_gone() {
    let mut observed = deployed(&bundle("a", &[]));
    observed.generations.insert(2, made_live(generation(&bundle("b", &[xdp("eth0")]), 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    assert_eq!(observed.live(), [2].into());
    observed.attachments.get_mut("xdp-eth0").unwrap().target = None;
    assert_eq!((observed.live(), observed.current()), ([].into(), Some(2)));
}

#[test]
fn a_stolen_hook_is_taken_back_when_asked_to() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&wanted);
    let stolen = observed.attachments.get_mut("xdp-eth0").unwrap();
    (stolen.generation, stolen.program) = (None, 77);
    let refused = diff(&wanted, &observed, &Options::default()).unwrap_err();
    assert!(refused[0].help().contains("--force-links"));
    let options = Options { force_links: true, ..Options::default() };
    let back = Step::TakeBack { hook: hook("eth0"), program: 77, generation: 1 };
    assert_eq!(diff(&wanted, &observed, &options).unwrap().steps, [back, Step::Settle], "nothing has to be loaded");
}
