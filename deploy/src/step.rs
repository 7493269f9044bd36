//! Steps: everything a deployment can do to the machine, as data, each with what undoes it.
//!
//! Pure; [`crate::apply`] carries them out.

use std::fmt;

use serde::Serialize;

use crate::hook::Hook;
use crate::layout::map_name;

/// One change. `generation` is always a number under the deployment's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Creates the deployment's folders.
    CreateFolders,
    /// Creates a generation's folders.
    CreateGeneration {
        /// The generation.
        generation: u32,
    },
    /// Records what the generation is to be, before anything of it exists.
    WriteMeta {
        /// The generation.
        generation: u32,
        /// Where it is to be attached.
        hooks: Vec<Hook>,
        /// The devices whose clsact qdisc is ours.
        qdiscs: Vec<String>,
    },
    /// Creates an empty jump table.
    CreateTable {
        /// The generation.
        generation: u32,
        /// Its size.
        entries: u32,
    },
    /// Creates the edges' counts.
    CreateCounts {
        /// The generation.
        generation: u32,
        /// How many edges.
        edges: u32,
    },
    /// Creates a declared map with its first contents.
    CreateMap {
        /// Its pin.
        map: String,
    },
    /// Uses a declared map that is there, with what it holds.
    ReuseMap {
        /// Its pin.
        map: String,
    },
    /// Uses a map that an earlier version pinned by its name alone, with what it holds.
    AdoptMap {
        /// Its pin.
        map: String,
        /// The pin it has.
        from: String,
    },
    /// Creates a declared map and copies what an older one holds.
    CopyMap {
        /// Its pin.
        map: String,
        /// The older one's pin.
        from: String,
    },
    /// Creates a declared map and fills it with what an older one holds, member by member.
    ConvertMap {
        /// Its pin.
        map: String,
        /// The older one's pin.
        from: String,
    },
    /// Carries over what changed in the older map since.
    CatchUpMap {
        /// The new one's pin.
        map: String,
        /// The older one's pin.
        from: String,
    },
    /// Loads and pins a program.
    LoadProgram {
        /// The generation.
        generation: u32,
        /// Its name.
        program: String,
    },
    /// Takes over what an older generation loaded: its programs, its jump table and its counts. Only where the generation is
    /// attached differs.
    AdoptGeneration {
        /// The older one.
        from: u32,
        /// The new one.
        generation: u32,
    },
    /// Puts a program into the jump table.
    FillSlot {
        /// The generation.
        generation: u32,
        /// The slot.
        slot: u32,
        /// The program's name.
        program: String,
    },
    /// Makes the jump table unchangeable.
    FreezeTable {
        /// The generation.
        generation: u32,
    },
    /// Adds a clsact qdisc.
    AddQdisc {
        /// The network device.
        interface: String,
    },
    /// Attaches a generation's first program.
    Attach {
        /// Where.
        hook: Hook,
        /// The generation.
        generation: u32,
    },
    /// Replaces the program of a hook atomically, if it still is the one expected.
    Switch {
        /// Where.
        hook: Hook,
        /// The generation it runs.
        from: u32,
        /// The generation it is to run.
        to: u32,
    },
    /// Detaches a generation's first program.
    Detach {
        /// Where.
        hook: Hook,
        /// The generation.
        generation: u32,
    },
    /// Removes a link, whatever it runs.
    RemoveLink {
        /// Where it was attached.
        hook: Hook,
    },
    /// Waits until no packet is inside a replaced program. What comes after is not undone: the new state is live.
    Settle,
    /// Removes a clsact qdisc of ours, unless others use it.
    RemoveQdisc {
        /// The network device.
        interface: String,
    },
    /// Removes a declared map and what it holds.
    RemoveMap {
        /// Its pin.
        map: String,
    },
    /// Keeps a generation's meta for the maps that stay.
    KeepMeta {
        /// The generation.
        generation: u32,
    },
    /// Removes a generation that nothing runs.
    RemoveGeneration {
        /// The generation.
        generation: u32,
    },
    /// Forgets which maps were kept: a generation records them now, or they are gone.
    DropKept,
    /// Removes the deployment's folders.
    RemoveFolders,
}

