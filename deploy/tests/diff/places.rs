//! Places that are others', elsewhere, or not there.

use ouro_deploy::{
    Attachment, Change, Conflict, Device, Error, Generation, Hook, Missing, NotAtomic, Observed, Options, Runs, Step, diff,
    way_back,
};
use ouro_rules::bundle::Bundle;
use ouro_rules::chain::{MAX_DEPTH, longest_run};
use ouro_rules::manifest::{
    Attach, Direction, Edge, Family, Iter, Netfilter, NetfilterHook, OnChange, Order, Sockmap, Tracepoint,
};

use crate::{NAMESPACE, attached, bundle, conflicts, deployed, generation, hook, made_live, nothing, seen, steps, xdp};

/// Two projects may have the same labels; their names in `ouro.toml` tell them apart.
#[test]
fn another_project_does_not_take_a_name() {
    let mut other = bundle("b", &[xdp("eth0")]);
    other.manifest.workspace = Some("acme".to_owned());
    let text: Vec<String> = conflicts(&other, &deployed(&bundle("a", &[xdp("eth0")]))).iter().map(Conflict::to_string).collect();
    assert_eq!(text, ["the deployment `fw` belongs to the chain `//fw:fw`, not to `//fw:fw of acme`"]);
}

/// Who takes a name over is its owner from then on, although the generation before is the other one's.
#[test]
fn a_name_is_taken_over_when_asked_for() {
    let old = bundle("a", &[xdp("eth0")]);
    let mut other = bundle("b", &[xdp("eth0")]);
    other.manifest.workspace = Some("acme".to_owned());
    let take_over = Options { take_over: true, ..Options::default() };
    assert!(!diff(&other, &deployed(&old), &take_over).unwrap().steps.is_empty());
    let mut observed = deployed(&other);
    observed.generations.insert(2, made_live(generation(&old, 2), 0));
    assert_eq!(steps(&other, &observed), []);
    assert!(matches!(conflicts(&old, &observed)[..], [Conflict::OtherChain { .. }]));
}

/// Two workspaces without a name, with equal labels.
#[test]
fn workspaces_without_names_are_told_apart_by_where_they_are() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let from = |place: &str| Options { origin: Some(place.to_owned()), ..Options::default() };
    let mut observed = deployed(&wanted);
    observed.generations.get_mut(&1).unwrap().meta.as_mut().unwrap().origin = Some("/home/a".to_owned());
    assert_eq!(diff(&wanted, &observed, &from("/home/a")).unwrap().steps, []);
    let found = diff(&wanted, &observed, &from("/home/b")).unwrap_err();
    let text = "the deployment `fw` belongs to the chain `//fw:fw in /home/a`, not to `//fw:fw in /home/b`";
    assert_eq!(found.iter().map(Conflict::to_string).collect::<Vec<_>>(), [text]);
    assert!(found[0].help().contains("`[workspace] name`") && found[0].help().contains("`--take-over`"));
    // It is recorded whose it is now, and nothing is loaded for that.
    let taken = diff(&wanted, &observed, &Options { take_over: true, ..from("/home/b") }).unwrap().steps;
    assert!(taken.contains(&Step::AdoptGeneration { from: 1, generation: 2 }), "{taken:?}");
    // A file does not tell where it was built.
    assert_eq!(steps(&wanted, &observed), []);
}

/// A chain at one place, live, and the same with another map definition and other code.
fn at_another_map(place: &Attach) -> (Observed, Bundle) {
    let old = bundle("a", std::slice::from_ref(place));
    let mut new = bundle("b", std::slice::from_ref(place));
    (new.manifest.maps[0].max_entries, new.manifest.maps[0].on_change) = (8, OnChange::Reset);
    let mut observed = nothing();
    observed.has_folders = true;
    observed.generations.insert(1, made_live(generation(&old, 1), 1));
    let hook = Hook::new(place, true);
    let (name, target, generation) = (hook.name(), Some(50), Some(1));
    let attachment = Attachment { hook, link: Some(7), program: 10, root: None, target, generation, namespace: NAMESPACE };
    observed.attachments.insert(name, attachment);
    observed.maps.insert(old.manifest.maps[0].pin(), seen());
    (observed, new)
}

fn not_atomic(changes: &[Change]) -> Vec<&NotAtomic> {
    let why = changes.iter().filter_map(|change| match change {
        Change::NotAtomic { why } => Some(why),
        _ => None,
    });
    why.collect()
}

