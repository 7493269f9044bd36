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

/// Whose maps stay.
#[derive(Clone, Copy)]
enum Keep {
    Nobodys,
    /// A generation's; its record is kept for them.
    Generation(u32),
    /// Those that were kept already.
    Kept,
    /// All of which no record is left.
    Lost,
}

/// The steps that remove everything of ours; none if nothing is there.
pub fn remove(observed: &Observed, options: &RemoveOptions) -> Result<Vec<Step>, Vec<Conflict>> {
    // What a stopped deploy left comes before nothing, and after what was kept.
    let last = || observed.was_live().or_else(|| observed.current().filter(|_| observed.kept.is_none()));
    let keep = if options.keep_maps { keeper(observed, last()) } else { Keep::Nobodys };
    removal(observed, options.force, keep)
}

/// The steps that remove what is on trial, when nothing can be brought back. The maps of what was live before, or was kept, stay.
pub(super) fn withdrawal(observed: &Observed, before: Option<u32>) -> Result<Vec<Step>, Vec<Conflict>> {
    removal(observed, false, keeper(observed, before))
}

fn keeper(observed: &Observed, generation: Option<u32>) -> Keep {
    let known = generation.filter(|number| observed.generations.get(number).is_some_and(|found| found.meta.is_some()));
    let others = match observed.kept {
        Some(_) => Keep::Kept,
        None if observed.lost_maps().is_empty() => Keep::Nobodys,
        None => Keep::Lost,
    };
    known.map_or(others, Keep::Generation)
}

/// Maps go before the generation that records them. The one whose maps stay goes last, with the sign that it is the one, so that
/// the next command keeps the same if this one is killed.
fn removal(observed: &Observed, force: bool, keep: Keep) -> Result<Vec<Step>, Vec<Conflict>> {
    let hooks: BTreeMap<String, &Hook> = observed.metas().flat_map(|meta| &meta.hooks).map(|hook| (hook.name(), hook)).collect();
    let mut conflicts: Vec<Conflict> = check::unreadable(observed).chain(blocked(observed, force)).collect();
    conflicts.extend(hooks.values().filter_map(|hook| check::unreadable_share(observed, hook)));
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut steps = take_off(observed);
    steps.extend(recorded_qdiscs(observed, |_| true).into_iter().map(|interface| Step::RemoveQdisc { interface }));
    let mut unused = maps::recorded(observed, |_| true);
    unused.extend(observed.lost_maps());
    unused.retain(|pin| maps::is_there(observed, pin));
    let keeper = kept_by(observed, keep);
    let mut kept: BTreeSet<String> = keeper.map_or_else(BTreeSet::new, |manifest| maps::pins(manifest).collect());
    kept.extend(if matches!(keep, Keep::Lost) { observed.lost_maps() } else { BTreeSet::new() });
    steps.extend(keeper.map_or_else(Vec::new, |manifest| maps::behind(observed, manifest, &[])));
    let keep = if unused.is_disjoint(&kept) { Keep::Nobodys } else { keep };
    steps.extend(unused.difference(&kept).map(|map| Step::RemoveMap { map: map.clone() }));
    let forget = observed.kept.is_some().then_some(Step::DropKept);
    let last = if let Keep::Generation(generation) = keep { Some(generation) } else { None };
    if let Some(generation) = last {
        steps.extend(forget.clone());
        steps.push(Step::KeepMeta { generation });
    }
    let others = observed.generations.keys().filter(|number| Some(**number) != last);
    steps.extend(others.map(|number| Step::RemoveGeneration { generation: *number }));
    steps.extend(observed.trial.map(|_| Step::EndTrial));
    steps.extend(last.map(|generation| Step::RemoveGeneration { generation }));
    if matches!(keep, Keep::Nobodys) {
        steps.extend(forget);
        steps.extend((observed.has_folders || observed.has_a_folder).then_some(Step::RemoveFolders));
    }
    Ok(steps)
}

/// Takes everything off its hooks. The wait comes also where nothing is attached any more: whoever detached it may have been killed
/// right after.
fn take_off(observed: &Observed) -> Vec<Step> {
    let mut steps: Vec<Step> = live::sweep(observed).into_iter().chain(live::second_links(observed)).collect();
    steps.extend(observed.attachments.values().filter_map(detach));
    steps.extend(live::lost_links(observed));
    let is_nothing = steps.is_empty() && observed.generations.is_empty() && observed.roots.is_empty();
    steps.extend((!is_nothing).then_some(Step::Settle));
    steps.extend(observed.roots.keys().map(|root| Step::RemoveRoot { root: root.clone() }));
    steps
}

fn kept_by(observed: &Observed, keep: Keep) -> Option<&Manifest> {
    let meta = match keep {
        Keep::Nobodys | Keep::Lost => None,
        Keep::Generation(number) => observed.generations.get(&number)?.meta.as_ref(),
        Keep::Kept => observed.kept.as_ref(),
    };
    meta.map(|meta| &meta.manifest)
}

/// Links are removed by their pins, wherever they are; a filter is not ours once it runs another program. A stub that nobody may see
/// lets everything pass once its table is gone.
fn blocked(observed: &Observed, force: bool) -> impl Iterator<Item = Conflict> {
    check::attachments(observed).filter(move |conflict| match conflict {
        Conflict::OtherNamespace { hook, .. } => !hook.is_link() && !force,
        Conflict::Unseen { is_curable, .. } => *is_curable && !force,
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
        // The record says that it is ours, and nothing else does.
        (Hook::Socket { .. }, None) if attached.is_alive() && attached.is_emptied() => Some(Step::RemoveLink { hook }),
        (hook, _) if !hook.is_link() => None,
        _ => Some(Step::RemoveLink { hook }),
    }
}
