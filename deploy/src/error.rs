//! What can go wrong below the bundle, with what to do about it.
//!
//! Knows no exit codes: [`Error::kind`] says enough to choose one.

use std::io;
use std::path::PathBuf;

use crate::choose::Choice;
use crate::conflict::Conflict;
use crate::rejection::Rejection;
use crate::step::Step;

/// Why a deployment could not be changed or looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process lacks rights, or the kernel is locked down.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The process lacks capabilities.
    #[error("not permitted: this process lacks {}", .missing.join(" and "))]
    Capabilities {
        /// Those it lacks.
        missing: Vec<&'static str>,
        /// All that it takes.
        needed: Vec<&'static str>,
    },
    /// The process may not mount a BPF file system to try programs in.
    #[error("not permitted: programs are tried in a BPF file system of their own, and mounting one takes CAP_SYS_ADMIN")]
    NoScratch,
    /// A test of the chain did not end as it should.
    #[error("test `{test}`: the chain says {verdict} instead of {expected}")]
    Test {
        /// The test's name.
        test: String,
        /// The verdict it should give.
        expected: String,
        /// The verdict it gives.
        verdict: String,
    },
    /// The folder is not on a bpffs.
    #[error("`{}` is not on a BPF file system", .0.display())]
    NoBpffs(PathBuf),
    /// There is no such deployment.
    #[error("nothing is deployed as `{0}`")]
    NotDeployed(String),
    /// Another process is changing this deployment.
    #[error("another ouro is changing `{}`", .0.display())]
    Busy(PathBuf),
    /// A name that cannot stand in the bpffs.
    #[error("`{0}` cannot name a deployment, a program or a map: the BPF file system allows no `.` and no `/` in names")]
    Name(String),
    /// The bundle does not fit what is there; every reason at once.
    #[error("{}", list(.0))]
    Conflicts(Vec<Conflict>),
    /// The verifier rejected a program.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// The kernel takes no candidate of these programs.
    #[error("{}", no_candidate(.0))]
    NoCandidate(Vec<Choice>),
    /// An object cannot be loaded.
    #[error("cannot load `{of}`: {reason}")]
    Object {
        /// The program or map it was loaded for.
        of: String,
        /// Why.
        reason: String,
    },
    /// What an older map holds does not fit into the new one.
    #[error("what map `{map}` holds cannot be carried over: {reason}")]
    Contents {
        /// The map.
        map: String,
        /// Why, of the first element.
        reason: String,
    },
    /// A program does not fit into its slot.
    #[error("slot {slot} cannot hold `{program}`: {reason}")]
    Slot {
        /// The slot.
        slot: u32,
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// A hook refused the program.
    #[error("{hook}: {reason}")]
    Attach {
        /// The hook.
        hook: String,
        /// Why.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried, with the path.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step failed.
    #[error("{cause}\n  while trying to {step}; {}", outcome(.undo, *.settled))]
    Failed {
        /// The step.
        step: Box<Step>,
        /// Why.
        #[source]
        cause: Box<Error>,
        /// Why what was done before could not be undone.
        undo: Option<Box<Error>>,
        /// Whether the new state was live already, so that nothing had to be undone.
        settled: bool,
    },
}

/// What an error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something in the bundle or on the machine has to change.
    Failed,
    /// It would work with other rights or on another machine.
    NotPermitted,
}

impl Error {
    /// A failed system call; one the kernel does not permit becomes [`Error::NotPermitted`].
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Error {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::NotPermitted(what),
            _ => Error::System { what, source },
        }
    }

    /// What it means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotPermitted(_) | Error::Capabilities { .. } | Error::NoScratch | Error::NoBpffs(_) => ErrorKind::NotPermitted,
            Error::Conflicts(conflicts) if conflicts.iter().any(Conflict::is_curable) => ErrorKind::NotPermitted,
            Error::Failed { cause, .. } => cause.kind(),
            _ => ErrorKind::Failed,
        }
    }

    /// The same, for a command that was started in the network namespace with this inode, and left it for another.
    pub fn seen_from(self, home: u64) -> Error {
        match self {
            Error::Conflicts(found) => Error::Conflicts(found.into_iter().map(|one| one.seen_from(home)).collect()),
            other => other,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::NotPermitted(_) => Some(
                "run it as root, or give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; a locked-down kernel refuses even root; \
                 `ouro doctor --kernel` says what is permitted"
                    .to_owned(),
            ),
            Error::Capabilities { needed, .. } => Some(grant(needed)),
            // A deploy tries its tests there, in a step; a dry run has nothing else to do.
            Error::NoScratch => Some("run it as root; `ouro plan` tells without it what a deploy would change".to_owned()),
            Error::Failed { cause, .. } if matches!(**cause, Error::NoScratch) => {
                Some("run it as root; or deploy with `--no-tests`, which leaves the chain's tests out".to_owned())
            }
            Error::Test { .. } => Some("correct the programs or the test; nothing was changed".to_owned()),
            Error::NoBpffs(path) => Some(format!("mount one on a folder of its own: `mkdir -p {0} && mount -t bpf bpf {0}`", path.display())),
            Error::Busy(_) => Some("wait for it to end, and try again".to_owned()),
            Error::Rejected(rejection) => rejection.help.clone(),
            Error::Failed { cause, .. } => cause.help(),
            Error::Conflicts(conflicts) => match conflicts.as_slice() {
                [only] => Some(only.help()),
                _ => None,
            },
            Error::NoCandidate(choices) => Some(match choices.iter().flat_map(|choice| &choice.rejected).find_map(|no| no.help.clone()) {
                Some(help) => help,
                None => "add a candidate that this kernel takes, or say `optional = True`; `ouro doctor --kernel` says what it has".to_owned(),
            }),
            Error::Contents { map, .. } => Some(format!(
                "declare the map so that all of it fits, or remove what does not; or give the `bpf_map` `{map}` `on_change = \"reset\"`, \
                 which drops what it holds"
            )),
            Error::NotDeployed(_) => Some("`ouro status` lists what is deployed".to_owned()),
            Error::Name(_) | Error::Object { .. } | Error::Slot { .. } | Error::Attach { .. } | Error::System { .. } => None,
        }
    }
}

/// How a process gets these capabilities without being root.
fn grant(capabilities: &[&str]) -> String {
    let small = capabilities.join(",").to_lowercase();
    format!(
        "`sudo setcap {small}+ep $(command -v ouro)` grants them to whoever may run it; in a unit of systemd \
         `AmbientCapabilities={}` does (`ouro systemd` writes one); or run it as root",
        capabilities.join(" ")
    )
}

fn list(conflicts: &[Conflict]) -> String {
    match conflicts {
        [only] => only.to_string(),
        many => many.iter().map(|conflict| format!("{conflict}\n  {}", conflict.help())).collect::<Vec<_>>().join("\n"),
    }
}

fn no_candidate(choices: &[Choice]) -> String {
    let one = |choice: &Choice| {
        let what = match choice.candidates.as_slice() {
            [only] if *only == choice.program => format!("the kernel does not take `{only}`"),
            _ => format!("the kernel takes no candidate of `{}`", choice.program),
        };
        choice.reasons().iter().fold(what, |text, reason| format!("{text}\n  {}", reason.replace('\n', "\n  ")))
    };
    choices.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn outcome(undo: &Option<Box<Error>>, settled: bool) -> String {
    match undo {
        _ if settled => "the new chain is live, and the next command removes the rest of the old one".to_owned(),
        None => "everything before it was undone".to_owned(),
        Some(error) => format!("undoing failed too: {error}; the next command finishes or undoes the rest"),
    }
}
