//! What is kept of one package: what it depends on, and all that those who depend on it can see.
//!
//! Pure. Knows nothing of where it is kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_cache::{Digest, Hasher};
use ouro_rules::label::join;
use ouro_rules::target::Visibility;
use ouro_rules::{Action, ActionKind, Analysis, Artifact, EdgeKind, Label, Providers, Role, Span, Target, data};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::build;
use crate::fast::FastMap;
use crate::graph::{Node, NodeId};
use crate::load::{BUILD_FILES, Loaded, Package};

/// An offer that is longer is not kept: its package is loaded by whoever needs it.
const LONGEST: usize = 64 << 10;

/// A package as it is to be kept.
pub(in crate::build) struct Record {
    pub(in crate::build) name: Arc<str>,
    pub(in crate::build) reads: BTreeSet<Arc<str>>,
    /// Labels of other packages.
    pub(in crate::build) near: BTreeSet<Label>,
    pub(in crate::build) kept: Kept,
}

/// What is kept of a package besides what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::build) struct Kept {
    pub(in crate::build) build_file: Arc<str>,
    /// Its conditions, flags, groups of packages and exported files, which others see without an offer; none when it has none.
    pub(in crate::build) settings: Option<Digest>,
    /// Whether groups of packages say who may see something of it.
    grouped: bool,
    pub(super) offers: Vec<Offer>,
    /// Every file that its actions write, whether anyone needs it or not.
    pub(in crate::build) written: Vec<Arc<str>>,
    /// The files that are made because its targets were asked for.
    pub(in crate::build) asked: Vec<Arc<str>>,
}

/// All that others can see of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) name: Arc<str>,
    /// The files it says it makes: labels may name them.
    pub(super) outs: Vec<Arc<str>>,
    /// A [`Shown`]; none when it is too long to be kept.
    shown: Option<Vec<u8>>,
}

/// What an offer shows.
#[derive(Serialize, Deserialize)]
pub(super) struct Shown<'s> {
    /// The name of the rule.
    pub(super) rule: Cow<'s, str>,
    pub(super) visibility: Cow<'s, Visibility>,
    /// Where chains go on from here.
    pub(super) onward: Vec<(EdgeKind, Cow<'s, Label>)>,
    /// None when nobody needed the target, so that it was not analysed.
    pub(super) providers: Option<Cow<'s, Providers>>,
}

/// What becomes of the record of each package that was loaded; `asked` are the targets that were asked for. There are many packages,
/// and none of the records lives long.
pub(super) fn each<T: Send>(
    loaded: &Loaded,
    analysis: &build::Analysis<'_>,
    asked: &[NodeId],
    work: impl Fn(Record) -> T + Sync,
) -> Vec<T> {
    let mut by_package: FastMap<&str, Vec<NodeId>> = FastMap::default();
    for node in asked {
        by_package.entry(&analysis.graph.node(*node).label().package).or_default().push(*node);
    }
    let mut strangers: BTreeMap<NodeId, Vec<Label>> = BTreeMap::new();
    for stranger in analysis.analysed.strangers() {
        strangers.entry(stranger.by).or_default().push(stranger.label);
    }
    let (asked, strangers) = (&by_package, &strangers);
    let packages: Vec<&Package> = loaded.packages.values().filter(|package| !package.recalled).collect();
    let record = |package: &&Package| {
        let asked = asked.get(&*package.name).map(Vec::as_slice).unwrap_or_default();
        work(Recorder { package, loaded, analysis, strangers }.record(asked))
    };
    packages.par_iter().map(record).collect()
}

struct Recorder<'a> {
    package: &'a Package,
    loaded: &'a Loaded,
    analysis: &'a build::Analysis<'a>,
    strangers: &'a BTreeMap<NodeId, Vec<Label>>,
}

