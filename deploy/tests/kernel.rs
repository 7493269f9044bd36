//! Tests on the real kernel, with real packets: need root, clang-19, iproute2, ping and bpftool.

#[macro_use]
#[path = "kernel/declare.rs"]
mod declare;
#[path = "kernel/arena.rs"]
mod arena;
#[cfg(target_arch = "x86_64")]
#[path = "kernel/arguments.rs"]
mod arguments;
#[path = "kernel/chain.rs"]
mod chain;
#[path = "kernel/core.rs"]
mod core;
#[path = "kernel/corpus.rs"]
mod corpus;
#[path = "kernel/crash.rs"]
mod crash;
#[path = "kernel/devices.rs"]
mod devices;
#[path = "kernel/elsewhere.rs"]
mod elsewhere;
#[path = "kernel/first.rs"]
mod first;
#[path = "kernel/functions.rs"]
mod functions;
#[path = "kernel/groups.rs"]
mod groups;
#[path = "kernel/jump.rs"]
mod jump;
#[path = "kernel/generations.rs"]
mod generations;
#[path = "kernel/lost.rs"]
mod lost;
#[path = "kernel/maps.rs"]
mod maps;
#[path = "kernel/missing.rs"]
mod missing;
#[path = "kernel/offload.rs"]
mod offload;
#[path = "kernel/order.rs"]
mod order;
#[path = "kernel/places.rs"]
mod places;
#[path = "kernel/ports.rs"]
mod ports;
#[path = "kernel/probes.rs"]
mod probes;
#[path = "kernel/raw.rs"]
mod raw;
#[path = "kernel/redeploy.rs"]
mod redeploy;
#[path = "kernel/refused.rs"]
mod refused;
#[path = "kernel/rejected.rs"]
mod rejected;
mod support;
#[path = "kernel/root.rs"]
mod root;
#[path = "kernel/share.rs"]
mod share;
#[path = "kernel/socket_rights.rs"]
mod socket_rights;
#[path = "kernel/socket_stops.rs"]
mod socket_stops;
#[path = "kernel/sockets.rs"]
mod sockets;
#[path = "kernel/stopped.rs"]
mod stopped;
#[path = "kernel/tables.rs"]
mod tables;
#[path = "kernel/traffic.rs"]
mod traffic;
#[path = "kernel/variants.rs"]
mod variants;

use ouro_deploy::{DeploymentStatus, Error, Options, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::Attach;
use support::Lab;

/// Deploys; the steps taken.
fn deploy(lab: &Lab, bundle: &Bundle) -> Result<Vec<Step>, Error> {
    ouro_deploy::deploy(&lab.bpffs, bundle, &Options::default(), &mut |_| {}).map(|plan| plan.steps)
}

/// Loads a new generation of what is live.
fn redeployed(lab: &Lab, bundle: &Bundle) -> Vec<Step> {
    let force = Options { force: true, ..Options::default() };
    ouro_deploy::deploy(&lab.bpffs, bundle, &force, &mut |_| {}).unwrap_or_else(|error| panic!("{error}")).steps
}

/// Deploys, which must succeed.
fn deployed(lab: &Lab, bundle: &Bundle) -> Vec<Step> {
    deploy(lab, bundle).unwrap_or_else(|error| panic!("{error}"))
}

/// A chain of one program that counts in the map `seen`, runs `body` and is attached to one place.
fn counting(section: &str, body: &str, attach: Attach) -> chain::Chain {
    let chain = chain::Chain::new("fw").map(chain::map("seen", "array", 1));
    chain.program("watch", section, body, &[]).attach(&[attach])
}

/// The counter of [`counting`].
fn seen(lab: &Lab) -> u64 {
    let path = map_pin(lab, "seen");
    let dump = support::bpftool(&["map", "dump", "pinned", path.to_str().unwrap()]);
    dump[0]["formatted"]["value"].as_u64().unwrap_or_else(|| panic!("the map has BTF: {dump}"))
}

/// Deploys a chain of [`counting`] twice and removes it. `happen` makes happen what the program counts, so often as it returns, by
/// the first generation and by the second alike.
fn fires(lab: &Lab, chain: &chain::Chain, happen: &dyn Fn() -> u64) {
    let bundle = chain.bundle(lab.folder());
    deployed(lab, &bundle);
    let before = status(lab);
    assert_eq!((before.generation, &before.problems), (Some(1), &vec![]), "{before:?}");
    assert!(before.hooks.iter().all(|hook| hook.alive), "{before:?}");
    let times = happen();
    assert_eq!(seen(lab), times, "the first generation");
    let steps = redeployed(lab, &bundle);
    assert!(steps.iter().any(|step| matches!(step, Step::Switch { .. } | Step::SwitchRoot { .. })), "{steps:?}");
    let after = status(lab);
    assert_eq!((after.generation, &after.problems), (Some(2), &vec![]), "{after:?}");
    assert_ne!(before.programs[0].id, after.programs[0].id);
    let so_far = seen(lab);
    let times = happen();
    assert_eq!(seen(lab) - so_far, times, "the second generation");
    undeployed(lab, "fw");
}

/// The pin of the map of this name that the live generation of `fw` uses.
fn map_pin(lab: &Lab, name: &str) -> std::path::PathBuf {
    let found = status(lab).maps.into_iter().find(|map| map.live && map.name == name);
    found.unwrap_or_else(|| panic!("no map `{name}`")).path
}

/// The status of the only deployment.
fn status(lab: &Lab) -> DeploymentStatus {
    let mut all = ouro_deploy::status(&lab.bpffs).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The folders of all generations of the only deployment.
fn generation_folders(lab: &Lab) -> Vec<std::path::PathBuf> {
    let all = support::sh(&format!(
        "find {} -mindepth 2 -maxdepth 2 -name 'gen-*' 2>/dev/null || true",
        lab.bpffs.join("ouro").display()
    ));
    all.lines().map(Into::into).collect()
}

/// The programs of all generations.
fn pinned_programs(lab: &Lab) -> Vec<u32> {
    let pins =
        generation_folders(lab).into_iter().filter_map(|generation| std::fs::read_dir(generation.join("progs")).ok()).flatten();
    let id = |pin: &std::path::Path| support::bpftool(&["prog", "show", "pinned", pin.to_str().unwrap()])["id"].as_u64().unwrap();
    pins.map(|pin| u32::try_from(id(&pin.unwrap().path())).unwrap()).collect()
}

/// Undeploys, after which nothing of it is left in the bpffs or in the kernel.
fn undeployed(lab: &Lab, name: &str) {
    let (before, programs) = (status(lab), pinned_programs(lab));
    let done = ouro_deploy::undeploy(&lab.bpffs, name, &RemoveOptions::default(), &mut |_| {});
    done.unwrap_or_else(|error| panic!("{error}"));
    nothing_left(lab, &before, &programs);
}

/// Nothing that `before` names is left anywhere, nor any of these programs.
fn nothing_left(lab: &Lab, before: &DeploymentStatus, programs: &[u32]) {
    assert!(!lab.bpffs.join("ouro").exists(), "{}", support::sh(&format!("find {}", lab.bpffs.display())));
    let programs = before.programs.iter().filter_map(|program| program.id).chain(programs.iter().copied()).map(|id| ("prog", id));
    let links = before.hooks.iter().filter_map(|hook| Some(("link", hook.link?)));
    for (kind, id) in programs.chain(links).chain(before.maps.iter().map(|map| ("map", map.id))) {
        assert!(support::is_gone(kind, id), "{kind} {id} is left: {before:?}");
    }
}
