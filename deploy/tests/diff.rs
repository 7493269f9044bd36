//! Diffs, without a kernel: observations in, steps or conflicts out.

#[path = "diff/changes.rs"]
mod changes;
#[path = "diff/generations.rs"]
mod generations;
#[path = "diff/leftovers.rs"]
mod leftovers;
#[path = "diff/lost.rs"]
mod lost;
#[path = "diff/maps.rs"]
mod maps;
#[path = "diff/places.rs"]
mod places;
#[path = "diff/probes.rs"]
mod probes;
#[path = "diff/sockets.rs"]
mod sockets;
#[path = "diff/tables.rs"]
mod tables;
#[path = "diff/trials.rs"]
mod trials;

use std::collections::BTreeMap;

use ouro_deploy::{
    Attachment, Conflict, Device, Generation, Hook, Host, MapFacts, Meta, Observed, Options, RemoveOptions, Step, diff, remove,
};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Direction, Edge, FORMAT, Manifest, ManifestProgram, MapSpec, TcVia, XdpMode};

const NAMESPACE: u64 = 4026531840;

fn program(name: &str, slot: Option<u32>) -> ManifestProgram {
    let (ty, function) = ("xdp".to_owned(), name.to_owned());
    let (label, object) = (format!("//fw:{name}"), format!("objects/{name}.o"));
    ManifestProgram {
        label,
        name: name.to_owned(),
        ty,
        function,
        slot,
        object,
        digest: String::new(),
        ..ManifestProgram::default()
    }
}

fn xdp(interface: &str) -> Attach {
    Attach::Xdp { interface: interface.to_owned(), mode: XdpMode::Native }
}

fn tc(via: TcVia) -> Attach {
    Attach::Tc { interface: "eth0".to_owned(), direction: Direction::Ingress, priority: 9, via, handle: 1 }
}

fn hook(interface: &str) -> Hook {
    Hook::new(&xdp(interface), true)
}

/// `parse` jumps to `block`; one map.
fn bundle(digest: &str, attach: &[Attach]) -> Bundle {
    let (key, value) = ("__u32".to_owned(), "__u64".to_owned());
    let map = MapSpec {
        name: "seen".to_owned(),
        ty: "hash".to_owned(),
        key,
        value,
        max_entries: 4,
        flags: 0,
        key_size: 4,
        value_size: 8,
        ..MapSpec::default()
    };
    let manifest = Manifest {
        workspace: None,
        format: FORMAT,
        chain: "//fw:fw".to_owned(),
        name: "fw".to_owned(),
        program_type: "xdp".to_owned(),
        table_size: 1,
        counting: true,
        programs: vec![program("parse", None), program("block", Some(0))],
        edges: vec![Edge { from: 0, to: 1, name: "block".to_owned(), on_miss: 1, bound: None }],
        maps: vec![map],
        attach: attach.to_vec(),
        atomic: false,
        tests: Vec::new(),
        btf: None,
        card: None,
        devices: Vec::new(),
    };
    Bundle { manifest, objects: BTreeMap::new(), btf: None, digest: digest.to_owned() }
}

fn host() -> Host {
    let device = |index| Device { index, ..Device::default() };
    let devices = [("lo", 1), ("eth0", 2), ("eth1", 3)].map(|(name, index)| (name.to_owned(), device(index)));
    Host { devices: devices.into(), tcx: true, namespace: NAMESPACE, page_size: 4096, cpus: vec![0], ..Host::default() }
}

fn nothing() -> Observed {
    Observed { name: "fw".to_owned(), host: host(), ..Observed::default() }
}

fn seen() -> MapFacts {
    MapFacts { id: 50, ty: 1, key_size: 4, value_size: 8, max_entries: 4, ..MapFacts::default() }
}

/// The pin of the only map.
fn pin(bundle: &Bundle) -> String {
    bundle.manifest.maps[0].pin()
}

fn meta(bundle: &Bundle, qdiscs: &[&str]) -> Meta {
    let hooks = bundle.manifest.attach.iter().map(|attach| Hook::new(attach, true)).collect();
    Meta::new(&bundle.digest, &bundle.manifest, hooks, qdiscs.iter().map(|name| (*name).to_owned()).collect(), NAMESPACE)
}

