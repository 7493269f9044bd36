//! The sandbox, with real compilers in real ones: what is not declared is not seen, and what is made is the same in all modes.
//!
//! A kernel without Landlock, or one that forbids namespaces, is named by the test that needs it.

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Said, Workspace};

const PROGRAM: &str = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nSEC(\"xdp\") int NAME(struct xdp_md *ctx) { return BODY; }\nchar _license[] SEC(\"license\") = \"GPL\";\n";

const MODES: [&str; 3] = ["--sandbox=landlock", "--sandbox=namespace", "--sandbox=off"];

fn program(includes: &str, name: &str, body: &str) -> String {
    format!("{includes}{}", PROGRAM.replace("NAME", name).replace("BODY", body))
}

/// The file of this name below the folder of outputs.
fn output(workspace: &Workspace, path: &str) -> PathBuf {
    let folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path().join(path));
    folders.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("`{path}` was not made"))
}

/// A library that nobody depends on, and a program that includes it.
fn undeclared() -> Workspace {
    Workspace::with(&[
        (
            "lib/BUILD.ouro",
            "bpf_library(name = \"limits\", hdrs = [\"limit.h\", \"more.h\"], visibility = [\"//visibility:public\"])\n",
        ),
        ("lib/limit.h", "#define LIMIT 2\n"),
        ("lib/more.h", "#define MORE 1\n"),
        (
            "fw/BUILD.ouro",
            "bpf_library(name = \"own\", hdrs = [\"own.h\"])\nbpf_program(\n    name = \"a\",\n    srcs = [\"a.c\"],\n    type = \"xdp\",\n    deps = [\":own\"],\n)\n",
        ),
        ("fw/own.h", "#define OWN 0\n"),
        ("fw/stray.h", "#define STRAY 0\n"),
        ("fw/a.c", &program("#include \"own.h\"\n#include \"lib/limit.h\"\n", "a", "LIMIT + OWN")),
    ])
}

#[test]
fn an_undeclared_header_is_refused_with_its_line_its_owner_and_the_line_to_add() {
    for mode in MODES {
        let workspace = undeclared();
        let said = workspace.fails(1, &["build", "//fw:a", mode]);
        said.says("`//fw:a` includes `lib/limit.h`, which it does not declare").says("--> fw/a.c:2:10");
        said.says("`//lib:limits` has it").says("lib/BUILD.ouro:1");
        said.says("help: in `//fw:a` write `deps = [\":own\", \"//lib:limits\"],`");
        workspace.edit("fw/BUILD.ouro", "deps = [\":own\"],", "deps = [\":own\", \"//lib:limits\"],");
        workspace.ok(&["build", "//fw:a", mode]);
        assert!(output(&workspace, "fw/a.o").is_file(), "{mode}");
    }
}

/// As when a build went from the snapshot of the last one, where no target is loaded.
#[test]
fn an_include_that_comes_later_is_told_in_the_same_way() {
    let workspace = undeclared();
    workspace.write("fw/a.c", &program("#include \"own.h\"\n", "a", "OWN"));
    workspace.settle(&["build", "//fw:a"]);
    workspace
        .write("fw/a.c", &program("#include \"own.h\"\n#include \"lib/limit.h\"\n#include \"lib/more.h\"\n", "a", "LIMIT + OWN"));
    let said = workspace.fails(1, &["build", "//fw:a"]);
    said.says("includes `lib/limit.h`").says("fw/a.c:2:10").says("includes `lib/more.h`").says("fw/a.c:3:10");
    assert_eq!(said.err.matches("write `deps = [\":own\", \"//lib:limits\"],`").count(), 2, "{}", said.err);
}

