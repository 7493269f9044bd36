//! What people are told of a plan: the chain that is live beside the one that will be, and what the steps do to hooks and
//! generations. Says nothing that the steps do not do.
//!
//! Pure.

use std::collections::BTreeMap;

use ouro_rules::hook;
use ouro_rules::manifest::{Edge, Manifest, ManifestProgram, MapSpec, Order, Settled};

use super::moves::moves_map;
use crate::change::{Change, NotAtomic, What};
use crate::hook::{Hook, Renewal};
use crate::layout::map_name;
use crate::meta::Meta;
use crate::observe::Observed;
use crate::problem::{problems, record_gone};
use crate::rehearsal::takes_packets;
use crate::step::{Runs, Step};

/// Characters of a digest that tell two apart well enough for people.
const SHORT: usize = 12;

/// What stands where nobody can ask.
const WHATEVER: &str = "whatever program it has";
/// What a hook does that runs a stub.
const FOLLOWS: &str = "follows the root table";

/// What `steps` change, which make generation `target` live.
pub(super) fn changes(observed: &Observed, target: u32, after: &Manifest, steps: &[Step]) -> Vec<Change> {
    let before = shown(observed).filter(|(number, _)| *number != target).map(|(_, meta)| &meta.manifest);
    let known = shown(observed).is_some_and(|(number, _)| number == target);
    let mut found = Vec::new();
    if !known {
        let nothing = Manifest { programs: Vec::new(), edges: Vec::new(), maps: Vec::new(), ..after.clone() };
        let before = before.unwrap_or(&nothing);
        found.extend(compare(What::Program, &programs(before), &programs(after)));
        found.extend(compare(What::Global, &globals(before), &globals(after)));
        found.extend(compare(What::Jump, &jumps(before), &jumps(after)));
        found.extend(map_changes(before, after, steps));
        found.extend(compare(What::Setting, &settings(before), &settings(after)));
    }
    found.extend(steps.iter().filter_map(removed_map));
    found.extend(attach_points(observed, steps));
    found.extend(steps.iter().filter_map(|step| generation(observed, step, steps)));
    found.extend(drift(observed));
    found.extend(foreign(observed, steps));
    found.extend(unasked(observed, steps));
    found.extend(not_atomic(observed, after, steps));
    found.extend(untried(after, steps));
    found
}

/// The generation that is live, or was made live last; not one that never was.
fn shown(observed: &Observed) -> Option<(u32, &Meta)> {
    let number = observed.was_live()?;
    observed.generations[&number].meta.as_ref().map(|meta| (number, meta))
}

/// Things by name, with what there is to say of each: two differ if that does.
type Things = BTreeMap<String, String>;

fn compare(what: What, before: &Things, after: &Things) -> Vec<Change> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(name, before)| Change::Removed { what, name: name.clone(), before: before.clone() });
    let rest = after.iter().filter_map(|(name, after)| match before.get(name) {
        None => Some(Change::Added { what, name: name.clone(), after: after.clone() }),
        Some(before) if before == after => None,
        Some(before) => Some(Change::Changed { what, name: name.clone(), before: before.clone(), after: after.clone() }),
    });
    rest.chain(gone).collect()
}

/// Of maps that the chain uses no more only those go that no generation needs.
fn map_changes(before: &Manifest, after: &Manifest, steps: &[Step]) -> Vec<Change> {
    let mut found = compare(What::Map, &maps(before), &maps(after));
    found.retain(|change| !matches!(change, Change::Removed { .. }));
    for change in &mut found {
        let (name, text, is_new) = match change {
            Change::Added { name, after, .. } => (name, after, true),
            Change::Changed { name, after, .. } => (name, after, false),
            _ => continue,
        };
        text.push_str(steps.iter().find_map(|step| contents(step, name)).unwrap_or_default());
        // Of one that is new nobody expects that it holds anything.
        let begins = |step: &Step| matches!(step, Step::CreateMap { map } if map_name(map) == *name);
        if !is_new && steps.iter().any(begins) {
            let is_filled = after.maps.iter().any(|map| map.name == *name && !map.contents.is_empty());
            text.push_str(if is_filled { ", beginning with its `contents`" } else { ", beginning empty" });
        }
    }
    found
}

/// What a step says of what a map holds.
fn contents(step: &Step, name: &str) -> Option<&'static str> {
    let (map, words) = match step {
        Step::ReuseMap { map } | Step::AdoptMap { map, .. } => (map, ", with what it holds"),
        Step::CopyMap { map, .. } => (map, ", with a copy of what it holds"),
        Step::ConvertMap { map, .. } => (map, ", with what it holds converted"),
        _ => return None,
    };
    (map_name(map) == name).then_some(words)
}

