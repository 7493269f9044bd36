//! What a build was, and what it is compared with: a build of the same sources from nothing.
//!
//! Knows no edit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Said, Workspace, copy};

/// Which way a build must take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Way {
    /// A few packages are loaded, and so many actions done or looked at.
    Near(usize),
    /// Everything is.
    Whole,
    /// The whole way tells what is wrong.
    Wrong(&'static str),
}

/// A build, with the events it told.
pub struct Build {
    pub said: Said,
    events: Vec<Value>,
}

impl Build {
    pub fn of(workspace: &Workspace, pattern: &str, cache: Option<&TempDir>) -> Build {
        let log = workspace.path("../events.jsonl");
        let mut command = workspace.command(&["build", pattern, "-k", "--events", log.to_str().unwrap()]);
        if let Some(cache) = cache {
            command.env("OURO_CACHE", cache.path());
        }
        let said = Said::of(command.output().unwrap());
        let events = fs::read_to_string(log).unwrap();
        Build { said, events: events.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|line| line["event"] == event).count()
    }

    fn loads(&self, phase: &str) -> bool {
        self.events.iter().any(|line| line["event"] == "phase_ended" && line["phase"] == phase)
    }

    pub fn way(&self) -> Way {
        match (self.said.code, self.loads("load")) {
            (0, true) => Way::Whole,
            (0, false) => Way::Near(self.count("action_finished")),
            _ => Way::Wrong(""),
        }
    }

    /// What was asked for, with its files, and what is wrong.
    fn result(&self) -> (&Value, &Value) {
        let last = self.events.last().unwrap();
        (&last["targets"], &last["findings"])
    }
}

/// Every file below a folder.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// Compares with a build of the same sources from nothing.
#[track_caller]
pub fn is_as_clean(workspace: &Workspace, build: &Build, pattern: &str, cache: &TempDir, what: &str) {
    let clean = Workspace::new();
    copy(&workspace.root(), &clean.root());
    let theirs = Build::of(&clean, pattern, Some(cache));
    assert_eq!(build.said.code, theirs.said.code, "{what}\n{}\n{}", build.said.err, theirs.said.err);
    assert_eq!(build.result(), theirs.result(), "{what}\n{}\n{}", build.said.err, theirs.said.err);
    let (ours, theirs) = (files(&workspace.path("ouro-out")), files(&clean.path("ouro-out")));
    for (path, bytes) in &theirs {
        assert!(ours.get(path) == Some(bytes), "{what}: {} differs from a clean build's", path.display());
    }
}
