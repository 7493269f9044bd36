//! `ouro explain`: the reason told is the real one, without anything having been switched on before.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use support::Workspace;

/// A generated header, two programs that include it, and a text made from a text.
fn workspace() -> Workspace {
    let program = |name: &str| {
        format!(
            "#include <ouro/program.h>\n#include \"limits.h\"\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ return LIMIT; }}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
        )
    };
    let build = "\
genrule(name = \"limits\", srcs = [\"limit.txt\"], outs = [\"limits.h\"], cmd = \"echo \\\"#define LIMIT $$(head -1 limit.txt)\\\" > $@\")
bpf_library(name = \"lib\", hdrs = [\":limits\"])
bpf_program(name = \"a\", srcs = [\"a.c\"], type = \"xdp\", deps = [\":lib\"])
bpf_program(name = \"b\", srcs = [\"b.c\"], type = \"xdp\", deps = [\":lib\"])
genrule(name = \"size\", srcs = [\":a\"], outs = [\"a.size\"], cmd = \"wc -c < $(SRCS) > $@\")
filegroup(name = \"both\", srcs = [\":a\", \":b\"])
filegroup(name = \"texts\", srcs = [\"limit.txt\"])
";
    Workspace::with(&[("BUILD.ouro", build), ("limit.txt", "1\n"), ("a.c", &program("a")), ("b.c", &program("b"))])
}

/// What is told of the only action of the target with this mnemonic.
fn told(workspace: &Workspace, target: &str, mnemonic: &str) -> Value {
    let said = workspace.ok(&["explain", target, "--json"]);
    let all: Value = serde_json::from_str(&said.out).unwrap();
    let wanted = |action: &&Value| action["mnemonic"] == mnemonic;
    all["actions"].as_array().unwrap().iter().find(wanted).unwrap_or_else(|| panic!("no {mnemonic}: {}", said.out)).clone()
}

/// The reasons as `reason name`.
fn why(time: &Value) -> Vec<String> {
    let reasons = time["why"].as_array().unwrap().iter();
    reasons.map(|one| format!("{} {}", one["reason"].as_str().unwrap(), one["name"].as_str().unwrap())).collect()
}

fn output(workspace: &Workspace, name: &str) -> PathBuf {
    let mut folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path());
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file())).expect("an output")
}

#[test]
fn the_first_build_is_called_so_and_explaining_builds_nothing() {
    let workspace = workspace();
    let before = told(&workspace, "//:a", "compile");
    assert_eq!((&before["now"]["state"], why(&before["now"])), (&"runs".into(), vec!["first ".to_owned()]));
    assert!(before["last"].is_null() && !workspace.path("ouro-out").exists());
    workspace.ok(&["build", "//..."]);
    let after = told(&workspace, "//:a", "compile");
    assert_eq!((&after["now"]["state"], &after["last"]["how"]), (&"up_to_date".into(), &"ran".into()));
    assert_eq!((why(&after["now"]), why(&after["last"])), (vec![], vec!["first ".to_owned()]));
    assert!(after["last"]["took_us"].as_u64().unwrap() > 1000, "{after}");
    let said = workspace.ok(&["explain", "//:a"]).out;
    assert!(said.contains("up to date") && said.contains("the first time here; its result was in no cache"), "{said}");
    // Doing nothing is no time worth telling.
    workspace.ok(&["build", "//..."]);
    assert_eq!(why(&told(&workspace, "//:a", "compile")["last"]), ["first "]);
}

#[test]
fn an_edited_source_is_told_before_and_after_with_both_digests() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    workspace.edit("a.c", "return LIMIT", "return LIMIT + 1");
    let before = told(&workspace, "//:a", "compile");
    assert_eq!((&before["now"]["state"], why(&before["now"])), (&"runs".into(), vec!["input a.c".to_owned()]));
    let size = told(&workspace, "//:size", "genrule");
    assert_eq!((&size["now"]["state"], &size["now"]["why"][0]["made_by"]), (&"depends".into(), &"//:a".into()));
    assert_eq!(told(&workspace, "//:b", "compile")["now"]["state"], "up_to_date");
    assert_eq!(workspace.ok(&["build", "//..."]).compiled(), ["//:a"], "what was told came true");
    let after = told(&workspace, "//:a", "compile");
    assert_eq!(after["last"]["why"], before["now"]["why"]);
    let digests = ["old", "new"].map(|which| after["last"]["why"][0][which].as_str().unwrap().to_owned());
    assert!(digests[0] != digests[1] && digests.iter().all(|digest| digest.len() == 64), "{digests:?}");
    let said = workspace.ok(&["explain", "//:a"]).out;
    let short = format!("input `a.c` changed {}.. -> {}..", &digests[0][..6], &digests[1][..6]);
    assert!(said.contains(&short), "{said}");
}

/// A build from the snapshot leaves the rest of the state as it was; explaining knows of it all the same.
#[test]
fn what_a_build_from_the_snapshot_did_is_known() {
    let workspace = workspace();
    workspace.settle(&["build", "//..."]);
    let state = fs::read(workspace.path(".ouro/state")).unwrap();
    workspace.edit("a.c", "return LIMIT", "return LIMIT + 1");
    workspace.ok(&["build", "//..."]);
    assert!(fs::read(workspace.path(".ouro/state")).unwrap() == state, "the snapshot was enough");
    for (target, mnemonic) in [("//:a", "compile"), ("//:size", "genrule")] {
        assert_eq!(told(&workspace, target, mnemonic)["now"]["state"], "up_to_date", "{mnemonic}");
    }
    assert_eq!(why(&told(&workspace, "//:a", "compile")["last"]), ["input a.c"]);
    // What depends on a file made anew goes by what was made the last time.
    workspace.edit("a.c", "LIMIT + 1", "LIMIT + 2");
    assert_eq!(told(&workspace, "//:size", "genrule")["now"]["state"], "depends");
}

#[test]
fn a_header_that_another_action_made_anew_leads_to_its_reason() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    workspace.write("limit.txt", "2\n");
    let before = told(&workspace, "//:a", "compile");
    assert_eq!((&before["now"]["state"], &before["now"]["why"][0]["made_by"]), (&"depends".into(), &"//:limits".into()));
    workspace.ok(&["build", "//..."]);
    let said = workspace.ok(&["explain", "//:a"]).out;
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let header = lines.iter().position(|line| line.ends_with("(genrule of //:limits)")).unwrap_or_else(|| panic!("{said}"));
    assert!(
        lines[header].contains("limits.h`, which it read, changed") && lines[header + 1].contains("input `limit.txt` changed"),
        "{said}"
    );
    // The same bytes again: nothing behind the genrule ran, so the reason is still the one from before.
    workspace.write("limit.txt", "2\n\n");
    workspace.ok(&["build", "//..."]);
    assert_eq!(why(&told(&workspace, "//:limits", "genrule")["last"]), ["input limit.txt"]);
    assert_eq!(told(&workspace, "//:a", "compile")["now"]["state"], "up_to_date");
}

#[test]
fn flags_headers_and_definitions_are_told_by_name() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    workspace.edit("BUILD.ouro", "srcs = [\"a.c\"],", "srcs = [\"a.c\"], copts = [\"-O1\"], defines = [\"X=1\"],");
    assert_eq!(why(&told(&workspace, "//:a", "compile")["now"]), ["argument -DX=1", "argument -O1"]);
    workspace.ok(&["build", "//..."]);
    workspace.edit("BUILD.ouro", "\"-O1\"", "\"-O3\"");
    workspace.ok(&["build", "//..."]);
    let told = told(&workspace, "//:a", "compile");
    assert_eq!(why(&told["last"]), ["argument -O1", "argument -O3"]);
    assert_eq!((&told["last"]["why"][0]["new"], &told["last"]["why"][1]["old"]), (&Value::Null, &Value::Null));
    let said = workspace.ok(&["explain", "//:a"]).out;
    assert!(said.contains("argument `-O1` removed") && said.contains("argument `-O3` added"), "{said}");
}

