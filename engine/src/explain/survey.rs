//! What the next build would do with each action, found by looking alone.
//!
//! Goes the way of execution (key, what is remembered, the cache) and stops where something would be done. What an action that
//! would run will make is not known, so those that read it depend on it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ouro_cache::{Digest, Entry, Output, Read};
use ouro_rules::{Action, ActionKind, Artifact};

use super::{Ground, Now};
use crate::build::Recalled;
use crate::execute::key::{self, Ingredient, Input};
use crate::execute::{Files, READ, Sight, identity};
use crate::state::journal::{Fact, Record};
use crate::state::{Remembered, State};
use crate::testing;

/// The walk over a plan, in its order.
pub(super) struct Survey<'a> {
    ground: &'a Ground<'a>,
    state: &'a State,
    recalled: &'a Recalled,
    files: Files<'a>,
    sight: Sight<'a>,
    /// Files that the next build would make anew.
    coming: HashMap<Arc<str>, Coming>,
}

/// The bytes a file will have.
#[derive(Debug, Clone, Copy)]
enum Coming {
    /// These.
    Known(Digest),
    /// Its maker tells; most likely what it made the last time.
    Open(Option<Digest>),
}

/// What is seen of one action.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) now: Now,
    /// What it depends on, as it is now; of what it would read, what its last record names.
    pub(super) facts: Vec<Arc<Fact>>,
    /// Outputs that are not as it left them.
    pub(super) displaced: Vec<Gone>,
    /// Files it reads that may come out different.
    pub(super) waits: Vec<Arc<str>>,
    /// Files it reads that are not there.
    pub(super) missing: Vec<Arc<str>>,
    /// What it would make, where that is known.
    made: Vec<Option<Digest>>,
}

/// An output that is not as it was left: its path, what was left, what is there.
pub(super) type Gone = (Arc<str>, Option<Digest>, Option<Digest>);

