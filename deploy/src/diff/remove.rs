//! The steps that remove a deployment.
//!
//! Pure.

use std::collections::BTreeSet;

use super::{check, recorded_qdiscs};
use crate::conflict::Conflict;
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
    let conflicts: Vec<Conflict> = check::unreadable(observed).chain(blocked(observed, options)).collect();
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut steps: Vec<Step> = observed.attachments.values().filter_map(detach).collect();
    if !steps.is_empty() {
        steps.push(Step::Settle);
    }
    steps.extend(observed.roots.keys().map(|root| Step::RemoveRoot { root: root.clone() }));
    steps.extend(observed.trial.map(|_| Step::EndTrial));
    steps.extend(recorded_qdiscs(observed).into_iter().map(|interface| Step::RemoveQdisc { interface }));
    let recorded: BTreeSet<&String> = observed.metas().flat_map(|meta| &meta.manifest.maps).map(|map| &map.name).collect();
    let maps: Vec<&String> = recorded.into_iter().filter(|name| observed.maps.contains_key(*name)).collect();
    let keep = options.keep_maps && !maps.is_empty();
    match (keep, observed.generations.iter().rev().find(|(_, generation)| generation.meta.is_some())) {
        (false, _) => steps.extend(maps.into_iter().map(|map| Step::RemoveMap { map: map.clone() })),
        (true, Some((newest, _))) => {
            steps.extend(observed.kept.is_some().then_some(Step::DropKept));
            steps.push(Step::KeepMeta { generation: *newest });
        }
        (true, None) => {}
    }
    steps.extend(observed.generations.keys().map(|number| Step::RemoveGeneration { generation: *number }));
    if !keep {
        steps.extend(observed.kept.is_some().then_some(Step::DropKept));
        steps.extend(observed.has_folders.then_some(Step::RemoveFolders));
    }
    Ok(steps)
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
            Some(root) => Step::DetachRoot { hook, root: root.clone() },
            None => Step::Detach { hook, generation },
        }),
        (hook, _) if !hook.is_link() => None,
        _ => Some(Step::RemoveLink { hook }),
    }
}
