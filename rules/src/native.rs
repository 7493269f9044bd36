//! Work the engine does in its own process: pure functions from bytes to bytes, named by data.

use std::sync::Arc;

use ouro_cache::Digest;
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::chain::ChainSpec;
use crate::diagnostic::Diagnostic;
use crate::object;
use crate::vmlinux::{self, Kernels};

/// A function and its fixed arguments. Its serialised form is part of the action's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Native {
    /// Object -> facts: decodes a compiled object and compares it with what its BUILD file declares.
    Inspect(object::Expected),
    /// For each program of the chain in order: its object, which must be as expected -> the bundle.
    Bundle(Box<ChainSpec>, Vec<object::Expected>),
    /// A file -> the same bytes under another name.
    Copy,
    /// The types of a kernel, BTF or a header by the name of the file -> `vmlinux.h`.
    Vmlinux(Arc<str>),
    /// The same, then the sources and headers of a program -> the part of `vmlinux.h` that it can reach.
    SlimVmlinux {
        /// The name of the file with the types.
        types: Arc<str>,
        /// What the program's macros are defined to on the command line.
        defines: Vec<String>,
    },
}

/// A condition on what a process made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The first output is an object, and is as its BUILD file declares it.
    Object(object::Expected),
}

/// Changes whenever any function here may give other bytes for the same input; part of the key of every action with one of them.
pub const VERSION: u32 = 6;

/// The bytes of a file.
#[derive(Debug, Clone)]
pub struct Input {
    /// Of the bytes.
    pub digest: Digest,
    /// The bytes; none where [`is_known`] says that they are not needed.
    pub bytes: Vec<u8>,
}

impl AsRef<[u8]> for Input {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What functions of one build share.
#[derive(Debug, Default)]
pub struct Memory {
    kernels: Kernels,
}

/// Whether the input at this place was read for another function before, so that its bytes are not needed again.
pub fn is_known(native: &Native, place: usize, digest: &Digest, memory: &Memory) -> bool {
    match native {
        Native::Vmlinux(path) | Native::SlimVmlinux { types: path, .. } => place == 0 && memory.kernels.has(path, digest),
        Native::Inspect(_) | Native::Bundle(..) | Native::Copy => false,
    }
}

/// Runs it: the inputs in the action's order -> the outputs' bytes in the action's order.
pub fn run(native: &Native, inputs: &[Input], memory: &Memory) -> Result<Vec<Vec<u8>>, Vec<Diagnostic>> {
    match native {
        Native::Inspect(expected) => object::inspect(&inputs[0].bytes, expected).map(|facts| vec![facts.to_json()]),
        Native::Copy => Ok(inputs.iter().map(|input| input.bytes.clone()).collect()),
        Native::Bundle(spec, programs) => bundle::link(spec, programs, inputs).map(|bytes| vec![bytes]),
        Native::Vmlinux(path) => vmlinux::whole(path, &inputs[0], &memory.kernels).map(|bytes| vec![bytes]),
        Native::SlimVmlinux { types, defines } => {
            vmlinux::slim(types, defines, &inputs[0], &inputs[1..], &memory.kernels).map(|bytes| vec![bytes])
        }
    }
}

/// Looks at the bytes of an action's outputs, in the action's order.
pub fn check(check: &Check, outputs: &[Vec<u8>]) -> Result<(), Vec<Diagnostic>> {
    match check {
        Check::Object(expected) => object::inspect(&outputs[0], expected).map(drop),
    }
}
