//! The null build from outside: it does nothing as long as nothing changed, and looks again after every kind of change.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{OURO, Said, Workspace};

/// What ouro says when the snapshot of an earlier build holds.
const NOTHING: &str = "nothing to do";

/// A workspace in which everything a snapshot must notice can change.
fn workspace() -> Workspace {
    Workspace::with(&[
        (
            "BUILD.ouro",
            "load(\"//:defs.star\", \"files\")\nfiles(name = \"texts\", srcs = glob([\"*.txt\"]))\nfilegroup(name = \"below\", srcs = [\"sub/b.txt\"])\n",
        ),
        (
            "defs.star",
            "def files(name, srcs):\n    genrule(name = name, srcs = srcs, outs = [name + \".out\"], cmd = \"cat $(SRCS) > $@\")\n",
        ),
        ("a.txt", "a\n"),
        ("sub/b.txt", "b\n"),
    ])
}

/// Builds until nothing is left to do: a file changed within the clock's grain of a build is not trusted by it.
fn settle(workspace: &Workspace) {
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        if workspace.ok(&["build", "//..."]).err.contains(NOTHING) {
            return;
        }
    }
    panic!("there is always something to do");
}

/// The next build must look again; after it there is nothing to do again.
#[track_caller]
fn notices(workspace: &Workspace, what: &str) {
    let said = workspace.ok(&["build", "//..."]);
    assert!(!said.err.contains(NOTHING), "{what}: {}", said.err);
    settle(workspace);
}

/// The file that the genrule makes.
fn output(workspace: &Workspace) -> PathBuf {
    let mut folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path());
    folders.find_map(|folder| Some(folder.join("texts.out")).filter(|file| file.is_file())).expect("an output")
}

fn build(workspace: &Workspace, program: &Path, path: &str) -> Said {
    let like = workspace.command(&[]);
    let environment = like.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut command = Command::new(program);
    command.args(["build", "//..."]).current_dir(workspace.root()).envs(environment).env("PATH", path);
    Said::of(command.output().unwrap())
}

/// The first build makes the folders of the outputs and the state, and with them changes the root, which it lists. The second went the
/// whole way, too.
#[test]
fn after_the_first_build_there_is_nothing_to_do() {
    let workspace = workspace();
    workspace.write("ouro.toml", "[cache]\ndir = \".cache\"\n");
    std::thread::sleep(Duration::from_millis(50));
    let build = || {
        let mut command = workspace.command(&["build", "//..."]);
        Said::of(command.env_remove("OURO_CACHE").output().unwrap()).err
    };
    assert!(build().contains("built 2 targets"));
    assert!(build().contains(NOTHING));
}

#[test]
fn every_change_of_the_workspace_is_noticed() {
    let workspace = workspace();
    settle(&workspace);
    workspace.write("a.txt", "other\n");
    notices(&workspace, "an edited source");
    workspace.write("c.txt", "c\n");
    notices(&workspace, "a new file that a glob matches");
    assert_eq!(fs::read_to_string(output(&workspace)).unwrap(), "other\nc\n");
    workspace.write("new/BUILD.ouro", "");
    notices(&workspace, "a new package");
    workspace.edit("defs.star", "cat $(SRCS)", "sort -r $(SRCS)");
    notices(&workspace, "an edited module");
    assert_eq!(fs::read_to_string(output(&workspace)).unwrap(), "other\nc\n");
    workspace.write("ouro.toml", "[workspace]\nname = \"renamed\"\n");
    notices(&workspace, "other settings");
}

#[test]
fn outputs_that_someone_touched_are_made_again() {
    let workspace = workspace();
    settle(&workspace);
    let output = output(&workspace);
    fs::remove_file(&output).unwrap();
    fs::write(&output, "edited").unwrap();
    notices(&workspace, "an edited output");
    assert_eq!(fs::read_to_string(&output).unwrap(), "a\n");
    fs::remove_file(&output).unwrap();
    notices(&workspace, "a deleted output");
    assert_eq!(fs::read_to_string(&output).unwrap(), "a\n");
}

/// A file that no action reads counts by being there, and a package that appears around one takes it away.
#[test]
fn files_that_are_only_named_are_noticed() {
    let workspace = workspace();
    settle(&workspace);
    fs::rename(workspace.path("sub/b.txt"), workspace.path("sub/moved")).unwrap();
    workspace.fails(1, &["build", "//..."]).says("there is no target or file `//:sub/b.txt`");
    fs::rename(workspace.path("sub/moved"), workspace.path("sub/b.txt")).unwrap();
    settle(&workspace);
    // Asked for by its name, no folder is listed: only the BUILD file that is not there tells.
    let alone = || workspace.ouro(&["build", "//:below"]);
    while !alone().err.contains(NOTHING) {
        std::thread::sleep(Duration::from_millis(50));
    }
    workspace.write("sub/BUILD", "");
    let said = alone();
    assert_eq!(said.code, 1, "{}", said.err);
    said.says("`//:sub/b.txt` is a file of another package, `//sub`");
}

/// Another ouro beside the first, or other places for tools, may build something else from the same files.
#[test]
fn another_ouro_and_another_path_look_again() {
    let workspace = workspace();
    settle(&workspace);
    let path = std::env::var("PATH").unwrap();
    let nothing = |said: Said| {
        assert_eq!(said.code, 0, "{}", said.err);
        said.err.contains(NOTHING)
    };
    assert!(nothing(build(&workspace, OURO.as_ref(), &path)));
    assert!(!nothing(build(&workspace, OURO.as_ref(), &format!("{path}:/nonexistent"))));

    let copy = workspace.path("../ouro");
    fs::copy(OURO, &copy).unwrap();
    assert!(!nothing(build(&workspace, &copy, &path)), "the copy never built anything");
}

/// Clang's warnings were shown by the first build and by no other.
#[test]
fn warnings_do_not_vanish() {
    let source = "#include <ouro/program.h>\nSEC(\"xdp\") int p(struct xdp_md *ctx) { int unused; return XDP_PASS; }\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    let workspace =
        Workspace::with(&[("BUILD.ouro", "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\")\n"), ("p.c", source)]);
    for _ in 0..3 {
        workspace.ok(&["build", "//..."]).says("unused variable");
        std::thread::sleep(Duration::from_millis(50));
    }
    workspace.edit("p.c", "int unused; ", "");
    assert!(!workspace.ok(&["build", "//..."]).err.contains("unused variable"));
    settle(&workspace);
}

/// A file that a target makes was called no target, although its label is a label like any other.
#[test]
fn a_generated_file_is_built_by_its_label() {
    let workspace = workspace();
    let said = workspace.ok(&["-v", "build", "//:texts.out"]);
    said.says("texts.out");
    assert_eq!(fs::read_to_string(output(&workspace)).unwrap(), "a\n");
    workspace.fails(2, &["build", "//:text.out"]).says("did you mean `texts.out`?");
    workspace.fails(2, &["build", "//:a.txt"]).says("name the target that uses it");
}
