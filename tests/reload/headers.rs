//! Headers that come to be found, or are found no more: made by others, made no more, and behind links.

use std::fs;

use crate::build::files;
use crate::support::Workspace;

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
