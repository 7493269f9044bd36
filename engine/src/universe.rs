//! What questions are asked of: the target graph of some packages, with what their targets say of themselves. Kept from one
//! command to the next, so that whoever only looks loads nothing while nothing changed.
//!
//! Knows nothing of expressions. What is kept is a [`Snapshot`] of all that loading looked at. It is written whole, by a rename and
//! without a lock: it is true whoever writes it last, and where nothing can be written nothing is kept.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ouro_cache::{Digest, Hasher};
use ouro_rules::label::{Label, Pattern, Scope, is_below};
use ouro_rules::{Configuration, Diagnostic};
use serde::{Deserialize, Serialize};

use crate::build;
use crate::build::near_files;
use crate::configure::Configured;
use crate::graph;
use crate::load::Loaded;
use crate::looked_for::LookedFor;
use crate::query::{AttributeTable, TargetGraph};
use crate::state::snapshot::{self, Draft, Known, Shelf, Snapshot, Step};
use crate::workspace::Workspace;

/// When more files than this have other stamps, loading costs no more than comparing them, and what it leaves has the new ones.
const MOST_COMPARED: usize = 256;

/// What a universe is of.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// Its packages are those that these name, and all they depend on.
    pub patterns: &'a [Pattern],
    /// What choices are made for.
    pub configuration: &'a Configuration,
    /// The program that asks, when it can tell: another one may see something else. Nothing is kept of unknown ones.
    pub program: Option<&'a Path>,
}

/// All that questions may be about.
pub struct Universe {
    /// The targets and files.
    pub graph: TargetGraph,
    /// What targets say of themselves; empty if it was not wanted.
    pub attributes: AttributeTable,
    /// What was said while loading.
    pub warnings: Vec<Diagnostic>,
    /// Targets that leave nothing to choose in this configuration.
    pub left_out: Vec<Label>,
}

/// What stands in a snapshot, attributes excepted: those are many, and seldom wanted.
#[derive(Deserialize)]
struct Said {
    graph: TargetGraph,
    warnings: Vec<Diagnostic>,
    left_out: Vec<Label>,
}

/// The same, to be written.
#[derive(Serialize)]
struct Saying<'a> {
    graph: &'a TargetGraph,
    warnings: &'a [Diagnostic],
    left_out: &'a [Label],
}

/// Every path that was looked for besides what was loaded, and whether it was a file.
pub type Sought = Vec<(Arc<str>, bool)>;

impl Universe {
    /// The universe of what was loaded with everything requested, and what was looked for in making it.
    pub fn of(root: &Path, configured: &Configured<'_>, left_out: Vec<Label>) -> Result<(Universe, Sought), Vec<Diagnostic>> {
        let loaded = configured.loaded();
        let looked_for = LookedFor::default();
        // What stands in a folder that was listed changes with the folder.
        let is_file = |path: &str| loaded.reads.is_listed(path) || looked_for.is_file(path, || root.join(path).is_file());
        let graph =
            TargetGraph::of(loaded, &graph::build(configured, &is_file).map_err(|found| near_files::complete(root, found))?);
        let attributes = AttributeTable::of_graph(configured, &graph);
        Ok((Universe { graph, attributes, warnings: loaded.warnings.clone(), left_out }, looked_for.into_all()))
    }

    /// What an earlier command kept, if loading would find the same; with attributes if they are wanted.
    pub fn kept(question: &Question<'_>, attributes: bool, threads: usize) -> Option<Universe> {
        let snapshot = Snapshot::open_on(Shelf::Questions, &question.workspace.root, &key(question)?)?;
        if !is_as_it_was(&snapshot, &question.workspace.root, threads)? {
            return None;
        }
        let Said { graph, warnings, left_out } = postcard::from_bytes(snapshot.said()).ok()?;
        let attributes = if attributes { kept_attributes(&snapshot)? } else { AttributeTable::default() };
        Some(Universe { graph, attributes, warnings, left_out })
    }

    /// Keeps it for later commands, if it is certain what it was made from. `began` lies before all reading.
    pub fn keep(&self, question: &Question<'_>, loaded: &Loaded, sought: &Sought, began: SystemTime) {
        let Some(key) = key(question) else { return };
        let Some(files) = files(question, &key, loaded, sought, began) else { return };
        let Universe { graph, attributes, warnings, left_out } = self;
        let pack = |packed: Result<Vec<u8>, _>| packed.expect("BUG: it is plain data");
        let said = pack(postcard::to_stdvec(&Saying { graph, warnings, left_out }));
        let attributes = Step { what: pack(postcard::to_stdvec(attributes)), ..Step::default() };
        let draft = Draft { files, steps: Box::new([attributes].into_iter()), said, ..Draft::default() };
        // Whoever looks around in a folder that is not theirs gets an answer all the same.
        let _ = snapshot::write_on(Shelf::Questions, &question.workspace.root, &key, draft);
    }
}

