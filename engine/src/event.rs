//! What the engine tells while it works. Renderers draw it; the engine prints nothing.

use std::sync::Arc;
use std::time::Duration;

use ouro_rules::{Diagnostic, Label};

/// Something happened. Closed on purpose: a renderer that misses a case does not compile.
#[derive(Debug, Clone)]
pub enum Event {
    /// Another ouro works in this workspace; this one goes on when it is done.
    Waiting {
        /// Its process, when it said so.
        pid: Option<u32>,
    },
    /// Another ouro makes the cache smaller; this one goes on when it is done.
    WaitingForCache,
    /// The actions from a place on, up to the next such event's, are of this configuration. Sent when there are several.
    Configured {
        /// Its folder.
        name: Arc<str>,
        /// The place in the plan of its first action.
        first: usize,
    },
    /// A phase began.
    Began(Phase),
    /// A phase ended well; one with findings ends the build.
    Ended(Phase),
    /// Every action of the build is known.
    Planned {
        /// How many there are.
        actions: usize,
    },
    /// An action began to run (not sent for actions answered from the cache).
    Started {
        /// The action's place in the plan.
        action: usize,
        /// What it does: `compile`.
        mnemonic: Arc<str>,
        /// Whose it is.
        owner: Label,
    },
    /// An action is done.
    Finished {
        /// The action's place in the plan.
        action: usize,
        /// What it does.
        mnemonic: Arc<str>,
        /// Whose it is.
        owner: Label,
        /// What kind of work it is.
        work: Work,
        /// How its outputs came to be.
        how: How,
        /// How long it took.
        took: Duration,
        /// What the tool printed, whole (clang's warnings); empty for most.
        output: String,
    },
    /// An action failed, or a finding came up while actions ran.
    Failed {
        /// The action's place in the plan.
        action: usize,
        /// What it does.
        mnemonic: Arc<str>,
        /// Whose it is.
        owner: Label,
        /// What the tool printed, whole.
        output: String,
        /// Findings of actions that ran in the engine.
        findings: Vec<Diagnostic>,
    },
    /// Outputs that were gone were put back as they were, without looking at the actions that make them.
    Restored {
        /// How many files.
        files: usize,
    },
    /// Something was wrong with the cache and cost time alone.
    Troubled(Diagnostic),
    /// An action was stopped, because the build was interrupted or another action failed.
    Stopped {
        /// The action's place in the plan.
        action: usize,
        /// What it does.
        mnemonic: Arc<str>,
        /// Whose it is.
        owner: Label,
    },
}

/// A phase of the build, in the order they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A few BUILD files to actions, in place of all before [`Phase::Execute`]; when that cannot be, these come after it.
    Reload,
    /// BUILD files to targets.
    Load,
    /// Targets to their graph.
    Graph,
    /// The graph to actions.
    Analyse,
    /// Actions to those that are needed.
    Plan,
    /// Actions to files.
    Execute,
}

impl Phase {
    /// Its name, as the modules of the engine have it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Reload => "reload",
            Phase::Load => "load",
            Phase::Graph => "graph",
            Phase::Analyse => "analyse",
            Phase::Plan => "plan",
            Phase::Execute => "execute",
        }
    }

    /// Does a phase's work, and tells of its begin and its end.
    pub fn told<T, E>(self, events: &dyn Fn(Event), work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        events(Event::Began(self));
        let done = work()?;
        events(Event::Ended(self));
        Ok(done)
    }
}

/// What kind of work an action is; most people want to hear of processes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A process.
    Process,
    /// A function inside the engine.
    Function,
    /// Bytes that were known, written to a file.
    Write,
}

/// How an action's outputs came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They were there and current.
    UpToDate,
    /// From the cache.
    Cached,
    /// By running it.
    Ran,
}