/// A link takes another program, but stays on the map it was made for.
#[test]
fn a_hook_at_a_map_that_changes_gets_another_link() {
    let map = "seen".to_owned();
    let walk = Iter { target: "bpf_map_elem".to_owned(), map: Some(map.clone()), cgroup: None, pid: None, sleepable: false };
    for place in [Attach::Sockmap(Sockmap { map, attach_type: "SK_MSG_VERDICT".to_owned() }), Attach::Iter(walk)] {
        let hook = Hook::new(&place, true);
        let (mut observed, new) = at_another_map(&place);
        let exchange = |from, to| {
            let (from, to) = (Runs::Generation(from), Runs::Generation(to));
            Step::Exchange { hook: hook.clone(), from, to }
        };
        let plan = diff(&new, &observed, &Options::default()).unwrap();
        assert!(plan.steps.contains(&exchange(1, 2)), "{:?}", plan.steps);
        assert_eq!(not_atomic(&plan.changes), [&NotAtomic::BothRun { hook: hook.clone() }]);
        observed.generations.insert(2, made_live(generation(&new, 2), 2));
        observed.attachments.values_mut().for_each(|attached| (attached.generation, attached.program) = (Some(2), 20));
        assert!(way_back(&observed).unwrap().steps.contains(&exchange(2, 1)));
        // Other code alone needs none.
        let (observed, _) = at_another_map(&place);
        let found = steps(&bundle("b", &[place]), &observed);
        assert!(found.contains(&Step::Switch { hook: hook.clone(), from: 1, to: 2 }), "{found:?}");
    }
}

/// Nothing ran for a moment, at a place that has room for many.
#[test]
fn another_order_is_a_new_link_beside_the_old_one() {
    let tcx = |order| Attach::Tcx { interface: "eth0".to_owned(), direction: Direction::Ingress, order, revision: None };
    let (old, new) = (bundle("a", &[tcx(Order::Last)]), bundle("a", &[tcx(Order::First)]));
    let hook = |attach: &Attach| Hook::new(attach, true);
    let (was, to) = (hook(&old.manifest.attach[0]), hook(&new.manifest.attach[0]));
    let plan = diff(&new, &deployed(&old), &Options::default()).unwrap();
    let move_it = Step::Rearrange { hook: to.clone(), was: was.clone(), from: 1, to: 2 };
    assert!(plan.steps.contains(&move_it), "{:?}", plan.steps);
    assert_eq!(move_it.inverse(), Some(Step::Rearrange { hook: was, was: to.clone(), from: 2, to: 1 }));
    assert!(plan.steps.iter().any(|step| matches!(step, Step::LoadProgram { .. })), "a place takes no program twice");
    assert_eq!(not_atomic(&plan.changes), [&NotAtomic::BothRun { hook: to.clone() }]);
    let told: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
    assert!(
        told.contains(&"attach point TCX ingress of `eth0`: generation 1, last -> generation 2, first".to_owned()),
        "{told:?}"
    );
    // An earlier version let both generations have the same programs.
    let mut observed = deployed(&old);
    observed.generations.insert(2, made_live(Generation { meta: generation(&new, 2).meta, ..generation(&old, 1) }, 0));
    let found = steps(&new, &observed);
    assert!(found.contains(&Step::Detach { hook: hook(&old.manifest.attach[0]), generation: 1 }), "{found:?}");
    assert!(found.contains(&Step::Attach { hook: to, generation: 2 }), "{found:?}");
}

