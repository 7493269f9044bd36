//! Ways through a graph: what can be reached, and by which nodes.
//!
//! Knows nothing of expressions.

use super::bits::Bits;
use super::links::{Link, Links};
use super::node::Ix;

/// How a graph is walked.
pub(super) struct Walk<'g> {
    /// The edges, forwards or backwards.
    pub(super) links: &'g Links,
    /// Which of them count.
    pub(super) follow: fn(&Link) -> bool,
    /// The only nodes to enter; all by default.
    pub(super) within: Option<&'g Bits>,
}

impl Walk<'_> {
    /// Everything at most `steps` edges away from `from`, which is part of it.
    pub(super) fn reach(&self, from: &Bits, steps: Option<u32>) -> Bits {
        let mut found = from.clone();
        let mut open: Vec<Ix> = from.iter().collect();
        let mut step = 0;
        while !open.is_empty() && steps.is_none_or(|steps| step < steps) {
            let mut next = Vec::new();
            for node in open {
                next.extend(self.onward(node).filter(|other| found.insert(*other)));
            }
            open = next;
            step += 1;
        }
        found
    }

    /// A shortest way from some node of `from` to some node of `to`; empty when there is none. Of several the one whose nodes
    /// come first.
    pub(super) fn path(&self, from: &Bits, to: &Bits) -> Vec<Ix> {
        let mut came_by: Vec<Option<Ix>> = vec![None; self.links.len()];
        let mut found = from.clone();
        let mut open: Vec<Ix> = from.iter().collect();
        while !open.is_empty() {
            if let Some(end) = open.iter().find(|node| to.contains(**node)) {
                return way(&came_by, *end);
            }
            let mut next = Vec::new();
            for node in open {
                for other in self.onward(node).filter(|other| found.insert(*other)) {
                    came_by[other.place()] = Some(node);
                    next.push(other);
                }
            }
            open = next;
        }
        Vec::new()
    }

    fn onward(&self, node: Ix) -> impl Iterator<Item = Ix> {
        let links = self.links.of(node).iter().filter(|link| (self.follow)(link));
        links.map(|link| link.to).filter(|to| self.within.is_none_or(|within| within.contains(*to)))
    }
}

fn way(came_by: &[Option<Ix>], end: Ix) -> Vec<Ix> {
    let mut way: Vec<Ix> = std::iter::successors(Some(end), |node| came_by[node.place()]).collect();
    way.reverse();
    way
}
