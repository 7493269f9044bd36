//! Plans: what a deployment is about to do, as steps for the machine and as changes for people.
//!
//! Pure; [`crate::diff`] makes them, and whatever changes something carries the steps out.

use std::collections::BTreeMap;
use std::fmt;

use ouro_rules::manifest::Replaces;
use serde::Serialize;

use crate::choose::Choice;
use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::problem::Problem;
use crate::step::Step;

/// Everything that is about to be done. What carries it out takes exactly these steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// What is done, in this order; nothing if there is nothing to do.
    pub steps: Vec<Step>,
    /// What is different afterwards, and what is worth knowing before.
    pub changes: Vec<Change>,
    /// What became of programs that depend on the kernel.
    pub choices: Vec<Choice>,
}

/// One difference, or one thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Something new.
    Added {
        /// What it is.
        what: What,
        /// Its name.
        name: String,
        /// What it will be.
        after: String,
    },
    /// Something that becomes another.
    Changed {
        /// What it is.
        what: What,
        /// Its name.
        name: String,
        /// What it is now.
        before: String,
        /// What it will be.
        after: String,
    },
    /// Something that goes.
    Removed {
        /// What it is.
        what: What,
        /// Its name.
        name: String,
        /// What it was.
        before: String,
    },
    /// Where what is deployed differs from what was deployed.
    Drift {
        /// The difference.
        #[serde(flatten)]
        problem: Problem,
    },
    /// Programs of others at the same place, in the order they run. They stay.
    Foreign {
        /// The place.
        hook: Hook,
        /// The programs' ids.
        programs: Vec<u32>,
        /// The deployments that have some of them, by the programs' ids.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        deployments: BTreeMap<u32, String>,
    },
    /// A socket of ours whose program nobody can ask for.
    Unasked {
        /// The socket.
        hook: Hook,
    },
    /// A hook that cannot be led back and stays as it is, while the others go back.
    Left {
        /// What is in the way.
        why: Conflict,
    },
    /// What changed in an older map while it was copied, and could not be carried over.
    NotCarried {
        /// The map.
        map: String,
        /// How many elements; none if not one was.
        elements: Option<usize>,
        /// Why, of the first.
        why: String,
    },
    /// What does not happen at one instant.
    NotAtomic {
        /// How.
        why: NotAtomic,
    },
    /// A program that has candidates, of which this kernel takes one.
    Chosen {
        /// The program.
        program: String,
        /// The candidates, in the order tried.
        candidates: Vec<String>,
        /// The one taken.
        taken: String,
    },
    /// An optional program that this kernel does not take.
    LeftOut {
        /// The program.
        program: String,
        /// Of an extension, the function that stays in its place.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<Replaces>,
        /// Why: a line for each candidate.
        why: Vec<String>,
    },
    /// Tests that cannot be run before the switch.
    Untried {
        /// The tests' names.
        tests: Vec<String>,
        /// The programs' type.
        ty: String,
    },
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A program.
    Program,
    /// The value of a program's global variable, where it is not the source's.
    Global,
    /// A jump.
    Jump,
    /// A declared map.
    Map,
    /// A place the chain is attached at.
    AttachPoint,
    /// A property of the whole chain.
    Setting,
    /// A generation with all it has loaded.
    Generation,
}

/// Ways of not happening at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NotAtomic {
    /// Several hooks change one after another; each at one instant.
    OneAfterAnother {
        /// How many.
        hooks: usize,
    },
    /// Both programs run at a hook for a moment.
    BothRun {
        /// The hook.
        hook: Hook,
    },
    /// Nothing runs at a hook for a moment.
    Gap {
        /// The hook.
        hook: Hook,
    },
    /// A map is copied while programs write to it.
    Copied {
        /// The map.
        map: String,
    },
}

impl Plan {
    /// The same, with what it says of programs that depend on the kernel.
    pub(crate) fn with(mut self, choices: Vec<Choice>) -> Plan {
        self.changes.extend(choices.iter().filter_map(Change::of));
        self.choices = choices;
        self
    }

