//! Status: what is deployed, in facts read from pins, and where they differ from what was deployed.
//!
//! Reads only.

use std::fmt;
use std::path::{Path, PathBuf};

use ouro_rules::manifest::Manifest;
use serde::Serialize;

use crate::Error;
use crate::hook::Hook;
use crate::kernel;
use crate::layout::Layout;
use crate::map_check::type_name;
use crate::observe::{Generation, Observed, counts_edges, observe};

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
    /// The index of the network device; none if it is gone or nothing is attached.
    pub ifindex: Option<u32>,
    /// The link's id; none for clsact.
    pub link: Option<u32>,
    /// The id of the program it runs.
    pub program: Option<u32>,
    /// Whether packets can reach it.
    pub alive: bool,
    /// The link's pin; none for clsact.
    pub path: Option<PathBuf>,
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
    /// Its pin.
    pub path: PathBuf,
}

/// Where a deployment differs from what was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// Nothing runs it: a deploy was stopped before its end.
    NothingLive,
    /// Hooks run different generations: a deploy was stopped between them.
    Mixed {
        /// The generations.
        generations: Vec<u32>,
    },
    /// A generation that nothing runs.
    Leftover {
        /// The generation.
        generation: u32,
    },
    /// A generation another version made.
    Unreadable {
        /// The generation.
        generation: u32,
        /// Why it cannot be read.
        why: String,
    },
    /// A program's pin is gone.
    ProgramGone {
        /// Its name.
        program: String,
    },
    /// A slot leads elsewhere.
    Slot {
        /// The slot.
        slot: u32,
        /// The program that belongs there.
        program: String,
        /// The id of the one that is there; none if it is empty.
        found: Option<u32>,
    },
    /// The jump table is gone.
    TableGone,
    /// The jump table can be written.
    NotFrozen,
    /// A declared map's pin is gone.
    MapGone {
        /// Its name.
        map: String,
    },
    /// Nothing is attached where something was.
    NotAttached {
        /// The hook's name.
        hook: String,
    },
    /// The network device is gone, and the link dead.
    DeadLink {
        /// The hook's name.
        hook: String,
    },
    /// A hook runs a program that is not ours.
    ForeignProgram {
        /// The hook's name.
        hook: String,
        /// The program's id.
        program: u32,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NothingLive => write!(f, "nothing is live: deploy again, or undeploy"),
            Problem::Mixed { generations } => write!(f, "hooks run different generations {generations:?}: deploy again"),
            Problem::Leftover { generation } => write!(f, "generation {generation} is left over; the next deploy removes it"),
            Problem::Unreadable { generation, why } => write!(f, "the record of generation {generation} cannot be read: {why}"),
            Problem::ProgramGone { program } => write!(f, "the pin of program `{program}` is gone"),
            Problem::Slot { slot, program, found: Some(id) } => {
                write!(f, "slot {slot} holds program {id} instead of `{program}`")
            }
            Problem::Slot { slot, program, found: None } => write!(f, "slot {slot} is empty instead of holding `{program}`"),
            Problem::TableGone => write!(f, "the jump table is gone"),
            Problem::NotFrozen => write!(f, "the jump table is not frozen: it can be changed"),
            Problem::MapGone { map } => write!(f, "the pin of map `{map}` is gone"),
            Problem::NotAttached { hook } => write!(f, "nothing is attached to `{hook}`"),
            Problem::DeadLink { hook } => write!(f, "the network device of `{hook}` is gone; deploy again once it is back"),
            Problem::ForeignProgram { hook, program } => write!(f, "`{hook}` runs program {program}, which is not ours"),
        }
    }
}

/// Every deployment under `<bpffs>/ouro`, sorted by name.
pub fn status(bpffs: &Path) -> Result<Vec<DeploymentStatus>, Error> {
    crate::require(bpffs)?;
    let mut found = Vec::new();
    for (name, is_folder) in kernel::entries(&crate::layout::all(bpffs))? {
        if is_folder && crate::layout::check_name(&name).is_ok() {
            found.extend(of(&Layout::new(bpffs, &name)?, &observe(bpffs, &name)?)?);
        }
    }
    Ok(found)
}

/// The status of what was observed; none if there is nothing but folders.
fn of(layout: &Layout, observed: &Observed) -> Result<Option<DeploymentStatus>, Error> {
    let live = observed.live();
    let shown = live.last().or_else(|| observed.generations.keys().next_back()).copied();
    let generation = shown.and_then(|number| Some((number, observed.generations.get(&number)?)));
    let recorded = generation.and_then(|(number, generation)| Some((number, generation, generation.meta.as_ref()?)));
    let Some((number, generation, meta)) = recorded else { return Ok(without_generation(layout, observed)) };
    let manifest = &meta.manifest;
    Ok(Some(DeploymentStatus {
        name: layout.name().to_owned(),
        chain: manifest.chain.clone(),
        digest: meta.digest.clone(),
        generation: live.last().copied(),
        programs: programs(layout, number, generation, manifest),
        edges: edges(layout, number, generation, manifest)?,
        hooks: meta.hooks.iter().map(|hook| hook_status(layout, observed, hook)).collect(),
        maps: maps(layout, observed),
        problems: problems(observed, generation, manifest, &meta.hooks),
        foreign: observed.foreign.clone(),
    }))
}

