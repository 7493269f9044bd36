//! Sets of nodes as bits.
//!
//! Knows nothing of what the nodes are.

use super::node::Ix;

/// A set of the nodes of one graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set, for a graph of `count` nodes.
    pub(super) fn new(count: usize) -> Bits {
        Bits(vec![0; count.div_ceil(64)])
    }

    /// Adds a node; says whether it is new.
    pub(super) fn insert(&mut self, node: Ix) -> bool {
        let (word, bit) = (&mut self.0[node.place() / 64], 1 << (node.place() % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn contains(&self, node: Ix) -> bool {
        self.0[node.place() / 64] & (1 << (node.place() % 64)) != 0
    }

    pub(super) fn extend(&mut self, nodes: impl IntoIterator<Item = Ix>) {
        for node in nodes {
            self.insert(node);
        }
    }

    /// The nodes, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = Ix> {
        self.0.iter().enumerate().flat_map(|(at, word)| ones(*word).map(move |bit| Ix::new(at * 64 + bit)))
    }

    /// The nodes for which `keep` holds.
    pub(super) fn filtered(&self, mut keep: impl FnMut(Ix) -> bool) -> Bits {
        let mut kept = Bits(vec![0; self.0.len()]);
        kept.extend(self.iter().filter(|node| keep(*node)));
        kept
    }

    pub(super) fn unite(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    pub(super) fn intersect(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub(super) fn subtract(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }
}

fn ones(word: u64) -> impl Iterator<Item = usize> {
    let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
    rest.take_while(|word| *word != 0).map(|word| word.trailing_zeros() as usize)
}
