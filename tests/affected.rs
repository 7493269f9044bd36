//! `ouro affected` in a real git repository.

mod support;

use std::fs;
use std::process::Command;

use support::{Said, Workspace};

const COPY: &str = "cmd = \"cat $(SRCS) > $@\"";

/// Packages `a` (two targets, one of a list and one of a `glob()`), `b` (one that depends on `a`, one that does not), `c` (behind
/// a `.star` file), all committed.
fn repository() -> Workspace {
    let b = format!(
        "genrule(name = \"user\", srcs = [\"//a:listed\"], outs = [\"user.txt\"], {COPY})\n\
         genrule(name = \"alone\", srcs = [\"b.txt\"], outs = [\"alone.txt\"], {COPY})\n\
         filegroup(name = \"of_file\", srcs = [\"user.txt\"], tags = [\"manual\"])\n"
    );
    let workspace = Workspace::with(&[
        (".gitignore", "ignored.txt\n"),
        (
            "a/BUILD",
            "package(default_visibility = [\"//visibility:public\"])\n\
             filegroup(name = \"listed\", srcs = [\"one.txt\"])\n\
             filegroup(name = \"globbed\", srcs = glob([\"data/*.txt\"], exclude = [\"data/not.txt\"]))\n",
        ),
        ("a/one.txt", ""),
        ("a/data/x.txt", "x"),
        ("a/data/y.txt", "y"),
        ("a/readme.md", ""),
        ("b/BUILD", &b),
        ("b/b.txt", ""),
        ("lib/inner.star", "NAMES = [\"made\"]\n"),
        ("lib/defs.star", "load(\"//lib:inner.star\", \"NAMES\")\ndef group(): [filegroup(name = name) for name in NAMES]\n"),
        ("c/BUILD", "load(\"//lib:defs.star\", \"group\")\ngroup()\n"),
    ]);
    git(&workspace, &["init", "-q", "."]);
    commit(&workspace);
    workspace
}

fn git(workspace: &Workspace, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false"]);
    let said = Said::of(command.args(arguments).current_dir(workspace.root()).output().expect("git runs"));
    assert_eq!(said.code, 0, "git {arguments:?}\n{}", said.err);
}

fn commit(workspace: &Workspace) {
    git(workspace, &["add", "-A"]);
    git(workspace, &["commit", "-qm", "step", "--allow-empty"]);
}

/// The labels of the affected targets since the last commit.
#[track_caller]
fn affects(workspace: &Workspace, labels: &[&str]) {
    let said = workspace.ok(&["affected", "--since", "HEAD"]);
    assert_eq!(said.out.lines().collect::<Vec<_>>(), labels);
}

const ALL_OF_A: [&str; 3] = ["//a:globbed", "//a:listed", "//b:user"];

#[test]
fn nothing_changed_and_nothing_is_affected() {
    let workspace = repository();
    affects(&workspace, &[]);
    workspace.ok(&["build", "//..."]);
    affects(&workspace, &[]);
    workspace.write("a/readme.md", "nobody reads it");
    workspace.write("a/new.md", "nobody looks for it");
    workspace.write("a/data/not.txt", "left out by the pattern");
    workspace.write("a/data/.hidden.txt", "");
    workspace.write("a/data/deep/z.txt", "the pattern does not go so deep");
    workspace.write("a/ignored.txt", "");
    affects(&workspace, &[]);
}

#[test]
fn a_changed_source_touches_its_owners_and_those_above() {
    let workspace = repository();
    workspace.write("a/one.txt", "changed");
    affects(&workspace, &["//a:listed", "//b:user"]);
    git(&workspace, &["add", "-A"]);
    affects(&workspace, &["//a:listed", "//b:user"]);
    commit(&workspace);
    affects(&workspace, &[]);
    let since = |revision: &str| workspace.ok(&["affected", "--since", revision]).out;
    assert_eq!(since("HEAD~1"), "//a:listed\n//b:user\n");
    workspace.write("b/b.txt", "changed");
    assert_eq!(since("HEAD~1"), "//a:listed\n//b:alone\n//b:user\n");
    fs::remove_file(workspace.path("a/one.txt")).unwrap();
    workspace.fails(1, &["affected", "--since", "HEAD"]).says("`//a:one.txt`");
}

#[test]
fn files_that_come_and_go_touch_the_packages_that_look_for_them() {
    let workspace = repository();
    workspace.write("a/data/new.txt", "");
    affects(&workspace, &ALL_OF_A);
    fs::remove_file(workspace.path("a/data/new.txt")).unwrap();
    affects(&workspace, &[]);
    fs::remove_file(workspace.path("a/data/x.txt")).unwrap();
    affects(&workspace, &ALL_OF_A);
    git(&workspace, &["checkout", "-q", "."]);
    // A rename is a file that went and one that came, whatever git makes of it: here neither name matches alone.
    git(&workspace, &["mv", "a/data/x.txt", "a/x.txt"]);
    affects(&workspace, &ALL_OF_A);
    commit(&workspace);
    git(&workspace, &["mv", "a/x.txt", "a/data/z.txt"]);
    affects(&workspace, &ALL_OF_A);
    commit(&workspace);
    // The files below a new package are no longer the outer one's.
    workspace.write("a/data/BUILD", "filegroup(name = \"inner\")\n");
    workspace.edit("a/BUILD", "exclude = [\"data/not.txt\"]", "allow_empty = True");
    commit(&workspace);
    fs::remove_file(workspace.path("a/data/BUILD")).unwrap();
    affects(&workspace, &ALL_OF_A);
}

