//! What hooks run, as far as records name them.
//!
//! Reads only.

use std::collections::BTreeMap;

use ouro_rules::manifest::StructOps;

use super::{Attachment, Generation, Observed};
use crate::Error;
use crate::hook::Hook;
use crate::kernel::pins::{self, Kind};
use crate::kernel::{self, LinkFacts, SocketState, Unseen};
use crate::layout::Layout;
use crate::meta::Meta;
use crate::root;

/// What sockets run, by the names of their hooks.
pub(super) type Sockets = BTreeMap<String, Result<SocketState, Unseen>>;

/// The hooks that records name. Nothing is attached to the sockets of what was kept, and looking at them may take rights.
pub(super) fn known_hooks(observed: &Observed) -> impl Iterator<Item = (&Meta, &Hook)> {
    let metas = observed.generations.values().filter_map(|generation| generation.meta.as_ref());
    let of_generations = metas.flat_map(|meta| meta.hooks.iter().map(move |hook| (meta, hook)));
    let kept = observed.kept.iter().flat_map(|meta| meta.hooks.iter().map(move |hook| (meta, hook)));
    of_generations.chain(kept.filter(|(_, hook)| hook.tells_program()))
}

/// The sockets that could not be looked at.
pub(super) fn unseen(observed: &Observed, sockets: Sockets) -> BTreeMap<String, (Hook, Unseen)> {
    let hook = |name: &String| known_hooks(observed).map(|(_, hook)| hook).find(|hook| hook.name() == *name).cloned();
    sockets
        .into_iter()
        .filter_map(|(name, state)| Some((hook(&name)?, state.err()?)))
        .map(|(hook, why)| (hook.name(), (hook, why)))
        .collect()
}

/// Looks at every hook that any generation names.
pub(super) fn attachments(
    layout: &Layout,
    observed: &Observed,
    sockets: &Sockets,
) -> Result<BTreeMap<String, Attachment>, Error> {
    let mut found: BTreeMap<String, Attachment> = BTreeMap::new();
    for (meta, hook) in known_hooks(observed) {
        let Some((facts, root)) = running(layout, observed, meta, hook, sockets)? else { continue };
        // Two generations may name one hook in different modes; the one whose program runs is right. Both may have the same
        // programs, too.
        let runs = |generation: &Generation| generation.entry() == Some(facts.program);
        let names_it = |generation: &Generation| generation.meta.as_ref().is_some_and(|own| own.hooks.contains(hook));
        let running = || observed.generations.iter().filter(|(_, generation)| runs(generation));
        let naming = running().filter(|(_, generation)| names_it(generation)).map(|(number, _)| *number);
        let generation = naming.max_by_key(|number| observed.rank(*number));
        let known = found.get(&hook.name()).and_then(|known| known.generation);
        let ours = generation.is_some_and(|number| known.is_none_or(|known| observed.rank(known) < observed.rank(number)));
        let theirs = known.is_none() && running().next().is_none() && (hook.is_link() || observed.expects(hook));
        if ours || theirs {
            let link = hook.is_link().then_some(facts.id);
            let (program, target, namespace) = (facts.program, facts.target, meta.namespace);
            found.insert(hook.name(), Attachment { hook: hook.clone(), link, program, root, target, generation, namespace });
        }
    }
    Ok(found)
}

/// Looks beside the link of every hook that any generation names.
pub(super) fn beside(layout: &Layout, observed: &Observed) -> Result<BTreeMap<String, Hook>, Error> {
    let mut found = BTreeMap::new();
    for hook in observed.metas().flat_map(|meta| &meta.hooks) {
        let link = pins::open(&kernel::beside(&layout.link(hook)), Kind::Link)?;
        found.extend(link.map(|_| (hook.name(), hook.clone())));
    }
    Ok(found)
}

/// The root whose stub a hook runs; what runs is then what the root leads to.
pub(super) fn through_root(observed: &Observed, facts: &mut LinkFacts) -> Option<String> {
    let (name, root) = observed.roots.iter().find(|(_, root)| root.stub == Some(facts.program))?;
    facts.program = root.program.unwrap_or(0);
    Some(name.clone())
}

/// What a hook runs, and the root whose stub it runs.
fn running(
    layout: &Layout,
    observed: &Observed,
    meta: &Meta,
    hook: &Hook,
    sockets: &Sockets,
) -> Result<Option<(LinkFacts, Option<String>)>, Error> {
    if let Hook::Socket { .. } = hook {
        let state = sockets.get(&hook.name()).and_then(|state| state.as_ref().ok());
        return Ok(state.and_then(|state| filtering(observed, meta, *state)));
    }
    let Some(mut facts) = attached(layout, observed, meta, hook)? else { return Ok(None) };
    let root = through_root(observed, &mut facts);
    Ok(Some((facts, root)))
}

fn attached(layout: &Layout, observed: &Observed, meta: &Meta, hook: &Hook) -> Result<Option<LinkFacts>, Error> {
    let (interface, direction, priority, handle) = match hook {
        Hook::Clsact { interface, direction, priority, handle } => (interface, *direction, *priority, *handle),
        Hook::Cgroup(place) if !hook.is_link() => {
            let program = kernel::group_program(place);
            return Ok(program.map(|program| LinkFacts { id: 0, program, target: Some(0) }));
        }
        Hook::SharedXdp(place) => {
            let found = observed.dispatcher_at(hook).filter(|(_, seat)| seat.member.place == *place);
            return Ok(found.and_then(|(dispatcher, seat)| {
                let program = if dispatcher.is_ours { seat.program.unwrap_or(0) } else { dispatcher.program };
                Some(LinkFacts { id: dispatcher.link?, program, target: dispatcher.target })
            }));
        }
        Hook::StructOps(place) => {
            let facts = pins::link_facts(&layout.link(hook))?;
            return Ok(facts.map(|facts| LinkFacts { program: registered(observed, place, facts.target), ..facts }));
        }
        _ => return pins::link_facts(&layout.link(hook)),
    };
    let device = observed.host.devices.get(interface).filter(|_| meta.namespace == observed.host.namespace);
    let filter =
        device.and_then(|device| Some((device.index, kernel::find_filter(&device.filters, direction, priority, handle)?)));
    Ok(filter.map(|(index, filter)| LinkFacts { id: 0, program: filter.program, target: Some(index.into()) }))
}

/// What a socket runs: the stub, where something runs that may be it. Whether its pin is there tells nothing of the socket.
fn filtering(observed: &Observed, meta: &Meta, state: SocketState) -> Option<(LinkFacts, Option<String>)> {
    let class = root::class(&meta.manifest);
    let program = class.as_ref().and_then(|class| observed.roots.get(class)?.program).unwrap_or(0);
    match state {
        SocketState::Nothing => None,
        SocketState::Foreign => Some((LinkFacts { id: 0, program: 0, target: Some(0) }, None)),
        SocketState::Program => Some((LinkFacts { id: 0, program, target: Some(0) }, class)),
        SocketState::Closed => Some((LinkFacts { id: 0, program, target: None }, class)),
    }
}

/// A table stands for the first program of the generation that it is of; 0 if it is of none.
fn registered(observed: &Observed, place: &StructOps, table: Option<u64>) -> u32 {
    let is_it = |generation: &&Generation| generation.tables.get(&place.table).copied().map(u64::from) == table;
    let found = observed.generations.values().filter(|_| table.is_some()).find(is_it);
    found.and_then(Generation::entry).unwrap_or(0)
}
