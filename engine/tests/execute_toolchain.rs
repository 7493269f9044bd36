//! Finding the tools, and telling when they are others.

mod execute_support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use execute_support::TOOLCHAIN;
use ouro_engine::toolchain::{self, Toolchain, ToolchainError};
use ouro_rules::Tool;
use ouro_rules::builtin::{ProgramSpec, ToolchainSpec};
use tempfile::TempDir;

/// A compiler that can only say who it is, in the folder `bin` of a temporary folder.
fn pretend(dir: &Path, name: &str, version: &str) -> PathBuf {
    let path = dir.join("bin").join(name);
    fs::create_dir_all(dir.join("bin")).unwrap();
    let text = "if test \"$1\" = --version; then echo 'clang version VERSION'; else echo $(dirname $(dirname $0))/resources; fi";
    program(&path, &text.replace("VERSION", version));
    path
}

/// Written by another process: a descriptor of ours that is open for writing would pass to the processes other tests start
/// just then, and the kernel runs no program that someone may be writing to.
fn program(path: &Path, text: &str) {
    let script = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    assert!(Command::new("sh").args(["-c", script, "sh", text]).arg(path).status().unwrap().success());
}

fn find(dir: &Path, clang: Option<&str>) -> Result<Toolchain, ToolchainError> {
    let clang = clang.map(|clang| match clang {
        path if path.starts_with('/') => ProgramSpec::Path(path.to_owned()),
        path if path.contains('/') => ProgramSpec::File(path.into()),
        name => ProgramSpec::Name(name.to_owned()),
    });
    Toolchain::find(
        dir,
        &ToolchainSpec { clang, ..ToolchainSpec::default() },
        &OsString::from(format!("{0}/none:{0}/bin", dir.display())),
    )
}

#[test]
fn the_real_one_is_known_by_its_libraries() {
    assert!(TOOLCHAIN.version.contains("clang version"), "{}", TOOLCHAIN.version);
    let seen: Vec<&str> = TOOLCHAIN.seen.iter().map(|seen| &*seen.path).collect();
    assert!(seen.iter().any(|path| path.contains("libLLVM")), "{seen:?}");
    assert!(["x86", "arm64", "riscv", "s390", "powerpc", "arm", "loongarch"].contains(&toolchain::host().arch));
    let identities = [Tool::Clang, Tool::LlvmLink, Tool::Shell].map(|tool| TOOLCHAIN.tool(&tool).unwrap().identity);
    assert!(identities[0] != identities[1] && identities[1] != identities[2]);
    let link = &TOOLCHAIN.tool(&Tool::LlvmLink).unwrap().path;
    let clang = fs::canonicalize(&TOOLCHAIN.tool(&Tool::Clang).unwrap().path).unwrap();
    assert_eq!(fs::canonicalize(link).unwrap().parent(), clang.parent(), "of the same LLVM");
}

#[test]
fn the_memory_gives_the_same_answer_and_is_quick() {
    let dir = TempDir::new().unwrap();
    let find = || Toolchain::find(dir.path(), &ToolchainSpec::default(), OsStr::new("/usr/bin:/bin")).unwrap();
    let first = find();
    let start = std::time::Instant::now();
    let second = find();
    assert!(start.elapsed() < std::time::Duration::from_millis(20), "{:?}: it runs nothing and hashes nothing", start.elapsed());
    assert_eq!(first.tool(&Tool::Clang).unwrap().identity, second.tool(&Tool::Clang).unwrap().identity);
    assert_eq!(first.seen.len(), second.seen.len());
}

#[test]
fn plain_clang_comes_before_the_highest_number() {
    let dir = TempDir::new().unwrap();
    for name in ["clang-9", "clang-18", "clang-format-20", "clang-x"] {
        pretend(dir.path(), name, "18.1");
    }
    assert!(find(dir.path(), None).unwrap().tool(&Tool::Clang).unwrap().path.ends_with("bin/clang-18"));
    pretend(dir.path(), "clang", "17.0");
    let found = find(dir.path(), None).unwrap();
    assert!(found.tool(&Tool::Clang).unwrap().path.ends_with("bin/clang"));
    assert_eq!(found.version, "clang version 17.0");
    assert!(find(dir.path(), Some("clang-9")).unwrap().tool(&Tool::Clang).unwrap().path.ends_with("bin/clang-9"));
    assert!(find(dir.path(), Some("bin/clang-9")).unwrap().tool(&Tool::Clang).unwrap().path.ends_with("bin/clang-9"));
    let looked_at: Vec<_> = found.seen.iter().filter(|seen| seen.path.ends_with("none/clang")).collect();
    assert!(looked_at.len() == 1 && looked_at[0].stamp.is_none(), "a clang that appears earlier in PATH must be noticed");
}

#[test]
fn another_compiler_in_the_same_place_is_another() {
    let dir = TempDir::new().unwrap();
    let identity = || find(dir.path(), None).unwrap().tool(&Tool::Clang).unwrap().identity;
    pretend(dir.path(), "clang", "17.0");
    let first = identity();
    assert_eq!(identity(), first);
    pretend(dir.path(), "clang", "17.1");
    assert_ne!(identity(), first);
}

#[test]
fn its_own_headers_are_part_of_it() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let identity = |dir: &TempDir, header: &str| {
        pretend(dir.path(), "clang", "17.0");
        fs::create_dir_all(dir.path().join("resources/include")).unwrap();
        fs::write(dir.path().join("resources/include/stddef.h"), header).unwrap();
        fs::remove_dir_all(dir.path().join(".ouro")).ok();
        find(dir.path(), None).unwrap().tool(&Tool::Clang).unwrap().identity
    };
    assert_eq!(identity(&dirs[0], "one"), identity(&dirs[1], "one"), "its place is not");
    assert_ne!(identity(&dirs[0], "one"), identity(&dirs[0], "two"));
}

#[test]
fn what_is_missing_is_named_with_a_remedy() {
    let dir = TempDir::new().unwrap();
    let error = find(dir.path(), None).unwrap_err();
    assert!(error.to_string().contains("looked for `clang` and `clang-<version>`"), "{error}");
    assert!(error.remedy().unwrap().contains("apt-get install clang"));
    let error = find(dir.path(), Some("/no/such/clang")).unwrap_err();
    assert!(error.to_string().contains("`/no/such/clang`, which `[toolchain] clang` in `ouro.toml` names"), "{error}");
    assert!(error.remedy().is_some());
    pretend(dir.path(), "clang-17", "17.0");
    let error = find(dir.path(), None).unwrap().tool(&Tool::LlvmLink).unwrap_err().to_string();
    assert!(error.contains("cannot find `llvm-link`") && error.contains("bin/llvm-link-17"), "{error}");
}

#[test]
fn a_compiler_that_does_not_work_is_quoted() {
    let dir = TempDir::new().unwrap();
    let clang = pretend(dir.path(), "clang", "17.0");
    program(&clang, "echo 'libLLVM.so: cannot open' >&2; exit 127");
    let error = find(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("bin/clang --version` failed: libLLVM.so: cannot open"), "{error}");
}

#[test]
fn a_compiler_that_ends_without_a_word_is_told_with_how_it_ended() {
    let dir = TempDir::new().unwrap();
    let clang = pretend(dir.path(), "clang", "17.0");
    for (text, ended) in [("exit 1", "exit status: 1"), ("kill -SEGV $$", "signal: 11")] {
        program(&clang, text);
        let error = find(dir.path(), None).unwrap_err();
        assert!(error.to_string().contains(&format!("failed: it said nothing and ended with {ended}")), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("[toolchain] clang")), "{error}");
    }
}