#[test]
fn a_header_that_no_target_has_is_told_with_the_library_to_add_it_to() {
    for mode in MODES {
        let workspace = undeclared();
        workspace.write("fw/a.c", &program("#include \"stray.h\"\n", "a", "STRAY"));
        let said = workspace.fails(1, &["build", "//fw:a", mode]);
        said.says("includes `fw/stray.h`").says("fw/a.c:1:10");
        said.says("no target has it: in `//fw:own` write `hdrs = [\"own.h\", \"stray.h\"],`");
        workspace.write("bare/BUILD.ouro", "bpf_program(name = \"b\", srcs = [\"b.c\"], type = \"xdp\")\n");
        workspace.write("bare/x.h", "#define X 1\n");
        workspace.write("bare/b.c", &program("#include \"x.h\"\n", "b", "X"));
        workspace
            .fails(1, &["build", "//bare:b", mode])
            .says("write `bpf_library(name = \"x\", hdrs = [\"x.h\"])` in `//bare`, and in `//bare:b` write `deps = [\":x\"],`");
    }
}

/// A header that lies elsewhere is found by the name it is included by, and one that is not visible is told to be made so.
#[test]
fn a_header_is_found_by_the_end_of_its_path() {
    let workspace = undeclared();
    workspace.write("net/BUILD.ouro", "bpf_library(name = \"net\", hdrs = [\"include/net/tcp.h\"], includes = [\"include\"])\n");
    workspace.write("net/include/net/tcp.h", "#define TCP 1\n");
    workspace.write("fw/a.c", &program("#include <net/tcp.h>\n", "a", "TCP"));
    let said = workspace.fails(1, &["build", "//fw:a"]);
    said.says("nothing that `//fw:a` declares offers `net/tcp.h`").says("`//net:net` is not visible to `//fw`");
    said.says("write `deps = [\":own\", \"//net:net\"],`, and add `//fw:__pkg__` to `visibility` of `//net:net`");
}

/// Landlock stops no `stat`, yet a compiler that asks whether a header is there opens it: either it cannot, or it is not there. What
/// is never compiled is another object in one mode than in another.
#[test]
fn asking_for_an_undeclared_header_gives_no_other_object() {
    let source = program("#if __has_include(\"stray.h\")\n#define FOUND 1\n#else\n#define FOUND 2\n#endif\n", "a", "FOUND");
    let workspace = undeclared();
    workspace.write("fw/a.c", &source);
    let refused = workspace.fails(1, &["build", "//fw:a", "--sandbox=landlock"]);
    refused.says("includes `fw/stray.h`, which it does not declare").says("fw/a.c:1:");
    workspace.ok(&["build", "//fw:a", "--sandbox=namespace"]);
    let hidden = fs::read(output(&workspace, "fw/a.o")).unwrap();
    let clean = Workspace::with(&[("fw/BUILD.ouro", &workspace.read("fw/BUILD.ouro")), ("fw/own.h", ""), ("fw/a.c", &source)]);
    for mode in MODES {
        clean.ok(&["build", "//fw:a", mode, "--cache", &mode[2..]]);
        assert!(hidden == fs::read(output(&clean, "fw/a.o")).unwrap(), "{mode}");
        clean.ok(&["clean"]);
    }
    let other = undeclared();
    other.write("fw/a.c", &source);
    other
        .fails(1, &["build", "//fw:a", "--sandbox=off"])
        .says("includes `fw/stray.h`, which it does not declare")
        .says("fw/a.c:1:");
}

/// The folder that a compiler writes to holds what others made there: as if it were not there, whoever asks for it, and an error where
/// nothing else is found.
#[test]
fn a_generated_header_beside_the_output_must_be_declared() {
    for mode in MODES {
        let workspace = Workspace::with(&[
            (
                "BUILD.ouro",
                "genrule(name = \"made\", outs = [\"made.h\"], cmd = \"echo '#define MADE 1' > $@\")\nbpf_program(name = \"a\", srcs = [\"a.c\"], type = \"xdp\")\nbpf_program(name = \"b\", srcs = [\"b.c\"], type = \"xdp\")\n",
            ),
            ("a.c", &program("#include \"made.h\"\n", "a", "MADE")),
            ("b.c", &program("#if __has_include(\"made.h\")\n#define FOUND 1\n#else\n#define FOUND 2\n#endif\n", "b", "FOUND")),
        ]);
        workspace.ok(&["build", "//:made", mode]);
        let said = workspace.fails(1, &["build", "//:a", mode]);
        said.says("`//:a` includes `ouro-out/").says("made.h`, which it does not declare").says("`//:made` makes it");
        workspace.ok(&["build", "//:b", mode]);
        let with = fs::read(output(&workspace, "b.o")).unwrap();
        workspace.ok(&["clean"]);
        workspace.ok(&["build", "//:b", mode, "--cache", "other"]);
        assert!(with == fs::read(output(&workspace, "b.o")).unwrap(), "{mode}: it asked for what another action makes");
    }
}