#[test]
fn another_jump_changes_the_header_and_what_the_object_must_be() {
    let workspace = workspace();
    workspace.edit("BUILD.ouro", "name = \"a\",", "name = \"a\", jumps = [\":a\"], on_miss = \"drop\",");
    workspace.edit("a.c", "return LIMIT", "OURO_JUMP(ctx, a)");
    workspace.ok(&["build", "//..."]);
    workspace.edit("BUILD.ouro", "jumps = [\":a\"]", "jumps = [\":a\", \":b\"]");
    assert_eq!(why(&told(&workspace, "//:a", "header")["now"]), ["content "]);
    assert_eq!(why(&told(&workspace, "//:a", "compile")["now"])[0], "check ");
    assert!(workspace.ok(&["explain", "//:a"]).out.contains("what its outputs must be changed"));
}

#[test]
fn deleted_and_edited_outputs_are_told_apart() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    let object = output(&workspace, "a.o");
    let left = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let before = told(&workspace, "//:a", "compile");
    assert_eq!((&before["now"]["state"], &before["now"]["why"][0]["new"]), (&"cached".into(), &Value::Null));
    assert!(why(&before["now"])[0].starts_with("displaced ouro-out/"), "{before}");
    workspace.ok(&["build", "//..."]);
    let after = told(&workspace, "//:a", "compile");
    assert_eq!((&after["last"]["how"], &after["now"]["state"]), (&"cached".into(), &"up_to_date".into()));
    assert!(workspace.ok(&["explain", "//:a"]).out.contains("a.o` was deleted"));

    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "edited").unwrap();
    assert!(workspace.ok(&["explain", "//:a"]).out.contains("a.o` was edited "));
    workspace.ok(&["build", "//..."]);
    assert!(workspace.ok(&["explain", "//:a"]).out.contains("a.o` was edited to "));
    assert_eq!(fs::read(&object).unwrap(), left);
}

