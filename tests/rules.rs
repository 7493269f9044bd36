//! Rules that users write, with the real compiler and the machine's own programs.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Said, Workspace};

/// A rule that runs `program` on its sources, and one that copies.
const RULES: &str = r#"
def _run(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".out")
    script = ctx.file.script
    ctx.actions.run(
        executable = script if script else ctx.attr.program,
        arguments = [out] + ctx.files.srcs,
        inputs = ctx.files.srcs,
        outputs = [out],
    )
    return [DefaultInfo(files = [out])]

run = rule(
    implementation = _run,
    attrs = {
        "srcs": attr.label_list(allow_files = True),
        "program": attr.string(),
        "script": attr.label(allow_single_file = True),
    },
)

def _copy(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = out, target_file = ctx.file.src)
    return [DefaultInfo(executable = out)]

copy = rule(implementation = _copy, executable = True, attrs = {"src": attr.label(allow_single_file = True)})
"#;

const SCRIPT: &str = "#!/bin/sh\nout=$1\nshift\ncat \"$@\" > \"$out\"\n";

fn out(workspace: &Workspace, name: &str) -> String {
    let folder = fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path();
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn set_mode(workspace: &Workspace, path: &str, mode: u32) {
    fs::set_permissions(workspace.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_line_of_the_table_rebuilds_what_depends_on_it() {
    let workspace = Workspace::example("custom-rule");
    let first = workspace.ok(&["build", "//...", "-v"]);
    assert_eq!(first.compiled(), ["//:blocked", "//:route", "//:watched"]);
    workspace.edit("routes.csv", "198.51.100.0/24,watched", "198.51.100.0/24,blocked");
    let second = workspace.ok(&["build", "//...", "-v"]);
    assert_eq!(second.compiled(), ["//:route"]);
    second.says("bundle //:router");
    // A comment changes no byte of the header, so nothing behind it runs.
    workspace.edit("routes.csv", "# source,class", "# Source,class");
    assert!(workspace.ok(&["build", "//..."]).compiled().is_empty());
    // The implementation is part of the build like any other file.
    workspace.edit("routes.star", "ctx.label.name + \".h\"", "\"renamed.h\"");
    workspace.fails(1, &["build", "//:route"]).says("`ouro-out/").says("routes.h`, which it does not declare");
    workspace.edit("routes.csv", "0.0.0.0/0,pass", "0.0.0.0/0,pas");
    workspace.fails(1, &["build", "//:routes"]).says("routes.csv:5: unknown class `pas`");
}

#[test]
fn a_script_of_the_workspace_is_an_input_of_what_it_makes() {
    let build = "load(\":defs.star\", \"run\")\nrun(name = \"a\", srcs = [\"a.txt\"], script = \"cat.sh\")\n";
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("defs.star", RULES), ("a.txt", "one\n"), ("cat.sh", SCRIPT)]);
    workspace
        .fails(1, &["build", "//..."])
        .says("`cat.sh` is to be run and is not executable")
        .says("chmod +x cat.sh")
        .says("--> BUILD.ouro:2:1");
    set_mode(&workspace, "cat.sh", 0o755);
    workspace.ok(&["build", "//..."]);
    assert_eq!(out(&workspace, "a.out"), "one\n");
    workspace.write("cat.sh", &SCRIPT.replace("cat \"$@\"", "tac \"$0\" \"$@\""));
    workspace.ok(&["build", "//..."]).says("1 action ran");
    assert!(out(&workspace, "a.out").ends_with("one\n"));
    assert!(!out(&workspace, "a.out").contains(workspace.root().to_str().unwrap()), "it cannot tell where the workspace is");
}

#[test]
fn a_program_of_the_machine_counts_by_what_it_is() {
    let build = "load(\":defs.star\", \"run\")\nrun(name = \"a\", srcs = [\"a.txt\"], program = \"ouro-test-tool\")\n";
    let workspace =
        Workspace::with(&[("BUILD.ouro", build), ("defs.star", RULES), ("a.txt", "one\n"), ("bin/ouro-test-tool", SCRIPT)]);
    let path = format!("{}:{}", workspace.path("bin").display(), std::env::var("PATH").unwrap());
    let build = |path: &str| Said::of(workspace.command(&["build", "//..."]).env("PATH", path).output().unwrap());
    let missing = workspace.fails(1, &["build", "//..."]);
    missing.says("cannot find the program `ouro-test-tool`").says("install `ouro-test-tool`").says("--> BUILD.ouro:2:1");
    assert_eq!(build(&path).code, 1, "what may not be run is no program");
    set_mode(&workspace, "bin/ouro-test-tool", 0o755);
    build(&path).says("1 action ran");
    assert_eq!(out(&workspace, "a.out"), "one\n");
    assert!(!build(&path).err.contains("ran"), "nothing changed");
    workspace.write("bin/ouro-test-tool", &SCRIPT.replace("cat", "sort -r"));
    build(&path).says("1 action ran");
    // One that stands in front of it in the path is another program.
    workspace.write("front/ouro-test-tool", &SCRIPT.replace("cat", "tac"));
    set_mode(&workspace, "front/ouro-test-tool", 0o755);
    build(&format!("{}:{path}", workspace.path("front").display())).says("1 action ran");
}

#[test]
fn a_copy_can_be_run_when_its_source_can() {
    let build = "load(\":defs.star\", \"copy\")\ncopy(name = \"tool\", src = \"tool.sh\")\n";
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("defs.star", RULES), ("tool.sh", "#!/bin/sh\n")]);
    let mode = || {
        let folder = fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path();
        fs::metadata(folder.join("tool")).unwrap().permissions().mode() & 0o111
    };
    workspace.ok(&["build", "//..."]);
    assert_eq!(mode(), 0);
    set_mode(&workspace, "tool.sh", 0o755);
    workspace.ok(&["build", "//..."]);
    assert_ne!(mode(), 0);
}

