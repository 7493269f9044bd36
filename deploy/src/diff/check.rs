//! Whether a bundle can be deployed over what is there; every reason why not, at once.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use ouro_rules::bundle::Bundle;
use ouro_rules::chain::MAX_DEPTH;
use ouro_rules::hook as types;
use ouro_rules::manifest::Manifest;

use super::{Options, maps};
use crate::conflict::Conflict;
use crate::dispatcher::{Member, called, tail_calls};
use crate::hook::Hook;
use crate::kernel::{Missing, find_filter};
use crate::layout::check_name;
use crate::observe::{Attachment, Observed};
use crate::offload::other_card;

pub(super) fn check(bundle: &Bundle, observed: &Observed, wanted: &[Hook], options: &Options) -> Vec<Conflict> {
    let mut found = names(bundle);
    found.extend(program_types(bundle));
    found.extend(unreadable(observed));
    found.extend(other_chain(bundle, observed, options));
    found.extend(leaves(bundle, observed, wanted, options));
    found.extend(twice(wanted));
    found.extend(hooks(observed, wanted).into_iter().filter(|conflict| !options.force_links || !is_of_socket(conflict)));
    found.extend(wanted.iter().filter_map(|hook| other_card(observed, hook, &bundle.manifest)));
    found.extend(wanted.iter().filter_map(|hook| unlike(observed, hook, &bundle.manifest)));
    found.extend(wanted.iter().filter_map(|hook| too_deep(observed, hook, &bundle.manifest)));
    found.extend(attachments(observed).filter(|conflict| !options.force_links || !matches!(conflict, Conflict::Changed { .. })));
    found.extend(maps::conflicts(bundle, observed));
    found
}

/// Whether there is something to attach to, and whether the place is free.
pub(super) fn hooks(observed: &Observed, hooks: &[Hook]) -> Vec<Conflict> {
    let devices = hooks.iter().filter_map(|hook| device(observed, hook));
    devices.chain(hooks.iter().filter_map(|hook| place(observed, hook))).collect()
}

/// The wanted hooks that cannot be had as things are, and those of ours that somebody else has now, each by its name. A device that
/// only has another name is switched by its link all the same.
pub(super) fn stuck(observed: &Observed, wanted: &[Hook]) -> BTreeMap<String, Conflict> {
    let is_there = |hook: &&Hook| {
        observed.attachments.get(&hook.name()).is_some_and(|attached| attached.is_alive() && attached.hook.serves(hook))
    };
    let placeless = wanted.iter().filter(|hook| !is_there(hook));
    let placeless = placeless.filter_map(|hook| Some((hook.name(), hooks(observed, std::slice::from_ref(hook)).pop()?)));
    let elsewhere = |hook: &Hook| wanted.iter().any(|wanted| wanted.name() == hook.name() && !hook.serves(wanted));
    let taken = attachments(observed).filter_map(|conflict| match &conflict {
        Conflict::Changed { hook, .. } => Some((hook.name(), conflict)),
        Conflict::Moved { hook, .. } if elsewhere(hook) => Some((hook.name(), conflict)),
        _ => None,
    });
    placeless.chain(taken).collect()
}

fn names(bundle: &Bundle) -> Vec<Conflict> {
    let manifest = &bundle.manifest;
    let programs = manifest.programs.iter().map(|program| &program.name);
    let all = [&manifest.name].into_iter().chain(programs).chain(manifest.maps.iter().map(|map| &map.name));
    all.filter(|name| check_name(name).is_err()).map(|name| Conflict::Name { name: name.clone() }).collect()
}

fn program_types(bundle: &Bundle) -> impl Iterator<Item = Conflict> {
    let others = bundle.manifest.programs.iter().filter(|program| types::find(&program.ty).is_none());
    others.map(|program| Conflict::ProgramType { program: program.name.clone(), ty: program.ty.clone() })
}

/// Of generations that cannot be read nothing is known, so nothing of them can be removed.
pub(super) fn unreadable(observed: &Observed) -> impl Iterator<Item = Conflict> {
    let why = observed.generations.iter().filter_map(|(number, generation)| Some((*number, generation.unreadable.clone()?)));
    why.map(|(generation, why)| Conflict::Unreadable { generation, why })
}

