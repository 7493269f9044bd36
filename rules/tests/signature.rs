//! Signed bundles: whoever changes one bit is found out, and signing changes nothing else.

use ouro_cache::Digest;
use ouro_rules::bundle::{Bundle, BundleError};
use ouro_rules::manifest::FORMAT;
use ouro_rules::signature::{PrivateKey, PublicKey, open, sign};
use serde_json::json;

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn manifest(object: &[u8]) -> Vec<u8> {
    let program = json!({
        "label": "//:p", "name": "p", "ty": "xdp", "function": "p", "slot": null, "object": "objects/p.o",
        "digest": Digest::of(object).to_string(),
    });
    let manifest = json!({
        "format": FORMAT, "chain": "//:c", "name": "c", "program_type": "xdp", "table_size": 0, "counting": false,
        "programs": [program], "edges": [], "maps": [], "attach": [],
    });
    manifest.to_string().into_bytes()
}

fn bundle() -> Vec<u8> {
    let object: Vec<u8> = (0..700u32).map(|n| (n * 7 % 251) as u8).collect();
    pack(&[("manifest.json", &manifest(&object)), ("objects/p.o", &object)])
}

fn keys() -> [PrivateKey; 2] {
    [[1; 32], [2; 32]].map(|seed| PrivateKey::from_seed(&seed))
}

fn signers(bytes: &[u8]) -> Vec<PublicKey> {
    open(bytes).unwrap().signers
}

#[test]
fn a_signed_bundle_is_the_same_bundle() {
    let (plain, [one, two]) = (bundle(), keys());
    let signed = sign(&plain, std::slice::from_ref(&one)).unwrap();
    assert_eq!(signers(&signed), [one.public()]);
    assert_eq!(open(&signed).unwrap().bytes, plain);
    assert_eq!(Bundle::read(&signed).unwrap(), Bundle::read(&plain).unwrap());
    assert_eq!(open(&plain).unwrap().signers, []);
    // Whoever signs later is added, and the order is no matter.
    let both = sign(&signed, std::slice::from_ref(&two)).unwrap();
    let mut expected = [one.public(), two.public()];
    expected.sort();
    assert_eq!(signers(&both), expected);
    assert_eq!(both, sign(&plain, &[two, one]).unwrap());
    assert_eq!(both, sign(&both, &keys()).unwrap());
}

#[test]
fn any_tool_lists_the_signature_last() {
    let signed = sign(&bundle(), &keys()).unwrap();
    let mut archive = tar::Archive::new(signed.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["manifest.json", "objects/p.o", "signature"]);
}

/// Every bit of the signature's entry, of what the archive ends with and of the manifest, and one of each other byte.
#[test]
fn a_bundle_that_was_changed_by_one_bit_is_no_longer_signed() {
    let signed = sign(&bundle(), &keys()[..1]).unwrap();
    let plain = open(&signed).unwrap().bytes.len() - 1024;
    let dense = |at: usize| at < 1024 || at >= plain;
    let mut flips = 0;
    for at in 0..signed.len() {
        let bits = if dense(at) && at < plain + 1100 { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            let mut changed = signed.clone();
            changed[at] ^= 1 << bit;
            let opened = open(&changed);
            assert!(!opened.is_ok_and(|opened| !opened.signers.is_empty()), "bit {bit} of byte {at} can be changed");
            flips += 1;
        }
    }
    assert!(flips > 15_000, "{flips}");
}

#[test]
fn what_is_cut_or_has_more_behind_it_is_no_longer_signed() {
    let signed = sign(&bundle(), &keys()[..1]).unwrap();
    for end in (0..signed.len()).step_by(64) {
        assert!(!open(&signed[..end]).is_ok_and(|opened| !opened.signers.is_empty()), "cut at {end}");
    }
    assert!(open(&[signed.as_slice(), &[0; 512]].concat()).is_err());
    assert!(open(&[signed.as_slice(), b"x"].concat()).is_err());
}

/// A bundle cannot take the signature of another, nor that of the same one under another key.
#[test]
fn signatures_cannot_be_moved() {
    let key = &keys()[..1];
    let other = pack(&[("manifest.json", &manifest(b"other")), ("objects/p.o", b"other")]);
    let end = open(&sign(&bundle(), key).unwrap()).unwrap().bytes.len() - 1024;
    let entry = &sign(&bundle(), key).unwrap()[end..];
    let moved = [&other[..other.len() - 1024], entry].concat();
    let Err(BundleError::Signature(named)) = open(&moved) else { panic!("a moved signature is right") };
    assert_eq!(named, key[0].public());
    assert!(matches!(Bundle::read(&moved), Err(BundleError::Signature(_))));
    assert!(matches!(sign(&moved, &keys()[1..]), Err(BundleError::Signature(_))), "a wrong one is not signed over");
}

/// One of another tool may be padded otherwise; then there would be two ways to write what was signed.
#[test]
fn only_what_ouro_wrote_is_signed() {
    let padded = [bundle().as_slice(), &[0; 8192]].concat();
    assert!(Bundle::read(&padded).is_ok());
    assert!(matches!(sign(&padded, &keys()), Err(BundleError::Malformed(_))));
    // A message must not show what stands in a file that is none of ours.
    let secret = "root:secret:0:0".repeat(100);
    assert_eq!(sign(secret.as_bytes(), &keys()).unwrap_err().to_string(), "not a bundle: it is no archive that ouro wrote");
    let text = "ssh-ed25519 nonsense\n";
    let bad = pack(&[("manifest.json", b"{}"), ("signature", text.as_bytes())]);
    assert!(matches!(open(&bad), Err(BundleError::Malformed(_))));
}