/// A whole generation whose programs have the ids `10 * number` and one more.
fn generation(bundle: &Bundle, number: u32) -> Generation {
    Generation {
        meta: Some(meta(bundle, &[])),
        programs: [("parse".to_owned(), 10 * number), ("block".to_owned(), 10 * number + 1)].into(),
        table: Some(MapFacts { frozen: true, ..MapFacts::default() }),
        slots: [(0, 10 * number + 1)].into(),
        counts: Some(MapFacts::default()),
        ..Generation::default()
    }
}

fn made_live(generation: Generation, order: u64) -> Generation {
    Generation { went_live: Some(order), ..generation }
}

fn attached(hook: Hook, generation: u32) -> (String, Attachment) {
    let ifindex = host().devices[hook.interface().unwrap()].index.into();
    let attachment = Attachment {
        hook: hook.clone(),
        link: Some(7),
        program: 10 * generation,
        root: None,
        target: Some(ifindex),
        generation: Some(generation),
        namespace: NAMESPACE,
    };
    (hook.name(), attachment)
}

/// Generation 1 of the bundle, attached everywhere it wants.
fn deployed(bundle: &Bundle) -> Observed {
    let hooks = bundle.manifest.attach.iter().map(|attach| attached(Hook::new(attach, true), 1));
    Observed {
        has_folders: true,
        generations: [(1, made_live(generation(bundle, 1), 1))].into(),
        attachments: hooks.collect(),
        maps: bundle.manifest.maps.iter().map(|map| (map.pin(), seen())).collect(),
        ..nothing()
    }
}

fn steps(bundle: &Bundle, observed: &Observed) -> Vec<Step> {
    diff(bundle, observed, &Options::default()).unwrap().steps
}

fn forced() -> Options {
    Options { force: true, ..Options::default() }
}

fn conflicts(bundle: &Bundle, observed: &Observed) -> Vec<Conflict> {
    diff(bundle, observed, &Options::default()).unwrap_err()
}

/// As `--plan` shows them.
fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

#[test]
fn a_first_deploy() {
    let found = steps(&bundle("a", &[xdp("eth0")]), &nothing());
    assert_eq!(
        lines(&found),
        [
            "create the deployment's folders",
            "create generation 1",
            "record what generation 1 is",
            "create a jump table with 1 slot",
            "create counts for 1 jump",
            "create map `seen`",
            "load program `parse`",
            "load program `block` into slot 0",
            "freeze the jump table",
            "attach generation 1 to native XDP of `eth0`",
            "mark generation 1 as live",
        ]
    );
}

#[test]
fn a_redeploy_switches_last_and_waits_and_keeps_the_old() {
    let found = steps(&bundle("b", &[xdp("eth0")]), &deployed(&bundle("a", &[xdp("eth0")])));
    assert_eq!(
        lines(&found),
        [
            "create generation 2",
            "record what generation 2 is",
            "create a jump table with 1 slot",
            "create counts for 1 jump",
            "reuse map `seen` with what it holds",
            "load program `parse`",
            "load program `block` into slot 0",
            "freeze the jump table",
            "switch native XDP of `eth0` from generation 1 to 2",
            "mark generation 2 as live",
            "wait until no packet is inside what was replaced",
        ]
    );
}

#[test]
fn the_same_bundle_needs_nothing_unless_forced() {
    let bundle = bundle("a", &[xdp("eth0")]);
    assert_eq!(steps(&bundle, &deployed(&bundle)), []);
    let forced = diff(&bundle, &deployed(&bundle), &forced()).unwrap().steps;
    assert!(forced.contains(&Step::Switch { hook: hook("eth0"), from: 1, to: 2 }));
}

#[test]
fn the_same_bundle_with_a_broken_chain_is_deployed_anew() {
    let bundle = bundle("a", &[xdp("eth0")]);
    let breakages: [fn(&mut Observed); 5] = [
        |observed| observed.generations.get_mut(&1).unwrap().table.as_mut().unwrap().frozen = false,
        |observed| *observed.generations.get_mut(&1).unwrap().slots.get_mut(&0).unwrap() = 99,
        |observed| observed.generations.get_mut(&1).unwrap().slots.clear(),
        |observed| observed.generations.get_mut(&1).unwrap().counts = None,
        |observed| observed.maps.clear(),
    ];
    for breakage in breakages {
        let mut observed = deployed(&bundle);
        breakage(&mut observed);
        assert!(steps(&bundle, &observed).contains(&Step::Switch { hook: hook("eth0"), from: 1, to: 2 }), "{observed:?}");
    }
}