/// Only maps that were kept, or a generation that cannot be read, or one that was stopped before its record.
fn without_generation(layout: &Layout, observed: &Observed) -> Option<DeploymentStatus> {
    if observed.kept.is_none() && observed.generations.is_empty() && observed.foreign.is_empty() {
        return None;
    }
    let (chain, digest) =
        observed.kept.as_ref().map(|meta| (meta.manifest.chain.clone(), meta.digest.clone())).unwrap_or_default();
    Some(DeploymentStatus {
        name: layout.name().to_owned(),
        chain,
        digest,
        generation: None,
        programs: Vec::new(),
        edges: Vec::new(),
        hooks: Vec::new(),
        maps: maps(layout, observed),
        problems: leftovers(observed, None),
        foreign: observed.foreign.clone(),
    })
}

fn programs(layout: &Layout, number: u32, generation: &Generation, manifest: &Manifest) -> Vec<ProgramStatus> {
    let status = |program: &ouro_rules::manifest::ManifestProgram| ProgramStatus {
        name: program.name.clone(),
        label: program.label.clone(),
        id: generation.programs.get(&program.name).copied(),
        slot: program.slot,
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

fn hook_status(layout: &Layout, observed: &Observed, hook: &Hook) -> HookStatus {
    let attached = observed.attachments.get(&hook.name());
    HookStatus {
        name: hook.name(),
        hook: hook.clone(),
        ifindex: attached.map(|attached| attached.ifindex).filter(|index| *index != 0),
        link: attached.and_then(|attached| attached.link),
        program: attached.map(|attached| attached.program),
        alive: attached.is_some_and(|attached| attached.is_alive()),
        path: hook.is_link().then(|| layout.link(hook)),
    }
}

fn maps(layout: &Layout, observed: &Observed) -> Vec<MapStatus> {
    let status = |(name, facts): (&String, &kernel::MapFacts)| MapStatus {
        name: name.clone(),
        id: facts.id,
        ty: type_name(facts.ty),
        key_size: facts.key_size,
        value_size: facts.value_size,
        max_entries: facts.max_entries,
        path: layout.map(name),
    };
    observed.maps.iter().map(status).collect()
}

fn problems(observed: &Observed, generation: &Generation, manifest: &Manifest, hooks: &[Hook]) -> Vec<Problem> {
    let live = observed.live();
    let mut found = Vec::new();
    if live.is_empty() {
        found.push(Problem::NothingLive);
    }
    if live.len() > 1 {
        found.push(Problem::Mixed { generations: live.iter().copied().collect() });
    }
    found.extend(leftovers(observed, live.is_empty().then_some(generation)));
    found.extend(table_problems(generation, manifest));
    let gone = manifest.maps.iter().filter(|map| !observed.maps.contains_key(&map.name));
    found.extend(gone.map(|map| Problem::MapGone { map: map.name.clone() }));
    found.extend(hooks.iter().filter_map(|hook| hook_problem(observed, hook)));
    found
}

/// `shown` is the generation the rest of the status is about, when it is not live.
fn leftovers(observed: &Observed, shown: Option<&Generation>) -> Vec<Problem> {
    let live = observed.live();
    let others = observed.generations.iter().filter(|(number, _)| !live.contains(number));
    let others = others.filter(|(_, generation)| shown.is_none_or(|shown| !std::ptr::eq(shown, *generation)));
    let problem = |(number, generation): (&u32, &Generation)| match &generation.unreadable {
        Some(why) => Problem::Unreadable { generation: *number, why: why.clone() },
        None => Problem::Leftover { generation: *number },
    };
    others.map(problem).collect()
}

fn table_problems(generation: &Generation, manifest: &Manifest) -> Vec<Problem> {
    let mut found = Vec::new();
    for program in &manifest.programs {
        let id = generation.programs.get(&program.name);
        if id.is_none() {
            found.push(Problem::ProgramGone { program: program.name.clone() });
        }
        if let Some(slot) = program.slot {
            let there = generation.slots.get(&slot);
            let wrong = Problem::Slot { slot, program: program.name.clone(), found: there.copied() };
            found.extend((there.is_none() || (id.is_some() && there != id)).then_some(wrong));
        }
    }
    match &generation.table {
        None if manifest.table_size > 0 => found.push(Problem::TableGone),
        Some(table) if !table.frozen => found.push(Problem::NotFrozen),
        _ => {}
    }
    found
}

fn hook_problem(observed: &Observed, hook: &Hook) -> Option<Problem> {
    let name = hook.name();
    match observed.attachments.get(&name) {
        None => Some(Problem::NotAttached { hook: name }),
        Some(attached) if !attached.is_alive() => Some(Problem::DeadLink { hook: name }),
        Some(attached) if attached.generation.is_none() => {
            Some(Problem::ForeignProgram { hook: name, program: attached.program })
        }
        Some(_) => None,
    }
}