    /// The same, with what could not be done of it.
    pub(crate) fn without(mut self, lost: Vec<Change>) -> Plan {
        self.changes.extend(lost);
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How much is added, changed and removed.
    pub fn counts(&self) -> [usize; 3] {
        let count = |sign| self.changes.iter().filter(|change| change.sign() == sign).count();
        [count('+'), count('~'), count('-')]
    }
}

impl Change {
    /// What is worth knowing of a program that depends on the kernel; nothing of one that is what it always is.
    fn of(choice: &Choice) -> Option<Change> {
        let (program, candidates) = (choice.program.clone(), choice.candidates.clone());
        match &choice.taken {
            None => Some(Change::LeftOut { program, replaces: choice.replaces.clone(), why: choice.reasons() }),
            Some(taken) if *taken != program || candidates.len() > 1 => {
                Some(Change::Chosen { program, candidates, taken: taken.clone() })
            }
            Some(_) => None,
        }
    }

    /// Whether it says what could not be done.
    pub fn falls_short(&self) -> bool {
        matches!(self, Change::Left { .. } | Change::NotCarried { .. })
    }

    /// How people are used to see it: `+` for what is new, `~` for what changes, `-` for what goes, `!` for what one should know.
    pub fn sign(&self) -> char {
        match self {
            Change::Added { .. } => '+',
            Change::Changed { .. } => '~',
            Change::Removed { .. } => '-',
            Change::Drift { .. } | Change::Foreign { .. } | Change::NotAtomic { .. } => '!',
            Change::Chosen { .. } | Change::LeftOut { .. } | Change::Untried { .. } => '!',
            Change::Left { .. } | Change::NotCarried { .. } | Change::Unasked { .. } => '!',
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added { what, name, after: known } | Change::Removed { what, name, before: known } => {
                let colon = if known.is_empty() { "" } else { ": " };
                write!(f, "{}{colon}{known}", named(*what, name))
            }
            Change::Changed { what, name, before, after } => write!(f, "{}: {before} -> {after}", named(*what, name)),
            Change::Drift { problem } => write!(f, "drift: {problem}"),
            Change::Foreign { hook, programs, deployments } => {
                let of = |id: &u32| deployments.get(id).map(|name| format!(" of `{name}`")).unwrap_or_default();
                let all: Vec<String> = programs.iter().map(|id| format!("{id}{}", of(id))).collect();
                write!(f, "{hook} also runs programs of others, which stay: {}", all.join(", "))
            }
            Change::Unasked { hook } => {
                write!(
                    f,
                    "the kernel does not tell which program is the {hook}: one that somebody put in the place of ours stays, \
                     unless `--force-links` takes the place back"
                )
            }
            Change::Left { why } => write!(f, "{why}; it stays as it is, and the next deploy sees to it"),
            Change::NotCarried { map, elements: Some(elements), why } => {
                write!(f, "{elements} elements that changed while map `{map}` was copied are not in the new one: {why}")
            }
            Change::NotCarried { map, elements: None, why } => {
                write!(f, "what changed while map `{map}` was copied is not in the new one: {why}")
            }
            Change::NotAtomic { why } => write!(f, "not atomic: {why}"),
            Change::Chosen { program, candidates, taken } => {
                write!(f, "of `{program}` this kernel takes `{taken}`; its candidates are {}", candidates.join(", "))
            }
            Change::LeftOut { program, replaces, why } => {
                let without = replaces.as_ref().map_or("jumps to it miss".to_owned(), |of| format!("`{}` stays", of.function));
                let first = why.iter().filter_map(|reason| reason.lines().next()).collect::<Vec<_>>().join("; ");
                write!(f, "`{program}` is left out, {without}: the kernel does not take it: {first}")
            }
            Change::Untried { tests, ty } => {
                write!(f, "cannot be tried: the kernel runs no packets through `{ty}` programs: {}", tests.join(", "))
            }
        }
    }
}

/// Attach points are described, everything else has a name.
fn named(what: What, name: &str) -> String {
    if what == What::AttachPoint { format!("{what} {name}") } else { format!("{what} `{name}`") }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Program => "program",
            What::Global => "global",
            What::Jump => "jump",
            What::Map => "map",
            What::AttachPoint => "attach point",
            What::Setting => "setting",
            What::Generation => "generation",
        })
    }
}

impl fmt::Display for NotAtomic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAtomic::OneAfterAnother { hooks } => write!(f, "{hooks} hooks change one after another"),
            NotAtomic::BothRun { hook } => write!(f, "both generations run at {hook} for a moment"),
            NotAtomic::Gap { hook } => write!(f, "nothing runs at {hook} for a moment"),
            NotAtomic::Copied { map } => {
                write!(
                    f,
                    "map `{map}` is copied while programs write to it: what changes meanwhile follows after the switch; of an element \
                     that both generations change, what the old one did meanwhile is lost"
                )
            }
        }
    }
}