/// A name is of whoever deployed last. Workspaces without names are told apart by where they are, as far as that is known.
fn other_chain(bundle: &Bundle, observed: &Observed, options: &Options) -> Option<Conflict> {
    let current = observed.current().and_then(|number| observed.generations[&number].meta.as_ref());
    let meta = current.or(observed.kept.as_ref()).filter(|_| !options.take_over)?;
    let (deployed, wanted) = (meta.manifest.owner(), bundle.manifest.owner());
    let name = observed.name.clone();
    match (&meta.origin, &options.origin) {
        _ if deployed != wanted => Some(Conflict::OtherChain { name, deployed, wanted }),
        (Some(there), Some(here)) if there != here => {
            let at = |place| format!("{wanted} in {place}");
            Some(Conflict::OtherChain { name, deployed: at(there), wanted: at(here) })
        }
        _ => None,
    }
}

/// Who named devices on a command line does not want them left because a later one says nothing of them.
fn leaves(bundle: &Bundle, observed: &Observed, wanted: &[Hook], options: &Options) -> Option<Conflict> {
    let current = observed.current().and_then(|number| observed.generations[&number].meta.as_ref());
    let named = &current.filter(|_| !options.placed)?.manifest.devices;
    let stays = |device: &str| wanted.iter().any(|hook| hook.interface() == Some(device));
    let alive = observed.attachments.values().filter(|attached| attached.is_alive() && !named.is_empty());
    let left: BTreeSet<&str> = alive.filter_map(|attached| attached.hook.interface()).filter(|device| !stays(device)).collect();
    let to = if let [point] = &bundle.manifest.attach[..] { point.interface().map(str::to_owned) } else { None };
    let (name, left) = (observed.name.clone(), left.into_iter().map(str::to_owned).collect::<Vec<_>>());
    (!left.is_empty()).then(|| Conflict::Leaves { name, named: named.clone(), left, to })
}

fn twice(hooks: &[Hook]) -> impl Iterator<Item = Conflict> {
    let mut seen = BTreeSet::new();
    let is_of_another = |index: usize, hook: &Hook| hooks[..index].iter().any(|other| other.shares_port(hook));
    let again = hooks.iter().enumerate().filter(move |(index, hook)| !seen.insert(hook.name()) || is_of_another(*index, hook));
    again.map(|(_, hook)| hook).map(|hook| Conflict::Twice { hook: hook.clone() })
}

fn device(observed: &Observed, hook: &Hook) -> Option<Conflict> {
    let devices = &observed.host.devices;
    let Some(interface) = hook.interface() else {
        let Missing { what, help } = observed.absent.get(&hook.name())?.clone();
        return Some(Conflict::NoPlace { hook: hook.clone(), what, help });
    };
    if devices.contains_key(interface) {
        let lacks_tcx = matches!(hook, Hook::Tcx { .. }) && !observed.host.tcx;
        if lacks_tcx {
            return Some(Conflict::NoTcx { hook: hook.clone() });
        }
        let Missing { what, help } = observed.absent.get(&hook.name())?.clone();
        return Some(Conflict::NoPlace { hook: hook.clone(), what, help });
    }
    let nearest = devices.keys().map(|name| (strsim::osa_distance(name, interface), name)).min();
    let similar = nearest.filter(|(distance, _)| *distance <= 2 && *distance < interface.len()).map(|(_, name)| name.clone());
    Some(Conflict::NoDevice { interface: interface.to_owned(), similar, existing: devices.keys().cloned().collect() })
}

/// A device runs one XDP program, and one filter at a priority and handle; a control group whose mode says so runs one program.
fn place(observed: &Observed, hook: &Hook) -> Option<Conflict> {
    if let Some(conflict) = unreadable_share(observed, hook) {
        return Some(conflict);
    }
    let with: Vec<String> = observed.sharers(hook).into_iter().map(|other| other.deployment.clone()).collect();
    if matches!(hook, Hook::Xdp { .. }) && !with.is_empty() {
        return Some(Conflict::Shared { hook: hook.clone(), with });
    }
    // What a link of ours runs goes with it.
    if observed.lost.get(&hook.name()).is_some_and(|link| link.target.is_some()) {
        return None;
    }
    if observed.can_share(hook) || observed.attachments.get(&hook.name()).is_some_and(Attachment::is_alive) {
        return None;
    }
    let device = hook.interface().and_then(|interface| observed.host.devices.get(interface));
    let program = match (hook, device) {
        (Hook::Xdp { .. } | Hook::SharedXdp(_), Some(device)) => device.xdp?,
        (Hook::Clsact { direction, priority, handle, .. }, Some(device)) => {
            find_filter(&device.filters, *direction, *priority, *handle)?.program
        }
        // Of a socket that another deployment has more is known.
        (Hook::Socket { .. }, _) => {
            let is_taken = observed.taken.contains(&hook.name()) && !observed.absent.contains_key(&hook.name());
            return is_taken.then(|| Conflict::Taken { hook: hook.clone(), program: None, deployment: None });
        }
        (Hook::Cgroup(_), _) if !hook.is_link() => *observed.foreign_programs.get(&hook.name())?.first()?,
        _ => return None,
    };
    Some(Conflict::Taken { hook: hook.clone(), program: Some(program), deployment: observed.owners.get(&program).cloned() })
}

