//! What people see when the verifier says no: a program for each common reason, compiled by clang and refused by the kernel.
//!
//! `tests/rejected/<reason>.c`, and beside it what is said. `OURO_BLESS=1` writes that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ouro_cache::Digest;
use ouro_deploy::{Error, Rejection};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::FORMAT;
use serde_json::json;

use crate::chain::compile;
use crate::deploy;
use crate::missing::lacks_for_a_part;
use crate::support::{Lab, kernel_is_at_least, lab};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rejected")
}

fn programs() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let mut programs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "c")).collect();
    programs.sort();
    programs
}

/// One program that is attached nowhere.
fn bundle(object: Vec<u8>) -> Bundle {
    let program = json!({
        "label": "//:p", "name": "p", "ty": "xdp", "function": "p", "slot": null, "object": "objects/p.o",
        "digest": Digest::of(&object).to_string(),
    });
    let manifest = json!({
        "format": FORMAT, "chain": "//:p", "name": "p", "program_type": "xdp", "table_size": 0, "counting": false,
        "programs": [program], "edges": [], "maps": [], "attach": [],
    });
    let manifest = serde_json::from_value(manifest).expect("a manifest");
    Bundle { manifest, objects: BTreeMap::from([("objects/p.o".to_owned(), object)]), btf: None, digest: String::new() }
}

/// Older kernels say of a helper that this type of program may not use what they say of one that they do not have.
fn is_vague(rejection: &Rejection) -> bool {
    rejection.reason.starts_with("unknown func") && !kernel_is_at_least(6, 12)
}

fn rejection(lab: &Lab, name: &str, path: &Path) -> Rejection {
    let object = compile(lab.folder(), name, &fs::read_to_string(path).expect("a source"));
    match deploy(lab, &bundle(object)) {
        Err(Error::Failed { cause, .. }) => match *cause {
            Error::Rejected(rejection) => *rejection,
            other => panic!("{name}: {other}"),
        },
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_common_reason_is_told_with_what_to_change() {
    let bless = std::env::var_os("OURO_BLESS").is_some();
    lab(|lab| {
        let mut wrong = Vec::new();
        for path in programs() {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a plain name").to_owned();
            if ["adjusted", "null"].contains(&name.as_str())
                && lacks_for_a_part("word of what a register held before a call", "5.19")
            {
                continue;
            }
            let rejection = rejection(lab, &name, &path);
            let help = format!("help: {}\n", rejection.help.as_deref().unwrap_or("none"));
            let said = format!("{rejection}\n{help}");
            let golden = path.with_extension("txt");
            if bless {
                fs::write(&golden, &said).expect("the folder can be written");
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            // What is expected was written by 6.18. Kernels word states in their own ways; what to do about it is the same on all that tell reasons apart.
            let is_golden = kernel_is_at_least(6, 18) && !kernel_is_at_least(6, 19);
            let same = if is_golden { said == expected } else { expected.ends_with(&help) || is_vague(&rejection) };
            if !same || rejection.help.is_none() {
                wrong.push(format!("{name}:\n{said}\nexpected:\n{expected}"));
            }
        }
        assert!(wrong.is_empty(), "OURO_BLESS=1 accepts what is said now\n{}", wrong.join("\n"));
    });
}