const PROGRAMS: &str = r##"
def _program(ctx):
    source = ctx.actions.declare_file(ctx.label.name + ".c")
    ctx.actions.write(source, "\n".join([
        "#include <ouro/program.h>",
        "SEC(\"xdp\") int %s(struct xdp_md *ctx) {" % ctx.label.name,
        "    __u32 key = 0;",
        "    __u64 *count = bpf_map_lookup_elem(&hits, &key);",
        "    if (count) *count += 1;",
    ] + ["    OURO_JUMP(ctx, %s);" % name for name in ctx.attr.code] + [
        "    return XDP_PASS;",
        "}",
        "char LICENSE[] SEC(\"license\") = \"GPL\";\n",
    ]))
    maps = [map[BpfMapInfo] for map in ctx.attr.maps]
    made = ctx.bpf.compile(srcs = [source], type = "xdp", maps = maps, jumps = ctx.attr.jumps, on_miss = "pass")
    return made.providers

program = rule(
    implementation = _program,
    attrs = {
        "code": attr.string_list(),
        "jumps": attr.jumps(),
        "maps": attr.label_list(providers = [BpfMapInfo]),
    },
)

def _stack(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    facts = ctx.attr.program[BpfObjectInfo].facts
    ctx.actions.run_shell(command = "grep stack %s > %s" % (facts.path, out.path), inputs = [facts], outputs = [out])
    return [DefaultInfo(files = [out])]

stack = rule(implementation = _stack, attrs = {"program": attr.label(providers = [BpfObjectInfo])})

def _renamed(ctx):
    object = ctx.actions.declare_file(ctx.label.name + ".o")
    ctx.actions.copy(ctx.attr.program[BpfObjectInfo].object, object)
    infos = [ctx.attr.program[BpfMapsInfo]] + ([ctx.attr.program[BpfEdgesInfo]] if ctx.attr.edges else [])
    return [BpfObjectInfo(object = object, type = "xdp")] + infos

renamed = rule(
    implementation = _renamed,
    attrs = {"program": attr.label(providers = [BpfObjectInfo]), "edges": attr.bool(default = True)},
)
"##;

#[test]
fn a_chain_takes_programs_of_users_rules_and_their_bytecode_is_checked() {
    let build = r#"
load(":defs.star", "program", "renamed", "stack")

bpf_map(name = "hits", type = "array", max_entries = 1)

stack(name = "last.stack", program = ":last")

program(name = "first", code = ["last"], jumps = [":last"], maps = [":hits"])

renamed(name = "again", program = ":first")

program(name = "last", maps = [":hits"])

bpf_chain(name = "chain", entry = ":again")
"#;
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("defs.star", PROGRAMS)]);
    let said = workspace.ok(&["build", "//:chain", "-v"]);
    assert_eq!(said.compiled(), ["//:first", "//:last"]);
    said.says("bundle //:chain");
    // What is in an object is written down for those who ask, and for nobody else.
    assert!(!said.err.contains("inspect"), "{}", said.err);
    workspace.ok(&["build", "//:last.stack", "-v"]).says("inspect //:last");
    let drawing = workspace.ok(&["graph", "//:chain"]).out;
    assert!(drawing.contains("again") && drawing.contains("last") && drawing.contains("hits"), "{drawing}");
    // A jump that the code makes and nobody declares, and one that is declared and not made.
    workspace.edit("BUILD.ouro", "program = \":first\"", "program = \":first\", edges = False");
    workspace
        .fails(1, &["build", "//:again"])
        .says("`first` jumps to `last`, which `//:again` does not declare")
        .says("first.c:6");
    workspace.edit("BUILD.ouro", "code = [\"last\"], ", "");
    workspace.fails(1, &["build", "//:first"]).says("last").says("BUILD.ouro:8:1");
}