/// Whether a socket has a program, which may be one that a deployment left whose records are gone.
fn is_of_socket(conflict: &Conflict) -> bool {
    matches!(conflict, Conflict::Taken { hook, .. } if !hook.tells_program())
}

/// One dispatcher calls all that share a device, in one mode and with one kind of packets.
fn unlike(observed: &Observed, hook: &Hook, manifest: &Manifest) -> Option<Conflict> {
    let Hook::SharedXdp(place) = hook else { return None };
    let own = Member::new(&observed.name, place, manifest).kind();
    let other = observed.sharers(hook).into_iter().find(|other| other.kind() != own)?;
    let (mode, section) = other.kind();
    Some(Conflict::Unlike { hook: hook.clone(), other: other.deployment.clone(), mode, section: section.to_owned() })
}

/// All that share a device do with the tail calls of one run. Kernels before 6.12 count those of each chain alone; what is deployed
/// there must last when the kernel is a newer one.
fn too_deep(observed: &Observed, hook: &Hook, manifest: &Manifest) -> Option<Conflict> {
    let Hook::SharedXdp(place) = hook else { return None };
    let own = Member::new(&observed.name, place, manifest);
    let all = called(observed.sharers(hook).into_iter().chain([&own]));
    let taken = tail_calls(all.iter().copied());
    let each = all.iter().map(|member| (member.deployment.clone(), member.tail_calls)).collect();
    (taken > MAX_DEPTH).then(|| Conflict::TooDeep { hook: hook.clone(), taken, each })
}

/// Nobody can be called besides chains of which nobody knows which they are, nor be called no more.
pub(super) fn unreadable_share(observed: &Observed, hook: &Hook) -> Option<Conflict> {
    let runs_xdp = matches!(hook, Hook::Xdp { .. } | Hook::SharedXdp(_));
    let dispatcher = observed.dispatcher_of(hook).filter(|dispatcher| runs_xdp && dispatcher.is_unreadable())?;
    Some(Conflict::UnreadableShare { hook: hook.clone(), path: dispatcher.path() })
}

/// What is attached must be ours still, and seen from the namespace it was attached in. From another one a filter is not seen
/// at all.
pub(super) fn attachments(observed: &Observed) -> impl Iterator<Item = Conflict> {
    let hooks = observed.metas().flat_map(|meta| meta.hooks.iter().map(move |hook| (meta, hook)));
    let mut unseen: Vec<(&Hook, u64)> =
        hooks.filter(|(meta, hook)| observed.is_elsewhere(meta, hook)).map(|(meta, hook)| (hook, meta.namespace)).collect();
    unseen.dedup();
    let unseen = unseen.into_iter().map(|(hook, namespace)| other_namespace(observed, hook, namespace));
    let sockets = observed.unseen.values().map(|(hook, why)| {
        let (hook, is_curable) = (hook.clone(), why.is_curable);
        Conflict::Unseen { hook, why: why.what.clone(), help: why.help.clone(), is_curable }
    });
    unseen.chain(sockets).chain(observed.attachments.values().filter_map(|attached| attachment(observed, attached)))
}

fn other_namespace(observed: &Observed, hook: &Hook, namespace: u64) -> Conflict {
    let netns = observed.namespaces.get(&namespace).cloned();
    Conflict::OtherNamespace { hook: hook.clone(), netns, namespace, is_own: false }
}

fn attachment(observed: &Observed, attached: &Attachment) -> Option<Conflict> {
    if !attached.is_alive() || attached.is_emptied() {
        return None;
    }
    if attached.generation.is_none() && !observed.is_lost(attached) {
        return Some(Conflict::Changed { hook: attached.hook.clone(), program: attached.foreign_program() });
    }
    if attached.namespace != observed.host.namespace && attached.hook.is_of_namespace() {
        return Some(other_namespace(observed, &attached.hook, attached.namespace));
    }
    let index = observed.host.devices.get(attached.hook.interface()?).map(|device| u64::from(device.index));
    let moved = |ifindex| Conflict::Moved { hook: attached.hook.clone(), ifindex };
    attached.target.filter(|ifindex| index != Some(*ifindex)).map(moved)
}
