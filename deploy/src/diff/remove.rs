//! The steps that remove a deployment.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use ouro_rules::manifest::Manifest;

use super::{check, live, maps, recorded_qdiscs};
use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::observe::{Attachment, Observed};
use crate::step::Step;

/// How a deployment is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Leave the declared maps with what they hold, for a later deploy.
    pub keep_maps: bool,
    /// Remove links of ours even if they run programs of others.
    pub force: bool,
}

/// The steps that remove everything of ours; none if nothing is there. Maps go before the generation that records them.
pub fn remove(observed: &Observed, options: &RemoveOptions) -> Result<Vec<Step>, Vec<Conflict>> {
    let hooks: BTreeMap<String, &Hook> = observed.metas().flat_map(|meta| &meta.hooks).map(|hook| (hook.name(), hook)).collect();
    let mut conflicts: Vec<Conflict> = check::unreadable(observed).chain(blocked(observed, options)).collect();
    conflicts.extend(hooks.values().filter_map(|hook| check::unreadable_share(observed, hook)));
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut steps: Vec<Step> = live::sweep(observed).into_iter().collect();
    steps.extend(observed.attachments.values().filter_map(detach));
    if !steps.is_empty() {
        steps.push(Step::Settle);
    }
    steps.extend(observed.roots.keys().map(|root| Step::RemoveRoot { root: root.clone() }));
    steps.extend(observed.trial.map(|_| Step::EndTrial));
    steps.extend(recorded_qdiscs(observed).into_iter().map(|interface| Step::RemoveQdisc { interface }));
    let recorded = maps::recorded(observed, |_| true).into_iter().filter(|pin| observed.maps.contains_key(pin));
    let (recorded, last) = (recorded.collect::<BTreeSet<String>>(), last(observed));
    let keep = options.keep_maps && !recorded.is_empty();
    let kept: BTreeSet<String> = match last {
        _ if !keep => BTreeSet::new(),
        Some((_, manifest)) => maps::pins(manifest).collect(),
        None => recorded.clone(),
    };
    steps.extend(recorded.difference(&kept).map(|map| Step::RemoveMap { map: map.clone() }));
    if let (true, Some((generation, _))) = (keep, last) {
        steps.extend(observed.kept.is_some().then_some(Step::DropKept));
        steps.push(Step::KeepMeta { generation });
    }
    steps.extend(observed.generations.keys().map(|number| Step::RemoveGeneration { generation: *number }));
    if !keep {
        steps.extend(observed.kept.is_some().then_some(Step::DropKept));
        steps.extend(observed.has_folders.then_some(Step::RemoveFolders));
    }
    Ok(steps)
}

/// The generation whose maps are kept: the live one, or the newest.
fn last(observed: &Observed) -> Option<(u32, &Manifest)> {
    let manifest = |number: u32| Some((number, &observed.generations.get(&number)?.meta.as_ref()?.manifest));
    observed.live().into_iter().rev().chain(observed.generations.keys().rev().copied()).find_map(manifest)
}

/// Links are removed by their pins, wherever they are; a filter is not ours once it runs another program.
fn blocked(observed: &Observed, options: &RemoveOptions) -> impl Iterator<Item = Conflict> {
    let force = options.force;
    check::attachments(observed).filter(move |conflict| match conflict {
        Conflict::OtherNamespace { hook } => !hook.is_link() && !force,
        Conflict::Changed { hook, .. } => hook.is_link() && !force,
        Conflict::Moved { .. } => false,
        _ => true,
    })
}

/// The step that takes a program of ours off a hook; none for a filter that runs another's.
pub(super) fn detach(attached: &Attachment) -> Option<Step> {
    let hook = attached.hook.clone();
    match (&hook, attached.generation) {
        (_, Some(generation)) if attached.is_alive() => Some(match &attached.root {
            Some(root) => Step::DetachRoot { hook, root: root.clone(), generation },
            None => Step::Detach { hook, generation },
        }),
        (hook, _) if !hook.is_link() => None,
        _ => Some(Step::RemoveLink { hook }),
    }
}
