//! Problems: where a deployment differs from what was deployed.
//!
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use ouro_rules::manifest::Manifest;
use serde::Serialize;

use crate::hook::Hook;
use crate::observe::{Generation, Observed, arguments};

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
    /// The one that runs was not marked as live: a deploy or a rollback was stopped right before its end.
    Unfinished {
        /// The generation.
        generation: u32,
    },
    /// The time to confirm it is over, and nobody went back.
    Unconfirmed {
        /// The generation.
        generation: u32,
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
    /// A slot leads somewhere, and the program that belongs there was left out.
    NotEmpty {
        /// The slot.
        slot: u32,
        /// The program.
        program: String,
        /// The id of the one that is there.
        found: u32,
    },
    /// The jump table is gone.
    TableGone,
    /// What tells where the arguments of probes are is gone.
    ArgumentsGone,
    /// The jump table can be written.
    NotFrozen,
    /// An extension's link is gone, and with it what it replaced.
    ExtensionGone {
        /// Its name.
        program: String,
    },
    /// A table of functions is gone.
    FunctionsGone {
        /// Its name.
        table: String,
    },
    /// A declared map's pin is gone.
    MapGone {
        /// Its name.
        map: String,
    },
    /// A map is a copy of an older one, and lacks what changed there meanwhile: the command was stopped before it had carried it over.
    Behind {
        /// Its name.
        map: String,
    },
    /// Nothing is attached where something was.
    NotAttached {
        /// The hook's name.
        hook: String,
    },
    /// The link is dead: what it was attached to is gone, or somebody detached it.
    DeadLink {
        /// The hook's name.
        hook: String,
        /// Whether there is such a network device; none of what is no device, or in another network namespace.
        is_there: Option<bool>,
    },
    /// The socket is closed, in every process that had it.
    SocketClosed {
        /// The hook's name.
        hook: String,
        /// The descriptor it was.
        descriptor: String,
    },
    /// A command was stopped while it put one link in another's place: both are attached.
    TwoLinks {
        /// The hook's name.
        hook: String,
    },
    /// The root table that a hook's stub jumps by is gone or empty.
    RootGone {
        /// The hook's name.
        hook: String,
    },
    /// The pin of the stub that a hook runs is gone.
    StubGone {
        /// The hook's name.
        hook: String,
    },
    /// Somebody removed the record of what is there: of links and of maps, by their pins.
    RecordGone {
        /// The links.
        links: Vec<String>,
        /// The maps.
        maps: Vec<String>,
    },
    /// A hook runs a program that is not ours.
    ForeignProgram {
        /// The hook's name.
        hook: String,
        /// The program's id; none of a filter that is no program.
        program: Option<u32>,
    },
}