#[test]
fn a_result_from_the_cache_of_another_workspace_is_told() {
    let (one, two) = (workspace(), workspace());
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    one.ok(&["build", "//...", "--cache", cache]);
    let said = two.ok(&["explain", "//:limits", "--cache", cache]).out;
    assert!(said.contains("would be taken from the cache"), "{said}");
    two.ok(&["build", "//...", "--cache", cache]);
    let said = two.ok(&["explain", "//:a"]).out;
    assert!(said.contains("another build had left its result in the cache"), "{said}");
}

#[test]
fn a_failure_is_remembered() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    workspace.edit("limit.txt", "1", "nonsense");
    workspace.fails(1, &["build", "//:a"]);
    let failed = told(&workspace, "//:a", "compile");
    assert_eq!((&failed["last"]["how"], &failed["now"]["state"]), (&"failed".into(), &"runs".into()));
    assert_eq!(why(&failed["now"]), ["failed "]);
    workspace.edit("limit.txt", "nonsense", "1");
    // Going back means that the result is known.
    workspace.ok(&["build", "//..."]);
    assert_eq!(told(&workspace, "//:a", "compile")["last"]["how"], "cached");
}

#[test]
fn another_compiler_is_told() {
    let workspace = workspace();
    workspace.ok(&["generate"]);
    let commands: Value = serde_json::from_str(&workspace.read("compile_commands.json")).unwrap();
    let real = commands[0]["arguments"][0].as_str().unwrap().to_owned();
    workspace.write("clang", &format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    fs::set_permissions(workspace.path("clang"), fs::Permissions::from_mode(0o755)).unwrap();
    workspace.ok(&["build", "//:a"]);
    workspace.write("ouro.toml", "[toolchain]\nclang = \"./clang\"\n");
    let told = told(&workspace, "//:a", "compile");
    assert_eq!(why(&told["now"]), ["tool "], "{told}");
}

#[test]
fn files_groups_and_mistakes() {
    let workspace = workspace();
    workspace.ok(&["build", "//..."]);
    let object = output(&workspace, "a.o");
    let from_root = object.strip_prefix(workspace.root()).unwrap().to_str().unwrap().to_owned();
    for path in [&from_root, object.to_str().unwrap(), &format!("./{from_root}")] {
        let said = workspace.ok(&["explain", path]).out;
        assert!(said.starts_with("//:a\n  compile ") && !said.contains("inspect"), "{said}");
    }
    let both = workspace.ok(&["explain", "//:both"]).out;
    assert!(both.contains("//:a\n") && both.contains("//:b\n"), "a group has no actions of its own: {both}");
    assert!(workspace.ok(&["explain", "//:limits.h"]).out.starts_with("//:limits\n  genrule "));
    workspace.fails(2, &["explain", "//:texts"]).says("no action makes the files of `//:texts`");
    workspace.fails(2, &["explain", "ouro-out/nowhere/x.o"]).says("no action makes `ouro-out/nowhere/x.o`");
    workspace.fails(2, &["explain", "//..."]).says("selects more than one target");
    workspace.fails(2, &["explain", "//:aa"]).says("did you mean `a`?");
    // Without a journal there is less to tell, and no failure.
    fs::write(workspace.path(".ouro/journal"), "damaged").unwrap();
    assert!(workspace.ok(&["explain", "//:a"]).out.contains("when it ran is not recorded"));
}

/// A program that finds its header in the last of two folders.
fn searching() -> Workspace {
    let build = "bpf_library(name = \"h\", hdrs = glob([\"*/cfg.h\"]), includes = [\"first\", \"inc\"])\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":h\"])\n";
    let source = "#include <ouro/program.h>\n#include \"cfg.h\"\n#include \"fw/inc/cfg.h\"\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return V; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    Workspace::with(&[
        ("fw/BUILD.ouro", build),
        ("fw/p.c", source),
        ("fw/inc/cfg.h", "#undef V\n#define V 1\n"),
        ("fw/first/x.h", ""),
    ])
}

