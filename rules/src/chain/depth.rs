//! How many tail calls a chain can take in one run, each bounded jump taken at most as often as declared.
//!
//! Knows no cycles without a bound: those are found before.

use std::collections::{BTreeMap, HashMap};

use petgraph::graph::{DiGraph, NodeIndex};

use super::{Draft, Graph, MAX_DEPTH};
use crate::diagnostic::Diagnostic;
use crate::hook;
use crate::manifest::{Attach, Manifest};

/// Runs looked at before the question is given up: it needs dozens of bounds that hang together to come this far.
const RUNS: usize = 100_000;

/// No run may go on beyond the kernel's limit. Asked first is whether all fit even if the bounded jumps of a circle shared the
/// sum of their bounds: that is coarser, and answered at once.
pub(super) fn check(draft: &Draft<'_>, graph: &Graph<'_>) -> Option<Diagnostic> {
    let jumps = graph.jumps.iter().map(|edge| (edge.from, edge.to, edge.jump.bound));
    let steps = steps(graph.programs.len(), jumps);
    let limit = limit(draft);
    if Search::new(&steps, Counters::Shared, limit).run().is_ok() {
        return None;
    }
    match Search::new(&steps, Counters::Each, limit).run() {
        Ok(_) => None,
        Err(Stop::TooDeep(path)) => Some(too_deep(draft, graph, &path, limit)),
        Err(Stop::TooMany) => Some(
            Diagnostic::error(draft.span, format!("`{}` has too many loop bounds to check", draft.chain))
                .note(format!("the kernel allows {MAX_DEPTH} tail calls in one run"))
                .help("lower the `loop` bounds, or bound fewer jumps"),
        ),
    }
}

/// The most tail calls a run of a linked chain takes; the kernel's limit where that cannot be told.
pub fn longest_run(manifest: &Manifest) -> u32 {
    let place = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
    let jumps = manifest.edges.iter().map(|edge| (place(edge.from), place(edge.to), edge.bound));
    let steps = steps(manifest.programs.len(), jumps);
    let most = |counters| Search::new(&steps, counters, MAX_DEPTH).run().ok();
    let longest = if manifest.programs.is_empty() { Some(0) } else { most(Counters::Each).or_else(|| most(Counters::Shared)) };
    longest.and_then(|most| u32::try_from(most).ok()).unwrap_or(MAX_DEPTH)
}

/// The stub of a root table takes one tail call to come to the entry, and so does the dispatcher of a shared device.
fn limit(draft: &Draft<'_>) -> u32 {
    let rooted = draft.atomic || hook::find(&draft.entry.ty).is_some_and(hook::Hook::needs_root);
    let shares = draft.attach.iter().any(|(point, _)| matches!(point, Attach::SharedXdp(_)));
    if shares || (rooted && !draft.attach.is_empty()) { MAX_DEPTH - 1 } else { MAX_DEPTH }
}

fn too_deep(draft: &Draft<'_>, graph: &Graph<'_>, path: &[usize], limit: u32) -> Diagnostic {
    let names: Vec<&str> = path.iter().map(|node| &*graph.programs[*node].label.name).collect();
    let finding = Diagnostic::error(draft.span, format!("`{}` can take more than {limit} tail calls in one run", draft.chain));
    let stub = (limit < MAX_DEPTH)
        .then_some("the kernel allows one more, which leads to the entry: from a root table, or a shared device's dispatcher");
    stub.into_iter()
        .fold(finding, Diagnostic::note)
        .note(format!("a run the kernel would cut short: {} -> ...", names.join(" -> ")))
        .help("split the chain, merge programs, or lower the `loop` bounds")
}

/// The ways on from one program to others.
struct Steps {
    /// By program: where jumps lead, and how often; jumps between the same two programs are one.
    onward: Vec<Vec<(usize, Option<u32>)>>,
    /// By program: the number of its circle. Programs that cannot come back to each other are in different ones.
    circle: Vec<usize>,
}

