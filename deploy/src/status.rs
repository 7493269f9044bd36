//! Status: what is deployed, in facts read from pins, and where they differ from what was deployed.
//!
//! Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ouro_rules::manifest::{Manifest, OnChange, Replaces, Scalar, Settled};
use ouro_rules::map_type::{self, Fill};
use serde::Serialize;

use crate::Error;
use crate::hook::Hook;
use crate::kernel;
use crate::kernel::pins::{self, Kind};
use crate::layout::{Layout, map_name};
use crate::map_check::type_name;
use crate::meta::Meta;
use crate::observe::{Generation, Observed, counts_edges, observe};
use crate::problem::{Problem, leftovers, problems, record_gone};

/// Elements that are counted by walking them; a status is to be told at once.
const COUNTED: usize = 10_000;

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Its name.
    pub name: String,
    /// The chain's label.
    pub chain: String,
    /// The bundle's blake3.
    pub digest: String,
    /// The generation packets run through; none if nothing is live.
    pub generation: Option<u32>,
    /// What a rollback makes live again.
    pub previous: Option<PreviousStatus>,
    /// The trial that is under way.
    pub trial: Option<TrialStatus>,
    /// Its programs; the first is the entry.
    pub programs: Vec<ProgramStatus>,
    /// Its jumps.
    pub edges: Vec<EdgeStatus>,
    /// Where it is attached.
    pub hooks: Vec<HookStatus>,
    /// Its declared maps.
    pub maps: Vec<MapStatus>,
    /// Where it differs from what was deployed.
    pub problems: Vec<Problem>,
    /// Paths in its folder that ouro did not make.
    pub foreign: Vec<PathBuf>,
}

/// A generation that was live before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviousStatus {
    /// The generation.
    pub generation: u32,
    /// Its bundle's blake3.
    pub digest: String,
}

/// A generation that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrialStatus {
    /// The generation.
    pub generation: u32,
    /// Seconds that are left to confirm it.
    pub seconds_left: u64,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramStatus {
    /// Its name.
    pub name: String,
    /// Its label.
    pub label: String,
    /// Its id; none if its pin is gone.
    pub id: Option<u32>,
    /// Its place in the jump table.
    pub slot: Option<u32>,
    /// Of an extension, the function whose place it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// Which of its candidates stands in its place; none if it has none.
    pub candidate: Option<String>,
    /// Whether it is optional and was left out: the kernel does not take it.
    pub left_out: bool,
    /// The values of its global variables, where they are not the source's.
    pub globals: BTreeMap<String, Scalar>,
    /// Its pin.
    pub path: PathBuf,
}

/// A jump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeStatus {
    /// Its name in the source of `from`.
    pub name: String,
    /// The program that jumps.
    pub from: String,
    /// The program jumped to.
    pub to: String,
    /// How often it was taken and missed since its generation was deployed; none if the chain does not count.
    pub counts: Option<Counts>,
}

/// What a jump did, over all CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Jumps that arrived.
    pub taken: u64,
    /// Jumps that found no program.
    pub missed: u64,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookStatus {
    /// Its name, and its pin's.
    pub name: String,
    /// Where and how.
    #[serde(flatten)]
    pub hook: Hook,
    /// The index of the network device; none if it is gone, nothing is attached or the hook is of no device.
    pub ifindex: Option<u32>,
    /// What a link of another kind is attached to: a control group's id, a namespace's inode, a map's id.
    pub target: Option<u64>,
    /// The link's id; none for what has no link.
    pub link: Option<u32>,
    /// The id of the program it runs; none if it runs none, or a filter that is no program.
    pub program: Option<u32>,
    /// Whether that is not ours.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Whether anything can reach it; false as well of what is not seen.
    pub alive: bool,
    /// Why it is not seen from here, of a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// The inode of the network namespace it was attached in; none of what is of no namespace.
    pub namespace: Option<u64>,
    /// Whether that is another one than the status is from. What has no link is not seen then.
    pub elsewhere: bool,
    /// What `ip netns` calls it then.
    pub netns: Option<String>,
    /// The link's pin; none for what has no link.
    pub path: Option<PathBuf>,
    /// The deployments that share the device, this one among them, in the order they run in; none of a hook that is not shared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sharing: Vec<String>,
}

/// A declared map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// Its type as in BUILD files.
    #[serde(rename = "type")]
    pub ty: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries, or bytes for ring buffers.
    pub max_entries: u32,
    /// How many of them are there; none where that is not quickly told, or always all.
    pub entries: Option<usize>,
    /// Whether the generation that is shown uses it; others are kept for the one before.
    pub live: bool,
    /// Whether nothing can write it.
    pub frozen: bool,
    /// The digits of its definition (see `MapSpec::abi`); none of a map that an earlier version pinned.
    pub abi: Option<String>,
    /// What happens to what it holds when its definition changes; none if nothing records it.
    pub on_change: Option<OnChange>,
    /// Its pin.
    pub path: PathBuf,
}

