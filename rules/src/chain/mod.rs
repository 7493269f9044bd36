//! Chains: an entry program and all it can reach by jumps; slots, and everything that can be wrong with them.
//!
//! Pure; knows no object files. What needs the bytecode is checked by [`crate::object`].

mod depth;
mod extend;
mod fit;
mod offload;
mod oldest;
mod shape;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attr::Spanned;
use crate::configuration::KernelVersion;
use crate::contents::Given;
use crate::diagnostic::{Diagnostic, Span};
use crate::label::Label;
use crate::manifest::{Attach, Edge, MapSpec, PacketTest, Replaces, Scalar};
use crate::provider::{Jump, MapInfo, ProgramInfo};
use crate::requirement::Requirement;

pub use depth::longest_run;
pub use extend::Extension;
pub use fit::{check_jump, check_point};

/// Tail calls the kernel allows in one run after the entry (`MAX_TAIL_CALL_CNT`, the same on all kernels since 5.17).
pub const MAX_DEPTH: u32 = 33;

/// Most entries of a jump table; each costs the kernel eight bytes.
pub const MAX_TABLE: i64 = 65_536;

/// Most jumps of a chain; each costs the kernel 16 bytes per CPU when it is counted.
pub const MAX_EDGES: usize = 65_536;

/// A validated chain before compiling; what the bundle step links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSpec {
    /// The workspace's name, if it has one.
    pub workspace: Option<String>,
    /// The chain's label.
    pub chain: Label,
    /// The name of its deployment.
    pub name: String,
    /// The programs; the first is the entry, the others in the order of their slots.
    pub programs: Vec<Member>,
    /// The jumps; an edge's id is its place here.
    pub edges: Vec<Edge>,
    /// The declared maps, sorted by name, with those that maps of maps hold.
    pub maps: Vec<MapSpec>,
    /// What maps hold at first, by their names.
    pub contents: BTreeMap<String, Given>,
    /// Where the entry is attached.
    pub attach: Vec<Attach>,
    /// Entries of the jump table; 0 when there are no jumps.
    pub table_size: u32,
    /// Whether edges count.
    pub counting: bool,
    /// Whether all its hooks switch at one instant, through a root table.
    pub atomic: bool,
    /// What it is tried with before it goes live.
    pub tests: Vec<PacketTest>,
    /// Whether the types of a kernel travel with it.
    pub has_btf: bool,
}

/// A program of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its label.
    pub label: Label,
    /// Its declared type.
    pub ty: String,
    /// Its place in the jump table; none for an entry nobody jumps to.
    pub slot: Option<u32>,
    /// The maps it declares, as places in [`ChainSpec::maps`].
    pub maps: Vec<u32>,
    /// Left out of drawings.
    pub hidden: bool,
    /// Whether the chain is deployed without it where the kernel does not take it.
    pub optional: bool,
    /// Of an extension, the function whose place it takes.
    pub replaces: Option<Replaces>,
    /// The objects that can stand in its place, in the order tried; one if it has no candidates.
    pub tried: Vec<Tried>,
}

/// An object that can stand in a member's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The label of the program it is of.
    pub label: Label,
    /// The values of its global variables.
    pub globals: BTreeMap<String, Scalar>,
    /// What a kernel must have to be asked to load it.
    pub requires: Vec<Requirement>,
}

impl Member {
    /// Whether its label names several programs, and none of its own.
    pub fn has_candidates(&self) -> bool {
        self.tried.first().is_some_and(|first| first.label != self.label)
    }
}

/// A chain as declared.
pub struct Draft<'a> {
    /// The workspace's name, if it has one.
    pub workspace: Option<&'a str>,
    /// The chain's label.
    pub chain: &'a Label,
    /// The place of its declaration.
    pub span: &'a Span,
    /// The first program.
    pub entry: &'a Arc<ProgramInfo>,
    /// Every program jumps lead to from the entry, by each name that jumps use for it (an alias is a name too).
    pub programs: &'a BTreeMap<Label, Arc<ProgramInfo>>,
    /// Programs that must be part of it.
    pub listed: Vec<(Label, &'a Spanned)>,
    /// Programs that replace functions of others.
    pub extensions: Vec<Extension<'a>>,
    /// Where the entry is attached.
    pub attach: Vec<(Attach, &'a Spanned)>,
    /// Entries asked for.
    pub table_size: Option<(i64, &'a Span)>,
    /// Whether edges count.
    pub counting: bool,
    /// Whether all its hooks switch at one instant, through a root table.
    pub atomic: bool,
    /// What it is tried with before it goes live.
    pub tests: Vec<PacketTest>,
    /// Whether the types of a kernel travel with it.
    pub has_btf: bool,
    /// The oldest kernel that must run it; none when nobody said.
    pub oldest: Option<KernelVersion>,
}

/// The programs of a chain as a graph: the entry is node 0, the others follow sorted by label.
struct Graph<'a> {
    programs: Vec<&'a Arc<ProgramInfo>>,
    jumps: Vec<GraphEdge<'a>>,
}

struct GraphEdge<'a> {
    from: usize,
    to: usize,
    jump: &'a Jump,
}

