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

/// What a program's object says, whatever says so: the one of the workspace, and the one of a build that knows nothing of any before.
fn assert_as_fresh(workspace: &Workspace, what: &str) {
    let fresh = Workspace::new();
    support::copy(&workspace.root(), &fresh.root());
    fresh.ok(&["build", "//fw:p"]);
    assert!(object(workspace) == object(&fresh), "{what}: a build from nothing makes another object");
}

fn object(workspace: &Workspace) -> Vec<u8> {
    let mut folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path());
    fs::read(folders.find_map(|folder| Some(folder.join("fw/p.o")).filter(|file| file.is_file())).expect("an object")).unwrap()
}

/// A program that finds `cfg.h` in the second folder it searches; one in the first is there and not declared.
fn shadowed(asks: &str) -> Workspace {
    let source = format!(
        "#include <ouro/program.h>\n{asks}\nSEC(\"xdp\") int p(struct xdp_md *ctx) {{ return V; }}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
    );
    Workspace::with(&[
        (
            "fw/BUILD.ouro",
            "bpf_library(name = \"h\", hdrs = [\"inc/cfg.h\"], includes = [\"first\", \"inc\"])\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":h\"])\n",
        ),
        ("fw/p.c", &source),
        ("fw/inc/cfg.h", "#define V 1\n"),
        ("fw/first/cfg.h", "#undef V\n#define V 7\n"),
    ])
}

/// Somebody builds where what is not declared cannot be seen, then declares it. No trace of the first build stands for the second.
#[test]
fn what_was_hidden_counts_once_it_is_declared() {
    let whether = "#include \"inc/cfg.h\"\n#if __has_include(\"first/cfg.h\")\n#undef V\n#define V 9\n#endif";
    for asks in ["#include \"cfg.h\"", whether] {
        for by in ALL {
            let workspace = shadowed(asks);
            workspace.settle(&["build", "//fw:p", "--sandbox=namespace"]);
            workspace.edit("fw/BUILD.ouro", "\"inc/cfg.h\"]", "\"inc/cfg.h\", \"first/cfg.h\"]");
            let said = build(&workspace, by);
            assert_eq!((said.code, said.compiled()), (0, vec!["//fw:p"]), "by {by:?}: {}", said.err);
            assert_as_fresh(&workspace, asks);
        }
    }
}

/// What may not be read is an error wherever it is seen, whatever was built before where it is not.
#[test]
fn what_was_hidden_is_refused_where_it_is_seen() {
    let workspace = shadowed("#include \"cfg.h\"");
    workspace.ok(&["build", "//fw:p", "--sandbox=namespace"]);
    let said = build(&workspace, By::Cache);
    assert_eq!(said.code, 1, "{}", said.err);
    said.says("includes `fw/first/cfg.h`, which it does not declare");
    fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
    workspace.ok(&["build", "//fw:p", "--sandbox=namespace"]).says("cached");
}

/// The assembler reads files, too, and tells nobody.
#[test]
fn what_the_assembler_reads_counts() {
    let bytes = "#include \"inc/cfg.h\"\nasm(\".section .rodata.blob,\\\"a\\\"\\n.incbin \\\"fw/blob.bin\\\"\\n.text\\n\");";
    for by in ALL {
        let workspace = shadowed(bytes);
        workspace.edit("fw/BUILD.ouro", "\"inc/cfg.h\"]", "\"inc/cfg.h\", \"blob.bin\"]");
        workspace.write("fw/blob.bin", "one");
        workspace.settle(&["build", "//fw:p"]);
        workspace.write("fw/blob.bin", "two");
        let said = build(&workspace, by);
        assert_eq!((said.code, said.compiled()), (0, vec!["//fw:p"]), "by {by:?}: {}", said.err);
        assert_as_fresh(&workspace, "other bytes");
        workspace.edit("fw/BUILD.ouro", ", \"blob.bin\"]", "]");
        let said = build(&workspace, by);
        assert_eq!(said.code, 1, "it is declared no more, by {by:?}: {}", said.err);
    }
}

/// As `.incbin` searches folders, a file may come that is found before the one that was read.
#[test]
fn what_the_assembler_would_find_first_counts() {
    let bytes = "#include \"inc/cfg.h\"\nasm(\".section .rodata.blob,\\\"a\\\"\\n.incbin \\\"blob.bin\\\"\\n.text\\n\");";
    for by in ALL {
        let workspace = shadowed(bytes);
        fs::remove_dir_all(workspace.path("fw/first")).unwrap();
        workspace.edit("fw/BUILD.ouro", "[\"inc/cfg.h\"]", "glob([\"*/*\"])");
        workspace.write("fw/inc/blob.bin", "one");
        workspace.settle(&["build", "//fw:p"]);
        workspace.write("fw/first/blob.bin", "two");
        let said = build(&workspace, by);
        assert_eq!((said.code, said.compiled()), (0, vec!["//fw:p"]), "by {by:?}: {}", said.err);
        assert_as_fresh(&workspace, "a file before it");
    }
}