fn genrule(cmd: &str) -> Workspace {
    let build = format!("genrule(name = \"g\", srcs = [\"in.txt\"], outs = [\"out.txt\"], cmd = r\"\"\"{cmd}\"\"\")\n");
    Workspace::with(&[
        ("fw/BUILD.ouro", &build),
        ("fw/in.txt", "declared\n"),
        ("fw/secret.txt", "secret\n"),
        ("other.txt", "other\n"),
    ])
}

#[test]
fn commands_see_what_they_declare_and_change_what_they_make() {
    for mode in &MODES[..2] {
        for (cmd, complaint) in [
            ("cat $(SRCS) fw/secret.txt > $@", "secret.txt"),
            ("echo changed > fw/in.txt; cat $(SRCS) > $@", "in.txt"),
            ("cat $(SRCS) > $@; echo new > fw/new.txt", "new.txt"),
            ("cat /etc/shadow > $@", "shadow"),
            ("echo > /usr/ouro-was-here; echo > $@", "ouro-was-here"),
            ("rm -f other.txt; test ! -e other.txt || exit 1; echo > $@", ""),
        ] {
            let workspace = genrule(cmd);
            let said = workspace.ouro(&["build", "//fw:g", mode]);
            // What is not there cannot be removed, and then that is no failure.
            let hidden = complaint.is_empty() && *mode == "--sandbox=namespace";
            assert_eq!(said.code, i32::from(!hidden), "{mode} {cmd}: {}", said.err);
            assert!(said.err.contains(complaint), "{mode} {cmd}: {}", said.err);
            assert_eq!(
                (workspace.read("fw/in.txt"), workspace.read("other.txt")),
                ("declared\n".to_owned(), "other\n".to_owned())
            );
            assert!(!workspace.path("fw/new.txt").exists() && !PathBuf::from("/usr/ouro-was-here").exists(), "{mode} {cmd}");
        }
        let workspace = genrule("cat $(SRCS) fw/secret.txt > $@");
        workspace.fails(1, &["build", "//fw:g", mode]).says("may have been kept from a file that it does not declare");
    }
}

/// Whoever reads an output has more rights than the action: a link to a file that it does not declare would bring that into the build,
/// and nobody would look whether it changed.
#[test]
fn an_output_is_a_file_and_no_way_to_others() {
    for mode in MODES {
        for (cmd, complaint) in [
            ("ln -s $$PWD/fw/secret.txt $@", "which leads to `fw/secret.txt`, which it does not declare"),
            ("ln -s ../../../fw/secret.txt $@", "which leads to `fw/secret.txt`, which it does not declare"),
            ("ln -s /etc/shadow $@", "which leads to `/etc/shadow`, which it does not declare"),
            ("ln -s /dev/zero $@", "which leads to `/dev/zero`, which it does not declare"),
            ("ln -s $$PWD/fw $@", "which leads to `fw`, which it does not declare"),
            ("ln -s gone.txt $@", "which leads nowhere"),
            ("mkdir $@", "made a folder of its output"),
            ("mkfifo $@", "made a named pipe of its output"),
        ] {
            let workspace = genrule(cmd);
            let said = workspace.fails(1, &["build", "//fw:g", mode]);
            said.says(complaint).says("--> fw/BUILD.ouro:1").says("= help: ");
            assert_eq!(files(&workspace.path("ouro-out")), [], "{mode} {cmd}");
            assert_eq!(workspace.read("fw/secret.txt"), "secret\n");
        }
    }
}

