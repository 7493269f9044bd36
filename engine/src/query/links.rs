//! Edges, grouped by the node at one of their ends.
//!
//! Knows nothing of what the nodes are.

use ouro_rules::EdgeKind;
use serde::{Deserialize, Serialize};

use super::node::Ix;

/// An edge, for making graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The dependent.
    pub from: Ix,
    /// What it depends on.
    pub to: Ix,
    /// The attribute that says so, by its place in a list of names; none for what follows from other edges.
    pub attr: Option<u16>,
    /// What it means.
    pub kind: EdgeKind,
}

/// One end of an edge, seen from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The node it leads to.
    pub to: Ix,
    /// See [`Edge::attr`].
    pub attr: Option<u16>,
    /// What it means.
    pub kind: EdgeKind,
}

/// The edges of a graph in one direction, grouped by node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Links {
    /// Where each node's links begin, and where the last one's end.
    starts: Vec<u32>,
    links: Vec<Link>,
}

impl Link {
    /// Whether an attribute says so.
    pub fn is_declared(&self) -> bool {
        self.attr.is_some()
    }

    /// Whether what is built at one end depends on what is built at the other.
    pub fn waits(&self) -> bool {
        self.kind != EdgeKind::Jump
    }
}

impl Links {
    /// The links from the first nodes of these edges, which are sorted.
    pub(super) fn new(count: usize, edges: &[Edge]) -> Links {
        let mut starts = Vec::with_capacity(count + 1);
        for (edge, at) in edges.iter().zip(0u32..) {
            starts.resize(edge.from.place() + 1, at);
        }
        starts.resize(count + 1, edges.len() as u32);
        let links = edges.iter().map(|edge| Link { to: edge.to, attr: edge.attr, kind: edge.kind }).collect();
        Links { starts, links }
    }

    /// The same edges the other way round.
    pub(super) fn turned(&self) -> Links {
        let mut starts = vec![0; self.len() + 1];
        self.links.iter().for_each(|link| starts[link.to.place() + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let (mut next, mut links) = (starts.clone(), self.links.clone());
        for from in (0..self.len()).map(Ix::new) {
            for link in self.of(from) {
                let at = &mut next[link.to.place()];
                links[*at as usize] = Link { to: from, ..*link };
                *at += 1;
            }
        }
        Links { starts, links }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// A node's links, sorted by where they lead.
    pub fn of(&self, node: Ix) -> &[Link] {
        &self.links[self.starts[node.place()] as usize..self.starts[node.place() + 1] as usize]
    }
}