impl Step {
    /// What undoes it. Steps inside a generation are undone with it.
    pub fn inverse(&self) -> Option<Step> {
        Some(match self {
            Step::CreateFolders => Step::RemoveFolders,
            Step::CreateGeneration { generation } => Step::RemoveGeneration { generation: *generation },
            Step::CreateMap { map } | Step::AdoptMap { map, .. } | Step::CopyMap { map, .. } | Step::ConvertMap { map, .. } => {
                Step::RemoveMap { map: map.clone() }
            }
            Step::AddQdisc { interface } => Step::RemoveQdisc { interface: interface.clone() },
            Step::Attach { hook, generation } => Step::Detach { hook: hook.clone(), generation: *generation },
            Step::Detach { hook, generation } => Step::Attach { hook: hook.clone(), generation: *generation },
            Step::Switch { hook, from, to } => Step::Switch { hook: hook.clone(), from: *to, to: *from },
            _ => return None,
        })
    }

    /// Whether it takes a program off a hook, which packets may still be inside of.
    pub fn replaces(&self) -> bool {
        matches!(self, Step::Switch { .. } | Step::Detach { .. } | Step::RemoveLink { .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateFolders => write!(f, "create the deployment's folders"),
            Step::CreateGeneration { generation } => write!(f, "create generation {generation}"),
            Step::WriteMeta { generation, .. } => write!(f, "record what generation {generation} is"),
            Step::CreateTable { entries, .. } => write!(f, "create a jump table with {entries} {}", plural(*entries, "slot")),
            Step::CreateCounts { edges, .. } => write!(f, "create counts for {edges} {}", plural(*edges, "jump")),
            Step::CreateMap { map } => write!(f, "create map `{}`", map_name(map)),
            Step::ReuseMap { map } => write!(f, "reuse map `{}` with what it holds", map_name(map)),
            Step::AdoptMap { map, .. } => write!(f, "adopt map `{}` of an earlier version with what it holds", map_name(map)),
            Step::CopyMap { map, .. } => {
                write!(f, "create map `{}` and copy what it holds; not atomic: what changes meanwhile follows", map_name(map))
            }
            Step::ConvertMap { map, .. } => {
                write!(f, "create map `{}` and convert what it holds; not atomic: what changes meanwhile follows", map_name(map))
            }
            Step::CatchUpMap { map, .. } => {
                write!(
                    f,
                    "carry over what changed meanwhile in map `{}`; what both generations changed stays as the new one has it",
                    map_name(map)
                )
            }
            Step::LoadProgram { program, .. } => write!(f, "load program `{program}`"),
            Step::AdoptGeneration { from, generation } => {
                write!(f, "let generation {generation} have what generation {from} loaded")
            }
            Step::FillSlot { slot, program, .. } => write!(f, "put `{program}` into slot {slot}"),
            Step::FreezeTable { .. } => write!(f, "freeze the jump table"),
            Step::AddQdisc { interface } => write!(f, "add a clsact qdisc to `{interface}`"),
            Step::Attach { hook, generation } => write!(f, "attach generation {generation} to {hook}"),
            Step::Switch { hook, from, to } => write!(f, "switch {hook} from generation {from} to {to}"),
            Step::Detach { hook, generation } => write!(f, "detach generation {generation} from {hook}"),
            Step::RemoveLink { hook } => write!(f, "remove the link to {hook}"),
            Step::Settle => write!(f, "wait until no packet is inside what was replaced"),
            Step::RemoveQdisc { interface } => write!(f, "remove the clsact qdisc of `{interface}` unless others use it"),
            Step::RemoveMap { map } => write!(f, "remove map `{map}` and what it holds"),
            Step::KeepMeta { generation } => write!(f, "keep the record of generation {generation} for its maps"),
            Step::RemoveGeneration { generation } => write!(f, "remove generation {generation}"),
            Step::DropKept => write!(f, "drop the record of kept maps"),
            Step::RemoveFolders => write!(f, "remove the deployment's folders"),
        }
    }
}

fn plural(count: u32, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
