//! Places that are others', elsewhere, or not there.

use ouro_deploy::{Attachment, Conflict, Device, Hook, Missing, Options, Step, diff};
use ouro_rules::manifest::{Attach, Tracepoint};

use crate::{NAMESPACE, bundle, conflicts, deployed, generation, hook, nothing, seen, steps, xdp};

/// Two projects may have the same labels; their names in `ouro.toml` tell them apart.
#[test]
fn another_project_does_not_take_a_name() {
    let mut other = bundle("b", &[xdp("eth0")]);
    other.manifest.workspace = Some("acme".to_owned());
    let text: Vec<String> = conflicts(&other, &deployed(&bundle("a", &[xdp("eth0")]))).iter().map(Conflict::to_string).collect();
    assert_eq!(text, ["the deployment `fw` belongs to the chain `//fw:fw`, not to `//fw:fw of acme`"]);
}

#[test]
fn programs_of_others_are_not_replaced() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = nothing();
    observed.host.devices.get_mut("eth0").unwrap().xdp = Some(77);
    assert_eq!(conflicts(&wanted, &observed), [Conflict::Taken { hook: hook("eth0"), program: 77 }]);
    let mut observed = deployed(&wanted);
    (observed.attachments.get_mut("xdp-eth0").unwrap().generation, observed.attachments.get_mut("xdp-eth0").unwrap().program) =
        (None, 77);
    assert_eq!(conflicts(&wanted, &observed), [Conflict::Changed { hook: hook("eth0"), program: 77 }]);
}

#[test]
fn another_namespace_has_other_devices() {
    let wanted = bundle("b", &[xdp("eth0")]);
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.host.namespace += 1;
    assert_eq!(conflicts(&wanted, &observed), [Conflict::OtherNamespace { hook: hook("eth0") }]);
    let mut observed = deployed(&bundle("a", &[xdp("eth0")]));
    observed.host.devices.get_mut("eth0").unwrap().index = 9;
    assert_eq!(conflicts(&wanted, &observed), [Conflict::Moved { hook: hook("eth0"), ifindex: 2 }]);
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
