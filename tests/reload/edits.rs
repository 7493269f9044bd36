//! Edits, each with the way that the build after it must take.
//!
//! Knows what the files of the workspace hold, not what is made of them.

use std::fs;

use crate::build::Way::{self, Near, Whole, Wrong};
use crate::support::Workspace;

/// What it is, which way the build after it must take, and how it is made.
pub type Edit = (&'static str, Way, fn(&Workspace));

const PASS: &str = "return XDP_PASS;";

pub fn add(workspace: &Workspace, path: &str, text: &str) {
    workspace.write(path, &(workspace.read(path) + text));
}

/// Edits of everything, one after the other.
pub const EDITS: &[Edit] = &[
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