/// Every way to name a folder to search, also those that are not understood.
#[test]
fn a_header_before_it_counts_however_the_folder_is_named() {
    let folders = [
        "\"--include-directory\", \"fw/first\"",
        "\"--include-directory=fw/first\"",
        "\"-isystem\", \"fw/first\"",
        "\"-Xclang\", \"-Ifw/first\"",
        "\"-iwithprefixbefore\", \"fw/first\"",
        "\"-Wp,-Ifw/first\"",
        "\"--include\", \"fw/first/../first/cfg.h\"",
    ];
    for folder in folders {
        let workspace = shadowed("#if __has_include(<cfg.h>)\n#include <cfg.h>\n#endif\n#ifndef V\n#define V 3\n#endif");
        workspace.write(
            "fw/BUILD.ouro",
            &format!(
                "bpf_library(name = \"h\", hdrs = glob([\"*/*.h\"]))\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", copts = [{folder}, \"-idirafterfw/inc\"], deps = [\":h\"])\n"
            ),
        );
        let before = !folder.contains("--include\"");
        if before {
            fs::remove_dir_all(workspace.path("fw/first")).unwrap();
        }
        workspace.settle(&["build", "//fw:p"]);
        workspace.write("fw/first/cfg.h", "#undef V\n#define V 5\n");
        build(&workspace, By::Snapshot);
        assert_as_fresh(&workspace, folder);
    }
}

/// A rule of a user's runs the compiler as it likes; variables say where it looks, too, and so may a script.
#[test]
fn a_header_before_it_counts_whoever_runs_the_compiler() {
    let rule = |executable: &str, env: &str, flags: &str| {
        format!(
            "def _impl(ctx):\n    out = ctx.actions.declare_file(\"p.o\")\n    dep = ctx.actions.declare_file(\"p.d\")\n    ctx.actions.run(executable = {executable}, inputs = ctx.files.srcs + ctx.files.hdrs, outputs = [out], depfile = dep, env = {env}, arguments = [{flags}\"-target\", \"bpf\", \"-O2\", \"-MD\", \"-MF\", dep, \"-c\", ctx.files.srcs[0], \"-o\", out])\n    return [DefaultInfo(files = [out])]\ncompiled = rule(implementation = _impl, attrs = {{\"srcs\": attr.label_list(allow_files = True), \"hdrs\": attr.label_list(allow_files = True), \"script\": attr.label(allow_single_file = True)}})\n"
        )
    };
    let clang = "ctx.toolchain.clang";
    let variants = [
        (clang, "{\"CPATH\": \"fw/first:fw/inc\"}", ""),
        (clang, "{\"C_INCLUDE_PATH\": \"fw/first:fw/inc\"}", ""),
        ("ctx.file.script", "{}", ""),
        (clang, "{}", "\"@fw/flags\", "),
    ];
    for (executable, env, flags) in variants {
        let workspace = Workspace::with(&[
            (
                "fw/BUILD.ouro",
                "load(\":r.bzl\", \"compiled\")\ncompiled(name = \"p\", srcs = [\"p.c\"], script = \"cc.sh\", hdrs = [\"flags\"] + glob([\"*/*.h\"]))\n",
            ),
            ("fw/r.bzl", &rule(executable, env, flags)),
            ("fw/p.c", "#include <cfg.h>\nint p(void) { return V; }\n"),
            ("fw/flags", "-Ifw/first -Ifw/inc\n"),
            (
                "fw/cc.sh",
                "#!/bin/sh\nfor clang in clang clang-21 clang-20 clang-19 clang-18; do\n    command -v $clang > /dev/null && exec $clang -Ifw/first -Ifw/inc \"$@\"\ndone\n",
            ),
            ("fw/inc/cfg.h", "#define V 1\n"),
        ]);
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(workspace.path("fw/cc.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        workspace.settle(&["build", "//fw:p"]);
        workspace.write("fw/first/cfg.h", "#define V 5\n");
        build(&workspace, By::Snapshot);
        assert_as_fresh(&workspace, &format!("{executable} {env} {flags}"));
    }
}
