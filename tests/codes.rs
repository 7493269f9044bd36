//! Exit codes have one meaning each, whatever command it is that ends.

mod support;

use std::process::Command;

use support::Workspace;

/// A workspace with a package that is well.
fn workspace() -> Workspace {
    let build = "filegroup(name = \"texts\", srcs = [\"a.txt\"])\nbool_flag(name = \"fast\", default = False)\n";
    Workspace::with(&[("a/BUILD", build), ("a/a.txt", "")])
}

/// What is named and is not there was 1 for some commands and 2 for others, and a flag another matter than a configuration.
#[test]
fn what_is_not_there_is_two_whoever_names_it() {
    let workspace = workspace();
    let git = "git init -q . && git add -A && git -c user.name=me -c user.email=me@localhost commit -qm start";
    assert!(Command::new("sh").args(["-c", git]).current_dir(workspace.root()).status().unwrap().success());
    for arguments in [
        &["build", "//nope"][..],
        &["build", "//nope/..."],
        &["build", "//a:txets"],
        &["build", "//a:texts", "//a/b:texts"],
        &["build", "@other//:x"],
        &["build", "//a:texts", "--flag", "//a:fats"],
        &["build", "//a:texts", "--flag", "//nope:fast"],
        &["build", "//a:texts", "--flag", "//a:fast=perhaps"],
        &["build", "//a:texts", "--config", "small"],
        &["build", "//a:texts", "--platform", "vax"],
        &["build", "//a:texts", "--toolchain", "//a:clang"],
        &["test", "//nope"],
        &["test", "//a:texts"],
        &["query", "deps(//nope)"],
        &["query", "deps(//a:txets)"],
        &["aquery", "//nope"],
        &["affected", "--since", "HEAD", "//nope"],
        &["affected", "--since", "HEAD", "//a:txets"],
        &["affected", "--since", "nobody"],
        &["explain", "//a:txets"],
        &["graph", "//a:txets"],
        &["bundle", "//nope"],
        &["-C", "nosuch", "build"],
    ] {
        let said = workspace.fails(2, arguments);
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    for settings in ["[build]\njobs = \"many\"\n", "[config.small]\nflags = { \"//a:fats\" = true }\n"] {
        workspace.write("ouro.toml", settings);
        workspace.fails(2, &["build", "//a:texts", "--config", "small"]).says("ouro.toml:");
    }
    workspace.write("ouro.toml", "");
    workspace.fails(2, &["affected", "--since", "HEAD", "//nope"]).says("there is no package `//nope`");
}

/// Files that only a deployer reads were 1, and 3 where they hold keys.
#[test]
fn a_file_that_is_not_there_is_two_whoever_reads_it() {
    let workspace = workspace();
    for arguments in [
        &["deploy", "--bundle", "nosuch"][..],
        &["plan", "--bundle", "nosuch"],
        &["run", "--bundle", "nosuch"],
        &["deploy", "--bundle", "a/a.txt", "--btf", "nosuch"],
        &["bundle", "--bundle", "nosuch", "--sign", "a/a.txt"],
        &["bundle", "--verify", "nosuch"],
        &["verify", "--object", "nosuch"],
        &["verify", "--object", "a/a.txt", "--btf", "nosuch"],
        &["key", "public", "nosuch"],
    ] {
        let said = workspace.fails(2, arguments);
        assert!(said.err.contains("cannot read") && said.err.contains("`nosuch`"), "{arguments:?}: {}", said.err);
    }
    workspace.fails(1, &["key", "public", "a"]).says("cannot read the key `a`");
}

#[test]
fn what_is_wrong_in_files_is_one() {
    let workspace = workspace();
    workspace.write("bad/BUILD", "filegroup(name = \"bad\", srcs = [\"b.txt\"])\n");
    for arguments in [&["build", "//..."][..], &["query", "//..."], &["aquery", "//bad"], &["explain", "//bad"]] {
        workspace.fails(1, arguments).says("no target or file `//bad:b.txt`");
    }
    workspace.write("bad/BUILD", "filegroup(name = \"bad\", sources = [])\n");
    workspace.fails(1, &["build", "//bad", "//a:txets"]).says("unknown attribute `sources`").says("no target `txets`");
}