/// Every deployment under `<bpffs>/ouro`, sorted by name.
pub fn status(bpffs: &Path) -> Result<Vec<DeploymentStatus>, Error> {
    crate::require(bpffs)?;
    let all = layouts(bpffs)?.into_iter().map(|layout| of(&layout, &observe(bpffs, layout.name())?));
    all.filter_map(Result::transpose).collect()
}

/// The deployment of this name; none if there is none. Looks at no other, which may take rights that this thread gave up.
pub fn status_of(bpffs: &Path, name: &str) -> Result<Option<DeploymentStatus>, Error> {
    crate::require(bpffs)?;
    // What cannot name a deployment names none.
    let Ok(layout) = Layout::new(bpffs, name) else { return Ok(None) };
    of(&layout, &observe(bpffs, name)?)
}

/// The labels of the chains that are deployed, by their deployments' names, of records alone; empty where there is none.
pub fn deployed(bpffs: &Path) -> Result<BTreeMap<String, String>, Error> {
    crate::require(bpffs)?;
    let mut found = BTreeMap::new();
    for layout in layouts(bpffs)? {
        let entries = kernel::entries(layout.folder())?;
        let numbers = entries.iter().filter_map(|(name, _)| Layout::generation_number(name)).collect::<BTreeSet<u32>>();
        let records = numbers.into_iter().rev().map(|number| layout.meta(number)).chain([layout.kept()]);
        let meta = records.filter_map(|record| Meta::read(&record).ok()??.ok()).next();
        found.insert(layout.name().to_owned(), meta.map_or_else(String::new, |meta| meta.manifest.chain));
    }
    Ok(found)
}

fn layouts(bpffs: &Path) -> Result<Vec<Layout>, Error> {
    let entries = kernel::entries(&crate::layout::all(bpffs))?.into_iter();
    let names = entries.filter(|(name, is_folder)| *is_folder && crate::layout::check_name(name).is_ok());
    names.map(|(name, _)| Layout::new(bpffs, &name)).collect()
}

/// The status of what was observed; none if there is nothing but folders.
fn of(layout: &Layout, observed: &Observed) -> Result<Option<DeploymentStatus>, Error> {
    let shown = observed.current();
    let generation = shown.and_then(|number| Some((number, observed.generations.get(&number)?)));
    let recorded = generation.and_then(|(number, generation)| Some((number, generation, generation.meta.as_ref()?)));
    let Some((number, generation, meta)) = recorded else { return without_generation(layout, observed) };
    let manifest = &meta.manifest;
    Ok(Some(DeploymentStatus {
        name: layout.name().to_owned(),
        chain: manifest.chain.clone(),
        digest: meta.digest.clone(),
        generation: shown.filter(|number| observed.runs_unseen() || observed.live().contains(number)),
        previous: previous(observed),
        trial: observed.trial.map(|trial| TrialStatus {
            generation: trial.generation,
            seconds_left: trial.left.as_millis().div_ceil(1000) as u64,
        }),
        programs: programs(layout, number, generation, manifest),
        edges: edges(layout, number, generation, manifest)?,
        hooks: meta.hooks.iter().map(|hook| hook_status(layout, observed, meta, hook)).collect(),
        maps: maps(layout, observed)?,
        problems: problems(observed, generation, manifest, &meta.hooks),
        foreign: observed.foreign.clone(),
    }))
}

/// Only maps that were kept, or what lost its record, or a generation that cannot be read, or one that was stopped before its record.
fn without_generation(layout: &Layout, observed: &Observed) -> Result<Option<DeploymentStatus>, Error> {
    let problems: Vec<Problem> = record_gone(observed).into_iter().chain(leftovers(observed, None)).collect();
    if observed.kept.is_none() && problems.is_empty() && observed.foreign.is_empty() {
        return Ok(None);
    }
    let (chain, digest) =
        observed.kept.as_ref().map(|meta| (meta.manifest.chain.clone(), meta.digest.clone())).unwrap_or_default();
    Ok(Some(DeploymentStatus {
        name: layout.name().to_owned(),
        chain,
        digest,
        generation: None,
        previous: None,
        trial: None,
        programs: Vec::new(),
        edges: Vec::new(),
        hooks: Vec::new(),
        maps: maps(layout, observed)?,
        problems,
        foreign: observed.foreign.clone(),
    }))
}

fn previous(observed: &Observed) -> Option<PreviousStatus> {
    let generation = observed.previous()?;
    let digest = observed.generations.get(&generation)?.meta.as_ref()?.digest.clone();
    Some(PreviousStatus { generation, digest })
}

