//! `ouro run` of programs; chains need a kernel, and are run in `kernel`.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::{Said, Workspace};

fn workspace() -> Workspace {
    let build = r#"
sh_binary(name = "tool", srcs = ["tool.sh"], data = ["data.txt", ":made"], args = ["first"], env = {"KEY": "value"})
genrule(name = "made", outs = ["made.txt"], cmd = "echo made > $@")
alias(name = "alias", actual = ":tool")
sh_test(name = "check", srcs = ["tool.sh"])
"#;
    let script = "#!/bin/sh\nfor a; do echo \"[$a]\"; done\necho \"$KEY $BUILD_WORKSPACE_DIRECTORY $BUILD_WORKING_DIRECTORY\"\npwd\n\
        test -d \"$RUNFILES_DIR\" && cd \"$RUNFILES_DIR/_main\" && find . -type l | sort && cat t/*.txt; cat\nexit 7\n";
    let workspace = Workspace::with(&[("t/BUILD.ouro", build), ("t/tool.sh", script), ("t/data.txt", "data\n"), ("sub/x", "")]);
    fs::set_permissions(workspace.path("t/tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    workspace
}

#[test]
fn a_program_gets_arguments_input_and_folder_and_its_exit_code_is_ours() {
    let workspace = workspace();
    let mut command = workspace.command(&["-C", "sub", "run", "//t:alias", "--", "a b", "--flag", "-//x"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    child.stdin.take().unwrap().write_all(b"from outside\n").unwrap();
    let said = Said::of(child.wait_with_output().unwrap());
    let root = workspace.root().display().to_string();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86" };
    let expected = format!(
        "[first]\n[a b]\n[--flag]\n[-//x]\nvalue {root} {root}/sub\n{root}/sub\n./ouro-out/{arch}/t/made.txt\n./t/data.txt\n\
         ./t/made.txt\n./t/tool.sh\ndata\nmade\nfrom outside\n"
    );
    assert_eq!((said.out.as_str(), said.code), (expected.as_str(), 7), "{}", said.err);
}

#[test]
fn runfiles_are_those_of_now() {
    let workspace = workspace();
    assert!(workspace.fails(7, &["run", "//t:tool"]).out.contains("./t/data.txt"));
    workspace.edit("t/BUILD.ouro", "\"data.txt\", ", "");
    let said = workspace.fails(7, &["run", "//t:tool"]);
    assert!(!said.out.contains("./t/data.txt") && said.out.contains("./t/made.txt"), "{}", said.out);
    // A test is a program, too.
    assert_eq!(workspace.fails(7, &["run", "//t:check", "--", "x"]).out.lines().next(), Some("[x]"));
}

#[test]
fn what_cannot_be_run_is_told_with_what_can() {
    let workspace = workspace();
    workspace
        .fails(2, &["run", "//t:made"])
        .says("`//t:made` is neither a chain nor an executable")
        .says("`//t:check`, `//t:tool`");
    workspace.fails(2, &["run", "//t:tol"]).says("did you mean `tool`?");
    workspace.fails(2, &["run", "//t:tool", "--netns", "x"]).says("`--netns` is for chains");
    workspace.fails(2, &["run", "//t:all"]).says("more than one target");
    fs::set_permissions(workspace.path("t/tool.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    workspace.fails(1, &["run", "//t:tool"]).says("cannot run `//t:tool`").says("chmod +x");
    let example = Workspace::example("02-two-program-chain");
    example.fails(2, &["run", "//:two", "--", "x"]).says("`//:two` is a chain and takes no arguments");
    example.fails(2, &["run", "//:no_ping"]).says("what can be run here: `//:two`");
}