#[test]
fn a_link_to_what_is_declared_becomes_a_copy() {
    for mode in MODES {
        let workspace = genrule("ln -s $$PWD/fw/in.txt $@");
        std::os::unix::fs::symlink("../other.txt", workspace.path("fw/linked.txt")).unwrap();
        for (cmd, text) in [
            ("ln -s $$PWD/fw/in.txt $@", "declared\n"),
            ("ln -s $$PWD/fw/linked.txt $@", "other\n"),
            ("echo made > $(@D)/more.txt; ln -s more.txt $@", "made\n"),
        ] {
            let outs = if cmd.contains("more") { "outs = [\"out.txt\", \"more.txt\"]" } else { "outs = [\"out.txt\"]" };
            let cmd = cmd.replace("$@", "$(@D)/out.txt");
            workspace.write(
                "fw/BUILD.ouro",
                &format!("genrule(name = \"g\", srcs = [\"in.txt\", \"linked.txt\"], {outs}, cmd = \"{cmd}\")\n"),
            );
            workspace.ok(&["build", "//fw:g", mode]);
            let made = output(&workspace, "fw/out.txt");
            assert!(fs::symlink_metadata(&made).unwrap().is_file() && fs::read_to_string(&made).unwrap() == text, "{mode} {cmd}");
        }
        workspace.write("fw/BUILD.ouro", &genrule("ln -s $$PWD/fw/in.txt $@").read("fw/BUILD.ouro"));
        workspace.ok(&["build", "//fw:g", mode]);
        workspace.write("fw/in.txt", "changed\n");
        workspace.ok(&["build", "//fw:g", mode]);
        assert_eq!(fs::read_to_string(output(&workspace, "fw/out.txt")).unwrap(), "changed\n", "{mode}");
    }
}

/// What is made read-only, and removed, is what lies in the folder of outputs, wherever its folders seem to lead.
#[test]
fn a_folder_of_outputs_that_leads_elsewhere_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("x.txt");
    fs::write(&victim, "precious\n").unwrap();
    for mode in MODES {
        let cmd = format!("echo > $(@D)/top.txt; rm -r $(@D)/deep; ln -s {} $(@D)/deep", outside.path().display());
        let rule =
            |cmd: &str| format!("genrule(name = \"g\", srcs = [], outs = [\"top.txt\", \"deep/x.txt\"], cmd = \"{cmd}\")\n");
        let workspace = Workspace::with(&[("fw/BUILD.ouro", &rule(&cmd))]);
        let said = workspace.fails(1, &["build", "//fw:g", mode]);
        if mode != "--sandbox=namespace" {
            said.says("fw/deep`, the folder of an output").says("made a link of `ouro-out/");
        }
        workspace.write("fw/BUILD.ouro", &rule("echo new > $(@D)/top.txt; cp $(@D)/top.txt $(@D)/deep/x.txt"));
        workspace.ok(&["build", "//fw:g", mode]);
        assert_eq!(fs::read_to_string(output(&workspace, "fw/deep/x.txt")).unwrap(), "new\n");
        use std::os::unix::fs::PermissionsExt;
        let found = fs::metadata(&victim).unwrap();
        assert!(found.permissions().mode() & 0o200 != 0 && fs::read(&victim).unwrap() == b"precious\n", "{mode}");
    }
}

/// Only what left its group of processes can do that.
#[test]
fn an_output_that_changes_while_it_is_looked_at_is_refused() {
    let cmd = "head -c 20000000 /dev/zero > $@; setsid sh -c 'exec >> $@; while :; do echo x; done' & until test $$(stat -c %s $@) -gt 20000000; do :; done";
    let workspace = genrule(cmd);
    workspace
        .fails(1, &["build", "//fw:g"])
        .says("was written to after its action had ended")
        .says("wait for all that it starts");
    assert_eq!(files(&workspace.path("ouro-out")), []);
}

