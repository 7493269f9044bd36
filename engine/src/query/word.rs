//! What the words of an expression name: targets by patterns, or files by their paths.
//!
//! Knows nothing of which targets exist. Whether a path is a file is asked through a function.

use std::sync::Arc;

use ouro_rules::Repositories;
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use ouro_rules::label::{Label, Pattern, Scope, join};

use super::expr::Word;
use super::target_graph::TargetGraph;
use crate::load::BUILD_FILES;

/// What a word names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) scope: Scope,
    /// The path of the file, when the word is one.
    file: Option<String>,
    /// Whether it is a `.star` file, which belongs to all packages that load it.
    is_module: bool,
}

/// Where an expression is read.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// The folder of the workspace someone is in.
    pub cwd: &'a str,
    /// What `@name//` means.
    pub repositories: &'a Repositories,
    /// Whether a path from the root is a file.
    pub is_file: &'a dyn Fn(&str) -> bool,
}

/// What a word means.
pub(super) fn meaning(word: &Word, here: Here<'_>) -> Result<Meaning, Diagnostic> {
    let Here { cwd, repositories, is_file } = here;
    let wrong = |message: String| Err(Diagnostic::error(&word.span, message));
    match path(&word.text, cwd) {
        Some(path) if is_file(&path) => {
            let is_module = is_module(&path);
            return match label(&path, is_file).or_else(|| is_module.then(|| Label::new("", path.clone()))) {
                Some(label) => Ok(Meaning { scope: Scope::Target(label), file: Some(path), is_module }),
                None => wrong(format!("the file `{path}` belongs to no package"))
                    .map_err(|finding| finding.help("a package is a folder with a `BUILD.ouro` or `BUILD` file")),
            };
        }
        Some(path) if word.text.contains('/') && !is_package(&path, is_file) => {
            let finding = wrong(format!("`{path}` is neither a file nor a package"));
            return finding.map_err(|finding| Diagnostic { about: Some(path.into()), ..finding });
        }
        _ => {}
    }
    match repositories.pattern(&word.text, cwd) {
        Ok(Pattern { negative: false, scope }) => {
            let path = if let Scope::Target(label) = &scope { label.path() } else { String::new() };
            let is_module = is_module(&path) && is_file(&path);
            Ok(Meaning { scope, file: is_module.then_some(path), is_module })
        }
        Ok(_) => wrong(format!("`{}` takes away, and there is nothing before it", word.text))
            .map_err(|finding| finding.help("write `a - b`")),
        Err(finding) => Err(Diagnostic { span: Some(word.span.clone()), ..finding }),
    }
}

/// The path from the workspace root, if the word may be a path; none when it leaves the workspace.
fn path(text: &str, cwd: &str) -> Option<String> {
    if text.starts_with(['/', '@']) || text.contains(':') || text.ends_with("...") {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in cwd.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The label of a file: it belongs to the innermost package around it.
fn label(path: &str, is_file: &dyn Fn(&str) -> bool) -> Option<Label> {
    let package = folders(path).find(|folder| is_package(folder, is_file))?;
    Some(Label::new(package, path[package.len()..].trim_start_matches('/')))
}

fn is_module(path: &str) -> bool {
    path.ends_with(".star")
}

fn is_package(folder: &str, is_file: &dyn Fn(&str) -> bool) -> bool {
    BUILD_FILES.iter().any(|name| is_file(&join(folder, name)))
}

/// The folders around a path, the innermost first.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at]).chain([""])
}

impl Meaning {
    /// What must be loaded to know it: a package, and whether those below it are meant, too. A name that is missing there is told
    /// with its place in the expression.
    pub(super) fn folder(&self) -> Option<(Arc<str>, bool)> {
        match &self.scope {
            Scope::Target(label) if !label.repo.is_empty() => None,
            Scope::Target(_) if self.is_module => Some(("".into(), true)),
            Scope::Target(Label { package, .. }) | Scope::Package(package) => Some((package.clone(), false)),
            Scope::Subtree(root) => Some((root.clone(), true)),
        }
    }

    /// What is wrong with the word in this graph.
    pub(super) fn finding(&self, word: &Word, graph: &TargetGraph) -> Option<Diagnostic> {
        let Scope::Target(label) = &self.scope else { return None };
        if !graph.select(&self.scope).is_empty() {
            return None;
        }
        let finding = |message: String| Some(Diagnostic::error(&word.span, message));
        if graph.programs_only() {
            return finding(format!("`{label}` is no program"))
                .map(|finding| finding.help("with `--jumps` an expression names programs; a chain's is its `entry`"));
        }
        if let Some(path) = self.file.as_ref().filter(|_| self.is_module) {
            return finding(format!("no package loads the file `{path}`"));
        }
        if let Some(path) = &self.file {
            return finding(format!("no target names the file `{path}`"))
                .map(|finding| finding.help("list it in `srcs` or `hdrs`"));
        }
        let names = graph.members(&label.package).map(|node| graph.node(node).label.name);
        finding(format!("there is no target or file `{label}`"))
            .map(|finding| finding.maybe_help(did_you_mean(&label.name, names)))
    }
}
