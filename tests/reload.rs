//! Edits of BUILD files, modules and folders: after each the files, the targets and the findings are those of a clean build, and
//! where that is promised only the packages that the edit touches were loaded again.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use support::{Said, Workspace, copy};
use tempfile::TempDir;

const PASS: &str = "return XDP_PASS;";

/// Programs that jump over three packages, with a map and a header of others; scripts, some by a macro and one of a rule of users'.
fn workspace() -> Workspace {
    let program = |name: &str, body: &str| {
        format!(
            "#include <ouro/program.h>\n#include \"lib/lib.h\"\nSEC(\"xdp\") int {name}(struct xdp_md *ctx)\n{{\n\t{body}\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
        )
    };
    let counts = "__u64 *count = bpf_map_lookup_elem(&counts, &(__u32){0});\n\tif (count) ++*count;\n\tOURO_JUMP(ctx, b);\n\treturn XDP_PASS;";
    let public = "visibility = [\"//visibility:public\"]";
    Workspace::with(&[
        ("lib/BUILD.ouro", &format!("bpf_library(name = \"lib\", hdrs = [\"lib.h\"], {public})\n")),
        ("lib/lib.h", "#define LIMIT 64\n"),
        (
            "maps/BUILD.ouro",
            &format!("bpf_map(name = \"counts\", type = \"array\", value = \"__u64\", max_entries = 4, {public})\n"),
        ),
        (
            "a/BUILD.ouro",
            "bpf_program(name = \"a\", srcs = [\"a.c\"], type = \"xdp\", deps = [\"//lib\"], maps = [\"//maps:counts\"], jumps = [\"//b\"], on_miss = \"pass\", visibility = [\"//chain:__pkg__\"])\n",
        ),
        ("a/a.c", &program("a", counts)),
        (
            "b/BUILD.ouro",
            &format!(
                "bpf_program(name = \"b\", srcs = [\"b.c\"], type = \"xdp\", deps = [\"//lib\"], jumps = [\"//c\"], on_miss = \"pass\", {public})\n"
            ),
        ),
        ("b/b.c", &program("b", "OURO_JUMP(ctx, c);\n\treturn XDP_PASS;")),
        ("c/BUILD.ouro", &format!("bpf_program(name = \"c\", srcs = [\"c.c\"], type = \"xdp\", deps = [\"//lib\"], {public})\n")),
        ("c/c.c", &program("c", PASS)),
        ("d/d.c", &program("d", PASS)),
        ("chain/BUILD.ouro", "bpf_chain(name = \"chain\", entry = \"//a\", attach = [xdp(interface = \"eth0\")])\n"),
        (
            "rules/defs.star",
            "Words = provider(fields = [\"files\"])\n\
             def _words(ctx):\n    \
                 out = ctx.actions.declare_file(ctx.label.name + \".words\")\n    \
                 below = [dep[Words].files for dep in ctx.attr.deps]\n    \
                 files = depset(ctx.files.srcs, transitive = below)\n    \
                 ctx.actions.run_shell(inputs = files, outputs = [out], command = \"cat \" + \" \".join([file.path for file in files.to_list()]) + \" > \" + out.path)\n    \
                 return [DefaultInfo(files = [out]), Words(files = files)]\n\
             words = rule(implementation = _words, attrs = {\"srcs\": attr.label_list(allow_files = True), \"deps\": attr.label_list(providers = [Words])})\n\
             def script(name, srcs, cmd, **kwargs):\n    \
                 genrule(name = name, srcs = srcs, outs = [name + \".out\"], cmd = cmd + \" $(SRCS) > $@\", **kwargs)\n",
        ),
        (
            "text/BUILD.ouro",
            "load(\"//rules:defs.star\", \"script\", \"words\")\n\
             script(name = \"first\", srcs = [\"a.txt\"], cmd = \"head -n1\", visibility = [\"//more:__pkg__\"])\n\
             script(name = \"lists\", srcs = glob([\"*.list\"]), cmd = \"cat\")\n\
             script(name = \"by_hand\", srcs = [\"a.txt\"], cmd = \"tail -n1\", tags = [\"manual\"], visibility = [\"//more:__pkg__\"])\n\
             words(name = \"words\", srcs = [\"a.txt\"], visibility = [\"//more:__pkg__\"])\n",
        ),
        ("text/a.txt", "one\nnoise\n"),
        ("text/b.txt", "b\n"),
        ("text/one.list", "1\n"),
        (
            "more/BUILD.ouro",
            "load(\"//rules:defs.star\", \"script\", \"words\")\n\
             script(name = \"second\", srcs = [\"//text:first\", \"//text:first.out\"], cmd = \"cat\")\n\
             words(name = \"words\", srcs = [\"m.txt\"], deps = [\"//text:words\"])\n",
        ),
        ("more/m.txt", "m\n"),
        (
            "conf/BUILD.ouro",
            &format!("config_setting(name = \"x86\", arch = \"x86\", {public})\nexports_files([\"plain.txt\"])\n"),
        ),
        ("conf/plain.txt", "plain\n"),
        (
            "alone/BUILD.ouro",
            "genrule(name = \"alone\", srcs = [\"//conf:plain.txt\"], outs = [\"alone.out\"], cmd = select({\"//conf:x86\": \"sort\", \"//conditions:default\": \"cat\"}) + \" $(SRCS) > $@\")\n",
        ),
    ])
}

