//! Work the engine does in its own process: pure functions from bytes to bytes, named by data.

use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::chain::ChainSpec;
use crate::diagnostic::Diagnostic;
use crate::object;

/// A function and its fixed arguments. Its serialised form is part of the action's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Native {
    /// Object -> facts: decodes a compiled object and compares it with what its BUILD file declares.
    Inspect(object::Expected),
    /// For each program of the chain in order: its object, which must be as expected -> the bundle.
    Bundle(Box<ChainSpec>, Vec<object::Expected>),
    /// A file -> the same bytes under another name.
    Copy,
}

/// A condition on what a process made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The first output is an object, and is as its BUILD file declares it.
    Object(object::Expected),
}

/// Changes whenever any function here may give other bytes for the same input; part of the key of every action with one of them.
pub const VERSION: u32 = 3;

/// Runs it: the inputs' bytes in the action's order -> the outputs' bytes in the action's order.
pub fn run(native: &Native, inputs: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Vec<Diagnostic>> {
    match native {
        Native::Inspect(expected) => object::inspect(&inputs[0], expected).map(|facts| vec![facts.to_json()]),
        Native::Copy => Ok(inputs.to_vec()),
        Native::Bundle(spec, programs) => bundle::link(spec, programs, inputs).map(|bytes| vec![bytes]),
    }
}

/// Looks at the bytes of an action's outputs, in the action's order.
pub fn check(check: &Check, outputs: &[Vec<u8>]) -> Result<(), Vec<Diagnostic>> {
    match check {
        Check::Object(expected) => object::inspect(&outputs[0], expected).map(drop),
    }
}
