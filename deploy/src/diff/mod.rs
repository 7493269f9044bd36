//! Diff: what must be done to get from what is there to a bundle, or to nothing. Pure: data in, steps or conflicts out.
//!
//! The order of the steps is what makes them safe to stop anywhere: the meta comes before all it names and goes after, the new
//! generation is whole before a hook runs it, and nothing is removed that a packet may still be in.

mod back;
mod changes;
mod check;
mod live;
mod maps;
mod moves;
mod remove;

use std::collections::BTreeSet;
use std::path::PathBuf;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::Manifest;

use crate::change::Plan;
use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::observe::{Generation, Observed, arguments, counts_edges};
use crate::rehearsal::takes_packets;
use crate::resolve::resolve;
use crate::step::Step;

pub use back::{acceptance, way_back};
use changes::changes;
use live::{Goal, folders, leftovers};
pub use remove::{RemoveOptions, remove};

/// What a deploy does beyond the bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Load a new generation even if the same bundle is live.
    pub force: bool,
    /// A file with the types of the kernel that CO-RE relocations are made for, instead of the running kernel's. What is live is
    /// not asked which it was made for.
    pub btf: Option<PathBuf>,
    /// Take hooks of ours back that somebody made run other programs.
    pub force_links: bool,
    /// Do not try the chain with its test packets.
    pub no_tests: bool,
    /// Go on where another chain, or another workspace's, is deployed under the same name.
    pub take_over: bool,
    /// Where the sources are, of a workspace that has no name to be told by.
    pub origin: Option<String>,
    /// Whether somebody says where the chain is to be attached, whatever its bundle says.
    pub placed: bool,
    /// How many seconds `confirm` has before the previous generation is made live again; no trial if there are none.
    pub confirm: Option<u64>,
}

/// What makes `bundle` live; no steps if it is.
pub fn diff(bundle: &Bundle, observed: &Observed, options: &Options) -> Result<Plan, Vec<Conflict>> {
    let (hooks, mut conflicts) = resolve(&bundle.manifest.attach, &observed.host);
    conflicts.extend(check::check(bundle, observed, &hooks, options));
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let reusable = reusable(bundle, observed, &hooks, options).filter(|_| !options.force);
    let target = reusable.unwrap_or_else(|| observed.generations.keys().next_back().map_or(1, |last| last + 1));
    let mut steps = leftovers(observed, target);
    let is_moved =
        hooks.iter().any(|hook| observed.attachments.get(&hook.name()).is_some_and(|attached| moves::is_moved(hook, attached)));
    let same_code = same_code(bundle, observed).filter(|_| !options.force);
    let is_tried = reusable.map_or(same_code.is_some(), |known| was_tried(observed, known));
    steps.extend(if is_tried { None } else { run_tests(bundle, options) });
    steps.extend(folders(observed));
    // Of what another generation loaded no second link can be attached beside the first.
    steps.extend(match (reusable, same_code.filter(|_| !is_moved)) {
        (Some(_), _) => Vec::new(),
        (None, Some(from)) => adopt(observed, &hooks, from, target),
        (None, None) => build(bundle, observed, &hooks, target),
    });
    let catch_up = maps::catch_up(&steps);
    let (manifest, left) = (&bundle.manifest, &BTreeSet::new());
    let (confirm, retake) = (options.confirm, options.force_links);
    let goal = Goal { target, manifest, hooks: &hooks, left, catch_up, confirm, retake };
    steps.extend(goal.steps(observed));
    let changes = changes(observed, target, &bundle.manifest, &steps);
    Ok(Plan { steps, changes, choices: Vec::new() })
}

/// A whole generation of the same bundle: the one that is live, or the newest.
fn reusable(bundle: &Bundle, observed: &Observed, hooks: &[Hook], options: &Options) -> Option<u32> {
    let from_here = |meta: &crate::Meta| options.origin.is_none() || meta.origin == options.origin;
    let same = |meta: &crate::Meta| {
        meta.digest == bundle.digest && meta.manifest == bundle.manifest && meta.hooks == hooks && from_here(meta)
    };
    let maps_there = maps::are_there(bundle, observed);
    newest(observed, |generation| maps_there && generation.is_whole() && generation.meta.as_ref().is_some_and(same))
}

