//! Steps in words, for people. Knows nothing of carrying them out.

use std::fmt;

use super::{Runs, Step};
use crate::layout::map_name;

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Runs::Generation(number) => write!(f, "generation {number}"),
            Runs::Root { .. } => write!(f, "the stub of the root table"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateFolders => write!(f, "create the deployment's folders"),
            Step::RunTests { tests } => {
                let count = u32::try_from(tests.len()).unwrap_or(u32::MAX);
                write!(f, "try the chain with {count} {} on maps of its own", plural(count, "packet"))
            }
            Step::CreateGeneration { generation } => write!(f, "create generation {generation}"),
            Step::WriteMeta { generation, .. } => write!(f, "record what generation {generation} is"),
            Step::RecordQdiscs { generation, .. } => {
                write!(f, "record that generation {generation} needs the clsact qdiscs of ours")
            }
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
            Step::LoadProgram { program, slot: Some(slot), .. } => write!(f, "load program `{program}` into slot {slot}"),
            Step::LoadProgram { program, slot: None, .. } => write!(f, "load program `{program}`"),
            Step::Extend { program, of, function, .. } => write!(f, "replace `{function}` of `{of}` by `{program}`"),
            Step::MakeTable { table, .. } => write!(f, "make the table of functions `{table}`"),
            Step::AdoptGeneration { from, generation } => {
                write!(f, "let generation {generation} have what generation {from} loaded")
            }
            Step::FreezeTable { .. } => write!(f, "freeze the jump table"),
            Step::AddQdisc { interface } => write!(f, "add a clsact qdisc to `{interface}`"),
            Step::Attach { hook, generation } => write!(f, "attach generation {generation} to {hook}"),
            Step::Switch { hook, from, to } => write!(f, "switch {hook} from generation {from} to {to}"),
            Step::Detach { hook, generation } => write!(f, "detach generation {generation} from {hook}"),
            Step::RemoveLink { hook } => write!(f, "remove the link to {hook}"),
            Step::RemoveLost { pin } => write!(f, "remove the link `{pin}`, whose record is gone"),
            Step::RemoveBeside { hook } => write!(f, "remove the second link to {hook}, which a stopped command left"),
            Step::CreateRoot { generation, .. } => write!(f, "create a root table that leads to generation {generation}"),
            Step::AttachRoot { hook, .. } => write!(f, "attach the stub of the root table to {hook}"),
            Step::TakeOver { hook, .. } => write!(f, "attach the stub of the root table to {hook}, in place of whatever it has"),
            Step::SwitchRoot { from: Some(from), to, .. } => write!(f, "switch the root table from generation {from} to {to}"),
            Step::SwitchRoot { from: None, to, .. } => write!(f, "take the root table back, for generation {to}"),
            Step::Exchange { hook, from, to } => write!(f, "switch {hook} from {from} to {to}"),
            Step::Rearrange { hook, was, from, to } if hook.order().is_some() => {
                let order = if hook.order() == was.order() { "" } else { " in another order" };
                let revision = hook.revision().map_or_else(String::new, |revision| format!(" at revision {revision}"));
                write!(f, "attach generation {to} to {hook}{order}{revision}, and then detach generation {from}")
            }
            Step::Rearrange { hook, from, to, .. } if from == to => write!(f, "call generation {to} at {hook}"),
            Step::Rearrange { hook, from, to, .. } => write!(f, "call generation {to} instead of {from} at {hook}"),
            Step::SweepDispatchers => write!(f, "remove what a stopped command left of dispatchers"),
            Step::DetachRoot { hook, .. } => write!(f, "detach the stub of the root table from {hook}"),
            Step::RemoveRoot { .. } => write!(f, "remove the root table that nothing runs"),
            Step::TakeBack { hook, program, generation } => {
                write!(f, "take {hook} back from program {program}, for generation {generation}")
            }
            Step::MarkLive { generation, .. } => write!(f, "mark generation {generation} as live"),
            Step::ResumeTrial { trial } => write!(f, "go on with the trial of generation {}", trial.generation),
            Step::AskConfirmation { generation, seconds, .. } => {
                write!(f, "put generation {generation} on trial: `ouro confirm` has {seconds} s")
            }
            Step::EndTrial => write!(f, "end the trial"),
            Step::Settle => write!(f, "wait until no packet is inside what was replaced"),
            Step::Wait => write!(f, "wait until no packet is inside what a stopped command left"),
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