/// What a build looked for in vain is known, whether the whole way wrote it down or a build from the snapshot.
#[test]
fn a_header_that_would_be_found_first_is_told() {
    for edits in
        [&[][..], &[("return V;", "return V + 1;")], &[("#include \"cfg.h\"\n", "#include \"cfg.h\"\n#include \"more.h\"\n")]]
    {
        let workspace = searching();
        workspace.write("fw/inc/more.h", "");
        workspace.edit("fw/BUILD.ouro", "\"*/cfg.h\"", "\"*/*.h\"");
        workspace.settle(&["build", "//..."]);
        for (from, to) in edits {
            workspace.edit("fw/p.c", from, to);
            workspace.settle(&["build", "//..."]);
        }
        let state = |workspace: &Workspace| told(workspace, "//fw:p", "compile")["now"]["state"].clone();
        assert_eq!(state(&workspace), "up_to_date", "{edits:?}");
        workspace.write("fw/first/unread.h", "");
        assert_eq!(state(&workspace), "up_to_date", "{edits:?}");
        workspace.write("fw/first/cfg.h", "#define V 2\n");
        assert_eq!(state(&workspace), "runs", "{edits:?}");
        assert_eq!(workspace.ok(&["build", "//..."]).compiled(), ["//fw:p"], "what was told came true");
    }
}

#[test]
fn a_header_that_is_declared_no_more_is_told() {
    let workspace = searching();
    workspace.edit("fw/p.c", "#include \"cfg.h\"\n", "");
    workspace.settle(&["build", "//..."]);
    workspace.edit("fw/BUILD.ouro", ", deps = [\":h\"]", "");
    workspace
        .write("fw/BUILD.ouro", &workspace.read("fw/BUILD.ouro").replace("includes = [\"first\", \"inc\"]", "includes = []"));
    assert_eq!(told(&workspace, "//fw:p", "compile")["now"]["state"], "runs");
    workspace.fails(1, &["build", "//..."]).says("includes `fw/inc/cfg.h`, which it does not declare");
}

