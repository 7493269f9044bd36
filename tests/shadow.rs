//! Which headers count: one that is declared and never read makes nothing run, and one that a compiler would find before what it read
//! always does, whether the next build goes by the snapshot, by the workspace's memory, or by the cache alone.

mod support;

use std::fs;
use std::time::Duration;

use support::{Said, Workspace};

const PROGRAM: &str = "#include <ouro/program.h>\n#include \"lib.h\"\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return VERDICT; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";

/// A program in `fw` that finds its header in the last of three libraries.
fn workspace() -> Workspace {
    let library = |name: &str| {
        format!(
            "bpf_library(name = \"{name}\", hdrs = glob([\"*.h\"]), includes = [\".\"], visibility = [\"//visibility:public\"])\n"
        )
    };
    Workspace::with(&[
        (
            "fw/BUILD.ouro",
            "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\"//first\", \"//second\", \"//third\"])\n",
        ),
        ("fw/p.c", PROGRAM),
        ("first/BUILD.ouro", &library("first")),
        ("second/BUILD.ouro", &library("second")),
        ("third/BUILD.ouro", &library("third")),
        ("first/a.h", "#define A 1\n"),
        ("first/stays.h", ""),
        ("second/b.h", "#define B 1\n"),
        ("third/lib.h", "#define VERDICT XDP_PASS\n"),
    ])
}

/// How the next build finds out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Snapshot,
    Memory,
    Cache,
}

const ALL: [By; 3] = [By::Snapshot, By::Memory, By::Cache];

/// Builds after a change, when only this much is known of the build before it.
fn build(workspace: &Workspace, by: By) -> Said {
    std::thread::sleep(Duration::from_millis(50));
    match by {
        By::Snapshot => {}
        By::Memory => fs::remove_dir_all(workspace.path(".ouro/snapshots")).unwrap(),
        By::Cache => {
            fs::remove_dir_all(workspace.path(".ouro")).unwrap();
            fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
        }
    }
    workspace.ouro(&["build", "//fw:p"])
}

/// A change, what it is, and whether it makes the program be compiled again.
type Change = (&'static str, fn(&Workspace), bool);

const CHANGES: &[Change] = &[
    ("an unread header changes", |w| w.write("first/a.h", "#define A 2\n"), false),
    ("an unread header is new", |w| w.write("first/new.h", ""), false),
    ("an unread header is gone", |w| fs::remove_file(w.path("first/a.h")).unwrap(), false),
    ("an unread header with the name of a folder on the way", |w| w.write("first/lib.d/x.h", ""), false),
    ("a header of that name behind the one that is read", |w| w.write("third/below/lib.h", ""), false),
    ("a header before it", |w| w.write("second/lib.h", "#define VERDICT XDP_DROP\n"), true),
    ("a header before all", |w| w.write("first/lib.h", "#define VERDICT XDP_DROP\n"), true),
    ("the same text before it", |w| w.write("first/lib.h", "#define VERDICT XDP_PASS\n"), true),
    ("a link before it", |w| std::os::unix::fs::symlink("../third/lib.h", w.path("second/lib.h")).unwrap(), true),
    ("the header itself", |w| w.write("third/lib.h", "#define VERDICT XDP_TX\n"), true),
];

#[test]
fn only_a_header_that_would_be_read_counts() {
    for by in ALL {
        for (what, change, counts) in CHANGES {
            let workspace = workspace();
            workspace.settle(&["build", "//fw:p"]);
            change(&workspace);
            let said = build(&workspace, by);
            assert_eq!(said.code, 0, "{what}, by {by:?}: {}", said.err);
            assert_eq!(!said.compiled().is_empty(), *counts, "{what}, by {by:?}: {}", said.err);
        }
    }
}

/// A header next to the file that asks is found first, declared or not: it is an error where it is not declared, not an old object.
#[test]
fn a_header_beside_the_source_is_never_overlooked() {
    for by in ALL {
        let workspace = workspace();
        workspace.settle(&["build", "//fw:p"]);
        workspace.write("fw/lib.h", "#define VERDICT XDP_DROP\n");
        let said = build(&workspace, by);
        assert!(said.code == 1 && said.err.contains("lib.h"), "by {by:?}: {}", said.err);
        workspace.write(
            "fw/BUILD.ouro",
            "bpf_library(name = \"own\", hdrs = [\"lib.h\"])\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":own\", \"//first\", \"//second\", \"//third\"])\n",
        );
        let said = workspace.ok(&["build", "//fw:p"]);
        assert_eq!(said.compiled(), ["//fw:p"], "declared, it is read: {}", said.err);
    }
}

/// What one action may read another with the same key may not: the cache does not hide that.
#[test]
fn what_is_no_longer_declared_is_found_out() {
    for by in ALL {
        let workspace = Workspace::with(&[
            (
                "fw/BUILD.ouro",
                "bpf_library(name = \"lib\", hdrs = [\"lib.h\"])\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":lib\"])\n",
            ),
            ("fw/p.c", PROGRAM),
            ("fw/lib.h", "#define VERDICT XDP_PASS\n"),
        ]);
        workspace.settle(&["build", "//fw:p"]);
        workspace.edit("fw/BUILD.ouro", ", deps = [\":lib\"]", "");
        let said = build(&workspace, by);
        assert!(said.code == 1 && said.err.contains("lib.h"), "by {by:?}: {}", said.err);
    }
}

/// `__has_include` reads nothing, and what it says still depends on what is there.
#[test]
fn a_header_that_is_only_asked_about_counts() {
    let asks = "#include <ouro/program.h>\n#if __has_include(\"extra.h\")\n#define VERDICT XDP_DROP\n#else\n#define VERDICT XDP_PASS\n#endif\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return VERDICT; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    for by in ALL {
        let workspace = workspace();
        workspace.write("fw/p.c", asks);
        workspace.settle(&["build", "//fw:p"]);
        let object = || {
            fs::read(fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path().join("fw/p.o")).unwrap()
        };
        let without = object();
        workspace.write("third/extra.h", "");
        let said = build(&workspace, by);
        assert_eq!((said.code, said.compiled()), (0, vec!["//fw:p"]), "new, by {by:?}: {}", said.err);
        assert_ne!(object(), without, "by {by:?}");
        workspace.settle(&["build", "//fw:p"]);
        fs::remove_file(workspace.path("third/extra.h")).unwrap();
        let said = build(&workspace, by);
        assert_eq!((said.code, said.compiled()), (0, vec![]), "gone, by {by:?}: the first result holds again: {}", said.err);
        assert_eq!(object(), without, "by {by:?}");
    }
}

