//! Steps: everything a deployment can do to the machine, as data, each with what undoes it.
//!
//! Pure; [`crate::apply`] carries them out.

mod words;

use serde::Serialize;

use crate::hook::Hook;
use crate::trial::Trial;

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// A generation's first program.
    Generation(u32),
    /// A root's stub.
    Root {
        /// The root.
        root: String,
        /// The generation it leads to, on whose maps hooks hang.
        generation: u32,
    },
}

impl Runs {
    /// The generation that runs in the end.
    pub fn generation(&self) -> u32 {
        match self {
            Runs::Generation(generation) | Runs::Root { generation, .. } => *generation,
        }
    }
}

/// One change. `generation` is always a number under the deployment's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Creates the deployment's folders.
    CreateFolders,
    /// Tries the chain with packets, in a throw-away load with maps of its own.
    RunTests {
        /// The tests' names.
        tests: Vec<String>,
    },
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
    /// Records of a generation that is there the devices whose clsact qdisc is ours.
    RecordQdiscs {
        /// The generation.
        generation: u32,
        /// The devices.
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
    /// Loads and pins a program, and puts it into the jump table.
    LoadProgram {
        /// The generation.
        generation: u32,
        /// Its name.
        program: String,
        /// Its slot; none if nothing jumps to it.
        slot: Option<u32>,
    },
    /// Replaces a function of a program of the generation, which nothing runs yet.
    Extend {
        /// The generation.
        generation: u32,
        /// The extension's name.
        program: String,
        /// The program whose function it is.
        of: String,
        /// The function.
        function: String,
    },
    /// Makes a table of functions, which nobody uses yet.
    MakeTable {
        /// The generation.
        generation: u32,
        /// The variable of the source.
        table: String,
    },
    /// Takes over what an older generation loaded: its programs, its jump table and its counts. Only where the generation is
    /// attached differs.
    AdoptGeneration {
        /// The older one.
        from: u32,
        /// The new one.
        generation: u32,
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
    /// Removes a link of ours that no record names.
    RemoveLost {
        /// Its pin.
        pin: String,
    },
    /// Removes the link that a stopped command left beside a hook's own, whatever it runs.
    RemoveBeside {
        /// Where it is attached, too.
        hook: Hook,
    },
    /// Makes a root table that leads to a generation, and its stub.
    CreateRoot {
        /// The root.
        root: String,
        /// The generation.
        generation: u32,
    },
    /// Attaches a root's stub.
    AttachRoot {
        /// Where.
        hook: Hook,
        /// The root.
        root: String,
        /// The generation it leads to.
        generation: u32,
    },
    /// Attaches a root's stub to a socket in the place of whatever it has, at one instant.
    TakeOver {
        /// Where.
        hook: Hook,
        /// The root.
        root: String,
        /// The generation it leads to.
        generation: u32,
    },
    /// Leads all hooks of a root to another generation at one instant.
    SwitchRoot {
        /// The root.
        root: String,
        /// The generation it leads to; none if somebody made it lead elsewhere.
        from: Option<u32>,
        /// The generation it is to lead to.
        to: u32,
    },
    /// Makes a hook run a stub instead of a generation, or the other way round, or hang on another map, if it still runs what is
    /// expected.
    Exchange {
        /// Where.
        hook: Hook,
        /// What it runs.
        from: Runs,
        /// What it is to run.
        to: Runs,
    },
    /// Has the device's dispatcher call the deployment elsewhere among the others, or go on after other verdicts; from the same
    /// instant on it calls the other generation, if it still calls the one expected. A link that has its place for good is replaced
    /// by one that is attached before it goes.
    Rearrange {
        /// Where it is to be called.
        hook: Hook,
        /// Where it is called.
        was: Hook,
        /// The generation it calls.
        from: u32,
        /// The generation it is to call.
        to: u32,
    },
    /// Removes what stopped commands left of dispatchers.
    SweepDispatchers,
    /// Detaches a root's stub.
    DetachRoot {
        /// Where.
        hook: Hook,
        /// The root.
        root: String,
        /// The generation it leads to.
        generation: u32,
    },
    /// Removes a root that no hook runs.
    RemoveRoot {
        /// The root.
        root: String,
    },
    /// Makes a hook run a generation's first program, whatever program of others it runs.
    TakeBack {
        /// Where.
        hook: Hook,
        /// The program that is not ours.
        program: u32,
        /// The generation.
        generation: u32,
    },
    /// Marks a generation as the one made live last. Until then the deploy counts as stopped before its end.
    MarkLive {
        /// The generation.
        generation: u32,
        /// Its place among all that were made live.
        order: u64,
    },
    /// Puts what is about to go live on trial: unless it is confirmed in time, the deployer brings back what was live before.
    AskConfirmation {
        /// The generation.
        generation: u32,
        /// How long, from when this step is taken.
        seconds: u64,
        /// The generation that was live for good.
        before: Option<u32>,
        /// The trial that was under way already.
        over: Option<Trial>,
    },
    /// Goes on with a trial that was under way.
    ResumeTrial {
        /// The trial.
        trial: Trial,
    },
    /// Ends the trial.
    EndTrial,
    /// Waits until no packet is inside a replaced program. What comes after is not undone: the new state is live.
    Settle,
    /// Waits until no packet is inside what a stopped command took off a hook.
    Wait,
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
            Step::Detach { hook, generation } => Step::Attach { hook: hook.at_any_revision(), generation: *generation },
            Step::Switch { hook, from, to } => Step::Switch { hook: hook.clone(), from: *to, to: *from },
            Step::CreateRoot { root, .. } => Step::RemoveRoot { root: root.clone() },
            // What was there before nobody knows, and so it does not come back.
            Step::AttachRoot { hook, root, generation } | Step::TakeOver { hook, root, generation } => {
                Step::DetachRoot { hook: hook.clone(), root: root.clone(), generation: *generation }
            }
            Step::DetachRoot { hook, root, generation } => {
                Step::AttachRoot { hook: hook.clone(), root: root.clone(), generation: *generation }
            }
            Step::SwitchRoot { root, from: Some(from), to } => {
                Step::SwitchRoot { root: root.clone(), from: Some(*to), to: *from }
            }
            Step::Exchange { hook, from, to } => Step::Exchange { hook: hook.clone(), from: to.clone(), to: from.clone() },
            Step::Rearrange { hook, was, from, to } => {
                Step::Rearrange { hook: was.at_any_revision(), was: hook.clone(), from: *to, to: *from }
            }
            // Only the id of the other program was known, and that brings nothing back.
            Step::TakeBack { hook, generation, .. } => Step::Detach { hook: hook.clone(), generation: *generation },
            Step::AskConfirmation { over: Some(trial), .. } => Step::ResumeTrial { trial: *trial },
            Step::AskConfirmation { over: None, .. } => Step::EndTrial,
            _ => return None,
        })
    }

    /// Whether it takes a program off a hook, which packets may still be inside of.
    pub fn replaces(&self) -> bool {
        let adds = matches!(self, Step::Attach { .. } | Step::AttachRoot { .. });
        let takes_off = matches!(self, Step::SwitchRoot { .. } | Step::RemoveLost { .. } | Step::RemoveBeside { .. });
        takes_off || (self.moved_hook().is_some() && !adds)
    }

    /// Whether it changes what a hook runs, or whether it runs anything: the hook.
    pub fn moved_hook(&self) -> Option<&Hook> {
        match self {
            Step::Attach { hook, .. }
            | Step::Switch { hook, .. }
            | Step::AttachRoot { hook, .. }
            | Step::TakeOver { hook, .. }
            | Step::Exchange { hook, .. }
            | Step::DetachRoot { hook, .. }
            | Step::Rearrange { hook, .. }
            | Step::TakeBack { hook, .. }
            | Step::Detach { hook, .. }
            | Step::RemoveLink { hook } => Some(hook),
            _ => None,
        }
    }
}