/// The kernel compares the revision when something is attached: who asks for another one gets another link. What comes back comes to a
/// place that has changed since, and was refused.
#[test]
fn a_revision_is_asked_for_where_something_new_is_attached() {
    let tcx =
        |revision| Attach::Tcx { interface: "eth0".to_owned(), direction: Direction::Ingress, order: Order::Last, revision };
    let hook = |revision| Hook::new(&tcx(revision), true);
    let at = |revision| bundle("a", &[tcx(revision)]);
    let plan = diff(&at(Some(8)), &deployed(&at(Some(1))), &Options::default()).unwrap();
    let move_it = Step::Rearrange { hook: hook(Some(8)), was: hook(Some(1)), from: 1, to: 2 };
    assert!(plan.steps.contains(&move_it), "{:?}", plan.steps);
    let words = "attach generation 2 to TCX ingress of `eth0` at revision 8, and then detach generation 1";
    assert_eq!(move_it.to_string(), words);
    let told: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
    let words = "attach point TCX ingress of `eth0`: generation 1, last, at revision 1 -> generation 2, last, at revision 8";
    assert!(told.contains(&words.to_owned()), "{told:?}");
    let back = Step::Rearrange { hook: hook(None), was: hook(Some(8)), from: 2, to: 1 };
    assert_eq!(move_it.inverse(), Some(back));
    let detach = Step::Detach { hook: hook(Some(1)), generation: 1 };
    assert_eq!(detach.inverse(), Some(Step::Attach { hook: hook(None), generation: 1 }));
    let mut observed = deployed(&at(Some(1)));
    observed.generations.insert(2, made_live(generation(&at(Some(8)), 2), 2));
    observed.attachments = [attached(hook(Some(8)), 2)].into();
    let found = way_back(&observed).unwrap().steps;
    assert!(found.contains(&Step::Switch { hook: hook(None), from: 2, to: 1 }), "{found:?}");
    let found = steps(&at(None), &deployed(&at(Some(1))));
    assert!(found.contains(&Step::Switch { hook: hook(None), from: 1, to: 2 }), "who asks for none takes any: {found:?}");
}

/// Where a place holds one program, the old one goes before the new one comes.
#[test]
fn a_place_for_one_program_is_empty_for_a_moment() {
    let (at, family, priority, defrag) = (NetfilterHook::Input, Family::Ipv4, 1, false);
    let place = Attach::Netfilter(Netfilter { family, at, priority, defrag });
    let (observed, new) = at_another_map(&place);
    let plan = diff(&new, &observed, &Options::default()).unwrap();
    assert_eq!(not_atomic(&plan.changes), [&NotAtomic::Gap { hook: Hook::new(&place, true) }], "{:?}", plan.steps);
}

#[test]
fn programs_of_others_are_not_replaced() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = nothing();
    observed.host.devices.get_mut("eth0").unwrap().xdp = Some(77);
    let taken = |deployment| Conflict::Taken { hook: hook("eth0"), program: Some(77), deployment };
    assert_eq!(conflicts(&wanted, &observed), [taken(None)]);
    observed.owners.insert(77, "lb".to_owned());
    let found = conflicts(&wanted, &observed);
    assert_eq!(found, [taken(Some("lb".to_owned()))]);
    assert_eq!(found[0].to_string(), "native XDP of `eth0` is taken by program 77 of the deployment `lb`");
    assert!(found[0].help().contains("`ouro undeploy lb`") && found[0].help().contains("`priority`"));
    let mut observed = deployed(&wanted);
    (observed.attachments.get_mut("xdp-eth0").unwrap().generation, observed.attachments.get_mut("xdp-eth0").unwrap().program) =
        (None, 77);
    assert_eq!(conflicts(&wanted, &observed), [Conflict::Changed { hook: hook("eth0"), program: Some(77) }]);
}

#[test]
fn another_namespace_has_other_devices() {
    let wanted = bundle("b", &[xdp("eth0")]);
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.host.namespace += 1;
    let other = |netns| Conflict::OtherNamespace { hook: hook("eth0"), netns, namespace: NAMESPACE, is_own: false };
    assert_eq!(conflicts(&wanted, &observed), [other(None)]);
    observed.namespaces.insert(NAMESPACE, "lan".to_owned());
    let found = conflicts(&wanted, &observed);
    assert_eq!((found[0].help(), found), ("say which with `--netns lan`".to_owned(), vec![other(Some("lan".to_owned()))]));
    let help = |home| Error::Conflicts(conflicts(&wanted, &observed)).seen_from(home).help().unwrap();
    assert!(help(NAMESPACE).starts_with("leave out `--netns`") && help(7).starts_with("say which"), "{}", help(7));
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.host.devices.get_mut("eth0").unwrap().index = 9;
    assert_eq!(conflicts(&wanted, &observed), [Conflict::Moved { hook: hook("eth0"), ifindex: 2 }]);
}