#[test]
fn the_standard_library_makes_what_it_says() {
    let build = r##"
load("@ouro//bpf:defs.star", "bpf_object", "c_array", "object_header")
load("@ouro//file:defs.star", "concat_files", "copy_file", "expand_template", "write_file")
load("@ouro//test:defs.star", "build_test", "diff_test")

write_file(name = "text", out = "text.txt", content = ["a @X@ @XY@", "b"])
write_file(name = "script", out = "script.sh", content = ["#!/bin/sh", "echo hi"], is_executable = True)
copy_file(name = "copy", src = ":script", out = "sub/copy.sh")
concat_files(name = "both", srcs = [":text", "plain.txt"], out = "all.txt")
expand_template(name = "filled", template = ":text", out = "filled.txt", substitutions = {"@X@": "@XY@\\n", "@XY@": "&"})
build_test(name = "builds", targets = [":both"])
diff_test(name = "same", file1 = ":text", file2 = ":filled")
c_array(name = "bytes", src = "plain.txt")
bpf_program(name = "passes", srcs = ["pass.c"], type = "xdp", function = "go")
object_header(name = "pass_object", program = ":passes", out = "embedded.h", symbol = "object")
copy_file(name = "foreign", src = ":bytes", out = "foreign.o")
bpf_object(name = "broken", src = ":foreign", type = "xdp")
"##;
    let pass = "#include <ouro/program.h>\nSEC(\"xdp\") int go(struct xdp_md *ctx) { return XDP_PASS; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("plain.txt", "p\n"), ("pass.c", pass)]);
    workspace.fails(1, &["build", "//...", "--keep-going"]).says("1 action failed").says("inspect //:broken failed");
    assert_eq!(out(&workspace, "all.txt"), "a @X@ @XY@\nb\np\n");
    assert_eq!(out(&workspace, "filled.txt"), "a @XY@\\n &\nb\n");
    assert!(out(&workspace, "bytes.h").contains("static const unsigned char bytes[]"));
    assert!(out(&workspace, "bytes.h").contains("0x70,0x0a,"));
    assert!(out(&workspace, "embedded.h").contains("object[]") && out(&workspace, "embedded.h").contains("0x7f,0x45,0x4c,0x46"));
    // What is made is C.
    let folder = fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path();
    let main = "#include \"bytes.h\"\n#include \"embedded.h\"\n_Static_assert(bytes_size == 2, \"\");\nint main(void) { return object[0] != 0x7f; }\n";
    workspace.write("main.c", main);
    let compiled = std::process::Command::new("cc")
        .arg("-Wall")
        .arg("-Werror")
        .arg("-I")
        .arg(&folder)
        .args(["main.c", "-o", "main"])
        .current_dir(workspace.root())
        .status()
        .unwrap();
    assert!(compiled.success() && std::process::Command::new(workspace.path("main")).status().unwrap().success());
    let run = |script: &str| std::process::Command::new(folder.join(script)).current_dir(workspace.root()).output().unwrap();
    assert!(run("builds.sh").status.success());
    assert!(!run("same.sh").status.success() && String::from_utf8_lossy(&run("same.sh").stdout).contains("+a @XY@\\n &"));
    assert_eq!(run("sub/copy.sh").stdout, b"hi\n");
}

#[test]
fn what_an_implementation_says_is_said_each_time() {
    let star = "def _talk(ctx):\n    print(\"about\", ctx.label)\n    return []\n\ntalk = rule(implementation = _talk)\n";
    let workspace =
        Workspace::with(&[("BUILD.ouro", "load(\":defs.star\", \"talk\")\ntalk(name = \"t\")\n"), ("defs.star", star)]);
    for _ in 0..2 {
        workspace.ok(&["build", "//..."]).says("warning: about //:t").says("BUILD.ouro:2:1").says("defs.star:2:5");
    }
    let others: [&[&str]; 4] = [&["build", "//...", "--nobuild"], &["aquery", "//..."], &["generate"], &["test", "//..."]];
    workspace.edit(
        "BUILD.ouro",
        "talk(name = \"t\")",
        "talk(name = \"t\")\nsh_test(name = \"good\", srcs = [\"good.sh\"], data = [\":t\"])",
    );
    workspace.write("good.sh", "#!/bin/sh\n");
    fs::set_permissions(workspace.path("good.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    for command in others {
        let said = workspace.ok(command);
        assert_eq!(said.err.matches("warning: about //:t").count(), 1, "{command:?}: {}", said.err);
    }
}

/// The blocks of the page that begin with the path of a file are files.
#[test]
fn the_page_about_own_rules_shows_what_works() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/extending.md")).unwrap();
    let workspace = Workspace::with(&[("rules/BUILD.ouro", ""), ("fw/ports.csv", "80\n443\n")]);
    let blocks = page.split("```python\n# ").skip(1);
    let files: Vec<&str> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(files.len(), 2);
    files.iter().for_each(|file| {
        let (path, text) = file.split_once('\n').unwrap();
        workspace.write(path, text);
    });
    workspace.ok(&["build", "//..."]);
    assert_eq!(out(&workspace, "fw/ports.h"), "ROW(80)\nROW(443)\n");
}
