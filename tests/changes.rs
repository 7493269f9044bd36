//! Changes that builds once missed: each test tells what a user saw.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use support::Workspace;

const NOTHING: &str = "nothing to do";

fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

fn mode(workspace: &Workspace, path: &str, mode: u32) {
    fs::set_permissions(workspace.path(path), Permissions::from_mode(mode)).unwrap();
}

fn mode_of(workspace: &Workspace, name: &str) -> u32 {
    let folder = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path());
    let place = folder.map(|folder| folder.join(name)).find(|path| path.is_file()).expect("an output");
    fs::metadata(place).unwrap().permissions().mode() & 0o111
}

/// A module that was removed while the build ran was taken for one that had never been there: every later build had nothing to do.
#[test]
fn a_module_that_goes_while_it_is_built_is_missed_at_once() {
    let workspace = Workspace::with(&[
        ("lib/BUILD", ""),
        (
            "lib/defs.star",
            "def made(name):\n    genrule(name = name, outs = [name + \".txt\"], cmd = \"rm -f lib/defs.star; echo > $@\")\n",
        ),
        ("fw/BUILD", "load(\"//lib:defs.star\", \"made\")\nmade(name = \"a\")\n"),
    ]);
    settle();
    workspace.ok(&["build", "//fw:a", "--sandbox=off"]);
    settle();
    workspace.fails(1, &["build", "//fw:a"]).says("no file `lib/defs.star`");
}

/// A glob did not find a link whose target came later: only the folder's own time was looked at.
#[test]
fn a_link_that_comes_to_lead_to_a_file_is_seen() {
    let workspace = Workspace::with(&[
        ("a/BUILD", "genrule(name = \"texts\", srcs = glob([\"*.txt\"]), outs = [\"all.out\"], cmd = \"cat $(SRCS) > $@\")\n"),
        ("a/one.txt", "1\n"),
        ("other/keep", ""),
    ]);
    symlink("../other/two.txt", workspace.path("a/two.txt")).unwrap();
    for _ in 0..3 {
        settle();
        workspace.ok(&["build", "//a:texts"]);
    }
    workspace.ok(&["build", "//a:texts"]).says(NOTHING);
    workspace.write("other/two.txt", "2\n");
    workspace.ok(&["build", "//a:texts"]);
    let out = fs::read_dir(workspace.path("ouro-out"))
        .unwrap()
        .find_map(|entry| fs::read_to_string(entry.unwrap().path().join("a/all.out")).ok());
    assert_eq!(out.as_deref(), Some("1\n2\n"));
}

/// The right to run a file went unnoticed: by copies, by tests, and for outputs that someone changed.
#[test]
fn the_right_to_run_a_file_is_part_of_it() {
    let workspace = Workspace::with(&[
        (
            "BUILD",
            "genrule(name = \"copy\", srcs = [\"s.sh\"], outs = [\"c.sh\"], cmd = \"cp $(SRCS) $@\")\nsh_test(name = \"t\", srcs = [\"s.sh\"])\n",
        ),
        ("s.sh", "#!/bin/sh\nexit 0\n"),
    ]);
    mode(&workspace, "s.sh", 0o755);
    settle();
    workspace.ok(&["build", "//:copy"]);
    workspace.ok(&["test", "//:t"]);
    assert_eq!(mode_of(&workspace, "c.sh"), 0o111);
    mode(&workspace, "s.sh", 0o644);
    workspace.ok(&["build", "//:copy"]);
    assert_eq!(mode_of(&workspace, "c.sh"), 0);
    assert_ne!(workspace.ouro(&["test", "//:t"]).code, 0, "a script that may not be run");
    mode(&workspace, "s.sh", 0o755);
    workspace.ok(&["build", "//:copy"]);
    assert_eq!(mode_of(&workspace, "c.sh"), 0o111);
}

/// A header of the system was changed after one action had read it and before the next did: the second result went to the cache
/// under the first bytes.
#[test]
fn a_header_outside_the_workspace_that_changes_meanwhile_belongs_to_no_result() {
    let outside = tempfile::tempdir().unwrap();
    let header = outside.path().join("outside.h");
    fs::write(&header, "#define VALUE 1\n").unwrap();
    let program = |name: &str| {
        format!(
            "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include \"{}\"\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ return VALUE; }}\nchar _license[] SEC(\"license\") = \"GPL\";\n",
            header.display()
        )
    };
    let build = format!(
        "bpf_program(name = \"a\", srcs = [\"a.c\"], type = \"xdp\")\n\
         genrule(name = \"change\", srcs = [\":a\"], outs = [\"changed.h\"], cmd = \"sleep 0.1; echo '#define VALUE 2' > {}; sleep 0.1; echo > $@\")\n\
         bpf_library(name = \"after\", hdrs = [\":change\"])\n\
         bpf_program(name = \"b\", srcs = [\"b.c\"], type = \"xdp\", deps = [\":after\"])\n",
        header.display()
    );
    let settings = format!("[sandbox]\nmode = \"off\"\nread = [\"{}\"]\n", outside.path().display());
    let workspace = Workspace::with(&[
        ("ouro.toml", &settings),
        ("BUILD", &build),
        ("a.c", &program("a")),
        ("b.c", &format!("#include \"changed.h\"\n{}", program("b"))),
    ]);
    settle();
    workspace.ok(&["build", "-j1", "//:b"]);
    fs::write(&header, "#define VALUE 1\n").unwrap();
    workspace.write("a.c", &program("a").replace("return VALUE", "return VALUE + 0"));
    workspace.edit("BUILD", "sleep 0.1; echo '#define VALUE 2'", "true; echo '#define VALUE 1'");
    settle();
    workspace.ok(&["build", "//:b"]);
    let object = |workspace: &Workspace| {
        let folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path().join("b.o"));
        folders.filter_map(|path| fs::read(path).ok()).next().expect("an object")
    };
    let ours = object(&workspace);
    fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
    fs::remove_dir_all(workspace.path(".ouro")).unwrap();
    workspace.ok(&["build", "--cache", &outside.path().join("cache").display().to_string(), "//:b"]);
    assert!(ours == object(&workspace), "another object than from a fresh cache");
}

