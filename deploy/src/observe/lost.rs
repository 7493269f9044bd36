//! Pins of ours whose record somebody removed: told by where they are and what kind of object they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Attachment, Observed};
use crate::hook::Hook;
use crate::kernel::pins::{self, Kind, LinkFacts};
use crate::layout::Layout;
use crate::{Error, kernel};

/// The links that no record names, by their pins.
pub(super) fn links(layout: &Layout, observed: &Observed) -> Result<BTreeMap<String, LinkFacts>, Error> {
    let mut found = BTreeMap::new();
    if observed.has_unreadable() {
        return Ok(found);
    }
    let named = observed.metas().flat_map(|meta| &meta.hooks).map(|hook| layout.link(hook));
    let named: BTreeSet<PathBuf> = named.flat_map(|link| [kernel::beside(&link), link]).collect();
    for (name, _) in kernel::entries(&layout.links())? {
        let path = layout.links().join(&name);
        let facts = if named.contains(&path) { None } else { pins::link_facts(&path)? };
        found.extend(facts.map(|facts| (name, facts)));
    }
    Ok(found)
}

/// The places in dispatchers that the deployment has, and no record names.
pub(super) fn seats(observed: &Observed) -> Vec<Attachment> {
    let named: BTreeSet<String> = observed.metas().flat_map(|meta| &meta.hooks).map(Hook::name).collect();
    let ours = observed.dispatchers.iter().filter(|dispatcher| dispatcher.is_ours && !observed.has_unreadable());
    let seats = ours.flat_map(|dispatcher| dispatcher.seats.iter().map(move |seat| (dispatcher, seat)));
    let seats = seats.filter(|(_, seat)| seat.member.deployment == observed.name);
    let attachment = |(dispatcher, seat): (&crate::Dispatcher, &crate::Seat)| {
        let facts = LinkFacts { id: dispatcher.link?, program: seat.program.unwrap_or(0), target: dispatcher.target };
        Some(lost(Hook::SharedXdp(seat.member.place.clone()), facts, dispatcher.layout.device().0))
    };
    seats.filter_map(attachment).filter(|attached| !named.contains(&attached.hook.name())).collect()
}

/// Something attached of which nothing tells the generation.
pub(super) fn lost(hook: Hook, facts: LinkFacts, namespace: u64) -> Attachment {
    let (program, target) = (facts.program, facts.target);
    Attachment { hook, link: Some(facts.id), program, root: None, target, generation: None, namespace }
}

/// What is pinned in the folders of a generation without its record; what is of another kind than belongs there is somebody's.
pub(crate) fn generation(layout: &Layout, number: u32) -> Result<Vec<PathBuf>, Error> {
    let folders =
        [(layout.programs(number), Kind::Program), (layout.tables(number), Kind::Map), (layout.extensions(number), Kind::Link)];
    let mut found = vec![layout.table(number), layout.counts(number), layout.specs(number), layout.next_meta(number)];
    for (folder, kind) in folders {
        for (name, is_folder) in kernel::entries(&folder)? {
            let path = folder.join(name);
            if !is_folder && pins::open(&path, kind)?.is_some() {
                found.push(path);
            }
        }
    }
    Ok(found)
}