/// Names out of macros, and files that arguments have included first.
#[test]
fn names_that_no_include_spells_out_count() {
    let computed = "#include <ouro/program.h>\n#define HEADER \"lib.h\"\n#include HEADER\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return VERDICT; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    let stringified =
        computed.replace("#define HEADER \"lib.h\"", "#define TEXT(x) #x\n#define NAME(x) TEXT(x)\n#define HEADER NAME(lib.h)");
    let argument = computed.replace("#define HEADER \"lib.h\"\n", "");
    let first = computed.replace("#define HEADER \"lib.h\"\n#include HEADER\n", "");
    let copts = |copts: &str| {
        format!(
            "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", copts = {copts}, deps = [\"//first\", \"//second\", \"//third\"])\n"
        )
    };
    let variants = [
        (computed.to_owned(), copts("[]")),
        (stringified, copts("[]")),
        (argument, copts("[\"-DHEADER=\\\"lib.h\\\"\"]")),
        (first, copts("[\"-include\", \"lib.h\"]")),
    ];
    for (source, build_file) in variants {
        for by in ALL {
            let workspace = workspace();
            workspace.write("fw/p.c", &source);
            workspace.write("fw/BUILD.ouro", &build_file);
            workspace.settle(&["build", "//fw:p"]);
            workspace.write("first/unread.h", "");
            let said = build(&workspace, by);
            assert_eq!((said.code, said.compiled()), (0, vec![]), "by {by:?}: {source}{}", said.err);
            workspace.write("second/lib.h", "#define VERDICT XDP_DROP\n");
            let said = build(&workspace, by);
            assert_eq!((said.code, said.compiled()), (0, vec!["//fw:p"]), "by {by:?}: {source}{}", said.err);
        }
    }
}

/// A change at the end of a source, where it moves no line, stops at the object: it is the same, and nothing after it runs.
#[test]
fn a_comment_at_the_end_stops_at_the_object() {
    let workspace = workspace();
    let size = "genrule(name = \"size\", srcs = [\":p\"], outs = [\"p.size\"], cmd = \"wc -c < $(SRCS) > $@\")\n";
    workspace.write("fw/BUILD.ouro", &(workspace.read("fw/BUILD.ouro") + size));
    workspace.settle(&["build", "//fw:size"]);
    workspace.write("fw/p.c", &(PROGRAM.to_owned() + "/* why */\n"));
    let said = workspace.ok(&["-v", "build", "//fw:size"]);
    assert_eq!(said.compiled(), ["//fw:p"]);
    assert!(said.err.lines().any(|line| line == "genrule //fw:size up to date"), "{}", said.err);
}