#[test]
fn commands_find_the_machine_and_folders_of_their_own() {
    let cmd = "test -r /proc/self/status && test -x /bin/sh && head -c 4 /dev/urandom > /dev/null && echo x > $$TMPDIR/x && \
        test $$HOME = $$TMPDIR && test $$(umask) = 0022 && mkdir $$HOME/deep && cp $$TMPDIR/x $$HOME/deep/y && \
        test -z \"$$USER$$XDG_CACHE_HOME\" && mv $$HOME/deep/y $@ && sed -i s/x/moved/ $@ && echo said > /dev/stderr && cat $(SRCS) >> $@";
    for mode in MODES {
        let workspace = genrule(cmd);
        let said = workspace.ok(&["build", "//fw:g", mode]);
        said.says("said");
        assert_eq!(fs::read_to_string(output(&workspace, "fw/out.txt")).unwrap(), "moved\ndeclared\n", "{mode}");
        let left = fs::read_dir(workspace.path(".ouro/sandbox/1/home")).unwrap().count();
        assert_eq!(left, 0, "{mode}");
    }
}

#[test]
fn in_namespaces_there_is_no_network_and_no_host() {
    let cmd = "{ hostname; cut -d: -f1 < /proc/net/dev | tail -n +3 | tr -d ' '; ls; ls fw; } > $@";
    let workspace = genrule(cmd);
    workspace.ok(&["build", "//fw:g", "--sandbox=namespace"]);
    let text = fs::read_to_string(output(&workspace, "fw/out.txt")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.ends_with("tunl0") && !line.ends_with("sit0")).collect();
    assert_eq!((lines[0], lines.contains(&"lo"), lines.contains(&"eth0")), ("ouro", true, false), "{text}");
    assert!(lines.contains(&"in.txt") && !lines.contains(&"secret.txt") && !lines.contains(&"other.txt"), "{text}");
}

#[test]
fn what_a_command_writes_besides_its_outputs_is_gone() {
    let workspace = genrule("echo 1 > $@; echo 2 > $(@D)/besides.txt");
    workspace.ok(&["build", "//fw:g", "--sandbox=namespace"]);
    assert!(!output(&workspace, "fw/out.txt").with_file_name("besides.txt").exists());
}

#[test]
fn extra_places_are_read_when_the_workspace_says_so() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("data"), "outside\n").unwrap();
    for mode in &MODES[..2] {
        let workspace = genrule(&format!("cat {}/data > $@", outside.path().display()));
        workspace.fails(1, &["build", "//fw:g", mode]);
        workspace.write("ouro.toml", &format!("[sandbox]\nread = [\"{}\"]\n", outside.path().display()));
        workspace.ok(&["build", "//fw:g", mode]);
        assert_eq!(fs::read_to_string(output(&workspace, "fw/out.txt")).unwrap(), "outside\n");
    }
}

#[test]
fn the_setting_chooses_and_bad_ones_are_told() {
    let workspace = genrule("cat $(SRCS) fw/secret.txt > $@");
    workspace.write("ouro.toml", "[sandbox]\nmode = \"off\"\n");
    workspace.ok(&["build", "//fw:g"]);
    workspace.edit("fw/BUILD.ouro", "> $@", "> $@ ");
    workspace.fails(1, &["build", "//fw:g", "--sandbox=landlock"]);
    workspace.write("ouro.toml", "[sandbox]\nmode = \"landlok\"\nread = [\"relative\"]\n");
    let said = workspace.fails(2, &["build", "//fw:g"]);
    said.says("`landlok` is no value of `mode`").says("did you mean `landlock`?").says("`read` is a list of absolute paths");
}