/// A chain was tried on another device, and a deploy without the flag took it from there, with exit code 0.
#[test]
fn a_device_that_a_command_line_named_is_not_left_in_silence() {
    let placed = |device: &str| {
        let mut bundle = bundle("a", &[xdp(device)]);
        bundle.manifest.devices = vec![device.to_owned()];
        bundle
    };
    let observed = deployed(&placed("eth1"));
    let found = conflicts(&bundle("b", &[xdp("eth0")]), &observed);
    assert_eq!(found[0].to_string(), "`fw` was deployed with `--interface eth1`, and without it would leave `eth1`");
    assert_eq!((found[0].help().as_str(), found.len()), ("`--interface eth1` stays there, `--interface eth0` moves it", 1));
    let several = conflicts(&bundle("b", &[xdp("eth0"), xdp("lo")]), &observed);
    assert_eq!(several[0].help(), "detach it from there first: `ouro detach fw --interface eth1`");
    // Who names a device says so, and what stays where it is needs no word.
    let said = Options { placed: true, ..Options::default() };
    assert!(diff(&bundle("b", &[xdp("eth0")]), &observed, &said).is_ok());
    assert!(diff(&bundle("b", &[xdp("eth1")]), &observed, &Options::default()).is_ok());
    assert!(diff(&bundle("b", &[xdp("eth0")]), &deployed(&bundle("a", &[xdp("eth1")])), &Options::default()).is_ok());
    let mut detached = observed;
    detached.attachments.clear();
    assert!(diff(&bundle("b", &[xdp("eth0")]), &detached, &Options::default()).is_ok());
}

#[test]
fn a_place_that_is_not_there_is_a_conflict() {
    let place = Tracepoint { category: "sched".to_owned(), name: "sched_swich".to_owned() };
    let wanted = bundle("a", &[Attach::Tracepoint(place)]);
    let mut observed = nothing();
    assert!(diff(&wanted, &observed, &Options::default()).is_ok(), "nobody looked");
    let missing = Missing { what: "the kernel has no such tracepoint".to_owned(), help: Some("did you mean this?".to_owned()) };
    observed.absent.insert("tracepoint-sched:sched_swich".to_owned(), missing);
    let found = conflicts(&wanted, &observed);
    assert_eq!(found[0].to_string(), "cannot attach to tracepoint of `sched/sched_swich`: the kernel has no such tracepoint");
    assert_eq!(found[0].help(), "did you mean this?");
}

/// A pattern means other devices as they come and go; each is a hook of its own.
#[test]
fn a_pattern_follows_the_devices() {
    let wanted = bundle("a", &[xdp("eth*")]);
    let mut observed = nothing();
    let attached_to = |steps: &[Step]| {
        let of = |step: &Step| match step {
            Step::Attach { hook, .. } => Some(hook.name()),
            _ => None,
        };
        steps.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(attached_to(&steps(&wanted, &observed)), ["xdp-eth0", "xdp-eth1"]);
    observed.host.devices.insert("eth2".to_owned(), Device { index: 9, ..Device::default() });
    assert_eq!(attached_to(&steps(&wanted, &observed)), ["xdp-eth0", "xdp-eth1", "xdp-eth2"]);
    assert!(matches!(conflicts(&bundle("a", &[xdp("wan*")]), &observed)[..], [Conflict::NoDevice { .. }]));
}

/// Tracepoints are of the whole machine, devices of one network namespace.
#[test]
fn what_is_of_no_namespace_is_seen_from_any() {
    let place = Attach::Tracepoint(Tracepoint { category: "sched".to_owned(), name: "sched_switch".to_owned() });
    let wanted = bundle("a", std::slice::from_ref(&place));
    let mut observed = nothing();
    observed.generations.insert(1, generation(&wanted, 1));
    let hook = Hook::new(&place, true);
    let attachment = Attachment {
        hook: hook.clone(),
        link: Some(7),
        program: 10,
        root: None,
        target: Some(0),
        generation: Some(1),
        namespace: NAMESPACE,
    };
    observed.attachments.insert(hook.name(), attachment);
    observed.maps.insert("seen".to_owned(), seen());
    observed.host.namespace += 1;
    let found = steps(&bundle("b", &[place]), &observed);
    assert!(found.iter().any(|step| step.moved_hook() == Some(&hook)), "{found:?}");
}

/// What chains that share a device are counted by.
#[test]
fn the_longest_run_of_a_chain_is_known_from_its_manifest() {
    let mut manifest = bundle("a", &[]).manifest;
    assert_eq!(longest_run(&manifest), 1);
    let back = |bound| Edge { from: 1, to: 0, name: "parse".to_owned(), on_miss: 1, bound };
    manifest.edges.push(back(Some(3)));
    assert_eq!(longest_run(&manifest), 7, "there, and three times back and there");
    manifest.edges.push(back(None));
    assert_eq!(longest_run(&manifest), MAX_DEPTH, "a circle without an end, which no build makes");
    manifest.programs.clear();
    assert_eq!(longest_run(&manifest), 0);
}
