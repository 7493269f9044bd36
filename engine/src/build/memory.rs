//! What a snapshot holds for builds, behind its bytes: what was said, actions, and what came of them.
//!
//! Knows nothing of files on disk. Whatever types others extend goes through whole, so that nothing of it is lost.

use std::sync::Arc;
use std::time::Duration;

use ouro_cache::Absent;
use ouro_rules::{Action, ActionKind, Artifact, Configuration, Diagnostic, Label, Span, Tool, Words};
use serde::{Deserialize, Serialize};

use super::{Targets, variants};
use crate::event::{Event, How, Work};
use crate::state::Remembered;
use crate::state::snapshot::{Snapshot, StepId, Steps};
use crate::toolchain::Toolchain;

/// What a build had to say, and what it was done with.
pub(super) struct Memory {
    pub(super) targets: Targets,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) toolchain: Toolchain,
}

impl Memory {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = pack(&(self.targets.len(), &self.warnings, &self.toolchain));
        bytes.extend(self.targets.pack());
        bytes
    }

    /// Targets may be many; they stay packed.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Memory> {
        let ((count, warnings, toolchain), packed) = postcard::take_from_bytes(snapshot.said()).ok()?;
        let mut targets = Targets::packed(count, packed.to_vec());
        for later in snapshot.said_later() {
            targets = targets.with(postcard::from_bytes(later).ok()?);
        }
        Some(Memory { targets, warnings, toolchain })
    }
}

/// How an action's data is written.
const COMPACT: u8 = 0;
const JSON: u8 = 1;

/// An action without its files and arguments, which stand beside it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Bare {
    action: Action,
    /// Where its target is declared.
    place: Option<Span>,
}

/// What an action's tool printed.
#[derive(Serialize, Deserialize)]
pub(super) struct Told {
    /// The first file it makes.
    output: Arc<str>,
    mnemonic: Arc<str>,
    owner: Label,
    is_colored: bool,
    text: String,
}

pub(super) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("BUG: it is plain data")
}

/// An action's own data. Bytes to be written are not kept: that is done anew by the whole way, or not at all.
pub(super) fn what(action: &Action, place: Option<Span>) -> Vec<u8> {
    if matches!(action.kind, ActionKind::Write { .. }) {
        return Vec::new();
    }
    let mut action = action.clone();
    action.inputs.clear();
    action.outputs.clear();
    if let ActionKind::Run { args, .. } = &mut action.kind {
        *args = Words::default();
    }
    Bare { action, place }.to_bytes()
}

impl Bare {
    /// Compact where that gives back the same; the arguments of some functions are made for JSON, which names its parts. Empty when
    /// neither does.
    fn to_bytes(&self) -> Vec<u8> {
        let compact = [&[COMPACT][..], &pack(self)].concat();
        let is_plain = !matches!(self.action.kind, ActionKind::Native(_));
        if is_plain || Bare::of(&compact).as_ref() == Some(self) {
            return compact;
        }
        let mut json = vec![JSON];
        let written = serde_json::to_writer(&mut json, self);
        if written.is_ok() && Bare::of(&json).as_ref() == Some(self) { json } else { Vec::new() }
    }

