//! Programs that can stand in each other's place, and what a deployer made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ManifestProgram, Scalar};
use crate::requirement::Requirement;

/// A program that can stand in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its label.
    pub label: String,
    /// Its name, unique among those for the same place; the last part of the label.
    pub name: String,
    /// The C function.
    pub function: String,
    /// The object file inside the bundle: `objects/parse.new.o`.
    pub object: String,
    /// The blake3 of that file, in hex.
    pub digest: String,
    /// The values of its global variables, where they differ from the source's.
    #[serde(default)]
    pub globals: BTreeMap<String, Scalar>,
    /// What a kernel must have to be asked to load it.
    #[serde(default)]
    pub requires: Vec<Requirement>,
}

/// What a deployer made of a program that depends on the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The candidate of this name stands in its place.
    Taken(String),
    /// The kernel takes it not, and it is optional: its slot is empty.
    Missing,
}

impl ManifestProgram {
    /// What can stand in its place, in the order tried: its candidates, or itself.
    pub fn tried(&self) -> Vec<Candidate> {
        match self.candidates.as_slice() {
            [] => vec![Candidate {
                label: self.label.clone(),
                name: self.name.clone(),
                function: self.function.clone(),
                object: self.object.clone(),
                digest: self.digest.clone(),
                globals: self.globals.clone(),
                requires: self.requires.clone(),
            }],
            several => several.to_vec(),
        }
    }

    /// Whether what becomes of it depends on the kernel.
    pub fn is_open(&self) -> bool {
        self.optional || !self.candidates.is_empty() || !self.requires.is_empty()
    }

    /// Whether its slot stays empty on the kernel it was deployed on.
    pub fn is_missing(&self) -> bool {
        self.settled == Some(Settled::Missing)
    }

    /// The same with this candidate in its place.
    pub fn settle(&self, taken: &Candidate) -> ManifestProgram {
        ManifestProgram {
            function: taken.function.clone(),
            object: taken.object.clone(),
            digest: taken.digest.clone(),
            globals: taken.globals.clone(),
            settled: (!self.candidates.is_empty()).then(|| Settled::Taken(taken.name.clone())),
            ..self.clone()
        }
    }

    /// The same with nothing in its place.
    pub fn leave_out(&self) -> ManifestProgram {
        ManifestProgram { settled: Some(Settled::Missing), ..self.clone() }
    }
}
