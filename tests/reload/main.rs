//! Edits of BUILD files, modules and folders: after each the files, the targets and the findings are those of a clean build, and
//! where that is promised only the packages that the edit touches were loaded again.

#[path = "../support/mod.rs"]
mod support;

mod build;
mod edits;
mod headers;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use build::Way::{Near, Whole, Wrong};
use build::{Build, files, is_as_clean};
use edits::{EDITS, Edit, add};
use support::damage::{damaged, snapshot};
use support::{Said, Workspace, copy};

/// Programs that jump over three packages, with a map and a header of others; scripts, some by a macro and one of a rule of users'.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reload/workspace"), &workspace.root());
    workspace
}

/// Makes the edits one after the other, each followed by a build of `pattern`.
fn make(workspace: &Workspace, pattern: &str, edits: &[Edit]) {
    let (cache, mut broken) = (tempfile::tempdir().unwrap(), Vec::new());
    workspace.settle(&["build", pattern, "-k"]);
    for (what, way, edit) in edits {
        edit(workspace);
        let build = Build::of(workspace, pattern, None);
        let taken = match (build.way(), way) {
            (Wrong(_), Wrong(words)) if build.said.err.contains(words) => Wrong(words),
            (taken, _) => taken,
        };
        if taken != *way {
            broken.push(format!("{what}: {taken:?} instead of {way:?}: {}", build.said.err));
        }
        is_as_clean(workspace, &build, pattern, &cache, what);
        if build.said.code == 0 {
            let made = files(&workspace.path("ouro-out"));
            workspace.settle(&["build", pattern, "-k"]);
            assert!(made == files(&workspace.path("ouro-out")), "{what}: changed by a build that had nothing to do");
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn after_every_edit_all_is_as_in_a_clean_build() {
    make(&workspace(), "//...", EDITS);
}

/// Who asks for one target gets what that needs, and no more: what it no longer needs may be as broken as it likes.
#[test]
fn one_target_alone() {
    let edits: &[Edit] = &[
        ("what it does not need", Near(0), |w| w.edit("text/BUILD.ouro", "cmd = \"cat\"", "cmd = \"false\"")),
        ("what it needs", Near(2), |w| w.edit("text/BUILD.ouro", "\"head -n1\"", "\"tail -n1\"")),
        ("another source of it", Near(1), |w| w.edit("more/BUILD.ouro", "\"//text:first.out\"", "\"m.txt\"")),
        ("a target that nobody needed", Whole, |w| {
            w.edit("more/BUILD.ouro", "[\"//text:first\", \"m.txt\"]", "[\"//text:first\", \"m.txt\", \"//text:by_hand\"]");
        }),
        ("that one", Near(2), |w| w.edit("text/BUILD.ouro", "\"tail -n1\", tags", "\"sort\", tags")),
        ("a package that nobody needed", Near(1), |w| {
            w.edit("more/BUILD.ouro", "\"//text:by_hand\"]", "\"//text:by_hand\", \"//conf:plain.txt\"]")
        }),
        ("and needs again no more", Whole, |w| w.edit("more/BUILD.ouro", ", \"//conf:plain.txt\"]", "]")),
        ("a package that it needs no more", Whole, |w| {
            w.edit("more/BUILD.ouro", "[\"//text:first\", \"m.txt\", \"//text:by_hand\"]", "[\"m.txt\"]");
            w.edit("more/BUILD.ouro", "deps = [\"//text:words\"]", "deps = []");
        }),
        ("is broken", Near(0), |w| w.write("text/BUILD.ouro", "this is no BUILD file")),
    ];
    make(&workspace(), "//more:second", edits);
}

/// Names that stand for others, groups of packages, and rules that hand on what they were given by name.
#[test]
fn what_is_seen_through_others() {
    let workspace = workspace();
    add(
        &workspace,
        "b/BUILD.ouro",
        "alias(name = \"next\", actual = \"//c\")\npackage_group(name = \"friends\", packages = [\"//d\"])\n",
    );
    workspace.edit("b/BUILD.ouro", "jumps = [\"//c\"]", "jumps = [\":next\"]");
    workspace.edit("b/b.c", "OURO_JUMP(ctx, c)", "OURO_JUMP(ctx, next)");
    let wrap = "def _wrap(ctx):\n    return [ctx.attr.program[BpfObjectInfo], ctx.attr.program[BpfMapsInfo], ctx.attr.program[BpfEdgesInfo]]\n\
        wrap = rule(implementation = _wrap, attrs = {\"program\": attr.label(providers = [BpfObjectInfo])})\n";
    add(&workspace, "rules/defs.star", wrap);
    workspace.write(
        "d/BUILD.ouro",
        "load(\"//rules:defs.star\", \"wrap\")\nwrap(name = \"a\", program = \"//a\")\nbpf_chain(name = \"wrapped\", entry = \":a\", attach = [tc(interface = \"eth1\", direction = \"ingress\")])\n",
    );
    workspace.edit("a/BUILD.ouro", "[\"//chain:__pkg__\"]", "[\"//chain:__pkg__\", \"//b:friends\"]");
    workspace.edit(
        "d/BUILD.ouro",
        "attach = [tc(interface = \"eth1\", direction = \"ingress\")]",
        "attach = [xdp(interface = \"eth1\")]",
    );
    let edits: &[Edit] = &[
        ("a program behind an alias", Near(3), |w| w.edit("c/BUILD.ouro", "type =", "defines = [\"C=1\"], type =")),
        ("its slot", Near(3), |w| w.edit("c/BUILD.ouro", "type =", "slot = 9, type =")),
        ("an alias that stands for another", Whole, |w| {
            w.write(
                "e/BUILD.ouro",
                "bpf_program(name = \"e\", srcs = [\"e.c\"], type = \"xdp\", visibility = [\"//visibility:public\"])\n",
            );
            w.write("e/e.c", &w.read("d/d.c").replace("int d(", "int e(").replace("#include \"lib/lib.h\"\n", ""));
            w.edit("b/BUILD.ouro", "actual = \"//c\"", "actual = \"//e\"");
        }),
        ("the one it stands for", Near(3), |w| w.edit("e/BUILD.ouro", "type =", "slot = 3, type =")),
        ("a map that is handed on by name", Near(5), |w| w.edit("maps/BUILD.ouro", "max_entries = 4", "max_entries = 8")),
        ("a group that says who may see", Whole, |w| w.edit("b/BUILD.ouro", "[\"//d\"]", "[\"//d\", \"//e\"]")),
        ("one that leaves out who does", Wrong("is not visible to"), |w| {
            w.edit("b/BUILD.ouro", "[\"//d\", \"//e\"]", "[\"//e\"]")
        }),
        ("and back", Near(0), |w| w.edit("b/BUILD.ouro", "[\"//e\"]", "[\"//d\", \"//e\"]")),
    ];
    make(&workspace, "//...", edits);
}

/// A set shares its parts with others. Written out whole this one would fill the disk, so it is not kept.
#[test]
fn sets_that_are_endless_when_written_out() {
    let workspace = workspace();
    let public = "visibility = [\"//visibility:public\"]";
    let first = "load(\"//rules:defs.star\", \"words\")\nwords(name = \"l0\", srcs = [\"d.txt\"])\nwords(name = \"m0\", srcs = [\"d.txt\"])\n";
    let mut build = first.to_owned();
    for (below, name) in (1..30).enumerate() {
        for side in ["l", "m"] {
            build += &format!("words(name = \"{side}{name}\", deps = [\":l{below}\", \":m{below}\"], {public})\n");
        }
    }
    workspace.write("deep/BUILD.ouro", &build);
    workspace.write("deep/d.txt", "d\n");
    workspace.edit("more/BUILD.ouro", "deps = [\"//text:words\"]", "deps = [\"//deep:l29\"]");
    let edits: &[Edit] = &[
        ("who names the set", Near(0), |w| w.edit("more/BUILD.ouro", "\"//deep:l29\"", "\"//deep:m29\"")),
        ("another", Near(0), |w| w.edit("more/BUILD.ouro", "\"//deep:m29\"", "\"//deep:m28\"")),
        ("who makes it", Whole, |w| {
            w.write("deep/e.txt", "e\n");
            w.edit("deep/BUILD.ouro", "name = \"l0\", srcs = [\"d.txt\"]", "name = \"l0\", srcs = [\"e.txt\"]");
        }),
    ];
    make(&workspace, "//...", edits);
}

/// Whatever was killed when: the next build makes all good.
#[test]
fn a_killed_build_leaves_nothing_wrong() {
    let (workspace, cache) = (workspace(), tempfile::tempdir().unwrap());
    workspace.settle(&["build", "//...", "-k"]);
    for round in 0..24_u64 {
        let text = workspace.read("text/BUILD.ouro");
        let name = format!("name = \"r{round}\"");
        workspace.write(
            "text/BUILD.ouro",
            &text.replace("name = \"lists\"", &name).replace(&format!("name = \"r{}\"", round.wrapping_sub(1)), &name),
        );
        workspace.write(
            "c/BUILD.ouro",
            &workspace.read("c/BUILD.ouro").replacen(
                "type =",
                &format!("defines = [\"C={round}\"], type ="),
                usize::from(round == 0),
            ),
        );
        let mut child = workspace.command(&["build", "//...", "-k"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        let build = Build::of(&workspace, "//...", None);
        assert_eq!(build.said.code, 0, "{}", build.said.err);
        is_as_clean(&workspace, &build, "//...", &cache, &format!("killed after {} ms", round * 7));
        if round % 3 == 0 {
            workspace.settle(&["build", "//...", "-k"]);
        }
    }
}

#[test]
fn an_interrupted_build_is_begun_again() {
    let (workspace, cache) = (workspace(), tempfile::tempdir().unwrap());
    workspace.settle(&["build", "//...", "-k"]);
    workspace.edit("text/BUILD.ouro", "\"head -n1\"", "\"sleep 60; head -n1\"");
    let build = workspace.command(&["build", "//..."]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    // SAFETY: sends a signal to our own child, which nobody has waited for yet.
    unsafe { libc::kill(build.id() as libc::pid_t, libc::SIGINT) };
    let said = Said::of(build.wait_with_output().unwrap());
    assert_eq!(said.code, 130, "{}", said.err);
    workspace.edit("text/BUILD.ouro", "sleep 60; head", "sleep 0; head");
    let build = Build::of(&workspace, "//...", None);
    assert_eq!(build.way(), Near(2), "{}", build.said.err);
    is_as_clean(&workspace, &build, "//...", &cache, "interrupted");
}

#[test]
fn damage_of_what_is_kept_costs_time_alone() {
    let (workspace, cache) = (workspace(), tempfile::tempdir().unwrap());
    workspace.settle(&["build", "//...", "-k"]);
    workspace.edit("text/BUILD.ouro", "\"head -n1\"", "\"head -n 1\"");
    workspace.settle(&["build", "//...", "-k"]);
    let (path, source) = (snapshot(&workspace), workspace.read("text/BUILD.ouro"));
    for (round, (place, bytes)) in damaged(&fs::read(&path).unwrap(), 40).enumerate() {
        fs::write(&path, bytes).unwrap();
        workspace.write("text/BUILD.ouro", &source.replace("head -n 1", &format!("sed s/^/{round}:/")));
        let build = Build::of(&workspace, "//...", None);
        assert_eq!(build.said.code, 0, "{}", build.said.err);
        if round % 8 == 0 {
            is_as_clean(&workspace, &build, "//...", &cache, &format!("damage at byte {place}"));
        }
        let made = files(&workspace.path("ouro-out"));
        let (_, first) = made.iter().find(|(path, _)| path.ends_with("text/first.out")).unwrap();
        assert!(first.starts_with(format!("{round}:").as_bytes()), "byte {place}: {}", build.said.err);
    }
}