fn programs(manifest: &Manifest) -> Things {
    let about = |program: &ManifestProgram| {
        let replaced = program.replaces.as_ref();
        let replaced = replaced.map_or_else(String::new, |of| format!(", replaces `{}` of `{}`", of.function, of.program));
        match &program.settled {
            None => format!("{} {}{replaced}", program.ty, short(&program.digest)),
            Some(Settled::Taken(candidate)) => {
                format!("{} {}{replaced}, candidate `{candidate}`", program.ty, short(&program.digest))
            }
            Some(Settled::Missing) => format!("{}, left out", program.ty),
        }
    };
    manifest.programs.iter().map(|program| (program.name.clone(), about(program))).collect()
}

/// As a command line sets them: `parse.limit`.
fn globals(manifest: &Manifest) -> Things {
    let all = manifest.programs.iter().flat_map(|program| program.globals.iter().map(move |value| (program, value)));
    all.map(|(program, (name, value))| (format!("{}.{name}", program.name), value.to_string())).collect()
}

fn jumps(manifest: &Manifest) -> Things {
    let name = |index: u32| manifest.programs.get(index as usize).map_or("", |program| program.name.as_str());
    let about = |edge: &Edge| {
        let bound = edge.bound.map(|bound| format!(", at most {bound} times")).unwrap_or_default();
        let hook = manifest.programs.get(edge.from as usize).and_then(|program| hook::find(&program.ty));
        let verdict = hook.and_then(|hook| hook.common_name(edge.on_miss));
        format!("{} when missed{bound}", verdict.map_or_else(|| edge.on_miss.to_string(), str::to_owned))
    };
    let named = |edge: &Edge| match edge.name == name(edge.to) {
        true => format!("{} -> {}", name(edge.from), edge.name),
        false => format!("{} -> {} ({})", name(edge.from), name(edge.to), edge.name),
    };
    manifest.edges.iter().map(|edge| (named(edge), about(edge))).collect()
}

fn maps(manifest: &Manifest) -> Things {
    let about = |map: &MapSpec| {
        let sizes = if map.key_size + map.value_size == 0 {
            String::new()
        } else {
            format!(", {}+{} bytes", map.key_size, map.value_size)
        };
        let flags = if map.flags == 0 { String::new() } else { format!(", flags {:#x}", map.flags) };
        format!("{} of {}{sizes}{flags}, ABI {}", map.ty, map.max_entries, map.abi())
    };
    manifest.maps.iter().map(|map| (map.name.clone(), about(map))).collect()
}