#[test]
fn what_is_declared_and_never_read_is_told_on_request() {
    let workspace = undeclared();
    workspace.edit("fw/BUILD.ouro", "deps = [\":own\"],", "deps = [\":own\", \"//lib:limits\", \"//lib:named\"],");
    let named =
        "bpf_library(name = \"named\", hdrs = [\"named.h\"], defines = [\"NAMED\"], visibility = [\"//visibility:public\"])\n";
    workspace.write("lib/BUILD.ouro", &(workspace.read("lib/BUILD.ouro") + named));
    workspace.write("lib/named.h", "");
    let said = workspace.ok(&["build", "//fw:a", "--unused-headers"]);
    said.says("warning: nothing that was built reads `lib/more.h` of `//lib:limits`").says("--> lib/BUILD.ouro:1");
    assert!(!said.err.contains("reads no header"), "what defines something is there for that: {}", said.err);
    workspace.write("fw/a.c", &program("#include \"own.h\"\n", "a", "OWN"));
    workspace.settle(&["build", "//fw:a"]);
    let said = workspace.ok(&["build", "//fw:a", "--unused-headers"]);
    said.says("warning: `//fw:a` reads no header of `//lib:limits`").says("--> fw/BUILD.ouro:6:21").says("remove it from `deps`");
    workspace.edit("fw/BUILD.ouro", ", \"//lib:limits\", \"//lib:named\"", "");
    workspace.ok(&["build", "//fw:a", "--unused-headers"]).says("every declared header is read");
}

/// Every example, in every mode, to the last byte.
#[test]
fn all_modes_make_the_same_files() {
    for example in ["firewall", "custom-rule"] {
        let made = MODES.map(|mode| {
            let workspace = Workspace::example(example);
            let said = workspace.ok(&["build", "//...", mode]);
            assert!(!said.compiled().is_empty(), "{mode}");
            files(&workspace.path("ouro-out"))
        });
        let names: Vec<&str> = made[0].iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.iter().filter(|name| name.ends_with(".o")).count() > 2, "{names:?}");
        for (mode, files) in MODES.iter().zip(&made).skip(1) {
            let other = made[0].iter().zip(files).find(|(one, other)| one != other).map(|(one, _)| &one.0);
            assert_eq!((files.len(), other), (made[0].len(), None), "{example} {mode}");
        }
    }
}

/// Every file below a folder with its bytes, sorted.
fn files(folder: &PathBuf) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.strip_prefix(folder).unwrap().display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn results_are_shared_between_modes() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.ok(&["build", "//...", "--sandbox=namespace"]);
    workspace.ok(&["clean"]);
    for mode in MODES {
        let said = workspace.ok(&["build", "//...", mode]);
        assert!(said.compiled().is_empty(), "{mode}: {}", said.err);
    }
}

fn tests(script: &str, tags: &str) -> Workspace {
    let build = format!("sh_test(name = \"t\", srcs = [\"t.sh\"], data = [\"in.txt\"], tags = [{tags}])\n");
    let script = format!("#!/bin/sh\n{script}\n");
    let workspace = Workspace::with(&[("BUILD.ouro", &build), ("t.sh", &script), ("in.txt", "in\n"), ("secret.txt", "secret\n")]);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(workspace.path("t.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    workspace
}

#[test]
fn tests_see_their_runfiles_and_their_own_folders() {
    let good =
        "cat in.txt && echo x > $TEST_TMPDIR/x && cat $TEST_TMPDIR/x && echo said > /dev/stderr && echo more >> in-this-folder";
    for mode in MODES {
        let workspace = tests(good, "");
        workspace.ok(&["test", mode, "--no-cached"]);
        // What it writes of itself is read with other rights than its own.
        for strange in ["ln -s /etc/passwd $XML_OUTPUT_FILE", "mkfifo $XML_OUTPUT_FILE"] {
            workspace.write("t.sh", &format!("#!/bin/sh\n{strange}\n"));
            workspace.ok(&["test", mode]);
        }
    }
    for mode in &MODES[..2] {
        let workspace = tests("", "");
        let secret = workspace.path("secret.txt").display().to_string();
        workspace.write("t.sh", &format!("#!/bin/sh\ncat {secret}\n"));
        let said: Said = workspace.fails(4, &["test", mode]);
        assert!(said.out.contains("secret.txt: "), "{mode}: {}", said.out);
        workspace.edit("BUILD.ouro", "tags = []", "tags = [\"no-sandbox\"]");
        workspace.ok(&["test", mode]);
    }
}
