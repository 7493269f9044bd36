//! `ouro generate`: what editors read is complete, and stays as it is while nothing changed.

mod support;

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;
use support::Workspace;

/// A program of two sources, one of them generated, and a program in another package that shares a header.
fn workspace() -> Workspace {
    let one = "\
genrule(name = \"make\", srcs = [], outs = [\"made.c\"], cmd = \"printf '#include <ouro/program.h>\\\\nint made(void) { return SHARED; }\\\\n' > $@\")
bpf_map(name = \"hits\", type = \"array\", key = \"__u32\", value = \"__u64\", max_entries = 1)
bpf_program(name = \"two\", srcs = [\"two.c\", \":make\"], type = \"xdp\", maps = [\":hits\"], deps = [\"//lib\"], copts = [\"-include\", \"lib/shared.h\"])
";
    let two = "#include <ouro/program.h>\nint made(void);\nSEC(\"xdp\") int two(struct xdp_md *ctx)\n{\n\t__u32 key = 0;\n\treturn bpf_map_lookup_elem(&hits, &key) ? made() : XDP_DROP;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    let other = "#include <ouro/program.h>\n#include \"lib/shared.h\"\nSEC(\"xdp\") int other(struct xdp_md *ctx)\n{\n\tOURO_JUMP(ctx, two);\n\treturn SHARED;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    Workspace::with(&[
        ("one/BUILD.ouro", one),
        ("one/two.c", two),
        ("lib/BUILD.ouro", "bpf_library(name = \"lib\", hdrs = [\"shared.h\"], visibility = [\"//visibility:public\"])\n"),
        ("lib/shared.h", "#pragma once\n#define SHARED 2\n"),
        (
            "BUILD.ouro",
            "bpf_program(name = \"other\", srcs = [\"other.c\"], type = \"xdp\", deps = [\"//lib\"], jumps = [\"//one:two\"], on_miss = \"drop\")\n",
        ),
        ("other.c", other),
    ])
}

fn commands(workspace: &Workspace) -> Vec<Value> {
    serde_json::from_str(&workspace.read("compile_commands.json")).unwrap()
}

#[test]
fn every_source_has_a_command_that_compiles_with_its_own_header() {
    let workspace = workspace();
    workspace.edit("one/BUILD.ouro", "max_entries = 1)", "max_entries = 1, visibility = [\"//visibility:public\"])");
    workspace.edit("one/BUILD.ouro", "type = \"xdp\", maps", "type = \"xdp\", visibility = [\"//visibility:public\"], maps");
    workspace.ok(&["generate"]);
    let commands = commands(&workspace);
    let mut files: Vec<&str> = commands.iter().map(|command| command["file"].as_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(
        (files[0], files.len(), files[2]),
        ("one/two.c", 3, "ouro-out/x86/one/made.c".replace("x86", arch(&files)).as_str())
    );
    for command in &commands {
        assert_eq!(command["directory"], workspace.root().to_str().unwrap());
        let arguments: Vec<&str> = command["arguments"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let mut clang = Command::new(arguments[0]);
        let checked = clang.args(&arguments[1..]).args(["-fsyntax-only", "-H"]).current_dir(workspace.root()).output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.success(), "{arguments:?}\n{said}");
        let program = if command["file"] == "other.c" { "other" } else { "two" };
        let read: Vec<&str> = said.lines().filter(|line| line.contains(".program.h")).collect();
        assert!(read.len() == 1 && read[0].ends_with(&format!("/{program}.program.h")), "not its own header: {said}");
    }
    assert!(!workspace.path("ouro-out").join(arch(&files)).join("one/two.o").exists(), "nothing was compiled");
}

/// The platform's part of the path of the only generated source.
fn arch<'a>(files: &[&'a str]) -> &'a str {
    files.iter().find_map(|file| file.strip_prefix("ouro-out/")?.split('/').next()).unwrap_or("x86")
}

#[test]
fn a_second_run_writes_nothing_and_a_change_is_written() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["generate"]).says("wrote compile_commands.json with 4 commands");
    let written = |name: &str| fs::metadata(workspace.path(name)).and_then(|metadata| metadata.modified()).unwrap();
    let times = || ["compile_commands.json", ".clangd"].map(written);
    let before: [SystemTime; 2] = times();
    let header = fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path().join("fw/parse.program.h");
    let header_before = fs::metadata(&header).unwrap().modified().unwrap();
    workspace.ok(&["generate"]).says("compile_commands.json is current: 4 commands");
    assert_eq!((times(), fs::metadata(&header).unwrap().modified().unwrap()), (before, header_before));
    workspace.edit("fw/BUILD.ouro", "srcs = [\"allow.c\"],", "srcs = [\"allow.c\"], defines = [\"EXTRA=1\"],");
    workspace.ok(&["generate"]).says("wrote");
    assert!(times()[0] > before[0] && times()[1] == before[1]);
    assert!(workspace.read("compile_commands.json").contains("-DEXTRA=1"));
}

#[test]
fn a_clangd_file_of_ones_own_stays_and_what_it_lacks_is_said() {
    let workspace = Workspace::example("01-hello-xdp");
    let own = "Diagnostics:\n  UnusedIncludes: None # not for bpf, CompilationDatabase\n";
    workspace.write(".clangd", own);
    let said = workspace.ok(&["generate"]);
    said.says("`.clangd` is your own").says("CompilationDatabase: .").says("Add: [-target, bpf]");
    assert_eq!(workspace.read(".clangd"), own);
    let whole = format!("{own}CompileFlags:\n  CompilationDatabase: .\n  Add: [\"--target=bpf\"]\n");
    workspace.write(".clangd", &whole);
    assert!(!workspace.ok(&["generate"]).err.contains("your own"));
    assert_eq!(workspace.read(".clangd"), whole);
}
