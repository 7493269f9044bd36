//! Chains: an entry program and all it can reach by jumps; slots, and everything that can be wrong with them.
//!
//! Pure; knows no object files. What needs the bytecode is checked by [`crate::object`].

use serde::{Deserialize, Serialize};

use crate::label::Label;
use crate::manifest::{Attach, Edge, MapSpec};

/// Tail calls the kernel allows in one run after the entry (`MAX_TAIL_CALL_CNT`, the same on all kernels since 5.17).
pub const MAX_DEPTH: u32 = 33;

/// A validated chain before compiling; what the bundle step links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSpec {
    /// The chain's label.
    pub chain: Label,
    /// The name of its deployment.
    pub name: String,
    /// The programs; the first is the entry, the others in the order of their slots.
    pub programs: Vec<Member>,
    /// The jumps; an edge's id is its place here.
    pub edges: Vec<Edge>,
    /// The declared maps, sorted by name.
    pub maps: Vec<MapSpec>,
    /// Where the entry is attached.
    pub attach: Vec<Attach>,
    /// Entries of the jump table; 0 when there are no jumps.
    pub table_size: u32,
    /// Whether edges count.
    pub counting: bool,
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
}