#[test]
fn what_a_killed_deploy_left_is_removed_first() {
    let old = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&old);
    let half = Generation { slots: BTreeMap::new(), table: None, ..generation(&bundle("b", &[xdp("eth0")]), 2) };
    observed.generations.insert(2, half);
    observed.generations.insert(3, Generation::default());
    let first = [Step::Wait, Step::RemoveGeneration { generation: 2 }, Step::RemoveGeneration { generation: 3 }];
    assert_eq!(steps(&old, &observed), first);
    let found = steps(&bundle("c", &[xdp("eth0")]), &observed);
    assert_eq!(found[..3], first);
    assert_eq!(found[3], Step::CreateGeneration { generation: 4 });
}

#[test]
fn a_deploy_killed_between_two_hooks_goes_on_or_back() {
    let (old, new) = (bundle("a", &[xdp("eth0"), xdp("eth1")]), bundle("b", &[xdp("eth0"), xdp("eth1")]));
    let mut observed = deployed(&old);
    observed.generations.insert(2, generation(&new, 2));
    observed.attachments.extend([attached(hook("eth0"), 2)]);
    let (first, second) =
        (Step::Switch { hook: hook("eth1"), from: 1, to: 2 }, Step::Switch { hook: hook("eth0"), from: 2, to: 1 });
    assert_eq!(steps(&new, &observed), [first, Step::MarkLive { generation: 2, order: 2 }, Step::Settle]);
    assert_eq!(steps(&old, &observed), [second, Step::Settle, Step::RemoveGeneration { generation: 2 }]);
    let third = steps(&bundle("c", &[xdp("eth0"), xdp("eth1")]), &observed);
    assert_eq!(
        third[third.len() - 5..],
        [
            Step::Switch { hook: hook("eth0"), from: 2, to: 3 },
            Step::Switch { hook: hook("eth1"), from: 1, to: 3 },
            Step::MarkLive { generation: 3, order: 2 },
            Step::Settle,
            Step::RemoveGeneration { generation: 2 },
        ]
    );
}

#[test]
fn a_dead_link_is_made_again() {
    let bundle = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&bundle);
    observed.attachments.get_mut("xdp-eth0").unwrap().target = None;
    let attach = Step::Attach { hook: hook("eth0"), generation: 1 };
    assert_eq!(steps(&bundle, &observed), [Step::RemoveLink { hook: hook("eth0") }, attach, Step::Settle]);
}

#[test]
fn attach_points_come_and_go() {
    let observed = deployed(&bundle("a", &[xdp("eth0")]));
    let found = steps(&bundle("b", &[xdp("eth1")]), &observed);
    assert_eq!(
        found[found.len() - 4..],
        [
            Step::Attach { hook: hook("eth1"), generation: 2 },
            Step::Detach { hook: hook("eth0"), generation: 1 },
            Step::MarkLive { generation: 2, order: 2 },
            Step::Settle,
        ]
    );
}

/// Another device for the same code: the new generation shares everything with the old one.
#[test]
fn the_same_code_elsewhere_is_not_loaded_again() {
    let (one, two) = (bundle("a", &[xdp("eth0")]), bundle("a", &[xdp("eth0"), xdp("eth1")]));
    assert_eq!(
        lines(&steps(&two, &deployed(&one))),
        [
            "create generation 2",
            "record what generation 2 is",
            "let generation 2 have what generation 1 loaded",
            "switch native XDP of `eth0` from generation 1 to 2",
            "attach generation 2 to native XDP of `eth1`",
            "mark generation 2 as live",
            "wait until no packet is inside what was replaced",
        ]
    );
    let forced = diff(&two, &deployed(&one), &forced()).unwrap().steps;
    assert!(forced.iter().any(|step| matches!(step, Step::LoadProgram { .. })), "unless forced");
}

#[test]
fn a_device_has_one_mode_at_a_time() {
    let generic = Attach::Xdp { interface: "eth0".to_owned(), mode: XdpMode::Generic };
    let found = steps(&bundle("b", std::slice::from_ref(&generic)), &deployed(&bundle("a", &[xdp("eth0")])));
    let to_generic = Step::Attach { hook: Hook::new(&generic, true), generation: 2 };
    assert_eq!(found[found.len() - 4..found.len() - 2], [Step::Detach { hook: hook("eth0"), generation: 1 }, to_generic]);
}

