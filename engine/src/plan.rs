//! The action graph, pruned to what was asked.

use ouro_rules::{Action, Artifact};

/// Actions in an order in which each comes after those that make its inputs.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions, in a deterministic topological order.
    pub actions: Vec<Action>,
    /// For each action, the places of those that make its inputs, sorted; all smaller than its own.
    pub needs: Vec<Vec<u32>>,
    /// The files that were asked for.
    pub requested: Vec<Artifact>,
}