fn programs(layout: &Layout, number: u32, generation: &Generation, manifest: &Manifest) -> Vec<ProgramStatus> {
    let status = |program: &ouro_rules::manifest::ManifestProgram| ProgramStatus {
        name: program.name.clone(),
        label: program.label.clone(),
        id: generation.programs.get(&program.name).copied(),
        slot: program.slot,
        replaces: program.replaces.clone(),
        candidate: match &program.settled {
            Some(Settled::Taken(candidate)) => Some(candidate.clone()),
            _ => None,
        },
        left_out: program.is_missing(),
        globals: program.globals.clone(),
        path: layout.program(number, &program.name),
    };
    manifest.programs.iter().map(status).collect()
}

fn edges(layout: &Layout, number: u32, generation: &Generation, manifest: &Manifest) -> Result<Vec<EdgeStatus>, Error> {
    let counts = match &generation.counts {
        Some(facts) if counts_edges(manifest) => kernel::counts(&layout.counts(number), facts.max_entries)?,
        _ => Vec::new(),
    };
    let name = |index: u32| manifest.programs.get(index as usize).map_or_else(String::new, |program| program.name.clone());
    let status = |(index, edge): (usize, &ouro_rules::manifest::Edge)| EdgeStatus {
        name: edge.name.clone(),
        from: name(edge.from),
        to: name(edge.to),
        counts: counts.get(index).map(|[taken, missed]| Counts { taken: *taken, missed: *missed }),
    };
    Ok(manifest.edges.iter().enumerate().map(status).collect())
}

fn hook_status(layout: &Layout, observed: &Observed, meta: &Meta, hook: &Hook) -> HookStatus {
    let attached = observed.attachments.get(&hook.name());
    let shared = observed.dispatcher_at(hook);
    let namespace = attached.map_or(meta.namespace, |attached| attached.namespace);
    let namespace = Some(namespace).filter(|_| hook.is_of_namespace());
    let elsewhere = namespace.filter(|inode| *inode != observed.host.namespace);
    let (target, is_device) = (attached.and_then(|attached| attached.target), hook.interface().is_some());
    HookStatus {
        name: hook.name(),
        hook: hook.clone(),
        ifindex: target.filter(|_| is_device).and_then(|index| u32::try_from(index).ok()),
        target: target.filter(|target| !is_device && *target != 0),
        link: attached.and_then(|attached| attached.link),
        program: attached.map(|attached| attached.program).filter(|program| *program != 0),
        foreign: attached.is_some_and(|attached| attached.generation.is_none() && !attached.is_emptied()),
        unseen: observed.unseen.get(&hook.name()).map(|(_, why)| why.what.clone()),
        alive: attached.is_some_and(|attached| attached.is_alive()),
        namespace,
        elsewhere: elsewhere.is_some(),
        netns: elsewhere.and_then(|inode| observed.namespaces.get(&inode).cloned()),
        path: match (hook, shared) {
            (Hook::SharedXdp(_), shared) => shared.map(|(dispatcher, _)| dispatcher.path()),
            _ => hook.is_link().then(|| layout.link(hook)),
        },
        sharing: shared.map_or_else(Vec::new, |(dispatcher, _)| {
            dispatcher.seats.iter().map(|seat| seat.member.deployment.clone()).collect()
        }),
    }
}

fn maps(layout: &Layout, observed: &Observed) -> Result<Vec<MapStatus>, Error> {
    observed.maps.iter().map(|(pin, facts)| map(layout, observed, pin, facts)).collect()
}

fn map(layout: &Layout, observed: &Observed, pin: &str, facts: &kernel::MapFacts) -> Result<MapStatus, Error> {
    let of_meta =
        |meta: &'_ Meta| meta.manifest.maps.iter().find(|map| meta.manifest.pin_of(map) == pin).map(|map| map.on_change);
    let is_counted = map_type::MAP_TYPES.iter().any(|ty| ty.number == facts.ty && ty.fill == Fill::Keys);
    let uses = |meta: &Meta| of_meta(meta).is_some();
    let path = layout.map(pin);
    let open = pins::open(&path, Kind::Map)?.filter(|_| is_counted);
    Ok(MapStatus {
        name: map_name(pin).to_owned(),
        id: facts.id,
        ty: type_name(facts.ty),
        key_size: facts.key_size,
        value_size: facts.value_size,
        max_entries: facts.max_entries,
        entries: open.and_then(|map| kernel::count_elements(&map, facts, COUNTED)),
        live: observed.current().and_then(|number| observed.generations[&number].meta.as_ref()).is_some_and(uses),
        frozen: facts.frozen,
        abi: pin.split_once('-').map(|(_, abi)| abi.to_owned()),
        on_change: observed.metas().filter_map(of_meta).last(),
        path,
    })
}
