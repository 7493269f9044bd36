//! Dispatchers: what lets the chains of several deployments share the XDP hook of one device, which runs one program.
//!
//! Pure. A dispatcher calls one chain after another, in the order of their priorities, through a table with a slot for each. Another
//! entry of the same chain is put into its slot; everything else that changes makes a new set of dispatcher and table, which takes
//! the old one's place at one instant.

use std::path::PathBuf;

use ouro_rules::chain::longest_run;
use ouro_rules::hook;
use ouro_rules::manifest::{Manifest, SharedXdp};
use serde::{Deserialize, Serialize};

use crate::hook::Hook;
use crate::layout::SharedLayout;
use crate::observe::Observed;

/// A chain that shares a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The deployment's name.
    pub deployment: String,
    /// Its place.
    pub place: SharedXdp,
    /// Whether its programs take packets of several buffers. A table holds programs that do or programs that do not.
    pub frags: bool,
    /// The most tail calls a run of it takes, the one that leads to it among them; 0 if an ouro recorded it that did not count.
    #[serde(default)]
    pub tail_calls: u32,
}

impl Member {
    /// A deployment's chain at a place.
    pub(crate) fn new(deployment: &str, place: &SharedXdp, manifest: &Manifest) -> Member {
        let entry = manifest.programs.first().and_then(|program| hook::find(&program.ty));
        let frags = entry.is_some_and(|ty| ty.frags);
        Member { deployment: deployment.to_owned(), place: place.clone(), frags, tail_calls: longest_run(manifest) + 1 }
    }

    /// What is the same for all that share a dispatcher.
    pub(crate) fn kind(&self) -> (String, &'static str) {
        (self.place.mode.to_string(), self.section())
    }

    /// The type of programs that can stand in its table.
    pub(crate) fn section(&self) -> &'static str {
        if self.frags { "xdp.frags" } else { "xdp" }
    }

    /// What chains are called by.
    pub(crate) fn order(&self) -> (u16, &str) {
        (self.place.priority, &self.deployment)
    }

    /// The numbers of the verdicts after which the next chain runs. A name that nobody knows is of no verdict.
    pub(crate) fn proceed_on(&self) -> Vec<i32> {
        let known = hook::find("xdp");
        self.place.proceed_on.iter().filter_map(|name| known?.verdict(name)).collect()
    }
}

/// Those of these that one run can go through, in their order. Behind a chain whose verdict always is final none is called.
pub(crate) fn called<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<&'a Member> {
    let mut members: Vec<&Member> = members.into_iter().collect();
    members.sort_by_key(|member| member.order());
    let last = members.iter().position(|member| member.place.proceed_on.is_empty());
    members.truncate(last.map_or(members.len(), |place| place + 1));
    members
}

/// The tail calls of one run through all of these.
pub(crate) fn tail_calls<'a>(members: impl IntoIterator<Item = &'a Member>) -> u32 {
    called(members).iter().map(|member| member.tail_calls).sum()
}

/// A member, and what stands in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Whose it is.
    pub member: Member,
    /// The id of the program that is called.
    pub program: Option<u32>,
}

/// What several deployments share of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dispatcher {
    pub(crate) layout: SharedLayout,
    /// The id of the link that attaches it.
    pub link: Option<u32>,
    /// The id of the program that the link runs.
    pub program: u32,
    /// The index of the device; none if that is gone, or there is no link.
    pub target: Option<u64>,
    /// The set the link runs; of a link that runs something else the newest whole one.
    pub(crate) set: Option<u32>,
    /// Whether the link runs that set.
    pub(crate) is_ours: bool,
    /// The set the link runs, whether its record can be read or not.
    pub(crate) running: Option<u32>,
    /// Every set, whole or not.
    pub(crate) sets: Vec<u32>,
    /// Those that are called, in this order.
    pub seats: Vec<Seat>,
}

impl Dispatcher {
    /// The place of a deployment among those called.
    pub(crate) fn place_of(&self, deployment: &str, interface: &str) -> Option<usize> {
        let is_it = |seat: &Seat| seat.member.deployment == deployment && seat.member.place.interface == interface;
        self.seats.iter().position(is_it)
    }

    /// The sets that stopped commands did not remove; none while the device may run any of them.
    pub(crate) fn leftovers(&self) -> Vec<u32> {
        let unknown = self.target.is_some() && self.running.is_none();
        let used = |number: &u32| unknown || [self.set, self.running].contains(&Some(*number));
        self.sets.iter().copied().filter(|number| !used(number)).collect()
    }

    /// Whether something is left that a stopped command did not remove.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.link.is_none() || !self.leftovers().is_empty()
    }

    /// Whether the device runs a set of which nobody can tell who is called: somebody removed its record, or a later ouro wrote it.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.target.is_some() && self.running.is_some() && !self.is_ours
    }

    /// Where its link is pinned.
    pub(crate) fn path(&self) -> PathBuf {
        self.layout.link()
    }

    fn others(&self, deployment: &str) -> impl Iterator<Item = &Member> {
        self.seats.iter().map(|seat| &seat.member).filter(move |member| member.deployment != deployment)
    }
}

impl Observed {
    /// The dispatcher that calls the chain at this hook.
    pub(crate) fn dispatcher_at(&self, hook: &Hook) -> Option<(&Dispatcher, &Seat)> {
        let Hook::SharedXdp(place) = hook else { return None };
        let of = |dispatcher: &'_ Dispatcher| dispatcher.place_of(&self.name, &place.interface);
        self.dispatchers.iter().find_map(|dispatcher| Some((dispatcher, &dispatcher.seats[of(dispatcher)?])))
    }

    /// The dispatcher that the hook's device runs. Not found by its program: another command may just have led the link to the next.
    pub(crate) fn dispatcher_of(&self, hook: &Hook) -> Option<&Dispatcher> {
        let index = self.host.devices.get(hook.interface()?)?.index;
        let is_it = |dispatcher: &&Dispatcher| dispatcher.layout.device() == (self.host.namespace, index);
        self.dispatchers.iter().find(is_it).filter(|dispatcher| dispatcher.target == Some(index.into()))
    }

    /// Whether a chain at this hook would share its device with what that runs.
    pub(crate) fn can_share(&self, hook: &Hook) -> bool {
        matches!(hook, Hook::SharedXdp(_)) && self.dispatcher_of(hook).is_some_and(|dispatcher| dispatcher.is_ours)
    }

    /// The other chains that share the hook's device, in the order they run in.
    pub(crate) fn sharers(&self, hook: &Hook) -> Vec<&Member> {
        self.dispatcher_of(hook).map_or_else(Vec::new, |dispatcher| dispatcher.others(&self.name).collect())
    }

    /// Who runs right before and right after a chain at this hook, in words.
    pub(crate) fn neighbours(&self, hook: &Hook) -> String {
        let (Hook::SharedXdp(place), others) = (hook, self.sharers(hook)) else { return String::new() };
        let own = (place.priority, self.name.as_str());
        let before = others.iter().rfind(|other| other.order() < own).map(|other| format!("after `{}`", other.deployment));
        let after = others.iter().find(|other| other.order() > own).map(|other| format!("before `{}`", other.deployment));
        let around: Vec<String> = before.into_iter().chain(after).collect();
        let proceeds = match place.proceed_on.as_slice() {
            [] => "always final".to_owned(),
            verdicts => format!("goes on after {}", verdicts.join(", ")),
        };
        let around = if around.is_empty() { "alone".to_owned() } else { around.join(" and ") };
        format!(", {around}, {proceeds}")
    }
}