/// What a flag or condition says decides what is compiled, and CI was told that only the flag itself had changed.
#[test]
fn who_chooses_by_a_flag_is_affected_by_it() {
    let workspace = Workspace::with(&[
        (
            "plat/BUILD",
            "package(default_visibility = [\"//visibility:public\"])\nstring_flag(name = \"level\", default = \"low\")\n\
             config_setting(name = \"high\", flags = {\":level\": \"high\"})\n",
        ),
        (
            "fw/BUILD",
            "genrule(name = \"p\", outs = [\"p.txt\"], cmd = select({\"//plat:high\": \"echo high > $@\", \"//conditions:default\": \"echo low > $@\"}))\n",
        ),
    ]);
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments).current_dir(workspace.root());
        assert!(command.output().unwrap().status.success(), "git {arguments:?}");
    };
    git(&["init", "-q", "."]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    workspace.edit("plat/BUILD", "\"low\"", "\"high\"");
    assert_eq!(workspace.ok(&["affected", "--since", "HEAD"]).out, "//fw:p\n//plat:high\n//plat:level\n");
    assert_eq!(workspace.ok(&["query", "rdeps(//..., //plat:level) ^ //fw:all"]).out, "//fw:p\n");
}

/// Queries did not know repositories, and a program's object could be named in tests but not in genrules.
#[test]
fn repositories_and_objects_have_names_everywhere() {
    let source = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return XDP_PASS; }\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    let workspace = Workspace::with(&[
        ("ouro.toml", "[repositories]\nlib = \"third_party/lib\"\n"),
        ("third_party/lib/pkg/BUILD", "filegroup(name = \"l\", visibility = [\"//visibility:public\"])\n"),
        (
            "BUILD",
            "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\")\ngenrule(name = \"c\", srcs = [\":p\"], outs = [\"c.o\"], cmd = \"cp $(location :p) $@\")\n",
        ),
        ("p.c", source),
    ]);
    assert_eq!(workspace.ok(&["query", "@lib//pkg:l"]).out, "//third_party/lib/pkg:l\n");
    assert_eq!(workspace.ok(&["query", "deps(@lib//...)"]).out, "//third_party/lib/pkg:l\n");
    workspace.fails(2, &["query", "@lob//pkg:l"]).says("did you mean `lib`?");
    workspace.ok(&["build", "//:c"]);
}

/// The folders that the first build makes changed the root so shortly before that nothing could be remembered of it.
#[test]
fn the_second_build_of_a_checkout_has_nothing_to_do() {
    let workspace = Workspace::with(&[("BUILD", "genrule(name = \"a\", outs = [\"a.txt\"], cmd = \"echo > $@\")\n")]);
    settle();
    workspace.ok(&["build", "//..."]);
    workspace.ok(&["build", "//..."]).says(NOTHING);
}

/// One `manual` target for another machine made queries and `affected` fail in the whole workspace.
#[test]
fn a_target_that_has_nothing_to_choose_is_left_out_of_queries() {
    let build = "config_setting(name = \"arm\", arch = \"arm\")\n\
         genrule(name = \"far\", outs = [\"far.txt\"], cmd = select({\":arm\": \"echo > $@\"}), tags = [\"manual\"])\n\
         genrule(name = \"near\", outs = [\"near.txt\"], cmd = \"echo > $@\")\n";
    let workspace = Workspace::with(&[("BUILD", build)]);
    let said = workspace.ok(&["query", "--platform", "x86", "kind(genrule, //...)"]);
    assert_eq!(said.out, "//:near\n");
    said.says("left out, for no branch of a `select()` holds: //:far");
    let said = workspace.ok(&["query", "--platform", "arm", "kind(genrule, //...)"]);
    assert_eq!(said.out, "//:far\n//:near\n");
    // Who needs it is told so.
    workspace.edit("BUILD", "cmd = \"echo > $@\"", "srcs = [\":far\"], cmd = \"cat $(SRCS) > $@\"");
    workspace.fails(1, &["query", "--platform", "x86", "//..."]).says("no condition of this `select()` holds");
}

/// What cannot be written was said after all tests had run, and what is never written was not said at all.
#[test]
fn flags_that_cannot_be_followed_are_refused_at_once() {
    let workspace = Workspace::with(&[("BUILD", "sh_test(name = \"t\", srcs = [\"t.sh\"])\n"), ("t.sh", "#!/bin/sh\n")]);
    mode(&workspace, "t.sh", 0o755);
    workspace.fails(2, &["test", "--junit", "gone/x.xml"]).says("there is no folder `gone`");
    workspace.fails(2, &["test", "--profile", "p.json"]).says("neither a profile nor events");
    workspace.fails(2, &["build", "--nobuild", "--profile", "p.json"]).says("cannot be used with");
    assert!(!workspace.path("ouro-out").exists() && !workspace.path("p.json").exists());
}
