//! Headers that are declared and never read, as far as the last build tells.
//!
//! Reads what builds remember and builds nothing. What a target may read and does not costs no rebuild, but whoever looks for what
//! depends on a header finds too much.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ouro_rules::diagnostic::sorted;
use ouro_rules::provider::Headers;
use ouro_rules::{Action, ActionKind, Artifact, Diagnostic, EdgeKind, Label, Target};

use crate::build::{Analysis, recall};
use crate::execute::Keys;
use crate::graph::Node;
use crate::plan::Plan;
use crate::state::State;
use crate::toolchain::Toolchain;

/// A warning for each of `deps` of which a target reads nothing, and for each header of a library that nobody reads, of those that
/// are in the plan and were built as they are now.
pub fn unused(root: &Path, analysis: &Analysis<'_>, plan: &Plan, toolchain: &Toolchain) -> Vec<Diagnostic> {
    let readers = readers(root, plan, toolchain);
    let mut findings = Vec::new();
    let mut offered: BTreeMap<&Label, Offered<'_>> = BTreeMap::new();
    for node in analysis.graph.ids() {
        let Node::Target(target) = analysis.graph.node(node) else { continue };
        let Some(reads) = readers.get(&target.label) else { continue };
        for (edge, kind) in analysis.graph.edges(node) {
            let headers = analysis.analysed.get(edge).and_then(|analysis| analysis.providers.headers.as_ref());
            let (Some(headers), EdgeKind::Dep) = (headers, kind.kind) else { continue };
            if is_idle(headers, reads) {
                let label = analysis.graph.node(edge).label();
                let message = format!("`{}` reads no header of `{label}`", target.label);
                findings.push(Diagnostic::error(&kind.span, message).warning().help("remove it from `deps`"));
            }
        }
    }
    for node in analysis.graph.ids() {
        let (Node::Target(target), Some(own)) = (analysis.graph.node(node), analysis.analysed.get(node)) else { continue };
        // Others offer what an action makes, which may be there for more than compiles.
        if own.providers.headers.is_some() && target.attrs.get("hdrs").is_some() {
            let files = own.providers.files.iter().map(|file| &**file.path()).collect();
            offered.insert(&target.label, Offered { target, files });
        }
    }
    findings.extend(unread(&offered, plan, &readers));
    sorted(findings)
}

/// What each target's compiles read; those of which some are not known are left out.
type Readers = BTreeMap<Label, BTreeSet<Arc<str>>>;

/// The headers of a library.
struct Offered<'a> {
    target: &'a Target,
    files: BTreeSet<&'a str>,
}

/// What a library gives besides files may be what it is there for.
fn is_idle(headers: &Headers, reads: &BTreeSet<Arc<str>>) -> bool {
    let is_read = |file: &Artifact| reads.contains(file.path());
    headers.defines.is_empty() && !headers.files.is_empty() && !headers.files.iter().any(is_read)
}

/// A finding for each library with headers that were given to somebody, and that nobody read.
fn unread(offered: &BTreeMap<&Label, Offered<'_>>, plan: &Plan, readers: &Readers) -> Vec<Diagnostic> {
    let compiles = || plan.actions.iter().filter(|action| is_compile(action) && readers.contains_key(&action.owner));
    let given: BTreeSet<&str> = compiles().flat_map(|action| &action.inputs).map(|input| &**input.path()).collect();
    let read: BTreeSet<&str> = readers.values().flatten().map(|path| &**path).collect();
    let finding = |offered: &Offered<'_>| {
        let idle: Vec<String> = offered
            .files
            .iter()
            .filter(|file| given.contains(*file) && !read.contains(*file))
            .map(|file| format!("`{file}`"))
            .collect();
        let message = format!("nothing that was built reads {} of `{}`", idle.join(", "), offered.target.label);
        let place = offered.target.span_of("hdrs");
        (!idle.is_empty())
            .then(|| Diagnostic::error(place, message).warning().help("remove it from `hdrs`, unless others need it"))
    };
    offered.values().filter_map(finding).collect()
}

fn readers(root: &Path, plan: &Plan, toolchain: &Toolchain) -> Readers {
    let (state, recalled) = (State::load(root), recall(root, plan));
    let keys = Keys::new(root, &state, toolchain);
    let mut readers: BTreeMap<Label, Option<BTreeSet<Arc<str>>>> = BTreeMap::new();
    for action in plan.actions.iter().filter(|action| is_compile(action)) {
        let output = action.outputs[0].path();
        let all = state.result(output).into_iter().chain(recalled.get(output).into_iter().flatten());
        let key = keys.of(action).ok();
        let last = all.into_iter().find(|last| Some(last.key) == key);
        let reads = last.map(|last| last.entry.reads.iter().map(|read| read.path.clone()));
        let known = readers.entry(action.owner.clone()).or_insert_with(|| Some(BTreeSet::new()));
        match (known.as_mut(), reads) {
            (Some(known), Some(reads)) => known.extend(reads),
            _ => *known = None,
        }
    }
    readers.into_iter().filter_map(|(owner, reads)| Some((owner, reads?))).collect()
}

fn is_compile(action: &Action) -> bool {
    matches!(action.kind, ActionKind::Run { depfile: Some(_), .. })
}
