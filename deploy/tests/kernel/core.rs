//! CO-RE: what a program asks of the kernel's types is answered as libbpf answers it. The types are another kernel's, made for it.

use std::path::Path;

use ouro_deploy::{VerifyOptions, verify_object};

use crate::corpus::{compile, compile_with};

#[test]
fn every_kind_of_relocation_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/types.c");
    let kernel = folder.path().join("kernel.btf");
    std::fs::write(&kernel, compile_with(&source, folder.path(), &["-DKERNEL"])).expect("the folder can be written");
    let object = compile(&source, folder.path());
    let options = VerifyOptions { btf: Some(kernel), ..VerifyOptions::default() };
    let verdicts = verify_object("types.o", &object, &options).expect("it is read");
    let expected = [
        ("fields", ""),
        ("types", ""),
        ("guarded", ""),
        ("unguarded", "unknown#195896080"),
        ("wider", ""),
        ("too_wide", "outside of the packet"),
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