/// Checks a chain and assigns its slots; every finding at once.
pub fn validate(draft: &Draft<'_>) -> Result<ChainSpec, Vec<Diagnostic>> {
    let graph = graph(draft);
    let mut findings = shape::check(draft, &graph);
    findings.extend(fit::check(draft, &graph));
    findings.extend(extend::check(draft, &graph));
    findings.extend(offload::check(draft, &graph));
    findings.extend(oldest::check(draft, &graph));
    findings.extend(too_many_edges(draft, &graph));
    let slots = slots::assign(draft, &graph).unwrap_or_else(|more| {
        findings.extend(more);
        slots::Slots::default()
    });
    if findings.is_empty() { Ok(spec(draft, &graph, slots)) } else { Err(findings) }
}

fn too_many_edges(draft: &Draft<'_>, graph: &Graph<'_>) -> Option<Diagnostic> {
    let count = graph.jumps.len();
    let finding = || {
        Diagnostic::error(draft.span, format!("the chain has {count} jumps; at most {MAX_EDGES} are possible"))
            .help("split the chain")
    };
    (count > MAX_EDGES).then(finding)
}

fn graph<'a>(draft: &'a Draft<'_>) -> Graph<'a> {
    let extensions = draft.extensions.iter().map(|extension| &extension.program);
    let mut programs: Vec<&Arc<ProgramInfo>> = draft.programs.values().chain(extensions).collect();
    programs.sort_by_key(|program| (program.label != draft.entry.label, &program.label));
    programs.dedup_by_key(|program| &program.label);
    let place: BTreeMap<&Label, usize> = programs.iter().enumerate().map(|(index, program)| (&program.label, index)).collect();
    let mut jumps = Vec::new();
    for (from, program) in programs.iter().enumerate() {
        for jump in &program.jumps {
            if let Some(to) = draft.programs.get(&jump.target).map(|target| place[&target.label]) {
                jumps.push(GraphEdge { from, to, jump });
            }
        }
    }
    Graph { programs, jumps }
}

fn spec(draft: &Draft<'_>, graph: &Graph<'_>, slots: slots::Slots) -> ChainSpec {
    let mut order: Vec<usize> = (0..graph.programs.len()).collect();
    order.sort_by_key(|index| (*index != 0, slots.of[*index], *index));
    let mut place = vec![0u32; order.len()];
    order.iter().zip(0..).for_each(|(old, new)| place[*old] = new);
    let maps = maps(graph);
    let map_place: BTreeMap<&str, u32> = maps.keys().map(|name| name.as_str()).zip(0..).collect();
    let replaces = |label: &Label| {
        let extension = draft.extensions.iter().find(|extension| extension.program.label == *label);
        extension.map(|extension| extension.replaces(draft))
    };
    let member = |index: &usize| {
        let program = graph.programs[*index];
        let used: Vec<u32> = program.maps.iter().map(|map| map_place[map.spec.name.as_str()]).collect();
        Member {
            label: program.label.clone(),
            ty: program.ty.clone(),
            slot: slots.of[*index],
            maps: used,
            hidden: program.hidden,
            optional: program.optional.is_some(),
            replaces: replaces(&program.label),
            tried: program.tried().iter().map(|program| tried(program)).collect(),
        }
    };
    let mut edges: Vec<Edge> = graph.jumps.iter().map(|edge| manifest_edge(edge, &place)).collect();
    edges.sort_by(|a, b| (a.from, a.to, &a.name).cmp(&(b.from, b.to, &b.name)));
    ChainSpec {
        workspace: draft.workspace.map(str::to_owned),
        chain: draft.chain.clone(),
        name: deployment_name(draft.chain),
        programs: order.iter().map(member).collect(),
        edges,
        maps: maps.values().map(|map| map.spec.clone()).collect(),
        contents: maps.values().filter_map(|map| Some((map.spec.name.clone(), map.contents.clone()?))).collect(),
        attach: draft.attach.iter().map(|(point, _)| point.clone()).collect(),
        table_size: slots.table_size,
        counting: draft.counting && slots.table_size > 0,
        atomic: draft.atomic,
        tests: draft.tests.clone(),
        has_btf: draft.has_btf,
    }
}

fn tried(program: &ProgramInfo) -> Tried {
    Tried { label: program.label.clone(), globals: program.globals.clone(), requires: program.requires.clone() }
}

fn manifest_edge(edge: &GraphEdge<'_>, place: &[u32]) -> Edge {
    let jump = edge.jump;
    Edge { from: place[edge.from], to: place[edge.to], name: jump.name.clone(), on_miss: jump.on_miss, bound: jump.bound }
}

/// The maps of all programs by name; [`fit`] has made sure that a name means one map.
fn maps<'a>(graph: &Graph<'a>) -> BTreeMap<&'a String, &'a Arc<MapInfo>> {
    all_maps(graph).map(|map| (&map.spec.name, map)).collect()
}

/// The maps programs use, and those that these hold; a map of maps holds no other.
fn all_maps<'a>(graph: &Graph<'a>) -> impl Iterator<Item = &'a Arc<MapInfo>> {
    let used = graph.programs.iter().flat_map(|program| &program.maps);
    used.flat_map(|map| [map].into_iter().chain(&map.holds))
}

/// The name of a chain's deployment, as a folder of the bpffs: `//fw:fw` -> `fw`, `//net/edge:main` -> `net-edge-main`.
/// The bpffs allows no `.` in names.
pub fn deployment_name(chain: &Label) -> String {
    let mut parts: Vec<&str> = chain.package.split('/').filter(|part| !part.is_empty()).collect();
    if parts.last() != Some(&&*chain.name) {
        parts.extend(chain.name.split('/'));
    }
    parts.join("-").replace('.', "_")
}
