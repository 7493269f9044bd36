//! The project's own order: what the documents say of the code is true of the code.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

const SOURCES: &[&str] = &["btf/src", "cache/src", "rules/src", "engine/src", "deploy/src", "src"];

#[test]
fn every_file_says_what_it_is_for() {
    for file in SOURCES.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        assert!(fs::read_to_string(&file).unwrap().starts_with("//! "), "{} does not open with `//!`", file.display());
    }
}

#[test]
fn every_module_stands_in_the_architecture() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(map.lines().count() <= 200, "ARCHITECTURE.md is longer than 200 lines");
    for krate in ["btf", "cache", "rules", "engine", "deploy"] {
        for entry in fs::read_dir(root().join(krate).join("src")).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(name == "lib" || map.contains(&format!("`{name}`")), "`{name}` of {krate} is not in ARCHITECTURE.md");
        }
    }
}

/// One door for each heavy dependency: nobody else may name it.
#[test]
fn heavy_dependencies_have_one_door() {
    let doors =
        [("starlark::", "engine/src/load"), ("aya", "deploy/src/kernel"), ("clap::", "src/cli"), ("indicatif::", "src/render")];
    for file in SOURCES.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        for (dependency, door) in doors {
            let uses = text.lines().any(|line| line.trim_start().starts_with(&format!("use {dependency}")));
            assert!(!uses || path.starts_with(door) || path == "src/main.rs", "{path} uses {dependency}");
        }
    }
}

#[test]
fn crates_depend_one_way() {
    let uses = |krate: &str, other: &str| {
        fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap().contains(&format!("{other}.workspace"))
    };
    for (krate, other) in [
        ("btf", "ouro-cache"),
        ("btf", "ouro-rules"),
        ("cache", "ouro-btf"),
        ("cache", "ouro-rules"),
        ("cache", "ouro-engine"),
        ("rules", "ouro-engine"),
        ("rules", "ouro-deploy"),
        ("engine", "ouro-deploy"),
        ("deploy", "ouro-engine"),
    ] {
        assert!(!uses(krate, other), "{krate} depends on {other}");
    }
}

/// Nothing in the tree may need a folder beside it, and nothing speaks of the machine it was written on.
#[test]
fn the_tree_speaks_of_itself_alone() {
    let tracked = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(tracked.stdout).unwrap();
    assert!(files.lines().count() > 100 || !root().join(".git").exists(), "git lists the files");
    let forbidden = [["..", "/shared"].concat(), ["/work", "/main"].concat()];
    for file in files.lines() {
        let text = fs::read(root().join(file)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{file} names `{word}`");
        }
    }
}