#[test]
fn declarations_touch_whole_packages() {
    let workspace = repository();
    let text = workspace.read("a/BUILD");
    workspace.write("a/BUILD", &format!("{text}# more\n"));
    affects(&workspace, &ALL_OF_A);
    git(&workspace, &["checkout", "-q", "."]);
    workspace.write("lib/inner.star", "NAMES = [\"made\", \"more\"]\n");
    affects(&workspace, &["//c:made", "//c:more"]);
    git(&workspace, &["checkout", "-q", "."]);
    workspace.write("d/BUILD", "filegroup(name = \"d\")\n");
    affects(&workspace, &["//d:d"]);
    workspace.write("ouro.toml", "# changed\n");
    affects(&workspace, &["//a:globbed", "//a:listed", "//b:alone", "//b:user", "//c:made", "//d:d"]);
}

#[test]
fn patterns_narrow_and_manual_targets_are_named() {
    let workspace = repository();
    workspace.write("a/one.txt", "changed");
    let among = |patterns: &[&str]| workspace.ok(&[&["affected", "--since", "HEAD"], patterns].concat()).out;
    assert_eq!(among(&["//b/..."]), "//b:user\n");
    assert_eq!(among(&["//...", "-//a:all"]), "//b:user\n");
    assert_eq!(among(&["//b:of_file", "//c:all"]), "//b:of_file\n");
    assert_eq!(among(&["--tests"]), "");
    let json: serde_json::Value = serde_json::from_str(&among(&["-o", "json", "//b:user"])).unwrap();
    let target = serde_json::json!({ "label": "//b:user", "kind": "genrule rule", "test": false });
    assert_eq!(json, serde_json::json!({ "since": "HEAD", "changed": ["a/one.txt"], "targets": [target] }));
    workspace.fails(2, &["affected", "--since", "HEAD", "//b:usr"]).says("did you mean `user`?");
    workspace.fails(2, &["affected", "--since", "HEAD", "//bb:all"]).says("there is no package `//bb`");
}

/// The workspace is a folder of a larger repository, and what happens beside it does not matter.
#[test]
fn paths_start_at_the_workspace() {
    let workspace = Workspace::with(&[
        ("ouro.toml", ""),
        ("one.txt", ""),
        ("inner/ouro.toml", ""),
        ("inner/BUILD", "filegroup(name = \"x\", srcs = [\"ä.txt\"])\n"),
        ("inner/ä.txt", ""),
    ]);
    git(&workspace, &["init", "-q", "."]);
    commit(&workspace);
    let affected = || workspace.ok(&["-C", "inner", "affected", "--since", "HEAD"]).out;
    workspace.write("one.txt", "changed");
    assert_eq!(affected(), "");
    workspace.edit("inner/BUILD", "ä.txt", "ü.txt");
    git(&workspace, &["mv", "inner/ä.txt", "inner/ü.txt"]);
    commit(&workspace);
    workspace.write("inner/ü.txt", "changed");
    assert_eq!(affected(), "//:x\n");
}

/// A program is not built from what it jumps to; a chain is. But it is checked against their declarations.
#[test]
fn jumps_do_not_carry_changes_of_sources() {
    let workspace = Workspace::example("firewall");
    let text = workspace.read("fw/BUILD.ouro");
    let (rest, allow) = text.split_once("bpf_program(\n    name = \"allow\"").unwrap();
    let (allow, chain) = allow.split_once(")\n").unwrap();
    let moved = |text: &str| text.replace("\":allow\"", "\"//allow\"");
    let (allow, rest, chain) = (allow.replace("\":", "\"//fw:"), moved(rest), moved(chain));
    let public = "package(default_visibility = [\"//visibility:public\"])\n";
    workspace.write("fw/BUILD.ouro", &format!("{public}{rest}{chain}"));
    workspace.write("allow/BUILD", &format!("{public}bpf_program(\n    name = \"allow\"{allow})\n"));
    fs::rename(workspace.path("fw/allow.c"), workspace.path("allow/allow.c")).unwrap();
    git(&workspace, &["init", "-q", "."]);
    commit(&workspace);
    let source = workspace.read("allow/allow.c");
    workspace.write("allow/allow.c", &format!("{source}/* changed */\n"));
    affects(&workspace, &["//allow:allow", "//fw:fw", "//fw:objects_test"]);
    git(&workspace, &["checkout", "-q", "."]);
    workspace.edit("allow/BUILD", "//fw:verdict\"", "//fw:packet\", \"//fw:verdict\"");
    affects(&workspace, &["//allow:allow", "//fw:block_list", "//fw:fw", "//fw:objects_test", "//fw:parse", "//fw:rate_limit"]);
}

#[test]
fn without_git_or_revision_there_is_a_clear_error() {
    let workspace = Workspace::with(&[("BUILD", "")]);
    let mut outside = workspace.command(&["affected", "--since", "HEAD"]);
    let said = Said::of(outside.env("GIT_CEILING_DIRECTORIES", workspace.path("..")).output().unwrap());
    assert_eq!(said.code, 2);
    said.says("not a git repository");
    git(&workspace, &["init", "-q", "."]);
    workspace.fails(2, &["affected", "--since", "HEAD"]).says("git knows no revision `HEAD`");
    commit(&workspace);
    workspace.fails(2, &["affected", "--since", "--all"]);
    workspace.fails(2, &["affected", "--since=--all"]).says("git knows no revision `--all`");
    workspace.fails(2, &["affected", "--since", "nope"]).says("git knows no revision `nope`").says("shallow clone");
    workspace.fails(2, &["affected"]).says("--since");
    let said = Said::of(workspace.command(&["affected", "--since", "HEAD"]).env("PATH", "/nowhere").output().unwrap());
    assert_eq!(said.code, 3);
    said.says("cannot run `git`");
}
