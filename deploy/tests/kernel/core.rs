//! CO-RE: what a program asks of the kernel's types is answered as libbpf answers it. The types are another kernel's, made for it.

use std::fs;
use std::path::Path;

use ouro_deploy::{VerifyOptions, verify_object};

use crate::chain::compile;

#[test]
fn every_kind_of_relocation_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/types.c")).expect("a source");
    let kernel = folder.path().join("kernel.btf");
    fs::write(&kernel, compile(folder.path(), "kernel", &format!("#define KERNEL\n{source}")))
        .expect("the folder can be written");
    let object = compile(folder.path(), "types", &source);
    let options = VerifyOptions { btf: Some(kernel), ..VerifyOptions::default() };
    let verdicts = verify_object("types.o", &object, &options).expect("it is read");
    let expected = [
        ("fields", ""),
        ("types", ""),
        ("guarded", ""),
        ("unguarded", "unknown#195896080"),
        ("wider", ""),
        ("too_wide", "outside of the "),
        ("ambiguous", "`at` of `struct twice` cannot be fitted to the kernel's types: the kernel has several types of this name"),
    ];
    assert_eq!(verdicts.len(), expected.len());
    for (verdict, (name, words)) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.program, name);
        match &verdict.outcome {
            Ok(_) => assert!(words.is_empty(), "`{name}` is loaded, and not refused: {words}"),
            Err(error) => assert!(!words.is_empty() && error.to_string().contains(words), "`{name}`: {error}\n{}", verdict.log),
        }
    }
}
