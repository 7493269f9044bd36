//! Reads compiled objects: programs, maps, tail calls, stack use; and compares them with what was declared.
//!
//! Pure: bytes in, facts or findings out.

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::manifest::MapSpec;

/// What a BUILD file says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The program's label, for messages.
    pub label: String,
    /// Its declared type: `xdp`, `cgroup_skb/egress`.
    pub ty: String,
    /// The C function, when named.
    pub function: Option<String>,
    /// The names of the declared jumps.
    pub jumps: Vec<String>,
    /// The declared maps.
    pub maps: Vec<MapSpec>,
}

/// What an object really holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The program's C function.
    pub function: String,
    /// Its ELF section.
    pub section: String,
    /// The license string.
    pub license: String,
    /// Bytes of stack of the deepest path of calls.
    pub stack: u32,
    /// Instructions of the object.
    pub instructions: u32,
    /// The declared maps the object refers to, with the sizes of keys and values from its BTF.
    pub maps: Vec<MapSpec>,
    /// Every tail call found in the bytecode.
    pub jumps: Vec<JumpSite>,
}

/// A tail call in the bytecode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JumpSite {
    /// The declared jump it takes.
    pub name: String,
    /// The C function it stands in.
    pub function: String,
    /// Its source file and line, when the object says; the line is 0 otherwise.
    pub file: String,
    /// See `file`.
    pub line: u32,
}

impl Facts {
    /// As stored: JSON, one line feed at the end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("BUG: facts are plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Facts::to_json`] wrote.
    pub fn from_json(bytes: &[u8]) -> Result<Facts, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Decodes an object and compares it with what is declared; every finding at once.
pub fn inspect(_object: &[u8], _expected: &Expected) -> Result<Facts, Vec<Diagnostic>> {
    Err(vec![Diagnostic::bare("object reading is being written")])
}