/// The patterns without single packages that lie where all packages are asked for anyway, and those packages. If each of them is
/// among what the patterns bring in, asking for it by name adds nothing.
pub fn widest(patterns: &[Pattern]) -> (Vec<Pattern>, Vec<Arc<str>>) {
    let roots =
        || patterns.iter().filter_map(|pattern| if let Scope::Subtree(root) = &pattern.scope { Some(root) } else { None });
    let (mut widest, mut inside) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match &pattern.scope {
            Scope::Package(package) if roots().any(|root| is_below(package, root)) => inside.push(package.clone()),
            _ => widest.push(pattern.clone()),
        }
    }
    (widest, inside)
}

/// Everything that decides what is loaded, besides the files that are read.
fn key(question: &Question<'_>) -> Option<Digest> {
    let mut hasher = Hasher::new("ouro question v1");
    hasher.field(question.program?.as_os_str().as_encoded_bytes());
    hasher.field(format!("{:?}", question.patterns).as_bytes());
    hasher.field(format!("{:?}", question.workspace.settings).as_bytes());
    hasher.field(format!("{:?}", question.configuration).as_bytes());
    Some(hasher.finish())
}

/// Whether every file is what it was when it was read.
fn is_as_it_was(snapshot: &Snapshot, root: &Path, threads: usize) -> Option<bool> {
    let differing = snapshot.differing(root, threads, &mut |_| ControlFlow::Continue(()));
    if differing.len() > MOST_COMPARED {
        return Some(false);
    }
    for file in differing {
        let before = snapshot.known(file)?;
        let now = build::look_again(root, &snapshot.path(file)?, &before)?;
        if !build::is_same(&before, &now) || !build::loads_alike(&before, &now) {
            return Some(false);
        }
    }
    Some(true)
}

fn kept_attributes(snapshot: &Snapshot) -> Option<AttributeTable> {
    let steps = snapshot.steps()?;
    postcard::from_bytes(steps.what(steps.ids().next()?)).ok()
}

/// Every file that was looked at, as it is now; none when one may have been another then. Builds know most of them already.
fn files(
    question: &Question<'_>,
    key: &Digest,
    loaded: &Loaded,
    sought: &Sought,
    began: SystemTime,
) -> Option<HashMap<Arc<str>, Known>> {
    let root = &question.workspace.root;
    // That of a build is worth opening only for many files.
    let of_builds = || Snapshot::all(root).next().filter(|_| loaded.reads.files.len() > MOST_COMPARED);
    let before = Snapshot::open_on(Shelf::Questions, root, key).or_else(of_builds);
    let mut files: HashMap<Arc<str>, Known> = HashMap::new();
    let mut add = |path: &Arc<str>, known: Known| {
        files.entry(path.clone()).and_modify(|old| *old = old.and(known)).or_insert(known);
    };
    for (path, known) in build::reads(root, &loaded.reads, question.program, began, before.as_ref())? {
        add(&path, known);
    }
    let sought = sought.iter().map(|(path, was_file)| (path, was_file));
    for (path, was_file) in loaded.reads.links.iter().chain(sought) {
        add(path, build::looked_for(root, path, *was_file)?);
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_not_asked_for_twice() {
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|text| Pattern::parse(text, "").unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
        };
        let check = |texts: &[&str], widest_texts: &[&str], inside: &[&str]| {
            let (widest, found) = widest(&patterns(texts));
            assert_eq!(widest, patterns(widest_texts), "{texts:?}");
            assert_eq!(found.iter().map(|package| &**package).collect::<Vec<_>>(), inside, "{texts:?}");
        };
        check(&["//...", "//a:all", "//a/b:all"], &["//..."], &["a", "a/b"]);
        check(&["//a/...", "//a:all", "//ab:all", "//:all"], &["//a/...", "//ab:all", "//:all"], &["a"]);
        check(&["//a:all", "//b:all"], &["//a:all", "//b:all"], &[]);
        check(&["//a/...", "//a/b/..."], &["//a/...", "//a/b/..."], &[]);
    }
}