fn settings(manifest: &Manifest) -> Things {
    let all = [
        ("type", manifest.program_type.clone()),
        ("table_size", manifest.table_size.to_string()),
        ("counting", manifest.counting.to_string()),
        ("atomic", manifest.atomic.to_string()),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

fn attach_points(observed: &Observed, steps: &[Step]) -> Vec<Change> {
    steps.iter().flat_map(|step| attach_point(observed, step, steps)).collect()
}

fn attach_point(observed: &Observed, step: &Step, steps: &[Step]) -> Vec<Change> {
    match step {
        Step::Attach { hook, generation } => {
            vec![added(hook, format!("runs generation {generation}{}", observed.neighbours(hook)))]
        }
        Step::AttachRoot { hook, .. } if !hook.is_mute() => vec![added(hook, FOLLOWS)],
        Step::TakeOver { hook, .. } if observed.attachments.contains_key(&hook.name()) => vec![changed(hook, WHATEVER, FOLLOWS)],
        Step::AttachRoot { hook, .. } | Step::TakeOver { hook, .. } => {
            vec![added(hook, format!("{FOLLOWS}, in place of {WHATEVER}"))]
        }
        Step::Switch { hook, from, to } => vec![changed(hook, Runs::Generation(*from), Runs::Generation(*to))],
        Step::Rearrange { hook, was, from, to } => vec![changed(hook, placed(observed, was, *from), placed(observed, hook, *to))],
        Step::Exchange { hook, to, .. } if !hook.tells_program() => vec![changed(hook, WHATEVER, to)],
        Step::Exchange { hook, from, to } => vec![changed(hook, from, to)],
        Step::TakeBack { hook, program, generation } => {
            vec![changed(hook, taken_back(observed, hook, *program), Runs::Generation(*generation))]
        }
        Step::SwitchRoot { root, from, to } => through(observed, root, *from, *to),
        Step::RemoveLost { pin } => vec![removed(pin, "its record is gone")],
        Step::RemoveBeside { hook } => vec![removed(hook, "the second link, which a stopped command left")],
        Step::RemoveLink { hook } if comes_back(hook, steps) => Vec::new(),
        Step::Detach { hook, .. } | Step::DetachRoot { hook, .. } | Step::RemoveLink { hook } => vec![removed(hook, "")],
        _ => Vec::new(),
    }
}

fn added(name: impl ToString, after: impl ToString) -> Change {
    Change::Added { what: What::AttachPoint, name: name.to_string(), after: after.to_string() }
}

fn changed(name: impl ToString, before: impl ToString, after: impl ToString) -> Change {
    let (before, after) = (before.to_string(), after.to_string());
    Change::Changed { what: What::AttachPoint, name: name.to_string(), before, after }
}

fn removed(name: impl ToString, before: impl ToString) -> Change {
    Change::Removed { what: What::AttachPoint, name: name.to_string(), before: before.to_string() }
}

/// A generation, and its place among others at the hook.
fn placed(observed: &Observed, hook: &Hook, generation: u32) -> String {
    let order = hook.order().map_or_else(String::new, words);
    let revision = hook.revision().map_or_else(String::new, |revision| format!(", at revision {revision}"));
    format!("generation {generation}{}{order}{revision}", observed.neighbours(hook))
}

fn words(order: &Order) -> String {
    match order {
        Order::First => ", first".to_owned(),
        Order::Last => ", last".to_owned(),
        Order::Before(other) => format!(", before `{other}`"),
        Order::After(other) => format!(", after `{other}`"),
    }
}

/// A program that the hook runs instead of ours, and whose it is.
fn taken_back(observed: &Observed, hook: &Hook, program: u32) -> String {
    let is_lost = observed.attachments.get(&hook.name()).is_some_and(|attached| observed.is_lost(attached));
    format!("program {program}, {}", if is_lost { "whose record is gone" } else { "which is not ours" })
}

/// All that follow a root lead elsewhere when it does.
fn through(observed: &Observed, root: &str, from: Option<u32>, to: u32) -> Vec<Change> {
    let before = from.map_or("a program that is not ours".to_owned(), |from| Runs::Generation(from).to_string());
    let followers = observed.attachments.values().filter(|attached| attached.root.as_deref() == Some(root));
    followers.map(|attached| changed(&attached.hook, &before, Runs::Generation(to))).collect()
}

/// Whether a step attaches again to the same place.
fn comes_back(gone: &Hook, steps: &[Step]) -> bool {
    let hooks = steps.iter().filter_map(|step| match step {
        Step::Attach { hook, .. } | Step::AttachRoot { hook, .. } => Some(hook),
        _ => None,
    });
    hooks.map(Hook::name).any(|name| name == gone.name())
}

fn removed_map(step: &Step) -> Option<Change> {
    let Step::RemoveMap { map } = step else { return None };
    let (name, why) = (map_name(map).to_owned(), "no generation uses it, and what it holds is lost");
    // Another one of the same name may stay.
    let abi = map.split_once('-').map(|(_, abi)| format!("ABI {abi}, ")).unwrap_or_default();
    Some(Change::Removed { what: What::Map, name, before: format!("{abi}{why}") })
}

/// Generations that come and go, and why; and the end of a trial.
fn generation(observed: &Observed, step: &Step, steps: &[Step]) -> Option<Change> {
    let what = What::Generation;
    match step {
        Step::CreateGeneration { generation } => {
            let adopted = steps.iter().find_map(|step| match step {
                Step::AdoptGeneration { from, .. } => Some(format!("has what generation {from} loaded")),
                _ => None,
            });
            let loads = steps.iter().filter(|step| matches!(step, Step::LoadProgram { .. })).count();
            let after = adopted.unwrap_or_else(|| format!("loads {loads} {}", if loads == 1 { "program" } else { "programs" }));
            Some(Change::Added { what, name: generation.to_string(), after })
        }
        Step::MarkLive { generation, .. } if observed.live().contains(generation) => {
            let (before, after) = ("not accepted yet".to_owned(), "live for good".to_owned());
            Some(Change::Changed { what, name: generation.to_string(), before, after })
        }
        Step::RemoveGeneration { generation } => {
            let was_live = observed.generations.get(generation).is_some_and(|generation| generation.order().is_some());
            let before = if was_live { "one is kept beside the live one, and no more" } else { "it was not live for good" };
            Some(Change::Removed { what, name: generation.to_string(), before: before.to_owned() })
        }
        _ => None,
    }
}

fn drift(observed: &Observed) -> Vec<Change> {
    let found = match shown(observed) {
        Some((number, meta)) => problems(observed, &observed.generations[&number], &meta.manifest, &meta.hooks),
        None => record_gone(observed).into_iter().collect(),
    };
    found.into_iter().filter(|problem| !problem.is_leftover()).map(|problem| Change::Drift { problem }).collect()
}

/// Who else is at the places the steps attach to, or change.
fn foreign(observed: &Observed, steps: &[Step]) -> Vec<Change> {
    let ours: Vec<u32> = observed.generations.values().filter_map(|generation| generation.entry()).collect();
    let hooks =
        steps.iter().filter(|step| !matches!(step, Step::Detach { .. } | Step::RemoveLink { .. })).filter_map(Step::moved_hook);
    let found = hooks.filter_map(|hook| {
        let mut programs = observed.foreign_programs.get(&hook.name())?.clone();
        programs.retain(|program| !ours.contains(program));
        let deployments = programs.iter().filter_map(|id| Some((*id, observed.owners.get(id)?.clone()))).collect();
        (!programs.is_empty()).then(|| Change::Foreign { hook: hook.clone(), programs, deployments })
    });
    found.collect()
}

/// Sockets that follow a root only if they still have its stub.
fn unasked(observed: &Observed, steps: &[Step]) -> Vec<Change> {
    let is_switched = |name: &String| steps.iter().any(|step| matches!(step, Step::SwitchRoot { root, .. } if root == name));
    let is_moved = |hook: &Hook| steps.iter().filter_map(Step::moved_hook).any(|moved| moved.name() == hook.name());
    let here = observed.attachments.values().filter(|attached| attached.is_alive() && !is_moved(&attached.hook));
    let sockets = here.filter(|attached| !attached.hook.tells_program());
    let followers = sockets.filter(|attached| attached.root.as_ref().is_some_and(is_switched));
    followers.map(|attached| Change::Unasked { hook: attached.hook.clone() }).collect()
}

/// Whether two sockets may share a port, which takes off the program of both. One that was not bound may be now.
fn may_share(one: &Hook, other: &Hook) -> bool {
    one.is_mute() && other.is_mute() && (one.port().is_none() || other.port().is_none())
}

fn not_atomic(observed: &Observed, after: &Manifest, steps: &[Step]) -> Vec<Change> {
    let makes_stub = steps.iter().any(|step| matches!(step, Step::CreateRoot { .. }));
    let is_again = |step: &&Step| !makes_stub && matches!(step, Step::Exchange { hook, .. } if !hook.tells_program());
    // The stub in its own place is no change.
    let moving = steps.iter().filter(|step| !is_again(step));
    let mut moved: Vec<String> = moving.filter_map(Step::moved_hook).map(Hook::name).collect();
    moved.sort();
    moved.dedup();
    // All that follow a root table are one.
    let instants = moved.len() + steps.iter().filter(|step| matches!(step, Step::SwitchRoot { .. })).count();
    let several = (instants > 1).then_some(NotAtomic::OneAfterAnother { hooks: instants });
    let gap = |pair: &[Step]| match pair {
        [
            Step::Detach { hook: old, .. } | Step::DetachRoot { hook: old, .. },
            Step::Attach { hook, .. } | Step::AttachRoot { hook, .. },
        ] if old.name() == hook.name() || may_share(old, hook) => Some(NotAtomic::Gap { hook: hook.clone() }),
        _ => None,
    };
    let at_once =
        |hook: &Hook| matches!(hook.renewal(), Renewal::Link | Renewal::Slot | Renewal::Filter) || !hook.tells_program();
    let overlap = |step: &Step| match step {
        Step::Exchange { hook, from, .. } if moves_map(observed, hook, from.generation(), after) => {
            Some(NotAtomic::BothRun { hook: hook.clone() })
        }
        Step::Switch { hook, .. } | Step::Exchange { hook, .. } if !at_once(hook) => {
            let hook = hook.clone();
            Some(if hook.is_alone() { NotAtomic::Gap { hook } } else { NotAtomic::BothRun { hook } })
        }
        Step::Rearrange { hook, .. } if hook.order().is_some() => Some(NotAtomic::BothRun { hook: hook.clone() }),
        Step::CatchUpMap { map, .. } => Some(NotAtomic::Copied { map: map_name(map).to_owned() }),
        _ => None,
    };
    let each = steps.iter().filter_map(overlap).chain(steps.windows(2).filter_map(gap));
    several.into_iter().chain(each).map(|why| Change::NotAtomic { why }).collect()
}

fn untried(manifest: &Manifest, steps: &[Step]) -> Option<Change> {
    let loads = steps.iter().any(|step| matches!(step, Step::LoadProgram { .. }));
    let tests: Vec<String> = manifest.tests.iter().map(|test| test.name.clone()).collect();
    let unable = loads && !tests.is_empty() && !takes_packets(manifest);
    unable.then(|| Change::Untried { tests, ty: manifest.program_type.clone() })
}

fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}