/// "Why did my test run again?" had no answer: only the programs it needs were told of.
#[test]
fn a_test_is_told_of_with_what_it_reads() {
    let workspace = workspace();
    let build = workspace.read("BUILD.ouro");
    workspace.write(
        "BUILD.ouro",
        &format!("{build}sh_test(name = \"size_test\", srcs = [\"size_test.sh\"], data = [\":size\", \"limit.txt\"])\n"),
    );
    let script = |text: &str| {
        workspace.write("size_test.sh", &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(workspace.path("size_test.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("test -s limit.txt");
    let test = || told(&workspace, "//:size_test", "test");
    let now = |test: &Value| (test["now"]["state"].as_str().unwrap().to_owned(), why(&test["now"]));
    assert_eq!(now(&test()), ("runs".to_owned(), vec!["first ".to_owned()]));
    workspace.ok(&["test", "//:size_test"]);
    let passed = test();
    assert_eq!((now(&passed), &passed["last"]["how"]), (("up_to_date".to_owned(), vec![]), &"ran".into()));
    assert_eq!((why(&passed["last"]), &passed["label"]), (vec!["first ".to_owned()], &"//:size_test".into()));
    // An edit of what it reads, and of what that is made from.
    workspace.write("limit.txt", "2\n");
    assert_eq!(now(&test()), ("runs".to_owned(), vec!["input limit.txt".to_owned(), waits(&workspace)]));
    workspace.ok(&["test", "//:size_test"]);
    assert!(why(&test()["last"]).contains(&"input limit.txt".to_owned()));
    script("exit 1");
    workspace.fails(4, &["test", "//:size_test"]);
    let failed = test();
    assert_eq!((now(&failed), &failed["last"]["how"]), (("runs".to_owned(), vec!["failed ".to_owned()]), &"failed".into()));
    assert_eq!(why(&failed["last"]), ["input size_test.sh"]);
    let said = workspace.ok(&["explain", "//:size_test"]).out;
    assert!(said.starts_with("//:size_test\n  test ouro-out/testlogs/size_test/test.log\n    would run:\n"), "{said}");
}

/// "Its result was lost" was said of every test that is never taken from an earlier run.
#[test]
fn a_test_that_always_runs_is_told_so() {
    let workspace = Workspace::with(&[("BUILD.ouro", "sh_test(name = \"t\", srcs = [\"t.sh\"])\n"), ("t.sh", "#!/bin/sh\n")]);
    fs::set_permissions(workspace.path("t.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let now = || {
        let test = told(&workspace, "//:t", "test");
        (test["now"]["state"].as_str().unwrap().to_owned(), why(&test["now"]))
    };
    workspace.ok(&["test"]);
    assert_eq!(now(), ("up_to_date".to_owned(), vec![]));
    // The pass from before the tag is kept, and counts no more.
    workspace.edit("BUILD.ouro", "srcs", "tags = [\"external\"], srcs");
    assert_eq!(now(), ("runs".to_owned(), vec!["always ".to_owned()]));
    workspace.ok(&["test"]);
    assert_eq!(why(&told(&workspace, "//:t", "test")["last"]), ["always "]);
    assert!(workspace.ok(&["explain", "//:t"]).out.contains("it is a test that runs each time"));
    workspace.write("t.sh", "#!/bin/sh\nexit 0\n");
    assert_eq!(now(), ("runs".to_owned(), vec!["input t.sh".to_owned()]));
}

/// The reason that the size of the program, whose header is made anew, may change.
fn waits(workspace: &Workspace) -> String {
    let folder = output(workspace, "a.size");
    format!("waits {}", folder.strip_prefix(workspace.root()).unwrap().display())
}
