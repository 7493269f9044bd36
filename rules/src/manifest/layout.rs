//! How a value of a C type lies in memory: what two programs, and two versions of one, must agree on.
//!
//! Knows neither where it was read from nor what is done with it.

use serde::{Deserialize, Serialize};

/// How a value lies in memory. Typedefs and qualifiers are gone, and so are the names of types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// A number, a character, a truth value or an enum.
    Int {
        /// Its size.
        bytes: u32,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A struct.
    Struct {
        /// Its size.
        bytes: u32,
        /// Its members; those of structs without a name stand among them.
        members: Vec<Member>,
    },
    /// A union.
    Union {
        /// Its size.
        bytes: u32,
        /// Its members.
        members: Vec<Member>,
    },
    /// An array.
    Array {
        /// How many elements.
        count: u32,
        /// What each is.
        of: Box<Layout>,
    },
    /// What only the kernel or a program can make: a pointer, a lock, a timer.
    Other {
        /// Its size.
        bytes: u32,
        /// What it is: `a pointer`, `struct bpf_timer`.
        what: String,
    },
}

/// A member of a struct or union.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; empty of a union without one.
    pub name: String,
    /// Where it begins, in bits.
    pub at: u32,
    /// How many bits a bitfield has.
    pub bits: Option<u32>,
    /// What it is.
    pub layout: Layout,
}

impl Layout {
    /// Its size in bytes.
    pub fn bytes(&self) -> u32 {
        match self {
            Layout::Int { bytes, .. }
            | Layout::Struct { bytes, .. }
            | Layout::Union { bytes, .. }
            | Layout::Other { bytes, .. } => *bytes,
            Layout::Array { count, of } => count.saturating_mul(of.bytes()),
        }
    }

    /// What it is, for people: `a number of 4 bytes`.
    pub fn describe(&self) -> String {
        match self {
            Layout::Int { bytes: 1, .. } => "a number of 1 byte".to_owned(),
            Layout::Int { bytes, .. } => format!("a number of {bytes} bytes"),
            Layout::Struct { bytes, .. } => format!("a struct of {bytes} bytes"),
            Layout::Union { bytes, .. } => format!("a union of {bytes} bytes"),
            Layout::Array { count, of } => format!("an array of {count}, each {}", of.describe()),
            Layout::Other { what, .. } => what.clone(),
        }
    }
}
