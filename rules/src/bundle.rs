//! Bundles: a chain's objects, linked to its slots, and its manifest, in one file whose bytes depend on nothing else.
//!
//! The file is a tar archive, so that any tool can look inside: `manifest.json` first, then `objects/<program>.o`, sorted, with
//! no owner and no time. The blake3 of all this is the bundle's identity; behind it there may be signatures.

mod link;

mod maps;
mod places;

mod check;

use std::collections::BTreeMap;
use std::sync::Arc;

use ouro_cache::Digest;

use self::check::check;
use crate::manifest::{BTF_FILE, FORMAT, Manifest, ManifestProgram};
use crate::signature::{self, PublicKey};

pub use self::link::link;

const MANIFEST: &str = "manifest.json";

/// A bundle, read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What a deployer must know.
    pub manifest: Manifest,
    /// The object files by their names in the manifest.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The types of a kernel that travel with it.
    pub btf: Option<Arc<[u8]>>,
    /// The blake3 of the whole file but its signatures, in hex.
    pub digest: String,
}

/// Why bytes are no bundle that this ouro can deploy.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle, or cut short.
    #[error("not a bundle: {0}")]
    Malformed(String),
    /// Written by a newer ouro.
    #[error("bundle has format {0}; this ouro knows format {FORMAT}")]
    Format(u32),
    /// Changed after it was written.
    #[error("`{0}` in the bundle does not match its digest in the manifest")]
    Corrupt(String),
    /// Changed after it was signed.
    #[error("the signature of `{0}` does not match: the bundle was changed after it was signed")]
    Signature(PublicKey),
}

fn pack(manifest: &Manifest, objects: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, MANIFEST, &text)?;
    for (name, bytes) in objects {
        append(&mut archive, name, bytes)?;
    }
    archive.into_inner()
}

pub(crate) fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, bytes)
}

impl Bundle {
    /// Reads a bundle and checks every signature, and every object against its digest.
    pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
        let mut files = unpack(bytes)?;
        let digest = signature::open(bytes)?.digest.to_string();
        let text = files.remove(MANIFEST).ok_or_else(|| BundleError::Malformed("it has no manifest.json".to_owned()))?;
        let manifest = parse_manifest(text)?;
        check(&manifest)?;
        let mut objects = BTreeMap::new();
        for candidate in manifest.programs.iter().flat_map(ManifestProgram::tried) {
            let object = taken(&mut files, &candidate.object, &candidate.digest)?;
            objects.insert(candidate.object, object.to_vec());
        }
        let btf = manifest.btf.as_ref().map(|digest| taken(&mut files, BTF_FILE, digest)).transpose()?.map(Arc::from);
        Ok(Bundle { manifest, objects, btf, digest })
    }
}

/// Takes a file out, if it is as the manifest says.
fn taken<'a>(files: &mut BTreeMap<String, &'a [u8]>, name: &str, digest: &str) -> Result<&'a [u8], BundleError> {
    let bytes = files.remove(name).ok_or_else(|| BundleError::Malformed(format!("`{name}` is missing")))?;
    if Digest::of(bytes).to_string() == digest { Ok(bytes) } else { Err(BundleError::Corrupt(name.to_owned())) }
}

fn parse_manifest(text: &[u8]) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let malformed = |error: serde_json::Error| BundleError::Malformed(format!("manifest.json: {error}"));
    match serde_json::from_slice::<Manifest>(text) {
        Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
        // Another format may look like anything.
        known => match serde_json::from_slice::<Version>(text).map_err(malformed)? {
            Version { format: FORMAT } => known.map_err(malformed),
            Version { format } => Err(BundleError::Format(format)),
        },
    }
}

/// What is wrong with an archive. Not in the reader's words: they hold what stands in the file, which may be anything.
pub(crate) fn broken(error: std::io::Error) -> BundleError {
    let what =
        if error.kind() == std::io::ErrorKind::UnexpectedEof { "it is cut short" } else { "it is no archive that ouro wrote" };
    BundleError::Malformed(what.to_owned())
}

/// What an entry of an archive in memory holds, if all of it is there.
pub(crate) fn content<'a>(archive: &'a [u8], entry: &tar::Entry<'_, &[u8]>) -> Option<&'a [u8]> {
    let from = usize::try_from(entry.raw_file_position()).ok()?;
    archive.get(from..from.checked_add(usize::try_from(entry.size()).ok()?)?)
}

/// The files of the archive. Only what [`pack`] writes is taken: other kinds of entries claim sizes that no byte stands behind.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, BundleError> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().map_err(broken)?.raw(true) {
        let entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(BundleError::Malformed(format!("`{name}` is no regular file")));
        }
        let content = content(bytes, &entry).ok_or_else(|| BundleError::Malformed(format!("`{name}` is cut short")))?;
        if files.insert(name.clone(), content).is_some() {
            return Err(BundleError::Malformed(format!("`{name}` is there twice")));
        }
    }
    Ok(files)
}