/// Of so many programs, and of jumps from one to another with their bounds.
fn steps(programs: usize, jumps: impl Iterator<Item = (usize, usize, Option<u32>)>) -> Steps {
    let mut pairs: BTreeMap<(usize, usize), Option<u32>> = BTreeMap::new();
    for (from, to, bound) in jumps.filter(|(from, to, _)| (*from).max(*to) < programs) {
        let add = |known: &mut Option<u32>| *known = known.zip(bound).map(|(one, other)| (one + other).min(MAX_DEPTH + 1));
        pairs.entry((from, to)).and_modify(add).or_insert(bound);
    }
    let mut onward = vec![Vec::new(); programs];
    let all: DiGraph<(), ()> = DiGraph::from_edges(pairs.keys().map(|(from, to)| (NodeIndex::new(*from), NodeIndex::new(*to))));
    for ((from, to), bound) in pairs {
        onward[from].push((to, bound));
    }
    let mut circle = vec![0; programs];
    for (number, members) in petgraph::algo::kosaraju_scc(&all).into_iter().enumerate() {
        members.into_iter().for_each(|member| circle[member.index()] = number);
    }
    Steps { onward, circle }
}

/// Whether the bounded jumps of a circle are counted together or each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counters {
    Shared,
    Each,
}

/// A run so far: the program it is in, and how often the bounded jumps of its circle may still be taken.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Run {
    node: usize,
    left: Vec<u32>,
}

enum Stop {
    /// A run that goes on beyond the limit.
    TooDeep(Vec<usize>),
    TooMany,
}

struct Search<'a> {
    steps: &'a Steps,
    /// By bounded jump within a circle, as its two programs: the place of its counter in [`Run::left`].
    counter: HashMap<(usize, usize), usize>,
    /// By circle: the counters of a run that comes into it.
    fresh: Vec<Vec<u32>>,
    /// The most tail calls a run can still take.
    known: HashMap<Run, usize>,
    path: Vec<usize>,
    /// The tail calls a run may take.
    limit: usize,
}

impl<'a> Search<'a> {
    fn new(steps: &'a Steps, counters: Counters, limit: u32) -> Search<'a> {
        let mut fresh: Vec<Vec<u32>> = vec![Vec::new(); steps.onward.len()];
        let mut counter = HashMap::new();
        for (from, onward) in steps.onward.iter().enumerate() {
            for (to, bound) in onward {
                let Some(bound) = bound.filter(|_| steps.circle[from] == steps.circle[*to]) else { continue };
                let counts = &mut fresh[steps.circle[from]];
                match counts.first_mut() {
                    Some(shared) if counters == Counters::Shared => *shared = (*shared + bound).min(MAX_DEPTH + 1),
                    _ => counts.push(bound),
                }
                counter.insert((from, *to), counts.len() - 1);
            }
        }
        Search { steps, counter, fresh, known: HashMap::new(), path: Vec::new(), limit: limit as usize }
    }

    fn run(mut self) -> Result<usize, Stop> {
        self.longest(Run { node: 0, left: self.fresh[self.steps.circle[0]].clone() })
    }

    /// The most tail calls from here on. Goes no deeper than the kernel's limit.
    fn longest(&mut self, run: Run) -> Result<usize, Stop> {
        let taken = self.path.len();
        if let Some(known) = self.known.get(&run).filter(|known| taken + **known <= self.limit) {
            return Ok(*known);
        }
        self.path.push(run.node);
        if taken > self.limit {
            return Err(Stop::TooDeep(std::mem::take(&mut self.path)));
        }
        let mut most = 0;
        for next in self.next(&run) {
            most = most.max(1 + self.longest(next)?);
        }
        self.path.pop();
        self.known.insert(run, most);
        if self.known.len() > RUNS { Err(Stop::TooMany) } else { Ok(most) }
    }

    fn next(&self, run: &Run) -> Vec<Run> {
        let circle = &self.steps.circle;
        let step = |(to, _): &(usize, Option<u32>)| {
            if circle[*to] != circle[run.node] {
                return Some(Run { node: *to, left: self.fresh[circle[*to]].clone() });
            }
            let mut left = run.left.clone();
            if let Some(counter) = self.counter.get(&(run.node, *to)) {
                left[*counter] = left[*counter].checked_sub(1)?;
            }
            Some(Run { node: *to, left })
        };
        self.steps.onward[run.node].iter().filter_map(step).collect()
    }
}
