//! What a process read besides its declared inputs: found in its dependency file, checked, and taken down by digest.
//!
//! Knows nothing of keys: what is found here stands beside them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use ouro_cache::Read;
use ouro_rules::{Action, ActionKind, Diagnostic};

use super::action::{Found, Stop, Work};
use super::process::Ended;
use super::{depfile, outputs};
use crate::state::File;

/// Few dependency files are longer.
const USUAL: u64 = 8 << 10;

impl Work<'_> {
    /// The files the action's dependency file names, sorted.
    pub(super) fn discovered(&self, action: &Action, ended: &Ended) -> Result<Vec<Arc<str>>, Stop> {
        let ActionKind::Run { depfile: Some(path), .. } = &action.kind else { return Ok(Vec::new()) };
        let place = self.files.place(path);
        let failed = |error: io::Error| {
            let finding = match error.kind() {
                io::ErrorKind::NotFound => outputs::not_made(action, path),
                _ => outputs::trouble("read", path, &error),
            };
            Stop::Failed { printed: ended.printed.clone(), findings: vec![finding] }
        };
        let text = outputs::open_plain(&place).and_then(|file| ouro_cache::read_all(&file, USUAL)).map_err(failed)?;
        // It has said what it had to say; a leftover would do no harm.
        let _ = fs::remove_file(&place);
        let names = depfile::parse(&String::from_utf8_lossy(&text));
        let mut paths: Vec<Arc<str>> = names.iter().map(|name| depfile::normalise(&self.sight.real_root, name).into()).collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Findings for those of the files that the action may not read.
    pub(super) fn check_declared(&self, action: &Action, paths: &[Arc<str>]) -> Result<(), Vec<Diagnostic>> {
        let forbidden: Vec<&Arc<str>> = paths.iter().filter(|path| !self.sight.is_allowed(action, path)).collect();
        if forbidden.is_empty() { Ok(()) } else { Err(self.undeclared(action, paths, &forbidden)) }
    }

    /// What was read, by digest; nothing when some of it, or an input, changed since `start` or since it was hashed.
    pub(super) fn digests(
        &self,
        paths: &[Arc<str>],
        inputs: &[Found],
        start: SystemTime,
    ) -> Result<Option<Vec<Read>>, Vec<Diagnostic>> {
        let own: HashSet<&Arc<str>> = inputs.iter().map(|(input, _)| input).collect();
        let mut reads = Vec::with_capacity(paths.len());
        for path in paths {
            let found = self.files.get(path).map_err(|error| vec![outputs::trouble("read", path, &error)])?;
            // Others may have looked at it long before this action read it.
            let is_same = |file: &File| own.contains(path) || (file.stamp.older_than(start) && self.files.unchanged(path, file));
            let Some(file) = found.filter(is_same) else {
                self.files.forget(path);
                return Ok(None);
            };
            reads.push(Read { path: path.clone(), digest: file.digest });
        }
        let unchanged = inputs.iter().all(|(path, file)| self.files.unchanged(path, file));
        Ok(unchanged.then_some(reads))
    }
}