    fn of(bytes: &[u8]) -> Option<Bare> {
        match bytes.split_first()? {
            (&COMPACT, bytes) => postcard::from_bytes(bytes).ok(),
            (&JSON, bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        }
    }
}

/// An action's arguments.
pub(super) fn arguments(action: &Action) -> Vec<&str> {
    match &action.kind {
        ActionKind::Run { args, .. } => args.iter().collect(),
        ActionKind::Write { .. } | ActionKind::Native(_) => Vec::new(),
    }
}

/// Its arguments as they were.
pub(super) fn arguments_before<'s>(steps: &'s Steps<'_>, step: StepId) -> Option<Vec<&'s str>> {
    let mut words = steps.words(step)?;
    let absent = ended(steps, step).map_or(0, |ended| ended.worded as usize);
    words.truncate(words.len().checked_sub(absent)?);
    Some(words)
}

/// What many actions share: their arguments, and behind them folder by folder the names they looked for in vain.
pub(super) fn words<'a>(action: &'a Action, remembered: Option<&'a Remembered>) -> Vec<&'a str> {
    let absent = remembered.into_iter().flat_map(|remembered| &*remembered.entry.absent);
    let absent = absent.flat_map(|absent| [&*absent.folder, &*absent.names]);
    arguments(action).into_iter().chain(absent).collect()
}

/// The action again, with the place of its target; none when only the whole way can do it.
pub(super) fn action(
    steps: &Steps<'_>,
    step: StepId,
    inputs: Vec<Artifact>,
    outputs: Vec<Artifact>,
) -> Option<(Action, Option<Span>)> {
    let Bare { mut action, place } = Bare::of(steps.what(step))?;
    (action.inputs, action.outputs) = (inputs, outputs);
    if let ActionKind::Run { args, .. } = &mut action.kind {
        let words: Vec<String> = arguments_before(steps, step)?.into_iter().map(str::to_owned).collect();
        *args = words.into();
    }
    Some((action, place))
}

/// How an action ended. What it read stands beside it, among the files.
#[derive(Serialize, Deserialize)]
struct Ended {
    /// Without what it read, and what its words tell.
    remembered: Remembered,
    /// How many of its words tell what it looked for in vain.
    worded: u32,
    /// Whether that is still what they tell; else it stands here.
    is_worded: bool,
}

impl Ended {
    fn to_bytes(remembered: &Remembered, worded: u32, is_worded: bool) -> Vec<u8> {
        let mut remembered = remembered.clone();
        remembered.entry.reads = Arc::default();
        if is_worded {
            remembered.entry.absent = Arc::default();
        }
        pack(&Ended { remembered, worded, is_worded })
    }
}

/// How an action ended, beside its [`words`].
pub(super) fn result(remembered: &Remembered) -> Vec<u8> {
    Ended::to_bytes(remembered, 2 * remembered.entry.absent.len() as u32, true)
}

/// How it ended after it had ended before, when it got its words.
pub(super) fn later_result(steps: &Steps<'_>, step: StepId, remembered: &Remembered) -> Vec<u8> {
    let worded = ended(steps, step).map_or(0, |ended| ended.worded);
    let is_worded = worded_absent(steps, step, worded).is_some_and(|absent| absent == remembered.entry.absent);
    Ended::to_bytes(remembered, worded, is_worded)
}

/// How an action ended, without what it read.
pub(super) fn remembered(steps: &Steps<'_>, step: StepId) -> Option<Remembered> {
    let Ended { mut remembered, worded, is_worded } = ended(steps, step)?;
    if is_worded {
        remembered.entry.absent = worded_absent(steps, step, worded)?;
    }
    Some(remembered)
}

fn ended(steps: &Steps<'_>, step: StepId) -> Option<Ended> {
    postcard::from_bytes(steps.result(step)).ok()
}

/// What the last of an action's words tell.
fn worded_absent(steps: &Steps<'_>, step: StepId, worded: u32) -> Option<Arc<[Absent]>> {
    let words = steps.words(step)?;
    let (pairs, _) = words.get(words.len().checked_sub(worded as usize)?..)?.as_chunks::<2>();
    Some(pairs.iter().map(|[folder, names]| Absent { folder: (*folder).into(), names: (*names).into() }).collect())
}

/// What an action told, for those who build later; empty when it told nothing.
pub(super) fn told(action: &Action, remembered: &Remembered) -> Vec<u8> {
    let text = &remembered.entry.result.printed;
    if text.is_empty() {
        return Vec::new();
    }
    let is_colored = matches!(action.kind, ActionKind::Run { tool: Tool::Clang, .. });
    let (output, mnemonic, owner) = (action.outputs[0].path().clone(), action.mnemonic.clone(), action.owner.clone());
    pack(&Told { output, mnemonic, owner, is_colored, text: text.clone() })
}

/// What actions told that are not looked at now, in the order of their numbers.
pub(super) fn retold(snapshot: &Snapshot, but: &[StepId]) -> Vec<Told> {
    let others = snapshot.told().iter().filter(|(step, _)| but.binary_search(step).is_err());
    others.filter_map(|(_, told)| postcard::from_bytes(told).ok()).collect()
}

/// Tells it again, as of actions numbered from `first` on.
pub(super) fn tell_again(
    configurations: &[Configuration],
    retold: Vec<Told>,
    first: usize,
    color: bool,
    events: &(dyn Fn(Event) + Sync),
) {
    if retold.is_empty() {
        return;
    }
    let outputs: Vec<Arc<str>> = retold.iter().map(|told| told.output.clone()).collect();
    variants::tell_whose(configurations, first, &outputs, events);
    for (Told { mnemonic, owner, is_colored, text, .. }, action) in retold.into_iter().zip(first..) {
        let output = if is_colored && !color { crate::execute::without_colors(&text) } else { text };
        let (work, how, took) = (Work::Process, How::UpToDate, Duration::ZERO);
        events(Event::Finished { action, mnemonic, owner, work, how, took, output });
    }
}