impl Problem {
    /// Whether it is about a generation that nothing runs.
    pub(crate) fn is_leftover(&self) -> bool {
        matches!(self, Problem::Leftover { .. } | Problem::Unreadable { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NothingLive => write!(f, "nothing is live: deploy again, or undeploy"),
            Problem::Mixed { generations } => write!(f, "hooks run different generations {generations:?}: deploy again"),
            Problem::Unfinished { generation } => {
                write!(f, "generation {generation} runs, but its deploy was stopped before its end: deploy again, or roll back")
            }
            Problem::Unconfirmed { generation } => {
                write!(f, "nobody confirmed generation {generation} in time, and its deployer is gone: roll back, or confirm it")
            }
            Problem::Leftover { generation } => write!(f, "generation {generation} is left over; the next deploy removes it"),
            Problem::Unreadable { generation, why } => write!(f, "the record of generation {generation} cannot be read: {why}"),
            Problem::ProgramGone { program } => write!(f, "the pin of program `{program}` is gone"),
            Problem::Slot { slot, program, found: Some(id) } => {
                write!(f, "slot {slot} holds program {id} instead of `{program}`")
            }
            Problem::Slot { slot, program, found: None } => write!(f, "slot {slot} is empty instead of holding `{program}`"),
            Problem::NotEmpty { slot, program, found } => {
                write!(f, "slot {slot} holds program {found}, though `{program}` was left out")
            }
            Problem::TableGone => write!(f, "the jump table is gone"),
            Problem::ArgumentsGone => write!(f, "the pin of the table of arguments of probes is gone: deploy again"),
            Problem::NotFrozen => write!(f, "the jump table is not frozen: it can be changed"),
            Problem::ExtensionGone { program } => {
                write!(f, "the link of the extension `{program}` is gone: the function it replaced is back")
            }
            Problem::FunctionsGone { table } => write!(f, "the pin of the table of functions `{table}` is gone"),
            Problem::MapGone { map } => write!(f, "the pin of map `{map}` is gone"),
            Problem::Behind { map } => {
                write!(f, "map `{map}` lacks what changed in the older one while it was copied: deploy again, or confirm it")
            }
            Problem::NotAttached { hook } => write!(f, "nothing is attached to `{hook}`"),
            Problem::DeadLink { hook, is_there: Some(false) } => {
                write!(f, "what `{hook}` was attached to is gone; deploy again once it is back")
            }
            Problem::DeadLink { hook, is_there: Some(true) } => {
                write!(f, "somebody detached `{hook}`, or its device went and came back: deploy again")
            }
            Problem::DeadLink { hook, is_there: None } => {
                write!(f, "somebody detached `{hook}`, or what it was attached to is gone: deploy again once it is there")
            }
            Problem::SocketClosed { descriptor, .. } => {
                write!(f, "the socket that was {descriptor} is closed: deploy to another one, or undeploy")
            }
            Problem::TwoLinks { hook } => {
                write!(
                    f,
                    "a stopped command left a second link at `{hook}`, and what it runs runs, too: deploy again, or roll back"
                )
            }
            Problem::RootGone { hook } => write!(f, "the root table of `{hook}` is gone or empty: it runs nothing"),
            Problem::StubGone { hook } => write!(f, "the pin of the stub that `{hook}` runs is gone: deploy again"),
            Problem::RecordGone { links, maps } => {
                let pins: Vec<&str> = links.iter().chain(maps).map(String::as_str).collect();
                write!(f, "the record of `{}` is gone: deploy again, or undeploy", pins.join("`, `"))
            }
            Problem::ForeignProgram { hook, program: None } => write!(f, "`{hook}` has a filter that is not ours"),
            Problem::ForeignProgram { hook, program: Some(program) } => {
                write!(f, "`{hook}` runs program {program}, which is not ours")
            }
        }
    }
}

/// Everything that is wrong with the generation shown.
pub(crate) fn problems(observed: &Observed, generation: &Generation, manifest: &Manifest, hooks: &[Hook]) -> Vec<Problem> {
    let live = observed.live();
    let mut found = Vec::new();
    let is_unseen = |hook: &&Hook| generation.meta.as_ref().is_some_and(|meta| observed.is_unseen(meta, hook));
    if live.is_empty() && !observed.runs_unseen() {
        found.push(Problem::NothingLive);
    }
    if live.len() > 1 {
        found.push(Problem::Mixed { generations: live.iter().copied().collect() });
    }
    found.extend(unfinished(observed));
    found.extend(record_gone(observed));
    found.extend(observed.beside.keys().map(|hook| Problem::TwoLinks { hook: hook.clone() }));
    found.extend(leftovers(observed, live.is_empty().then_some(generation)));
    found.extend(table_problems(generation, manifest));
    let extended = manifest.extensions().filter(|(program, _)| !generation.extensions.contains_key(*program));
    found.extend(extended.map(|(program, _)| Problem::ExtensionGone { program: program.to_owned() }));
    let tables = manifest.tables().filter(|table| !generation.tables.contains_key(*table));
    found.extend(tables.map(|table| Problem::FunctionsGone { table: table.to_owned() }));
    let gone = manifest.maps.iter().filter(|map| !observed.maps.contains_key(&manifest.pin_of(map)));
    found.extend(gone.map(|map| Problem::MapGone { map: map.name.clone() }));
    let behind = manifest.maps.iter().filter(|map| observed.behind.contains_key(&manifest.pin_of(map)));
    found.extend(behind.map(|map| Problem::Behind { map: map.name.clone() }));
    found.extend(hooks.iter().filter(|hook| !is_unseen(hook)).filter_map(|hook| hook_problem(observed, hook)));
    found
}

/// What is there of which nothing tells what it is.
pub(crate) fn record_gone(observed: &Observed) -> Option<Problem> {
    let seats = observed.attachments.values().filter(|attached| observed.is_lost(attached)).map(|attached| attached.hook.name());
    let links: BTreeSet<String> = seats.chain(observed.lost.keys().cloned()).collect();
    let maps = observed.lost_maps();
    let (links, maps) = (links.into_iter().collect(), maps.into_iter().collect());
    let gone = Problem::RecordGone { links, maps };
    (gone != Problem::RecordGone { links: Vec::new(), maps: Vec::new() }).then_some(gone)
}

/// Whether the last deploy or rollback did not come to its end.
fn unfinished(observed: &Observed) -> Option<Problem> {
    if let Some(trial) = observed.trial {
        let generation = trial.generation;
        return trial.left.is_zero().then_some(Problem::Unconfirmed { generation });
    }
    let live = observed.live();
    let [generation] = live.iter().copied().collect::<Vec<_>>()[..] else { return None };
    let last = observed.generations.values().map(|generation| generation.went_live).max().flatten();
    let order = observed.generations[&generation].went_live;
    (order.is_none() || order < last).then_some(Problem::Unfinished { generation })
}

/// What nothing runs. `shown` is the generation the rest of the status is about, when it is not live.
pub(crate) fn leftovers(observed: &Observed, shown: Option<&Generation>) -> Vec<Problem> {
    let live = observed.live();
    let previous = observed.previous();
    let others = observed.generations.iter().filter(|(number, _)| !live.contains(number) && Some(**number) != previous);
    let others = others.filter(|(_, generation)| !is_kept_by_trial(observed, generation));
    let others = others.filter(|(_, generation)| shown.is_none_or(|shown| !std::ptr::eq(shown, *generation)));
    let problem = |(number, generation): (&u32, &Generation)| match &generation.unreadable {
        Some(why) => Problem::Unreadable { generation: *number, why: why.clone() },
        None => Problem::Leftover { generation: *number },
    };
    others.map(problem).collect()
}

/// Whether it stays until the trial ends: whoever goes back finds all that was there before.
fn is_kept_by_trial(observed: &Observed, generation: &Generation) -> bool {
    let is_under_way = observed.trial.is_some_and(|trial| !trial.left.is_zero());
    is_under_way && (generation.went_live.is_some() || generation.is_whole())
}

fn table_problems(generation: &Generation, manifest: &Manifest) -> Vec<Problem> {
    let mut found = Vec::new();
    for program in &manifest.programs {
        let id = generation.programs.get(&program.name);
        if program.is_missing() {
            let there = program.slot.and_then(|slot| Some((slot, *generation.slots.get(&slot)?)));
            let wrong = |(slot, found)| Problem::NotEmpty { slot, program: program.name.clone(), found };
            found.extend(there.map(wrong));
            continue;
        }
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
    let is_gone = arguments(manifest).is_some() && generation.specs.is_none();
    found.extend(is_gone.then_some(Problem::ArgumentsGone));
    found
}

fn hook_problem(observed: &Observed, hook: &Hook) -> Option<Problem> {
    let name = hook.name();
    match observed.attachments.get(&name) {
        None => Some(Problem::NotAttached { hook: name }),
        Some(attached) if !attached.is_alive() && matches!(hook, Hook::Socket { .. }) => {
            Some(Problem::SocketClosed { hook: name, descriptor: hook.words().0 })
        }
        Some(attached) if !attached.is_alive() => {
            let device = hook.interface().filter(|_| attached.namespace == observed.host.namespace);
            let is_there = device.map(|device| observed.host.devices.contains_key(device));
            Some(Problem::DeadLink { hook: name, is_there })
        }
        Some(attached) if attached.is_emptied() => Some(Problem::RootGone { hook: name }),
        Some(attached) if attached.generation.is_none() => {
            Some(Problem::ForeignProgram { hook: name, program: attached.foreign_program() })
        }
        // Of what tells its program another one is found then.
        Some(attached) if attached.root.as_ref().is_some_and(|root| lacks_stub(observed, root)) => {
            Some(Problem::StubGone { hook: name })
        }
        Some(_) => None,
    }
}

fn lacks_stub(observed: &Observed, root: &str) -> bool {
    observed.roots.get(root).is_none_or(|root| root.stub.is_none())
}
