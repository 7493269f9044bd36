//! `glob()`: the files of a package by pattern.
//!
//! Reads folders, never files. Knows nothing of targets.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::join;
use serde::{Deserialize, Serialize};

use super::Reads;
use super::context::{Build, Context};
use super::folder::{self, Entry};
use super::places::{Place, Site};
use crate::workspace::Workspace;

/// The arguments of a `glob()`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patterns {
    /// What it looks for.
    pub include: Vec<String>,
    /// What it leaves out.
    pub exclude: Vec<String>,
}

impl Patterns {
    /// Whether some of `files`, paths from the package, would be selected if they were there. Does not know which folders are
    /// packages of their own.
    pub fn may_select<'f>(&self, files: impl IntoIterator<Item = &'f str>) -> bool {
        let set = |patterns: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for glob in patterns.iter().filter_map(|pattern| compile(pattern).ok()) {
                builder.add(glob);
            }
            builder.build().ok()
        };
        let (Some(include), Some(exclude)) = (set(&self.include), set(&self.exclude)) else { return false };
        let is_open = |file: &str| !file.split('/').any(|part| part.starts_with('.'));
        files.into_iter().any(|file| is_open(file) && include.is_match(file) && !exclude.is_match(file))
    }
}

/// Runs `glob()`; findings are reported and the files that were found are returned.
pub(super) fn call(
    context: &Context<'_>,
    build: &Build<'_>,
    site: &Site<'_>,
    patterns: &Patterns,
    allow_empty: bool,
) -> Vec<String> {
    let include = set(context, &patterns.include, included(site));
    let exclude = set(context, &patterns.exclude, site.argument("exclude"));
    let (Some(include), Some(exclude)) = (include, exclude) else { return Vec::new() };
    build.globs.borrow_mut().push(patterns.clone());
    let mut walk = Walk {
        workspace: build.workspace,
        package: context.package,
        patterns,
        found: Vec::new(),
        findings: Vec::new(),
        reads: Reads::default(),
    };
    walk.folder("");
    build.reads.borrow_mut().merge(walk.reads);
    let complete = walk.findings.is_empty();
    walk.findings.into_iter().for_each(|finding| context.report(Diagnostic { span: Some(site.span.clone()), ..finding }));
    let mut files: Vec<String> =
        walk.found.into_iter().filter(|file| include.is_match(file) && !exclude.is_match(file)).collect();
    files.sort_unstable();
    if files.is_empty() && complete && !allow_empty {
        context.report(matches_nothing(context, site, patterns));
    }
    files
}

fn included<'s>(site: &'s Site<'_>) -> Place<'s> {
    match site.argument("include") {
        Place::Call(_) => site.positional(),
        named => named,
    }
}

fn matches_nothing(context: &Context<'_>, site: &Site<'_>, patterns: &Patterns) -> Diagnostic {
    let list = patterns.include.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", ");
    let finding = Diagnostic::error(&site.span, format!("no file of `//{}` matches {list}", context.package));
    finding.help("correct the pattern, or pass `allow_empty = True`")
}

/// The patterns as one matcher; `None` when one is wrong.
fn set(context: &Context<'_>, patterns: &[String], place: Place<'_>) -> Option<GlobSet> {
    let mut builder = GlobSetBuilder::new();
    let mut fine = true;
    for (index, pattern) in patterns.iter().enumerate() {
        match compile(pattern) {
            Ok(glob) => {
                builder.add(glob);
            }
            Err(reason) => {
                fine = false;
                let place = place.item(index, patterns.len()).span();
                context.report(Diagnostic::error(&place, format!("bad pattern `{pattern}`: {}", reason.trim_end_matches('.'))));
            }
        }
    }
    builder.build().ok().filter(|_| fine)
}

fn compile(pattern: &str) -> Result<Glob, String> {
    check(pattern)?;
    GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| error.kind().to_string())
}

fn check(pattern: &str) -> Result<(), String> {
    match pattern.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some(part) => Err(format!("it has the path component `{part}`, but starts in the package and stays there")),
        None => Ok(()),
    }
}

struct Walk<'a> {
    workspace: &'a Workspace,
    package: &'a str,
    patterns: &'a Patterns,
    found: Vec<String>,
    findings: Vec<Diagnostic>,
    reads: Reads,
}

impl Walk<'_> {
    /// Collects the files of `below`, a path from the package, and of the folders in it.
    fn folder(&mut self, below: &str) {
        let path = if below.is_empty() { self.package.to_owned() } else { join(self.package, below) };
        self.reads.folder(&path);
        let listing = match folder::list(&self.workspace.root.join(&path)) {
            Ok(listing) => listing,
            Err(error) => return self.findings.push(folder::unreadable(&path, &error)),
        };
        self.reads.links(&path, &listing.links);
        if !below.is_empty() && listing.build_file().is_some() {
            return;
        }
        self.findings.extend(listing.unnamable.iter().map(|name| folder::unnamable(&path, name)));
        for (name, entry) in listing.entries.iter().filter(|(name, _)| !name.starts_with('.')) {
            let inner = join(below, name);
            match entry {
                Entry::File => self.found.push(inner),
                Entry::Folder if self.enters(&inner) => self.folder(&inner),
                Entry::Folder => {}
            }
        }
    }

    fn enters(&self, below: &str) -> bool {
        let path = join(self.package, below);
        !self.workspace.ignores(&path)
            && !self.workspace.settings.repositories.contains(&path)
            && self.patterns.include.iter().any(|pattern| may_match_in(pattern, below))
    }
}

/// Whether `pattern` may match a file inside the folder `below`. May say yes too often, never no.
fn may_match_in(pattern: &str, below: &str) -> bool {
    // Alternatives may hold separators, so their parts cannot be compared with folders one by one.
    if pattern.contains('{') {
        return true;
    }
    let mut parts = pattern.split('/');
    for folder in below.split('/') {
        match parts.next() {
            None => return false,
            Some("**") => return true,
            Some(part) if part != folder && !part.contains(['*', '?', '[', '\\']) => return false,
            Some(_) => {}
        }
    }
    parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_came_or_went_are_compared_with_the_patterns() {
        let list = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let patterns = Patterns { include: list(&["*.c", "src/**/*.h"]), exclude: list(&["old*"]) };
        let selects = |file: &str| patterns.may_select([file]);
        assert!(selects("a.c") && selects("src/a.h") && selects("src/x/y/a.h"));
        assert!(!selects("sub/a.c") && !selects("a.h") && !selects("old.c") && !selects(".a.c") && !selects("src/.x/a.h"));
        assert!(patterns.may_select(["a.h", "a.c"]) && !patterns.may_select([]));
    }

    #[test]
    fn only_folders_that_may_hold_matches_are_entered() {
        assert!(may_match_in("src/*.c", "src") && !may_match_in("src/*.c", "other") && !may_match_in("src/*.c", "src/deep"));
        assert!(may_match_in("**/*.c", "a/b/c") && may_match_in("src/**/*.c", "src/a/b") && !may_match_in("src/**", "lib"));
        assert!(may_match_in("*/x.c", "any") && !may_match_in("*.c", "any") && may_match_in("{a/b,c}/*.c", "a/b"));
    }
}
