//! What hooks are led to a generation by: their links and filters, or the root table whose stub they run.
//!
//! Pure.

use std::collections::BTreeSet;

use ouro_rules::manifest::Manifest;

use super::{live, missing_qdiscs, remove};
use crate::dispatcher::Member;
use crate::hook::{Hook, Renewal};
use crate::kernel::MapFacts;
use crate::observe::{Attachment, Observed};
use crate::root::{self, is_rooted};
use crate::step::{Runs, Step};

/// A generation, as hooks are to run it.
pub(super) struct Moves<'a> {
    observed: &'a Observed,
    target: u32,
    manifest: &'a Manifest,
    /// Hooks that stay as they are, by name.
    left: &'a BTreeSet<String>,
    /// The root of its hooks, where any of them needs one.
    root: Option<String>,
    /// Whether sockets are taken back, of which nobody can ask which program they have.
    retake: bool,
}

impl<'a> Moves<'a> {
    /// For these hooks, and all others but those that are `left`.
    pub(super) fn new(
        observed: &'a Observed,
        manifest: &'a Manifest,
        hooks: &[Hook],
        left: &'a BTreeSet<String>,
        target: u32,
    ) -> Moves<'a> {
        let any = hooks.iter().any(|hook| is_rooted(manifest, hook));
        Moves { observed, target, manifest, left, root: root::class(manifest).filter(|_| any), retake: false }
    }

    /// The same, taking sockets back from whatever program they have.
    pub(super) fn retaking(self, retake: bool) -> Moves<'a> {
        Moves { retake, ..self }
    }

    /// Leads every hook to the generation, and away from hooks that are wanted no more. A device runs one XDP program at a time,
    /// so where a hook changes its mode it is detached first.
    pub(super) fn steps(&self, hooks: &[Hook]) -> Vec<Step> {
        let interfaces = missing_qdiscs(self.observed, hooks).into_iter();
        let mut steps: Vec<Step> = interfaces.map(|interface| Step::AddQdisc { interface }).collect();
        let attached = hooks.iter().filter_map(|hook| Some((hook, self.observed.attachments.get(&hook.name())?)));
        let first = attached.filter(|(hook, attached)| self.is_numbered_first(hook, attached));
        steps.extend(first.flat_map(|(hook, attached)| self.numbered_anew(hook, attached)));
        steps.extend(self.root_step());
        steps.extend(live::lost_links(self.observed));
        // A port that two sockets share has one program: what goes from the one must not take along what comes to the other.
        let wanted: BTreeSet<String> = hooks.iter().map(Hook::name).collect();
        let stays = |attached: &Attachment| hooks.iter().any(|hook| attached.is_alive() && attached.hook.shares_port(hook));
        let unwanted = self.observed.attachments.iter().filter(|(name, _)| !wanted.contains(*name) && !self.left.contains(*name));
        let unwanted = unwanted.filter(|(_, attached)| !stays(attached));
        let (first, last): (Vec<_>, Vec<_>) =
            unwanted.map(|(_, attached)| attached).partition(|attached| attached.hook.is_mute());
        steps.extend(first.into_iter().filter_map(remove::detach));
        for hook in hooks {
            match self.attached_to(hook) {
                None if self.observed.taken.contains(&hook.name()) => steps.push(self.take_over(hook)),
                None => steps.push(self.attach(hook)),
                Some(attached) if !attached.is_alive() || self.is_made_anew(hook, attached) => {
                    steps.push(Step::RemoveLink { hook: attached.hook.clone() });
                    steps.push(self.attach(hook));
                }
                Some(attached) if self.is_numbered_first(hook, attached) => {}
                Some(attached) if self.reads_otherwise(hook, attached) || self.is_untold(hook, attached) => {
                    steps.extend(self.numbered_anew(hook, attached));
                }
                Some(attached) if self.is_rearranged(hook, attached) || self.is_reordered(hook, attached) => {
                    let (was, from) = (attached.hook.clone(), attached.generation.unwrap_or(self.target));
                    steps.push(Step::Rearrange { hook: hook.clone(), was, from, to: self.target });
                }
                Some(attached)
                    if attached.generation.is_some() && (!attached.hook.serves(hook) || self.observed.is_doubtful(attached)) =>
                {
                    steps.extend(remove::detach(attached));
                    steps.push(self.attach(hook));
                }
                Some(attached) => steps.extend(self.renew(hook, attached)),
            }
        }
        steps.extend(last.into_iter().filter_map(remove::detach));
        steps
    }

    /// What is attached there, be it by another socket of the same port.
    fn attached_to(&self, hook: &Hook) -> Option<&'a Attachment> {
        let all = &self.observed.attachments;
        let same_port = || all.values().find(|attached| attached.is_alive() && attached.hook.shares_port(hook));
        all.get(&hook.name()).or_else(same_port)
    }

    /// Whether a link of which no record is left cannot just be led to the generation: nothing tells which map it hangs on.
    fn is_made_anew(&self, hook: &Hook, attached: &Attachment) -> bool {
        let stays = matches!(hook.renewal(), Renewal::Link | Renewal::Slot | Renewal::Root);
        self.observed.is_lost(attached) && (attached.hook != *hook || hook.map().is_some() || !stays)
    }

    /// Whether programs of the two generations read the arguments of a probe differently, or those of one do not.
    fn reads_otherwise(&self, hook: &Hook, attached: &Attachment) -> bool {
        matches!(hook, Hook::Usdt(_)) && attached.generation.is_some() && attached.hook != *hook
    }

    /// Whether a link is numbered anew and runs the same stub before and after: while the root leads to the old generation, so that
    /// whoever comes after a kill sees whose numbers it has.
    fn is_numbered_first(&self, hook: &Hook, attached: &Attachment) -> bool {
        let whole = |root: &String| self.observed.roots.get(root).is_some_and(root::Root::is_whole);
        let stays = attached.root == self.root && attached.root.as_ref().is_some_and(whole);
        stays && attached.is_alive() && attached.generation.is_some() && self.is_untold(hook, attached)
    }

    /// A new link, with numbers of its own, before the old one goes. Of a program that nobody knows there is none to go back to; and
    /// where the old one's table is gone the new one stays, should this be undone.
    fn numbered_anew(&self, hook: &Hook, attached: &Attachment) -> Vec<Step> {
        let hook = hook.clone();
        let Some(generation) = attached.generation else {
            return vec![Step::RemoveLink { hook: attached.hook.clone() }, self.attach(&hook)];
        };
        let was = attached.root.clone().map(|root| Runs::Root { root, generation });
        vec![Step::Exchange { from: was.unwrap_or(Runs::Generation(generation)), to: self.runs(&hook), hook }]
    }

    /// Whether somebody removed what tells which arguments the link's numbers stand for; or the table of the generation to come has
    /// less room, and a number may be beyond it.
    fn is_untold(&self, hook: &Hook, attached: &Attachment) -> bool {
        let specs = |number: &u32| self.observed.generations.get(number).and_then(|generation| generation.specs.as_ref());
        let is_short = |known: &MapFacts| specs(&self.target).is_some_and(|own| own.max_entries < known.max_entries);
        let known = attached.generation.as_ref().and_then(specs);
        hook.has_arguments() && attached.hook.has_arguments() && known.is_none_or(is_short)
    }

    /// Whether a dispatcher calls the chain, and must be another to call it as it should be.
    fn is_rearranged(&self, hook: &Hook, attached: &Attachment) -> bool {
        let (Hook::SharedXdp(to), Hook::SharedXdp(from), Some(_)) = (hook, &attached.hook, attached.generation) else {
            return false;
        };
        let own = Member::new(&self.observed.name, to, self.manifest);
        let called = self.observed.dispatcher_at(hook).map(|(_, seat)| &seat.member);
        to.mode == from.mode && called.is_some_and(|member| *member != own)
    }

    /// Whether only its place among others is another one, or the revision it asks for. The new link is attached before the old one
    /// goes, which takes two programs: the kernel has none twice at a place.
    fn is_reordered(&self, hook: &Hook, attached: &Attachment) -> bool {
        let entry = |number: &u32| self.observed.generations.get(number).and_then(|generation| generation.entry());
        attached.root.is_none()
            && matches!(self.runs(hook), Runs::Generation(_))
            && is_moved(hook, attached)
            && attached.generation.is_some_and(|from| entry(&from) != entry(&self.target))
    }

    /// The roots that no hook will run.
    pub(super) fn obsolete_roots(&self) -> Vec<Step> {
        let others = self.observed.roots.keys().filter(|root| Some(*root) != self.root.as_ref());
        others.map(|root| Step::RemoveRoot { root: root.clone() }).collect()
    }

    /// Makes the root lead to the generation. All hooks that run its stub follow at one instant.
    fn root_step(&self) -> Option<Step> {
        let (root, to) = (self.root.clone()?, self.target);
        let Some(known) = self.observed.roots.get(&root).filter(|known| known.is_whole()) else {
            return Some(Step::CreateRoot { root, generation: to });
        };
        let from = root::generation(self.observed, known);
        (from != Some(to)).then_some(Step::SwitchRoot { root, from, to })
    }

    fn runs(&self, hook: &Hook) -> Runs {
        match &self.root {
            Some(root) if is_rooted(self.manifest, hook) => Runs::Root { root: root.clone(), generation: self.target },
            _ => Runs::Generation(self.target),
        }
    }

    fn attach(&self, hook: &Hook) -> Step {
        match self.runs(hook) {
            Runs::Root { root, generation } => Step::AttachRoot { hook: hook.clone(), root, generation },
            Runs::Generation(generation) => Step::Attach { hook: hook.clone(), generation },
        }
    }

    /// The same in the place of whatever is there, at one instant.
    fn take_over(&self, hook: &Hook) -> Step {
        match self.runs(hook) {
            Runs::Root { root, generation } if !hook.tells_program() => Step::TakeOver { hook: hook.clone(), root, generation },
            _ => self.attach(hook),
        }
    }

    /// Makes a hook that is alive run what it should.
    fn renew(&self, hook: &Hook, attached: &Attachment) -> Vec<Step> {
        let to = self.runs(hook);
        let whole = |root: &String| self.observed.roots.get(root).is_some_and(root::Root::is_whole);
        let stays = attached.generation.is_none_or(|from| !moves_map(self.observed, hook, from, self.manifest));
        match (&attached.root, attached.generation, to) {
            (Some(from), Some(generation), to @ Runs::Root { .. }) if self.is_attached_again(hook) => {
                vec![Step::Exchange { hook: hook.clone(), from: Runs::Root { root: from.clone(), generation }, to }]
            }
            (Some(from), _, Runs::Root { root: to, .. }) if *from == to && whole(from) && stays => Vec::new(),
            (None, Some(from), Runs::Generation(to)) if from == to => Vec::new(),
            (None, Some(from), Runs::Generation(to)) if stays => vec![Step::Switch { hook: hook.clone(), from, to }],
            (None, Some(from), to) => vec![Step::Exchange { hook: hook.clone(), from: Runs::Generation(from), to }],
            (Some(root), Some(generation), to) => {
                let from = Runs::Root { root: root.clone(), generation };
                vec![Step::Exchange { hook: hook.clone(), from, to }]
            }
            (_, None, Runs::Generation(generation)) => {
                vec![Step::TakeBack { hook: hook.clone(), program: attached.program, generation }]
            }
            (_, None, Runs::Root { .. }) if !hook.tells_program() => vec![self.take_over(hook)],
            (_, None, Runs::Root { .. }) => vec![Step::RemoveLink { hook: hook.clone() }, self.attach(hook)],
        }
    }

    /// Whether what should be attached already is attached once more, which changes nothing if it is: a command may have been killed right
    /// before it attached it, and nobody can ask whose the program is that is there.
    fn is_attached_again(&self, hook: &Hook) -> bool {
        let is_unsure = || !live::is_last(self.observed, self.target) && (hook.is_mute() || !self.observed.was_attached(hook));
        !hook.tells_program() && (self.retake || is_unsure())
    }
}

/// Whether what is attached there has another place among others than the hook asks for, or the hook asks for another revision, which
/// the kernel compares when something is attached and then alone.
pub(super) fn is_moved(hook: &Hook, attached: &Attachment) -> bool {
    hook.order().is_some() && attached.hook.order().is_some() && attached.is_alive() && !attached.hook.serves(hook)
}

/// Whether a hook hangs on a map that is another one for this manifest than for the generation it runs. Its link takes another
/// program, but stays on its map.
pub(super) fn moves_map(observed: &Observed, hook: &Hook, from: u32, after: &Manifest) -> bool {
    let Some(name) = hook.map() else { return false };
    let pin = |manifest: &Manifest| manifest.maps.iter().find(|map| map.name == name).map(|map| manifest.pin_of(map));
    let before = observed.generations.get(&from).and_then(|generation| generation.meta.as_ref());
    before.is_some_and(|meta| pin(&meta.manifest) != pin(after))
}