impl<'a> Survey<'a> {
    pub(super) fn new(ground: &'a Ground<'a>, state: &'a State, recalled: &'a Recalled) -> Survey<'a> {
        let sight = Sight::new(ground.root, ground.toolchain, ground.sandbox);
        Survey { ground, state, recalled, files: Files::new(ground.root, state), sight, coming: HashMap::new() }
    }

    /// Looks at an action; those that make its inputs come before it.
    pub(super) fn look(&mut self, action: &Action, last: Option<&Record>) -> Outlook {
        let outlook = match &action.kind {
            ActionKind::Write { content, executable } => self.look_at_write(action, Digest::of(content), *executable),
            ActionKind::Run { .. } | ActionKind::Native(_) => self.look_at_work(action, last),
        };
        if outlook.now != Now::UpToDate {
            let made = outlook.made.iter().copied().chain(std::iter::repeat(None));
            for (path, made) in action.outputs.iter().map(Artifact::path).zip(made) {
                let coming = made.map_or_else(|| Coming::Open(self.made_before(action, path)), Coming::Known);
                self.coming.insert(path.clone(), coming);
            }
        }
        outlook
    }

    /// The bytes are known before they are written.
    fn look_at_write(&self, action: &Action, digest: Digest, executable: bool) -> Outlook {
        let displaced = self.displaced(action, &[Output { digest, executable }]);
        let now = if displaced.is_empty() { Now::UpToDate } else { Now::Runs };
        let facts = facts(&key::ingredients(action, None, &[]));
        Outlook { now, facts, displaced, waits: Vec::new(), missing: Vec::new(), made: vec![Some(digest)] }
    }

    /// Whether a file may be run; one that is still to be made is taken for one that may not.
    fn is_executable(&self, path: &Arc<str>) -> bool {
        matches!(self.files.get(path), Ok(Some(file)) if file.stamp.is_executable())
    }

    fn look_at_work(&self, action: &Action, last: Option<&Record>) -> Outlook {
        let paths = || action.inputs.iter().map(Artifact::path);
        let missing: Vec<Arc<str>> = paths().filter(|path| !self.is_open(path) && self.bytes(path).is_none()).cloned().collect();
        // A file that is made for the first time has no bytes yet; what reads it has no result to compare with.
        let inputs = paths().map(|path| Input {
            path: path.clone(),
            digest: self.bytes(path).unwrap_or(Digest::of(b"")),
            executable: self.is_executable(path),
        });
        let inputs: Vec<Input> = inputs.collect();
        let is_test = testing::is_test(action);
        let identity = match is_test {
            true => testing::interpreter(self.ground.root, action, |path| self.on_disk(path)),
            false => identity(self.ground.toolchain, action),
        };
        let ingredients = key::ingredients(action, identity, &inputs);
        let read = reads(last);
        let mut facts = facts(&ingredients);
        facts.extend(read.iter().map(|path| self.read(path)));
        let waits = self.waits(&ingredients, &read);
        let key = key::digest(&ingredients);
        let (now, displaced, mut made) = if is_test { self.verdict(action, &key) } else { self.outcome(action, &key) };
        if !waits.is_empty() {
            made.clear();
        }
        let now = match now {
            _ if !missing.is_empty() => Now::Fails,
            // Nothing that is known makes it run; what is not known may.
            Now::UpToDate if !waits.is_empty() => Now::Depends,
            now => now,
        };
        Outlook { now, facts, displaced, waits, missing, made }
    }

    /// What would be done with a test of this key: an earlier pass holds, or it runs.
    fn verdict(&self, test: &Action, key: &Digest) -> (Now, Vec<Gone>, Vec<Option<Digest>>) {
        let passed = || self.ground.store.lookup(key, |_| true).is_some_and(|entry| testing::is_pass(&entry));
        (if !self.ground.is_uncached(test) && passed() { Now::UpToDate } else { Now::Runs }, Vec::new(), Vec::new())
    }

    /// What would be done under this key, and what made, if all files that are not known came out as the last time.
    fn outcome(&self, action: &Action, key: &Digest) -> (Now, Vec<Gone>, Vec<Option<Digest>>) {
        let is_process = matches!(action.kind, ActionKind::Run { .. });
        let last = self.last(action, |last| last.key == *key && self.holds(action, &last.entry)).map(|last| last.entry.clone());
        let cached = || self.ground.store.lookup(key, |entry| self.holds(action, entry)).filter(|_| is_process);
        let is_last = last.is_some();
        let Some(entry) = last.or_else(cached) else { return (Now::Runs, Vec::new(), Vec::new()) };
        let outputs = &entry.result.outputs;
        let displaced = self.displaced(action, outputs);
        let is_kept = is_process && outputs.iter().all(|output| self.ground.store.contains(&output.digest));
        let now = match (displaced.is_empty(), is_kept) {
            (true, _) if is_last => Now::UpToDate,
            (true, _) | (_, true) => Now::Cached,
            _ => Now::Runs,
        };
        (now, displaced, outputs.iter().map(|output| Some(output.digest)).collect())
    }

    /// How the action ended the last time. The state and the snapshots do not say which of them was last; what they made does.
    fn last(&self, action: &Action, fits: impl Fn(&Remembered) -> bool) -> Option<&'a Remembered> {
        let output = action.outputs[0].path();
        let all = self.recalled.get(output).into_iter().flatten().chain(self.state.result(output));
        all.filter(|one| fits(one)).min_by_key(|one| !self.displaced(action, &one.entry.result.outputs).is_empty())
    }

    fn displaced(&self, action: &Action, made: &[Output]) -> Vec<Gone> {
        let made = action.outputs.iter().map(Artifact::path).zip(made);
        let displaced = made.filter(|(path, output)| !self.files.in_place(path, output));
        displaced.map(|(path, output)| (path.clone(), Some(output.digest), self.on_disk(path))).collect()
    }

    /// The files that count by their bytes and are not known.
    fn waits(&self, ingredients: &[Ingredient<'_>], read: &[Arc<str>]) -> Vec<Arc<str>> {
        let given = ingredients.iter().filter_map(|one| match one {
            Ingredient::Input(path, _) => Some(Arc::from(*path)),
            _ => None,
        });
        let waits: BTreeSet<Arc<str>> = given.chain(read.iter().cloned()).filter(|path| self.is_open(path)).collect();
        waits.into_iter().collect()
    }

    /// A file that was read, as it is.
    fn read(&self, path: &Arc<str>) -> Arc<Fact> {
        let digest = self.bytes(path);
        Arc::new(Fact::new(READ, [path.as_bytes(), digest.as_ref().map_or(&[], |digest| &digest.as_bytes()[..])]))
    }

    fn holds(&self, action: &Action, entry: &Entry) -> bool {
        self.sight.holds(action, entry, &self.files, &|Read { path, digest }| self.bytes(path) == Some(*digest))
    }

    fn is_open(&self, path: &str) -> bool {
        matches!(self.coming.get(path), Some(Coming::Open(_)))
    }

    /// The bytes of a file when its reader's turn comes, as far as can be told.
    fn bytes(&self, path: &Arc<str>) -> Option<Digest> {
        match self.coming.get(path) {
            Some(Coming::Known(digest)) => Some(*digest),
            Some(Coming::Open(likely)) => *likely,
            None => self.on_disk(path),
        }
    }

    /// What the action made of this output the last time.
    fn made_before(&self, action: &Action, path: &Arc<str>) -> Option<Digest> {
        let place = action.outputs.iter().position(|output| output.path() == path)?;
        let last = self.last(action, |_| true)?;
        last.entry.result.outputs.get(place).map(|output| output.digest)
    }

    fn on_disk(&self, path: &Arc<str>) -> Option<Digest> {
        self.files.get(path).ok().flatten().map(|file| file.digest)
    }
}

/// What the action of this record read.
fn reads(last: Option<&Record>) -> Vec<Arc<str>> {
    let read = last.into_iter().flat_map(|record| &record.facts).filter(|fact| &*fact.kind == READ);
    read.filter_map(|fact| std::str::from_utf8(&fact.parts[0]).ok()).map(Arc::from).collect()
}

fn facts(ingredients: &[Ingredient<'_>]) -> Vec<Arc<Fact>> {
    ingredients.iter().map(|one| Arc::new(one.with_parts(Fact::new))).collect()
}
