//! What becomes of declared maps.

use ouro_deploy::{Conflict, MapFacts, Observed, RemoveOptions, Step, Trial, acceptance, remove};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::OnChange;

use crate::{attached, bundle, conflicts, deployed, generation, hook, lines, made_live, pin, seen, steps, xdp};

#[test]
fn a_dropped_map_goes_before_the_generation_that_records_it() {
    let without = |digest| {
        let mut bundle = bundle(digest, &[xdp("eth0")]);
        bundle.manifest.maps.clear();
        bundle
    };
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    assert_eq!(steps(&without("b"), &observed).last(), Some(&Step::Settle), "the previous generation needs it");
    observed.generations.insert(2, made_live(generation(&without("b"), 2), 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    let found = steps(&without("c"), &observed);
    assert_eq!(
        found[found.len() - 3..],
        [Step::Settle, Step::RemoveMap { map: pin(&bundle("a", &[])) }, Step::RemoveGeneration { generation: 1 }]
    );
}

#[test]
fn a_changed_map_is_refused_with_each_field() {
    let mut changed = bundle("b", &[xdp("eth0")]);
    (changed.manifest.maps[0].value_size, changed.manifest.maps[0].max_entries) = (16, 8);
    let found = conflicts(&changed, &deployed(&bundle("a", &[xdp("eth0")])));
    let text = "map `seen` is pinned with another definition: value size is 8, declared is 16; max_entries is 4, declared is 8";
    assert_eq!(found.iter().map(Conflict::to_string).collect::<Vec<_>>(), [text]);
}

/// The old map stays for the generation before, and what changed in it meanwhile follows.
#[test]
fn what_an_older_map_holds_is_carried_over_before_the_switch_and_after_it() {
    let mut changed = bundle("b", &[xdp("eth0")]);
    (changed.manifest.maps[0].max_entries, changed.manifest.maps[0].on_change) = (8, OnChange::Copy);
    let old = bundle("a", &[xdp("eth0")]);
    assert_eq!(
        lines(&steps(&changed, &deployed(&old)))[4..],
        [
            "create map `seen` and copy what it holds; not atomic: what changes meanwhile follows",
            "load program `parse`",
            "load program `block` into slot 0",
            "freeze the jump table",
            "switch native XDP of `eth0` from generation 1 to 2",
            "wait until no packet is inside what was replaced",
            "carry over what changed meanwhile in map `seen`; what both generations changed stays as the new one has it",
            "mark generation 2 as live",
        ]
    );
    changed.manifest.maps[0].on_change = OnChange::Reset;
    let found = steps(&changed, &deployed(&old));
    assert!(found.contains(&Step::CreateMap { map: pin(&changed) }), "{found:?}");
    assert!(!found.contains(&Step::RemoveMap { map: pin(&old) }), "who goes back finds what it held");
}

/// A deploy that made a second generation, whose map is a copy, and went no further: the old bundle, the new one, and what there is.
fn copying() -> (Bundle, Bundle, Observed) {
    let mut changed = bundle("b", &[xdp("eth0")]);
    (changed.manifest.maps[0].max_entries, changed.manifest.maps[0].on_change) = (8, OnChange::Copy);
    let old = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&old);
    observed.generations.insert(2, generation(&changed, 2));
    observed.maps.insert(pin(&changed), MapFacts { max_entries: 8, ..seen() });
    (old, changed, observed)
}

/// A deploy that was killed before the switch left a map that lacks what was counted since.
#[test]
fn a_map_that_never_went_live_is_made_again() {
    let (old, changed, mut observed) = copying();
    let found = steps(&changed, &observed);
    assert_eq!(
        found[..4],
        [
            Step::RemoveMap { map: pin(&changed) },
            Step::Wait,
            Step::RemoveGeneration { generation: 2 },
            Step::CreateGeneration { generation: 3 }
        ]
    );
    assert!(found.contains(&Step::CopyMap { map: pin(&changed), from: pin(&old) }));
    // Once it is live, it is used as it is.
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    assert_eq!(steps(&changed, &observed), [Step::MarkLive { generation: 2, order: 2 }]);
}

/// A deploy was killed when the hook ran the new chain, and before the copy had what the old one counted meanwhile. The next one
/// said that there was nothing to do.
#[test]
fn a_copy_that_lacks_something_gets_it_by_the_next_command() {
    let (old, changed, mut observed) = copying();
    observed.behind.insert(pin(&changed), pin(&old));
    let catch_up = Step::CatchUpMap { map: pin(&changed), from: pin(&old) };
    let found = steps(&changed, &observed);
    let copied = Step::CopyMap { map: pin(&changed), from: pin(&old) };
    assert!(found.contains(&copied) && found.iter().filter(|step| **step == catch_up).count() == 1, "never ran: {found:?}");
    let removed = |found: &[Step]| found.contains(&Step::RemoveMap { map: pin(&changed) });
    assert!(removed(&found));
    let mut unpinned = observed.clone();
    unpinned.maps.remove(&pin(&changed));
    assert!(removed(&steps(&changed, &unpinned)), "killed before the copy was pinned: its sign goes, too");

    observed.attachments.extend([attached(hook("eth0"), 2)]);
    let finished = [Step::Settle, catch_up.clone(), Step::MarkLive { generation: 2, order: 2 }];
    assert_eq!(steps(&changed, &observed), finished);
    let mut confirmed = observed.clone();
    confirmed.trial = Some(Trial { generation: 2, before: Some(1), ..Trial::default() });
    let accepted = acceptance(&confirmed).unwrap().steps;
    assert_eq!(accepted, [&finished[..], &[Step::EndTrial]].concat());
    let mut third = bundle("c", &[xdp("eth0")]);
    (third.manifest.maps[0].max_entries, third.manifest.maps[0].on_change) = (16, OnChange::Copy);
    let found = steps(&third, &observed);
    let own = Step::CatchUpMap { map: pin(&third), from: pin(&changed) };
    let place = |wanted: &Step| found.iter().position(|step| step == wanted);
    assert!(place(&catch_up).is_some() && place(&catch_up) < place(&own), "{found:?}");
    let kept = remove(&observed, &RemoveOptions { keep_maps: true, force: false }).unwrap();
    assert!(kept.contains(&catch_up), "{kept:?}");
}

#[test]
fn maps_of_an_earlier_version_are_adopted_with_what_they_hold() {
    let mut old = bundle("a", &[xdp("eth0")]);
    old.manifest.format = 1;
    let mut observed = deployed(&old);
    observed.maps = [("seen".to_owned(), seen())].into();
    let new = bundle("b", &[xdp("eth0")]);
    let found = steps(&new, &observed);
    assert!(found.contains(&Step::AdoptMap { map: pin(&new), from: "seen".to_owned() }), "{found:?}");
    assert!(!found.contains(&Step::RemoveMap { map: "seen".to_owned() }), "the generation before knows it by this pin");
}

/// A network card that is gone took what its maps held with it: there is nothing to keep, and what is left of them goes.
#[test]
fn maps_of_a_card_that_is_gone_are_in_nobodys_way() {
    let on_card = |digest, card| {
        let mut bundle = bundle(digest, &[]);
        bundle.manifest.maps[0].card = Some(card);
        bundle
    };
    let (old, new) = (on_card("a", 7), on_card("a", 9));
    let mut observed = deployed(&old);
    observed.maps = [(pin(&old), MapFacts { card: Some(7), ..seen() })].into();
    assert!(matches!(conflicts(&new, &observed).as_slice(), [Conflict::MapChanged { remedy: Some(OnChange::Copy), .. }]));
    observed.maps = [(pin(&old), MapFacts { card: Some(0), ..seen() })].into();
    assert!(steps(&new, &observed).contains(&Step::CreateMap { map: pin(&new) }));
    // It came back with the number it had: every deploy failed, as the pin of the new map was there.
    let found = steps(&old, &observed);
    let at = |wanted: Step| found.iter().position(|step| *step == wanted).unwrap_or_else(|| panic!("no `{wanted}`: {found:?}"));
    assert!(at(Step::RemoveMap { map: pin(&old) }) < at(Step::CreateMap { map: pin(&old) }), "{found:?}");
}