/// Which way a build must take.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// A few packages are loaded, and so many actions done or looked at.
    Near(usize),
    /// Everything is.
    Whole,
    /// The whole way tells what is wrong.
    Wrong(&'static str),
}

use Way::{Near, Whole, Wrong};

/// A build, with the events it told.
struct Build {
    said: Said,
    events: Vec<Value>,
}

impl Build {
    fn of(workspace: &Workspace, pattern: &str, cache: Option<&TempDir>) -> Build {
        let log = workspace.path("../events.jsonl");
        let mut command = workspace.command(&["build", pattern, "-k", "--events", log.to_str().unwrap()]);
        if let Some(cache) = cache {
            command.env("OURO_CACHE", cache.path());
        }
        let said = Said::of(command.output().unwrap());
        let events = fs::read_to_string(log).unwrap();
        Build { said, events: events.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|line| line["event"] == event).count()
    }

    fn loads(&self, phase: &str) -> bool {
        self.events.iter().any(|line| line["event"] == "phase_ended" && line["phase"] == phase)
    }

    fn way(&self) -> Way {
        match (self.said.code, self.loads("load")) {
            (0, true) => Whole,
            (0, false) => Near(self.count("action_finished")),
            _ => Wrong(""),
        }
    }

    /// What was asked for, with its files, and what is wrong.
    fn result(&self) -> (&Value, &Value) {
        let last = self.events.last().unwrap();
        (&last["targets"], &last["findings"])
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// Compares with a build of the same sources from nothing.
#[track_caller]
fn is_as_clean(workspace: &Workspace, build: &Build, pattern: &str, cache: &TempDir, what: &str) {
    let clean = Workspace::new();
    copy(&workspace.root(), &clean.root());
    let theirs = Build::of(&clean, pattern, Some(cache));
    assert_eq!(build.said.code, theirs.said.code, "{what}\n{}\n{}", build.said.err, theirs.said.err);
    assert_eq!(build.result(), theirs.result(), "{what}\n{}\n{}", build.said.err, theirs.said.err);
    let (ours, theirs) = (files(&workspace.path("ouro-out")), files(&clean.path("ouro-out")));
    for (path, bytes) in &theirs {
        assert!(ours.get(path) == Some(bytes), "{what}: {} differs from a clean build's", path.display());
    }
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

type Edit = (&'static str, Way, fn(&Workspace));

fn add(workspace: &Workspace, path: &str, text: &str) {
    workspace.write(path, &(workspace.read(path) + text));
}

const EDITS: &[Edit] = &[
    ("a comment", Near(0), |w| add(w, "text/BUILD.ouro", "# why\n")),
    ("another command", Near(2), |w| w.edit("text/BUILD.ouro", "\"head -n1\"", "\"tail -n1\"")),
    ("the same again", Near(2), |w| {
        w.edit(
            "text/BUILD.ouro",
            "name = \"first\", srcs = [\"a.txt\"], cmd = \"tail",
            "name = \"first\", srcs = [\"a.txt\"], cmd = \"sort | head",
        )
    }),
    ("lines that move", Near(2), |w| w.write("c/BUILD.ouro", &("# above\n".to_owned() + &w.read("c/BUILD.ouro")))),
    ("a flag of a program", Near(2), |w| w.edit("c/BUILD.ouro", "type =", "defines = [\"C=1\"], type =")),
    ("a new target", Near(1), |w| add(w, "text/BUILD.ouro", "script(name = \"third\", srcs = [\"b.txt\"], cmd = \"cat\")\n")),
    ("a target of another name", Near(1), |w| w.edit("text/BUILD.ouro", "\"third\"", "\"fourth\"")),
    ("its source edited", Near(1), |w| w.write("text/b.txt", "bb\n")),
    ("a target that depends on it", Near(1), |w| {
        add(w, "text/BUILD.ouro", "script(name = \"fifth\", srcs = [\":fourth\", \"a.txt\"], cmd = \"sort\")\n");
    }),
    ("the source of both", Near(2), |w| w.write("text/b.txt", "z\n")),
    ("two targets less", Near(0), |w| {
        let text = w.read("text/BUILD.ouro");
        w.write("text/BUILD.ouro", &text[..text.find("script(name = \"fourth\"").unwrap()]);
    }),
    ("the source of no target", Whole, |w| fs::remove_file(w.path("text/b.txt")).unwrap()),
    ("a dependency on another package", Near(1), |w| w.edit("more/BUILD.ouro", "[\"m.txt\"]", "[\"m.txt\", \"//text:first\"]")),
    ("and one less", Near(1), |w| w.edit("more/BUILD.ouro", "[\"m.txt\", \"//text:first\"]", "[\"m.txt\"]")),
    ("a set that others hand on", Whole, |w| {
        w.write("text/c.txt", "c\n");
        w.edit("text/BUILD.ouro", "\"words\", srcs = [\"a.txt\"]", "\"words\", srcs = [\"a.txt\", \"c.txt\"]");
    }),
    ("a target that nobody needed", Whole, |w| {
        w.edit("more/BUILD.ouro", "\"//text:first\",", "\"//text:first\", \"//text:by_hand\",")
    }),
    ("an edit of it", Near(2), |w| w.edit("text/BUILD.ouro", "\"tail -n1\"", "\"tail -n2\"")),
    ("nobody needs it again", Whole, |w| w.edit("more/BUILD.ouro", "\"//text:first\", \"//text:by_hand\",", "\"//text:first\",")),
    ("visibility withdrawn", Wrong("is not visible to"), |w| {
        w.edit("text/BUILD.ouro", "[\"//more:__pkg__\"]", "[\"//alone:__pkg__\"]")
    }),
    ("visibility given", Near(3), |w| w.edit("text/BUILD.ouro", "[\"//alone:__pkg__\"]", "[\"//more:__subpackages__\"]")),
    ("a label of nothing", Wrong("no target or file"), |w| w.edit("text/BUILD.ouro", "\"first\"", "\"frist\"")),
    ("and right again", Near(0), |w| w.edit("text/BUILD.ouro", "\"frist\"", "\"first\"")),
    ("no BUILD file at all", Wrong("is never closed"), |w| add(w, "text/BUILD.ouro", "script(\n")),
    ("mended", Near(0), |w| w.edit("text/BUILD.ouro", "script(\n", "")),
    ("a command that fails", Wrong("failed"), |w| w.edit("text/BUILD.ouro", "cmd = \"cat\"", "cmd = \"false\"")),
    ("one that does not", Near(1), |w| w.edit("text/BUILD.ouro", "cmd = \"false\"", "cmd = \"cat\"")),
    ("a larger map", Near(3), |w| w.edit("maps/BUILD.ouro", "max_entries = 4", "max_entries = 8")),
    ("another map", Near(3), |w| w.edit("maps/BUILD.ouro", "type = \"array\"", "type = \"percpu_array\"")),
    ("a map nobody uses", Near(0), |w| {
        add(w, "maps/BUILD.ouro", "bpf_map(name = \"unused\", type = \"array\", value = \"__u32\", max_entries = 1)\n")
    }),
    ("a slot in the middle of a chain", Near(2), |w| w.edit("c/BUILD.ouro", "type =", "slot = 7, type =")),
    ("a jump to a package that is not there yet", Whole, |w| {
        w.write("d/BUILD.ouro", "bpf_program(name = \"d\", srcs = [\"d.c\"], type = \"xdp\", deps = [\"//lib\"], visibility = [\"//visibility:public\"])\n");
        w.edit("c/BUILD.ouro", "type =", "jumps = [\"//d\"], on_miss = \"pass\", type =");
        w.edit("c/c.c", PASS, "OURO_JUMP(ctx, d);\n\treturn XDP_PASS;");
    }),
    ("one jump less, in the middle", Near(2), |w| {
        w.edit("b/BUILD.ouro", "jumps = [\"//c\"], on_miss = \"pass\", ", "");
        w.edit("b/b.c", "OURO_JUMP(ctx, c);", "");
    }),
    ("a jump past it", Near(3), |w| {
        w.edit("b/BUILD.ouro", "type =", "jumps = [\"//d\"], on_miss = \"pass\", type =");
        w.edit("b/b.c", PASS, "OURO_JUMP(ctx, d);\n\treturn XDP_PASS;");
    }),
    ("a macro of two packages", Near(3), |w| w.edit("rules/defs.star", "$(SRCS) > $@", "$(SRCS) | cat > $@")),
    ("a rule of two packages", Near(2), |w| w.edit("rules/defs.star", "command = \"cat \"", "command = \"tac \"")),
    ("a module that says nothing", Wrong("expected"), |w| add(w, "rules/defs.star", "def\n")),
    ("and one that does", Near(0), |w| w.edit("rules/defs.star", "def\n", "")),
    ("a new file in a folder that is listed", Whole, |w| w.write("text/two.list", "2\n")),
    ("one of another name", Whole, |w| fs::rename(w.path("text/two.list"), w.path("text/zero.list")).unwrap()),
    ("one less", Whole, |w| fs::remove_file(w.path("text/zero.list")).unwrap()),
    ("a new source with its target", Whole, |w| {
        w.write("more/new.txt", "new\n");
        add(w, "more/BUILD.ouro", "script(name = \"new\", srcs = [\"new.txt\"], cmd = \"cat\")\n");
    }),
    ("both moved to another package", Whole, |w| {
        fs::rename(w.path("more/new.txt"), w.path("text/new.txt")).unwrap();
        w.edit("more/BUILD.ouro", "script(name = \"new\", srcs = [\"new.txt\"], cmd = \"cat\")\n", "");
        add(w, "text/BUILD.ouro", "script(name = \"new\", srcs = [\"new.txt\"], cmd = \"cat\")\n");
    }),
    ("a source of another name", Whole, |w| {
        fs::rename(w.path("text/new.txt"), w.path("text/newer.txt")).unwrap();
        w.edit("text/BUILD.ouro", "new.txt", "newer.txt");
    }),
    ("a source that is gone", Wrong("no target or file `//text:newer.txt`"), |w| {
        fs::remove_file(w.path("text/newer.txt")).unwrap()
    }),
    ("and back", Near(0), |w| w.write("text/newer.txt", "new\n")),
    ("a circle over two packages", Wrong("in a circle"), |w| {
        w.edit(
            "text/BUILD.ouro",
            "srcs = [\"newer.txt\"]",
            "srcs = [\"newer.txt\", \"//more:second\"], visibility = [\"//more:__pkg__\"]",
        );
        w.edit("more/BUILD.ouro", "\"//text:first\",", "\"//text:first\", \"//text:new\",");
        w.edit("more/BUILD.ouro", "cmd = \"cat\")", "cmd = \"cat\", visibility = [\"//text:__pkg__\"])");
    }),
    ("and no circle of targets", Near(2), |w| {
        w.edit("more/BUILD.ouro", "\"//text:first\", \"//text:new\",", "\"//text:first\",")
    }),
    ("a circle by an edit of one package", Wrong("in a circle"), |w| {
        w.edit("text/BUILD.ouro", "srcs = [\"a.txt\"], cmd = \"sort", "srcs = [\"a.txt\", \":new\"], cmd = \"sort")
    }),
    ("and none", Near(0), |w| {
        w.edit("text/BUILD.ouro", "srcs = [\"a.txt\", \":new\"], cmd = \"sort", "srcs = [\"a.txt\"], cmd = \"sort")
    }),
    ("a file where another package has a folder", Wrong("in it"), |w| {
        w.write("text/sub/BUILD.ouro", "genrule(name = \"inner\", outs = [\"inner.out\"], cmd = \"touch $(OUTS)\")\n");
        add(w, "text/BUILD.ouro", "genrule(name = \"outer\", outs = [\"sub\"], cmd = \"echo outer > $@\")\n");
    }),
    ("one beside it", Whole, |w| w.edit("text/BUILD.ouro", "outs = [\"sub\"]", "outs = [\"sub2\"]")),
    ("one that both make", Wrong("is made by"), |w| w.edit("text/BUILD.ouro", "outs = [\"sub2\"]", "outs = [\"sub/inner.out\"]")),
    ("one for each", Near(1), |w| w.edit("text/BUILD.ouro", "outs = [\"sub/inner.out\"]", "outs = [\"sub3/inner.out\"]")),
    ("one that both make, told by the inner one", Wrong("is made by"), |w| {
        w.edit("text/BUILD.ouro", "outs = [\"sub3/inner.out\"]", "outs = [\"sub/other.out\"]");
        w.edit("text/sub/BUILD.ouro", "outs = [\"inner.out\"]", "outs = [\"inner.out\", \"other.out\"]");
    }),
    ("one for each again", Near(2), |w| w.edit("text/BUILD.ouro", "outs = [\"sub/other.out\"]", "outs = [\"other.out\"]")),
    ("no folder is listed", Near(1), |w| w.edit("text/BUILD.ouro", "glob([\"*.list\"])", "[\"one.list\"]")),
    ("a new package where one was", Whole, |w| w.write("text/lists/BUILD.ouro", "filegroup(name = \"lists\")\n")),
    ("which goes again", Whole, |w| fs::remove_dir_all(w.path("text/lists")).unwrap()),
    ("a command with a condition", Near(1), |w| w.edit("alone/BUILD.ouro", "\"sort\"", "\"sort -u\"")),
    ("a condition", Whole, |w| w.edit("conf/BUILD.ouro", "arch = \"x86\"", "arch = \"arm64\"")),
    ("an exported file that is exported to nobody", Wrong("is not exported"), |w| {
        w.edit(
            "conf/BUILD.ouro",
            "exports_files([\"plain.txt\"])",
            "exports_files([\"plain.txt\"], visibility = [\"//visibility:private\"])",
        );
    }),
    ("and to everybody", Near(0), |w| w.edit("conf/BUILD.ouro", ", visibility = [\"//visibility:private\"])", ")")),
    ("a target instead of the exported file", Whole, |w| {
        w.write("conf/other.txt", "other\n");
        add(
            w,
            "conf/BUILD.ouro",
            "filegroup(name = \"plain.txt\", srcs = [\"other.txt\"], visibility = [\"//alone:__pkg__\"])\n",
        );
    }),
    ("words that are printed", Whole, |w| add(w, "c/BUILD.ouro", "print(\"loaded\")\n")),
    ("and no more", Whole, |w| w.edit("c/BUILD.ouro", "print(\"loaded\")\n", "")),
    ("a new package", Whole, |w| w.write("new/BUILD.ouro", "filegroup(name = \"new\", srcs = [])\n")),
    ("no such package", Whole, |w| fs::remove_dir_all(w.path("new")).unwrap()),
    ("other settings", Whole, |w| w.write("ouro.toml", "[workspace]\nname = \"renamed\"\n")),
    ("many packages at once", Near(6), |w| {
        for package in ["a", "b", "c", "d", "text", "more"] {
            add(
                w,
                &format!("{package}/BUILD.ouro"),
                &format!("genrule(name = \"extra\", outs = [\"extra.out\"], cmd = \"echo {package} > $@\")\n"),
            );
        }
    }),
];

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
    let path = fs::read_dir(workspace.path(".ouro/snapshots")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    let source = workspace.read("text/BUILD.ouro");
    for (round, place) in (0..whole.len()).step_by(whole.len() / 40).enumerate() {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 0x40,
            _ => bytes[place..].fill(0),
        }
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

/// A program that finds `cfg.h` in a folder behind that of its package's outputs.
fn with_header(hdrs: &str) -> Workspace {
    let source = "#include <ouro/program.h>\n#include \"cfg.h\"\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return V; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    Workspace::with(&[
        (
            "fw/BUILD.ouro",
            &format!(
                "bpf_library(name = \"h\", {hdrs})\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":h\"])\n"
            ),
        ),
        ("fw/p.c", source),
        ("fw/inc/cfg.h", "#define V 1\n"),
    ])
}

const MAKES: &str = "genrule(name = \"g\", outs = [\"cfg.h\"], cmd = \"echo '#define V 2' > $@\")\n";
const DECLARED: &str = "hdrs = [\"inc/cfg.h\"], includes = [\"inc\"]";

/// A header that another action makes, and the program does not declare, lies where the program looks first. Whether it was there
/// before, came later or is of a build long ago, the program is what it is where it never was.
#[test]
fn what_others_make_is_as_if_it_were_not_there() {
    for mode in ["--sandbox=landlock", "--sandbox=off", "--sandbox=namespace"] {
        let cache = tempfile::tempdir().unwrap();
        let workspace = with_header(DECLARED);
        workspace.settle(&["build", "//...", mode]);
        let alone = object(&workspace);
        workspace.write("fw/BUILD.ouro", &(workspace.read("fw/BUILD.ouro") + MAKES));
        let said = workspace.ok(&["build", "//...", mode]);
        assert!(said.compiled().is_empty() && object(&workspace) == alone, "{mode}: {}", said.err);
        fs::remove_dir_all(workspace.path(".ouro")).unwrap();
        let said = workspace.ok(&["build", "//...", mode, "--cache", &cache.path().display().to_string()]);
        assert!(said.compiled() == ["//fw:p"] && object(&workspace) == alone, "{mode}: {}", said.err);
        workspace.settle(&["build", "//...", mode]);
        fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
        workspace.ok(&["build", "//...", mode]);
        assert!(object(&workspace) == alone, "{mode}");
    }
}

fn object(workspace: &Workspace) -> Vec<u8> {
    let made = files(&workspace.path("ouro-out"));
    made.into_iter().find(|(path, _)| path.ends_with("fw/p.o")).expect("an object").1
}

/// The header was made once, and is written by hand now: the old one neither stays in the way nor comes back.
#[test]
fn what_is_made_no_more_does_not_come_back() {
    for is_there in [true, false] {
        let workspace = with_header("hdrs = [\":g\"]");
        workspace.write("fw/BUILD.ouro", &(workspace.read("fw/BUILD.ouro") + MAKES));
        workspace.settle(&["build", "//..."]);
        workspace.edit("fw/BUILD.ouro", "hdrs = [\":g\"]", DECLARED);
        workspace.edit("fw/BUILD.ouro", MAKES, "");
        if !is_there {
            fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
        }
        let said = workspace.ok(&["build", "//..."]);
        assert_eq!(said.compiled(), ["//fw:p"], "{}", said.err);
        let clean = with_header(DECLARED);
        clean.ok(&["build", "//..."]);
        assert!(object(&workspace) == object(&clean), "there: {is_there}");
        let is_back = || files(&workspace.path("ouro-out")).keys().any(|path| path.ends_with("fw/cfg.h"));
        assert_eq!(is_back(), is_there);
        workspace.settle(&["build", "//..."]);
        fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
        workspace.ok(&["build", "//..."]);
        assert!(!is_back(), "there: {is_there}");
    }
}

/// What only an output of long ago has is told to be gone, not to be listed among the headers.
#[test]
fn what_is_made_no_more_is_no_header_to_declare() {
    let workspace = with_header("hdrs = [\":g\"]");
    workspace.write("fw/BUILD.ouro", &(workspace.read("fw/BUILD.ouro") + MAKES));
    workspace.ok(&["build", "//..."]);
    workspace.edit("fw/BUILD.ouro", "hdrs = [\":g\"]", "hdrs = [\"inc/other.h\"]");
    workspace.edit("fw/BUILD.ouro", MAKES, "");
    workspace.write("fw/inc/other.h", "");
    workspace.fails(1, &["build", "//..."]).says("fw/cfg.h`, which it does not declare").says("no target makes it any more");
}

/// A folder that is a link comes to hold a header that is found before the one that was read.
#[test]
fn a_link_to_a_folder_is_seen() {
    for is_there in [true, false] {
        let workspace = with_header("hdrs = glob([\"b/sub/*\"]) + [\"other/cfg.h\"], includes = [\"a\", \"b\"]");
        workspace.edit("fw/p.c", "\"cfg.h\"", "<sub/cfg.h>");
        workspace.write("fw/b/sub/cfg.h", "#define V 1\n");
        workspace.write("fw/a/x", "");
        workspace.write("fw/other/cfg.h", "#define V 2\n");
        if is_there {
            std::os::unix::fs::symlink("../later", workspace.path("fw/a/sub")).unwrap();
        }
        workspace.edit("fw/BUILD.ouro", "glob([\"b/sub/*\"])", "glob([\"b/sub/*\", \"a/*\"])");
        workspace.settle(&["build", "//..."]);
        match is_there {
            true => std::os::unix::fs::symlink("other", workspace.path("fw/later")).unwrap(),
            false => std::os::unix::fs::symlink("../other", workspace.path("fw/a/sub")).unwrap(),
        }
        let said = workspace.ok(&["build", "//..."]);
        assert_eq!(said.compiled(), ["//fw:p"], "a link that leads nowhere was there: {is_there}: {}", said.err);
    }
}