impl Recorder<'_> {
    fn record(&self, asked: &[NodeId]) -> Record {
        let mut record = Record {
            name: self.package.name.clone(),
            reads: self.reads(),
            near: self.named(),
            kept: Kept {
                build_file: self.package.build_file.clone(),
                settings: self.settings(),
                grouped: self.package.targets.values().any(|target| !target.visibility.groups().is_empty()),
                offers: self.package.targets.values().map(|target| self.offer(target)).collect(),
                written: self.analyses().flat_map(|(_, analysis)| &analysis.actions).flat_map(|action| written(action)).collect(),
                asked: asked.iter().flat_map(|node| self.asked(*node)).collect(),
            },
        };
        for (node, _) in self.analyses() {
            self.add_edges(node, &mut record);
        }
        record.near.retain(|label| label.package != self.package.name && label.repo.is_empty());
        record
    }

    /// What decided what it says, as far as loading goes. A BUILD file that was looked for and is not there would come first.
    fn reads(&self) -> BTreeSet<Arc<str>> {
        let Package { name, build_file, loads, listed, .. } = self.package;
        let candidates = BUILD_FILES.map(|candidate| Arc::from(join(name, candidate)));
        let modules = loads.iter().filter(|label| label.repo.is_empty()).map(|label| label.path().into());
        candidates.into_iter().chain([build_file.clone()]).chain(modules).chain(listed.iter().cloned()).collect()
    }

    /// Every label that it names.
    fn named(&self) -> BTreeSet<Label> {
        let mut named = BTreeSet::new();
        let exports = self.package.exports.values().map(|export| &export.visibility);
        let visibilities = self.package.targets.values().map(|target| &target.visibility).chain(exports);
        named.extend(visibilities.flat_map(Visibility::groups).map(|(label, _)| label.clone()));
        for attr in self.package.targets.values().flat_map(|target| target.attrs.values()) {
            let mut add = |label: &Label, _: &Span| named.extend([label.clone()]);
            attr.value.each_label(&attr.span, &mut add);
            attr.value.each_condition(&mut add);
        }
        named
    }

    /// Adds what follows from others: members of chains, what is handed on by name, and which labels are files.
    fn add_edges(&self, node: NodeId, record: &mut Record) {
        for (next, _) in self.analysis.graph.edges(node) {
            let label = self.analysis.graph.node(next).label();
            if let Node::File(file) = self.analysis.graph.node(next) {
                record.reads.insert(file.path().into());
            }
            record.near.insert(label.clone());
        }
        record.near.extend(self.strangers.get(&node).into_iter().flatten().cloned());
    }

    /// Its targets that somebody needed.
    fn analyses(&self) -> impl Iterator<Item = (NodeId, &Analysis)> {
        let nodes = self.package.targets.values().filter_map(|target| self.analysis.graph.find(&target.label));
        nodes.filter_map(|node| Some((node, self.analysis.analysed.get(node)?)))
    }

    fn settings(&self) -> Option<Digest> {
        let is_setting = |target: &&Target| self.loaded.rules.rule(&target.rule).is_some_and(|rule| rule.role() != Role::Built);
        let settings: Vec<&Target> = self.package.targets.values().filter(is_setting).collect();
        if settings.is_empty() && self.package.exports.is_empty() {
            return None;
        }
        let mut hasher = Hasher::new("ouro settings of a package v1");
        hasher.field(format!("{settings:?}").as_bytes());
        hasher.field(format!("{:?}", self.package.exports).as_bytes());
        Some(hasher.finish())
    }

    fn offer(&self, written: &Target) -> Offer {
        let node = self.analysis.graph.find(&written.label);
        let target = match node.map(|node| self.analysis.graph.node(node)) {
            Some(Node::Target(chosen)) => chosen,
            _ => written,
        };
        let providers = node.and_then(|node| self.analysis.analysed.get(node)).map(|analysis| &analysis.providers);
        let outs = target.get("outs").items().iter().filter_map(|out| out.value.as_str().map(Arc::from)).collect();
        Offer { name: target.label.name.clone(), outs, shown: self.shown(target, node, providers) }
    }

    fn shown(&self, target: &Target, node: Option<NodeId>, providers: Option<&Providers>) -> Option<Vec<u8>> {
        if !data::is_small(providers.iter().flat_map(|providers| providers.infos.values()).map(|info| &**info)) {
            return None;
        }
        let edges = node.into_iter().flat_map(|node| self.analysis.graph.edges(node));
        let onward = edges.filter(|(_, edge)| super::stub::leads_onward(edge.kind));
        let shown = Shown {
            rule: self.loaded.rules.rule(&target.rule)?.name().into(),
            visibility: Cow::Borrowed(&target.visibility),
            onward: onward.map(|(next, edge)| (edge.kind, Cow::Borrowed(self.analysis.graph.node(next).label()))).collect(),
            providers: providers.map(Cow::Borrowed),
        };
        Some(super::pack(&shown)).filter(|bytes| bytes.len() <= LONGEST)
    }

    fn asked(&self, node: NodeId) -> impl Iterator<Item = Arc<str>> {
        let files = self.analysis.analysed.get(node).into_iter().flat_map(|analysis| analysis.providers.wanted());
        files.filter(|file| matches!(file, Artifact::Output(_))).map(|file| file.path().clone())
    }
}

/// Every file that an action writes.
fn written(action: &Action) -> impl Iterator<Item = Arc<str>> {
    let depfile = match &action.kind {
        ActionKind::Run { depfile, .. } => depfile.clone(),
        ActionKind::Write { .. } | ActionKind::Native(_) => None,
    };
    action.outputs.iter().map(|output| output.path().clone()).chain(depfile)
}

impl Record {
    pub(super) fn entry(&self, length: u32) -> Entry<'_> {
        Entry {
            name: &self.name,
            reads: self.reads.iter().map(|path| &**path).collect(),
            near: self.near.iter().map(|label| (&*label.package, &*label.name)).collect(),
            length,
        }
    }
}

impl Offer {
    /// What it shows.
    pub(super) fn shown(&self) -> Option<Shown<'static>> {
        postcard::from_bytes(self.shown.as_deref()?).ok()
    }
}

impl Kept {
    /// Whether who names something of it has to load it.
    pub(super) fn must_be_loaded(&self) -> bool {
        self.settings.is_some() || self.grouped || self.offers.iter().any(|offer| offer.shown.is_none())
    }

    /// The names, of targets and of files that they make, that do not mean what they meant before.
    pub(in crate::build) fn changed_since<'k>(&'k self, before: &'k Kept) -> BTreeSet<&'k str> {
        let by_name = |kept: &'k Kept| kept.offers.iter().map(|offer| (&*offer.name, offer)).collect::<BTreeMap<_, _>>();
        let (then, now) = (by_name(before), by_name(self));
        let is_other = |name: &&&str| {
            let same = then.get(**name) == now.get(**name);
            !same || then.get(**name).is_some_and(|offer| offer.shown.is_none())
        };
        let names: BTreeSet<&str> = then.keys().chain(now.keys()).copied().collect();
        let others: Vec<&str> = names.iter().filter(is_other).copied().collect();
        let outs = others.iter().flat_map(|name| [then.get(name), now.get(name)]).flatten().flat_map(|offer| &offer.outs);
        outs.map(|out| &**out).chain(others.iter().copied()).collect()
    }
}