/// A whole generation that differs from the bundle at most in where it is attached: the one that is live, or the newest.
fn same_code(bundle: &Bundle, observed: &Observed) -> Option<u32> {
    let same = |meta: &crate::Meta| {
        let (attach, devices) = (bundle.manifest.attach.clone(), bundle.manifest.devices.clone());
        // Tables of functions are attached, and yet part of what a generation is.
        meta.manifest.tables().eq(bundle.manifest.tables())
            // So is what tells where the arguments of probes are.
            && arguments(&meta.manifest) == arguments(&bundle.manifest)
            && meta.digest == bundle.digest
            && Manifest { attach, devices, ..meta.manifest.clone() } == bundle.manifest
    };
    let whole = |generation: &Generation| generation.is_whole() && generation.meta.as_ref().is_some_and(same);
    let maps_there = maps::are_there(bundle, observed);
    newest(observed, |generation| maps_there && whole(generation))
}

fn newest(observed: &Observed, fits: impl Fn(&Generation) -> bool) -> Option<u32> {
    let (live, current) = (observed.live(), observed.current());
    let fitting = observed.generations.iter().filter(|(_, generation)| fits(generation)).map(|(number, _)| *number);
    fitting.max_by_key(|number| (live.contains(number), Some(*number) == current, *number))
}

/// Whether its deploy came far enough to have tried it: what a killed deploy left may be whole, and wrong.
fn was_tried(observed: &Observed, generation: u32) -> bool {
    observed.live().contains(&generation) || observed.generations[&generation].went_live.is_some()
}

fn run_tests(bundle: &Bundle, options: &Options) -> Option<Step> {
    let tests: Vec<String> = bundle.manifest.tests.iter().map(|test| test.name.clone()).collect();
    let runs = !tests.is_empty() && !options.no_tests && takes_packets(&bundle.manifest);
    runs.then_some(Step::RunTests { tests })
}

/// Makes a generation of what another one loaded.
fn adopt(observed: &Observed, hooks: &[Hook], from: u32, generation: u32) -> Vec<Step> {
    let qdiscs = our_qdiscs(observed, hooks).into_iter().collect();
    vec![
        Step::CreateGeneration { generation },
        Step::WriteMeta { generation, hooks: hooks.to_vec(), qdiscs },
        Step::AdoptGeneration { from, generation },
    ]
}

/// Builds a generation that nothing runs yet.
pub(crate) fn build(bundle: &Bundle, observed: &Observed, hooks: &[Hook], generation: u32) -> Vec<Step> {
    let manifest = &bundle.manifest;
    let qdiscs = our_qdiscs(observed, hooks).into_iter().collect();
    let mut steps = vec![Step::CreateGeneration { generation }, Step::WriteMeta { generation, hooks: hooks.to_vec(), qdiscs }];
    if manifest.table_size > 0 {
        steps.push(Step::CreateTable { generation, entries: manifest.table_size });
    }
    if counts_edges(manifest) {
        steps.push(Step::CreateCounts { generation, edges: u32::try_from(manifest.edges.len()).unwrap_or(u32::MAX) });
    }
    steps.extend(maps::make(bundle, observed));
    let there = manifest.programs.iter().filter(|program| !program.is_missing());
    steps.extend(there.map(|program| Step::LoadProgram { generation, program: program.name.clone(), slot: program.slot }));
    if manifest.table_size > 0 {
        steps.push(Step::FreezeTable { generation });
    }
    steps.extend(manifest.extensions().map(|(program, replaces)| {
        let (of, function) = (replaces.program.clone(), replaces.function.clone());
        Step::Extend { generation, program: program.to_owned(), of, function }
    }));
    steps.extend(manifest.tables().map(|table| Step::MakeTable { generation, table: table.to_owned() }));
    steps
}

/// Devices that need a clsact qdisc and have none.
fn missing_qdiscs(observed: &Observed, hooks: &[Hook]) -> BTreeSet<String> {
    let lacks = |interface: &str| observed.host.devices.get(interface).is_some_and(|device| !device.clsact);
    let filters = hooks.iter().filter(|hook| matches!(hook, Hook::Clsact { .. }));
    filters.filter_map(Hook::interface).filter(|interface| lacks(interface)).map(str::to_owned).collect()
}

/// Devices whose clsact qdisc these generations record as ours, or what was kept does.
fn recorded_qdiscs(observed: &Observed, of: impl Fn(&u32) -> bool) -> BTreeSet<String> {
    let has = |interface: &&String| observed.host.devices.get(*interface).is_some_and(|device| device.clsact);
    let generations = observed.generations.iter().filter(|(number, _)| of(number));
    let metas = generations.filter_map(|(_, generation)| generation.meta.as_ref()).chain(&observed.kept);
    metas.flat_map(|meta| &meta.qdiscs).filter(has).cloned().collect()
}

/// Devices whose clsact qdisc is ours: we added it before, or are about to.
fn our_qdiscs(observed: &Observed, hooks: &[Hook]) -> BTreeSet<String> {
    recorded_qdiscs(observed, |_| true).into_iter().chain(missing_qdiscs(observed, hooks)).collect()
}
