//! What a generation is, pinned beside it, so that nothing on disk is needed to know it and it is gone when it is.
//!
//! Written before anything it names, and removed after everything it names: what is pinned is always recorded.

use std::path::Path;

use ouro_rules::manifest::Manifest;
use serde::{Deserialize, Serialize};

use crate::hook::Hook;
use crate::{Error, kernel};

/// The version of the format: since the second, maps are pinned by their definitions, which an older ouro would not find.
const FORMAT: u32 = 2;
/// The oldest version that is understood.
const OLDEST: u32 = 1;

/// Marks a generation as the one of this place among all that were made live.
pub(crate) fn write_order(path: &Path, beside: &Path, order: u64) -> Result<(), Error> {
    kernel::replace_bytes(path, beside, order.to_string().as_bytes())
}

/// A generation's place among all that were made live; none if it never was.
pub(crate) fn read_order(path: &Path) -> Result<Option<u64>, Error> {
    let parse = |bytes: Vec<u8>| String::from_utf8(bytes).ok()?.parse().ok();
    Ok(kernel::read_bytes(path)?.and_then(parse))
}

/// What a generation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    format: u32,
    /// The bundle's blake3.
    pub digest: String,
    /// The bundle's manifest.
    pub manifest: Manifest,
    /// Where it is attached.
    pub hooks: Vec<Hook>,
    /// The network devices whose clsact qdisc ouro added.
    pub qdiscs: Vec<String>,
    /// The inode of the network namespace it was deployed in.
    pub namespace: u64,
    /// Where its sources are, of a workspace that has no name to be told by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Meta {
    /// What a generation of this bundle is.
    pub fn new(digest: &str, manifest: &Manifest, hooks: Vec<Hook>, qdiscs: Vec<String>, namespace: u64) -> Meta {
        Meta { format: FORMAT, digest: digest.to_owned(), manifest: manifest.clone(), hooks, qdiscs, namespace, origin: None }
    }

    /// The name of the first program.
    pub fn entry(&self) -> &str {
        self.manifest.programs.first().map_or("", |program| program.name.as_str())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        kernel::write_bytes(path, &self.bytes())
    }

    /// The same, in place of what is pinned there.
    pub(crate) fn replace(&self, path: &Path, beside: &Path) -> Result<(), Error> {
        kernel::replace_bytes(path, beside, &self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("BUG: a meta is plain data")
    }

    /// The meta pinned at `path`; `None` if there is none, and a word on why if it cannot be understood.
    pub(crate) fn read(path: &Path) -> Result<Option<Result<Meta, String>>, Error> {
        Ok(kernel::read_bytes(path)?.map(|bytes| Meta::parse(&bytes)))
    }

    fn parse(bytes: &[u8]) -> Result<Meta, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { format: OLDEST..=FORMAT }) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            Ok(Version { format }) => Err(format!("it has format {format}, this ouro knows {FORMAT}")),
            Err(error) => Err(error.to_string()),
        }
    }
}
