//! Which generation is live, and which was live before: read from what runs, and where generations share programs, from the order
//! they were made live in.
//!
//! Pure.

use std::collections::BTreeSet;

use crate::hook::Hook;
use crate::layout::has_abi;
use crate::meta::Meta;
use crate::observe::{Attachment, Generation, Observed};

impl Generation {
    /// Its place among all that were made live, if it could be made live again.
    pub(crate) fn order(&self) -> Option<u64> {
        self.went_live.filter(|_| self.is_whole())
    }
}

impl Observed {
    /// Every meta that was understood, of generations first.
    pub fn metas(&self) -> impl Iterator<Item = &Meta> {
        self.generations.values().filter_map(|generation| generation.meta.as_ref()).chain(&self.kept)
    }

    /// Whether a later version made a generation, of which nothing is known.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.generations.values().any(|generation| generation.unreadable.is_some())
    }

    /// The pins of maps whose record somebody removed with all others.
    pub(crate) fn lost_maps(&self) -> BTreeSet<String> {
        let is_lost = self.metas().next().is_none() && !self.has_unreadable();
        let pins = self.maps.keys().chain(self.behind.keys());
        pins.filter(|pin| is_lost && has_abi(pin)).cloned().collect()
    }

    /// Whether no record names the hook: what is attached there is ours by its pin alone.
    pub(crate) fn is_lost(&self, attached: &Attachment) -> bool {
        let name = attached.hook.name();
        attached.generation.is_none() && !self.metas().flat_map(|meta| &meta.hooks).any(|hook| hook.name() == name)
    }

    /// The generations packets run through: those attached, or the last one of a chain that attaches nowhere.
    pub fn live(&self) -> BTreeSet<u32> {
        let attached: BTreeSet<u32> = self
            .attachments
            .values()
            .filter(|attachment| attachment.is_alive())
            .filter_map(|attachment| attachment.generation)
            .collect();
        if !attached.is_empty() {
            return attached;
        }
        self.unattached_live().into_iter().collect()
    }

    /// The generations packets may have run through, or may be in still, whole or not: all that were made live, all whose first
    /// program a link has, dead or alive, and while a hook or a link runs a program that nothing knows, every one. What only they record
    /// stays until another is live.
    pub(crate) fn ran(&self) -> BTreeSet<u32> {
        let (live, attached) = (self.live(), || self.attachments.values());
        let unknown = !self.lost.is_empty() || attached().any(|attached| attached.generation.is_none());
        let is_entry = |entry| attached().any(|attached| attached.program == entry);
        let ran = |(number, generation): &(&u32, &Generation)| {
            unknown || generation.went_live.is_some() || live.contains(number) || generation.entry().is_some_and(is_entry)
        };
        self.generations.iter().filter(ran).map(|(number, _)| *number).collect()
    }

    /// The generation that was made live last, if it is whole and attaches nowhere.
    fn unattached_live(&self) -> Option<u32> {
        let on_trial = self.trial.map(|trial| trial.generation);
        let made_live =
            self.generations.iter().filter(|(number, generation)| generation.went_live.is_some() || Some(**number) == on_trial);
        let (number, last) = made_live.max_by_key(|(number, _)| self.rank(**number))?;
        let unattached = last.meta.as_ref().is_some_and(|meta| meta.hooks.is_empty());
        (unattached && last.is_whole()).then_some(*number)
    }

    /// Of generations that run the same programs the one with the highest rank is meant: the one on trial, then the one that was
    /// made live last, then the newest.
    pub(crate) fn rank(&self, number: u32) -> (bool, Option<u64>, u32) {
        let on_trial = self.trial.is_some_and(|trial| trial.generation == number);
        (on_trial, self.generations.get(&number).and_then(|generation| generation.went_live), number)
    }

    /// Whether a stopped command may have attached it in another way than the generation says that it is taken for: another one with
    /// the same programs was about to.
    pub(crate) fn is_doubtful(&self, attached: &Attachment) -> bool {
        let is_trial = |number: &u32| self.trial.is_some_and(|trial| trial.generation == *number);
        let differs = |hook: &Hook| hook.name() == attached.hook.name() && *hook != attached.hook;
        let differs = |generation: &Generation| generation.meta.as_ref().is_some_and(|meta| meta.hooks.iter().any(differs));
        let was_about_to = |(number, generation): (&u32, &Generation)| {
            generation.went_live.is_none()
                && !is_trial(number)
                && generation.entry() == Some(attached.program)
                && differs(generation)
        };
        // What a dispatcher calls, and where, can be read; a socket is the same by whichever descriptor.
        let is_told = attached.hook.tells_program() && !matches!(attached.hook, Hook::SharedXdp(_));
        is_told && self.generations.iter().any(was_about_to)
    }

    /// Whether nobody here can see whether it still is attached.
    pub(crate) fn is_unseen(&self, meta: &Meta, hook: &Hook) -> bool {
        self.is_elsewhere(meta, hook) || self.unseen.contains_key(&hook.name())
    }

    /// Whether it was attached in another network namespace, and only from there anybody can see whether it still is.
    pub(crate) fn is_elsewhere(&self, meta: &Meta, hook: &Hook) -> bool {
        meta.namespace != self.host.namespace && !hook.is_link() && hook.is_of_namespace()
    }

    /// Whether the generation people mean by "what is deployed" may run where it is not seen from here: it was made live, or is on
    /// trial, and one of its hooks is not seen from here. One that a stopped deploy left never ran anywhere.
    pub(crate) fn runs_unseen(&self) -> bool {
        let runs = |number: u32| {
            let Generation { meta: Some(meta), went_live, .. } = &self.generations[&number] else { return false };
            let on_trial = self.trial.is_some_and(|trial| trial.generation == number);
            (went_live.is_some() || on_trial) && meta.hooks.iter().any(|hook| self.is_unseen(meta, hook))
        };
        self.current().is_some_and(runs)
    }

    /// Whether what was made live last was attached there. What a killed command was about to attach may never have been.
    pub(crate) fn was_attached(&self, hook: &Hook) -> bool {
        let live = self.generations.values().filter(|generation| generation.went_live.is_some());
        let last = live.max_by_key(|generation| generation.went_live).and_then(|generation| generation.meta.as_ref());
        last.is_some_and(|meta| meta.hooks.iter().any(|other| other.name() == hook.name()))
    }

    /// Whether something of ours should run there. Of a filter nothing else tells that its place is still ours.
    pub(crate) fn expects(&self, hook: &Hook) -> bool {
        let last = self
            .generations
            .iter()
            .filter(|(_, generation)| generation.meta.is_some())
            .max_by_key(|(number, _)| self.rank(**number));
        last.and_then(|(_, generation)| generation.meta.as_ref()).is_some_and(|meta| meta.hooks.contains(hook))
    }

    /// The generation people mean by "what is deployed": the live one; or, if none or several are, the one made live last.
    pub fn current(&self) -> Option<u32> {
        let live = self.live();
        let among = |numbers: &mut dyn Iterator<Item = u32>| numbers.max_by_key(|number| self.rank(*number));
        among(&mut live.iter().copied()).or_else(|| among(&mut self.generations.keys().copied()))
    }

    /// The same, if it ever was live.
    pub(crate) fn was_live(&self) -> Option<u32> {
        self.current().filter(|number| self.generations[number].went_live.is_some() || self.live().contains(number))
    }

    /// The generation that was live before: of all others the one that was made live last.
    pub fn previous(&self) -> Option<u32> {
        let (live, current) = (self.live(), self.current());
        let others = self.generations.iter().filter(|(number, _)| !live.contains(number) && Some(**number) != current);
        let was_live = others.filter_map(|(number, generation)| Some((generation.order()?, *number)));
        was_live.max().map(|(_, number)| number)
    }
}
