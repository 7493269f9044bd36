//! Signed bundles: who says that these bytes are what was built.
//!
//! Signatures are the last entry of the archive, one line for each signer, so that one file is copied and none gets lost; whatever
//! reads archives can show them. They cover everything before them, and are no part of the bundle's identity: signing a bundle
//! that runs changes nothing that runs. Knows no files, and not whom to trust.

mod key;

use std::borrow::Cow;

use base64ct::{Base64, Encoding};
use ouro_cache::Digest;

pub use self::key::{KeyError, PrivateKey, PublicKey, public_keys};
use crate::bundle::{BundleError, append, broken, content};

/// The archive's last entry, where somebody has signed.
const ENTRY: &str = "signature";

/// What an archive ends with: two empty blocks.
const END: [u8; 1024] = [0; 1024];
const BLOCK: usize = 512;

/// A bundle whose signatures were all found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What was signed: the bundle without its signatures.
    pub bytes: Cow<'a, [u8]>,
    /// The digest of that.
    pub digest: Digest,
    /// Who signed it, sorted; none if nobody did.
    pub signers: Vec<PublicKey>,
}

/// Takes a bundle apart and checks every signature. One that is wrong is an error even when nobody asked for it: bytes were changed.
pub fn open(bytes: &[u8]) -> Result<Opened<'_>, BundleError> {
    let (bytes, signatures) = split(bytes)?;
    let digest = Digest::of(&bytes);
    let message = message(&digest);
    match signatures.iter().find(|(key, signature)| !key.verifies(&message, signature)) {
        Some((key, _)) => Err(BundleError::Signature(*key)),
        None => Ok(Opened { bytes, digest, signers: signatures.into_iter().map(|(key, _)| key).collect() }),
    }
}

/// Adds signatures to those a bundle has. The same bundle and keys give the same bytes everywhere.
pub fn sign(bytes: &[u8], keys: &[PrivateKey]) -> Result<Vec<u8>, BundleError> {
    // What is wrong already must not look right by one more signature.
    let digest = open(bytes)?.digest;
    let (bytes, mut signatures) = split(bytes)?;
    let message = message(&digest);
    signatures.extend(keys.iter().map(|key| (key.public(), key.sign(&message))));
    signatures.sort_unstable();
    signatures.dedup();
    let signed = join(&bytes, &signatures)?;
    // Behind the end of an archive that another tool has padded nobody would find them.
    if open(&signed)?.signers.len() == signatures.len() { Ok(signed) } else { Err(padded()) }
}

type Signatures = Vec<(PublicKey, [u8; 64])>;

/// What is signed: `b3sum` and a line of shell say the same.
fn message(digest: &Digest) -> Vec<u8> {
    format!("ouro bundle v1 blake3 {digest}\n").into_bytes()
}

fn split(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Signatures), BundleError> {
    let Some((at, text)) = last_entry(bytes)? else { return Ok((bytes.into(), Vec::new())) };
    let malformed = || BundleError::Malformed("its signatures are not as ouro writes them".to_owned());
    let signatures = std::str::from_utf8(&text).ok().and_then(parse).ok_or_else(malformed)?;
    let unsigned = [&bytes[..at], &END].concat();
    // One way to write them, so that no bit of the file can change unseen.
    if join(&unsigned, &signatures)? == bytes { Ok((unsigned.into(), signatures)) } else { Err(malformed()) }
}

/// Where the entry with the signatures begins, and its content.
fn last_entry(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, BundleError> {
    let mut archive = tar::Archive::new(bytes);
    let last = archive.entries().map_err(broken)?.raw(true).last().transpose().map_err(broken)?;
    let Some(last) = last.filter(|entry| *entry.path_bytes() == *ENTRY.as_bytes()) else { return Ok(None) };
    let cut = || BundleError::Malformed(format!("`{ENTRY}` is cut short"));
    let at = usize::try_from(last.raw_header_position()).ok().filter(|at| *at <= bytes.len());
    Ok(Some((at.ok_or_else(cut)?, content(bytes, &last).ok_or_else(cut)?.to_vec())))
}

/// `ssh-ed25519 <key> <signature>` on each line.
fn parse(text: &str) -> Option<Signatures> {
    let line = |line: &str| {
        let (key, signature) = line.rsplit_once(' ')?;
        let signature = Base64::decode_vec(signature).ok()?.try_into().ok()?;
        Some((key.parse().ok()?, signature))
    };
    text.lines().map(line).collect()
}

fn padded() -> BundleError {
    BundleError::Malformed("it does not end like an archive that ouro wrote".to_owned())
}

fn join(unsigned: &[u8], signatures: &Signatures) -> Result<Vec<u8>, BundleError> {
    let body = unsigned.strip_suffix(&END).filter(|body| body.len().is_multiple_of(BLOCK));
    let body = body.ok_or_else(padded)?;
    let line = |(key, signature): &(PublicKey, [u8; 64])| format!("{key} {}\n", Base64::encode_string(signature));
    let text: String = signatures.iter().map(line).collect();
    let mut archive = tar::Builder::new(body.to_vec());
    let packed = append(&mut archive, ENTRY, text.as_bytes()).and_then(|()| archive.into_inner());
    packed.map_err(broken)
}
