//! Extensions: programs that take the place of a function of another program of the chain.
//!
//! Knows names, not objects.

use serde::{Deserialize, Serialize};

use super::Manifest;

/// The function that an extension replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaces {
    /// The name of the program whose function it is.
    pub program: String,
    /// The C function.
    pub function: String,
}

impl Manifest {
    /// The extensions that are deployed, with what each replaces.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &Replaces)> {
        let there = self.programs.iter().filter(|program| !program.is_missing());
        there.filter_map(|program| Some((program.name.as_str(), program.replaces.as_ref()?)))
    }

    /// The tables of functions that are attached.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.attach.iter().filter_map(|point| match point {
            super::Attach::StructOps(place) => Some(place.table.as_str()),
            _ => None,
        })
    }
}