#[test]
fn clsact_needs_a_qdisc_and_remembers_whose_it_is() {
    let wanted = bundle("a", &[tc(TcVia::Clsact)]);
    let found = steps(&wanted, &nothing());
    let add = Step::AddQdisc { interface: "eth0".to_owned() };
    assert!(found.contains(&add));
    assert!(found.iter().any(|step| matches!(step, Step::WriteMeta { qdiscs, .. } if qdiscs == &["eth0"])));
    let mut observed = nothing();
    observed.host.devices.get_mut("eth0").unwrap().clsact = true;
    let found = steps(&wanted, &observed);
    assert!(!found.contains(&add));
    assert!(found.iter().any(|step| matches!(step, Step::WriteMeta { qdiscs, .. } if qdiscs.is_empty())));
    observed.host.tcx = false;
    assert!(
        steps(&bundle("a", &[tc(TcVia::Auto)]), &observed)
            .iter()
            .any(|step| matches!(step, Step::Attach { hook: Hook::Clsact { .. }, .. }))
    );
    assert!(matches!(conflicts(&bundle("a", &[tc(TcVia::Tcx)]), &observed)[..], [Conflict::NoTcx { .. }]));
}

#[test]
fn every_conflict_is_told_at_once() {
    let mut wrong = bundle("b", &[xdp("eth0"), xdp("eth0"), xdp("eht1")]);
    wrong.manifest.chain = "//other:fw".to_owned();
    wrong.manifest.programs[1].ty = "kprobes".to_owned();
    let text: Vec<String> = conflicts(&wrong, &deployed(&bundle("a", &[xdp("eth0")]))).iter().map(Conflict::to_string).collect();
    assert_eq!(
        text,
        [
            "program `block` has type `kprobes`, which cannot be deployed",
            "the deployment `fw` belongs to the chain `//fw:fw`, not to `//other:fw`",
            "two attach points are native XDP of `eth0`",
            "there is no network device `eht1`",
        ]
    );
}

#[test]
fn a_removal_takes_maps_before_their_record() {
    let observed = deployed(&bundle("a", &[xdp("eth0")]));
    assert_eq!(
        remove(&observed, &RemoveOptions::default()).unwrap(),
        [
            Step::Detach { hook: hook("eth0"), generation: 1 },
            Step::Settle,
            Step::RemoveMap { map: pin(&bundle("a", &[])) },
            Step::RemoveGeneration { generation: 1 },
            Step::RemoveFolders,
        ]
    );
    let keep = RemoveOptions { keep_maps: true, force: false };
    assert_eq!(
        remove(&observed, &keep).unwrap()[2..],
        [Step::KeepMeta { generation: 1 }, Step::RemoveGeneration { generation: 1 }]
    );
    assert_eq!(remove(&nothing(), &RemoveOptions::default()).unwrap(), []);
}

#[test]
fn what_cannot_be_read_is_not_touched() {
    let wanted = bundle("a", &[xdp("eth0")]);
    let mut observed = deployed(&wanted);
    observed
        .generations
        .insert(2, Generation { unreadable: Some("it has format 9, this ouro knows 1".to_owned()), ..Generation::default() });
    let text = "the record of generation 2 cannot be read: it has format 9, this ouro knows 1";
    assert_eq!(conflicts(&wanted, &observed)[0].to_string(), text);
    assert_eq!(remove(&observed, &RemoveOptions::default()).unwrap_err()[0].to_string(), text);
}

#[test]
fn every_inverse_leads_back() {
    let (hook, generation) = (hook("eth0"), 1);
    for step in [
        Step::Attach { hook: hook.clone(), generation },
        Step::Detach { hook: hook.clone(), generation },
        Step::Switch { hook, from: 1, to: 2 },
    ] {
        assert_eq!(step.inverse().and_then(|inverse| inverse.inverse()), Some(step));
    }
    for step in steps(&bundle("a", &[xdp("eth0")]), &nothing()) {
        let inside = matches!(
            step,
            Step::WriteMeta { .. }
                | Step::CreateTable { .. }
                | Step::CreateCounts { .. }
                | Step::LoadProgram { .. }
                | Step::FreezeTable { .. }
                | Step::MarkLive { .. }
        );
        assert!(inside || step.inverse().is_some(), "{step} cannot be undone");
    }
}

#[test]
fn steps_are_plain_data() {
    let step = Step::Attach { hook: hook("eth0"), generation: 1 };
    let json = r#"{"step":"attach","hook":{"mechanism":"xdp","interface":"eth0","mode":"native"},"generation":1}"#;
    assert_eq!(serde_json::to_string(&step).unwrap(), json);
}
