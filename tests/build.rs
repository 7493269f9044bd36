//! `ouro build` and its relatives, with the real compiler.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{OURO, Said, Workspace, has_btf};

const EXAMPLES: &[&str] = &["01-hello-xdp", "02-two-program-chain", "03-shared-map", "co-re", "custom-rule", "firewall"];

#[test]
fn every_example_builds_and_a_second_build_does_nothing() {
    for example in EXAMPLES.iter().filter(|example| **example != "co-re" || has_btf()) {
        let workspace = Workspace::example(example);
        let first = workspace.ok(&["build", "//..."]);
        assert!(!first.compiled().is_empty(), "{example}: {}", first.err);
        let second = workspace.ok(&["build", "//..."]);
        assert!(second.compiled().is_empty() && !second.err.contains("ran"), "{example}: {}", second.err);
    }
}

#[test]
fn changing_one_program_compiles_that_program_alone() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["build", "//..."]);
    workspace.edit("fw/allow.c", "decide(ALLOWED)", "decide(BLOCKED)");
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert_eq!(said.compiled(), ["//fw:allow"]);
    said.says("bundle //fw:fw");
}

#[test]
fn changing_a_header_compiles_those_that_read_it() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["build", "//..."]);
    let text = workspace.read("fw/packet.h");
    workspace.write("fw/packet.h", &format!("{text}\n#define UNUSED 1\n"));
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert_eq!(said.compiled(), ["//fw:block_list", "//fw:parse", "//fw:rate_limit"]);
    // The objects came out the same, so nothing behind them ran.
    said.says("bundle //fw:fw up to date");
}

#[test]
fn touching_a_file_compiles_nothing() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["build", "//..."]);
    let text = workspace.read("fw/parse.c");
    workspace.write("fw/parse.c", &text);
    assert!(workspace.ok(&["build", "//..."]).compiled().is_empty());
}

#[test]
fn planning_alone_runs_and_writes_nothing_and_tells_what_is_wrong() {
    let workspace = Workspace::example("firewall");
    let said = workspace.ok(&["build", "//...", "--nobuild"]);
    said.says("planned").says("none run");
    assert!(said.compiled().is_empty() && !workspace.path("ouro-out").exists(), "{}", said.err);
    workspace.ok(&["build", "//..."]);
    // A snapshot says that all is well, and is not asked.
    workspace.ok(&["build", "//...", "--nobuild"]).says("planned");
    workspace.edit("fw/BUILD.ouro", "name = \"parse\"", "nane = \"parse\"");
    workspace.fails(1, &["build", "//...", "--nobuild"]).says("did you mean `name`?");
}

#[test]
fn a_rebuild_after_clean_runs_no_compiler() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["build", "//..."]);
    let object = fs::read(workspace.path("ouro-out/x86/fw/parse.o"))
        .or_else(|_| fs::read(workspace.path("ouro-out/arm64/fw/parse.o")))
        .unwrap();
    workspace.ok(&["clean"]).says("removed ouro-out and .ouro, ").says("B\n");
    workspace.ok(&["clean"]).says("nothing was there to remove");
    assert!(!workspace.path("ouro-out").exists());
    let said = workspace.ok(&["build", "//..."]);
    assert!(said.compiled().is_empty(), "{}", said.err);
    let restored = fs::read(workspace.path("ouro-out/x86/fw/parse.o"))
        .or_else(|_| fs::read(workspace.path("ouro-out/arm64/fw/parse.o")))
        .unwrap();
    assert_eq!(object, restored);
}

/// Without a home, as in a unit of systemd's, nothing was built at all, where a cache that cannot be written is a warning.
#[test]
fn without_a_home_the_workspace_has_a_cache_of_its_own() {
    let workspace = Workspace::example("01-hello-xdp");
    let run = |arguments: &[&str]| {
        let mut command = workspace.command(arguments);
        Said::of(command.env_remove("HOME").env_remove("XDG_CACHE_HOME").output().unwrap())
    };
    let said = run(&["build", "//..."]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.says("warning: there is no folder for the action cache").says("`--cache-dir DIR`");
    fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
    fs::write(workspace.path("ouro.toml"), "[build]\njobs = 1\n").unwrap();
    let said = run(&["build", "//..."]);
    assert!(said.code == 0 && said.compiled().is_empty(), "{}", said.err);
    assert_eq!(run(&["-C", "/", "cache", "stat"]).code, 2);
}

#[test]
fn two_checkouts_give_the_same_bundle() {
    let (one, two) = (Workspace::example("firewall"), Workspace::example("firewall"));
    one.ok(&["bundle", "//fw:fw", "-o", "a.bundle"]);
    let said = two.ok(&["bundle", "//fw:fw", "-o", "a.bundle"]);
    assert_eq!(said.compiled().len(), 4, "the second has a cache of its own");
    assert_eq!(fs::read(one.path("a.bundle")).unwrap(), fs::read(two.path("a.bundle")).unwrap());
}

#[test]
fn two_processes_share_a_cache_and_a_workspace() {
    let (one, two) = (Workspace::example("firewall"), Workspace::example("firewall"));
    let cache = tempfile::tempdir().unwrap();
    let start = |workspace: &Workspace| workspace.command(&["build", "//...", "--cache"]).arg(cache.path()).spawn().unwrap();
    // Two in the same workspace, one in another, all with one cache.
    let mut running = [start(&one), start(&one), start(&two)];
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
    one.ok(&["bundle", "//fw:fw", "-o", "a.bundle"]);
    two.ok(&["bundle", "//fw:fw", "-o", "a.bundle"]);
    assert_eq!(fs::read(one.path("a.bundle")).unwrap(), fs::read(two.path("a.bundle")).unwrap());
}

#[test]
fn a_program_is_compiled_once_for_two_chains_and_linked_to_each() {
    let workspace = Workspace::example("02-two-program-chain");
    let build = workspace.read("BUILD.ouro");
    let entry = build.split("entry = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    workspace.write("BUILD.ouro", &format!("{build}\nbpf_chain(name = \"second\", entry = \"{entry}\", table_size = 7)\n"));
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert_eq!(said.compiled().len(), 2, "{}", said.err);
    assert_eq!(said.err.matches("bundle ").count(), 2, "{}", said.err);
}

#[test]
fn keep_going_builds_what_it_can_and_shows_each_message_whole() {
    let workspace = Workspace::example("firewall");
    workspace.write("fw/parse.c", "#error first broken\n");
    workspace.write("fw/allow.c", "#error second broken\n");
    let said = workspace.fails(1, &["build", "//...", "--keep-going"]);
    said.says("#error first broken").says("#error second broken").says("2 actions failed");
    assert_eq!(said.err.matches("error generated").count() + said.err.matches("errors generated").count(), 2, "{}", said.err);
    assert!(workspace.ok(&["build", "//fw:rate_limit"]).compiled().is_empty(), "it was built beside the failures");
}

/// One program with a wrong attribute, one that names a file that is not there: with `-k` nothing was built beside them.
#[test]
fn keep_going_goes_past_what_is_wrong_in_build_files() {
    let workspace = Workspace::example("firewall");
    let build = workspace.read("fw/BUILD.ouro");
    workspace.write(
        "fw/BUILD.ouro",
        &format!(
            "{build}\nbpf_program(name = \"odd\", srcs = [\"allow.c\"], type = \"xdpp\")\n\
             bpf_program(name = \"lost\", srcs = [\"nowhere.c\"], type = \"xdp\", on_miss = \"pass\", jumps = [\":odd\"])\n\
             bpf_chain(name = \"second\", entry = \":leads\")\n\
             bpf_program(name = \"leads\", srcs = [\"leads.c\"], type = \"xdp\", on_miss = \"pass\", jumps = [\":odd\"])\n"
        ),
    );
    let leads = "#include <ouro/program.h>\nSEC(\"xdp\") int leads(struct xdp_md *ctx) { OURO_JUMP(ctx, odd); }\n\
                 char _license[] SEC(\"license\") = \"GPL\";\n";
    workspace.write("fw/leads.c", leads);
    let said = workspace.fails(1, &["build", "//..."]);
    assert!(said.compiled().is_empty());
    let said = workspace.fails(1, &["build", "//...", "-k"]);
    said.says("unknown program type `xdpp`").says("there is no target or file `//fw:nowhere.c`");
    assert_eq!(said.compiled(), ["//fw:allow", "//fw:block_list", "//fw:leads", "//fw:parse", "//fw:rate_limit"]);
    assert!(workspace.path("ouro-out/x86/fw/fw.bundle").exists());
    assert!(!workspace.path("ouro-out/x86/fw/second.bundle").exists(), "its programs are not all there");
    // What was built stays, and what is wrong is told again.
    let said = workspace.fails(1, &["build", "//...", "-k"]);
    assert!(said.says("xdpp").compiled().is_empty(), "{}", said.err);
}

/// A BUILD file that cannot be read, a module that cannot, and targets that wait for each other: each takes only what needs it along.
#[test]
fn keep_going_goes_past_whole_packages_and_circles() {
    let workspace = Workspace::example("firewall");
    let copy = |name: &str, from: &str| {
        format!("genrule(name = \"{name}\", srcs = [{from}], outs = [\"{name}.txt\"], cmd = \"cat $(SRCS) > $@\")\n")
    };
    workspace.write("bad/BUILD.ouro", "genrule(name = \"bad\"\n");
    workspace.write("bad/there.txt", "there\n");
    workspace.write("odd/BUILD.ouro", "load(\":none.star\", \"none\")\nnone()\n");
    workspace.write("good/a.txt", "good\n");
    workspace.write(
        "good/BUILD.ouro",
        &[
            copy("good", "\"a.txt\""),
            copy("file", "\"//bad:there.txt\""),
            copy("needs", "\"//bad:bad\""),
            copy("above", "\":needs\""),
            copy("gone", "\"//nowhere:x\""),
            copy("one", "\":two\""),
            copy("two", "\":one\""),
            copy("own", "\":own\""),
            copy("outside", "\":one\""),
        ]
        .concat(),
    );
    let whole = workspace.fails(1, &["build", "//..."]);
    assert!(whole.compiled().is_empty(), "{}", whole.err);
    let said = workspace.fails(1, &["build", "//...", "-k"]);
    said.says("bad/BUILD.ouro:").says("none.star").says("no package `//nowhere`").says("in a circle");
    assert_eq!(said.err.matches("\n --> ").count(), 5, "nothing is told twice, and nothing follows from it: {}", said.err);
    assert_eq!(said.compiled().len(), 4, "{}", said.err);
    let there = ["good", "file", "needs", "above", "gone", "one", "two", "own", "outside"]
        .map(|name| workspace.path(&format!("ouro-out/x86/good/{name}.txt")).exists());
    assert_eq!(there, [true, false, false, false, false, false, false, false, false]);
    let said = workspace.fails(1, &["test", "//...", "-k"]);
    assert!(said.says("bad/BUILD.ouro:").out.contains("//fw:objects_test"), "{}", said.out);
    // Nothing that was asked for is sound.
    workspace.fails(1, &["build", "//bad:bad", "-k"]).says("bad/BUILD.ouro:");
}

#[test]
fn patterns_select_from_where_one_stands() {
    let workspace = Workspace::example("firewall");
    let built = |arguments: &[&str]| {
        let said = workspace.ok(arguments);
        workspace.ok(&["clean"]);
        said
    };
    assert_eq!(built(&["build", "//fw:allow", "--cache", "c1"]).compiled(), ["//fw:allow"]);
    assert_eq!(built(&["-C", "fw", "build", ":allow", "--cache", "c2"]).compiled(), ["//fw:allow"]);
    assert_eq!(built(&["-C", "fw", "build", "allow", "--cache", "c3"]).compiled(), ["//fw:allow"]);
    assert_eq!(
        built(&["build", "//...", "-//fw:fw", "-//fw:parse", "-//fw:objects_test", "--cache", "c4"]).compiled(),
        ["//fw:allow", "//fw:block_list", "//fw:rate_limit"]
    );
    assert_eq!(built(&["-C", "fw", "build", "...", "--cache", "c5"]).compiled().len(), 4);
    workspace.fails(2, &["build", "//fw:alow"]).says("did you mean `allow`?");
}

#[test]
fn a_finding_has_place_caret_and_remedy() {
    let workspace = Workspace::example("firewall");
    workspace.edit("fw/BUILD.ouro", "entry = \":parse\"", "entri = \":parse\"");
    let said = workspace.fails(1, &["build", "//..."]);
    said.says("error: unknown attribute `entri` of `bpf_chain`")
        .says("--> fw/BUILD.ouro:")
        .says("^")
        .says("did you mean `entry`?");
    let json = workspace.fails(1, &["build", "//...", "--message-format", "json"]);
    let findings: Vec<serde_json::Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(findings.iter().all(|finding| finding["file"] == "fw/BUILD.ouro"), "{}", json.out);
    assert!(findings.iter().any(|finding| finding["help"] == "did you mean `entry`?"), "{}", json.out);
}

#[test]
fn jumps_in_the_code_must_be_the_declared_ones() {
    let workspace = Workspace::example("02-two-program-chain");
    let build = workspace.read("BUILD.ouro");
    // Declared and never taken: the place is the BUILD file, because no line of C is to blame.
    workspace.write("BUILD.ouro", &format!("{build}\nbpf_program(name = \"idle\", srcs = [\"idle.c\"], type = \"xdp\", jumps = [\":idle2\"], on_miss = \"drop\")\nbpf_program(name = \"idle2\", srcs = [\"idle2.c\"], type = \"xdp\")\n"));
    workspace.write("idle.c", "#include <ouro/program.h>\nSEC(\"xdp\") int idle(struct xdp_md *ctx) { return XDP_PASS; }\nchar _license[] SEC(\"license\") = \"GPL\";\n");
    workspace.write("idle2.c", "#include <ouro/program.h>\nSEC(\"xdp\") int idle2(struct xdp_md *ctx) { return XDP_PASS; }\nchar _license[] SEC(\"license\") = \"GPL\";\n");
    workspace.fails(1, &["build", "//:idle"]).says("idle2").says("--> BUILD.ouro:");
    // Taken and never declared: clang says so on the line of the jump.
    workspace.write("idle.c", "#include <ouro/program.h>\nSEC(\"xdp\") int idle(struct xdp_md *ctx)\n{\n\tOURO_JUMP(ctx, nowhere);\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n");
    workspace.fails(1, &["build", "//:idle"]).says("nowhere").says("idle.c:4");
    // Computed: found in the bytecode, on the line of the call.
    workspace.write("idle.c", "#include <ouro/program.h>\nSEC(\"xdp\") int idle(struct xdp_md *ctx)\n{\n\tbpf_tail_call(ctx, &ouro_jumps, ctx->rx_queue_index);\n\treturn XDP_PASS;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n");
    workspace.fails(1, &["build", "//:idle"]).says("idle.c:4").says("`idle`");
}

#[test]
fn several_sources_become_one_program() {
    let workspace = Workspace::with(&[
        (
            "BUILD.ouro",
            "bpf_map(name = \"hits\", type = \"array\", max_entries = 1)\nbpf_program(name = \"sum\", srcs = [\"a.c\", \"b.c\"], type = \"xdp\", maps = [\":hits\"])\n",
        ),
        (
            "a.c",
            "#include <ouro/program.h>\nint helper(struct xdp_md *ctx);\nSEC(\"xdp\") int sum(struct xdp_md *ctx) { return helper(ctx); }\nchar _license[] SEC(\"license\") = \"GPL\";\n",
        ),
        (
            "b.c",
            "#include <ouro/program.h>\nint helper(struct xdp_md *ctx)\n{\n\t__u32 key = 0;\n\t__u64 *hits = bpf_map_lookup_elem(&hits, &key);\n\treturn hits ? XDP_PASS : XDP_DROP;\n}\n",
        ),
    ]);
    workspace.edit("b.c", "__u64 *hits = bpf_map", "__u64 *found = bpf_map");
    workspace.edit("b.c", "return hits ?", "return found ?");
    workspace.ok(&["build", "//..."]).says("link //:sum");
}

#[test]
fn an_undeclared_header_is_refused() {
    let workspace = Workspace::example("firewall");
    workspace.write("lib/secret.h", "#define SECRET 1\n");
    workspace.edit("fw/allow.c", "#include <ouro/program.h>", "#include <ouro/program.h>\n#include \"lib/secret.h\"");
    workspace.fails(1, &["build", "//fw:allow"]).says("lib/secret.h").says("bpf_library");
}

#[test]
fn without_clang_the_remedy_is_said() {
    let workspace = Workspace::example("01-hello-xdp");
    let said = Said::of(workspace.command(&["build", "//..."]).env("PATH", "/nonexistent").output().unwrap());
    assert_eq!(said.code, 3, "{}", said.err);
    said.says("cannot find the C compiler").says("apt-get install clang");
    assert_eq!(fs::read_dir(workspace.path("ouro-out")).unwrap().count(), 0, "nothing is made before it is said");
}

#[test]
fn a_folder_of_path_that_is_closed_to_us_is_passed_over() {
    let workspace = Workspace::example("01-hello-xdp");
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let outer = workspace.root();
    let mut folder = outer.as_path();
    while folder != std::path::Path::new("/tmp") && folder.parent().is_some() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        folder = folder.parent().unwrap();
    }
    let ouro = workspace.path("ouro");
    fs::copy(OURO, &ouro).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&ouro)
        .args(["build", "//...", "--cache", "cache"]);
    let path = format!("{}:{}", closed.path().display(), std::env::var("PATH").unwrap());
    let said = Said::of(command.current_dir(workspace.root()).env("PATH", path).output().unwrap());
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn without_a_pattern_everything_below_is_built() {
    let workspace = Workspace::example("firewall");
    assert_eq!(workspace.ok(&["-C", "fw", "build"]).compiled().len(), 4);
}

#[test]
fn outside_a_workspace_the_remedy_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = Said::of(Command::new(OURO).args(["build", "//..."]).current_dir(folder.path()).output().unwrap());
    assert_eq!(said.code, 2, "{}", said.err);
    said.says("ouro.toml").says("ouro init");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing_half_written() {
    let workspace = Workspace::example("firewall");
    fs::create_dir(workspace.path("ouro-out")).unwrap();
    // A file system of 32 kB in a mount namespace of its own: it vanishes with the process.
    let script =
        "mount -t tmpfs -o size=32k full ouro-out && \"$0\" build //...; code=$?; find ouro-out -type f -size 0; exit $code";
    let ouro = workspace.command(&[]);
    let environment = ouro.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, OURO]).current_dir(workspace.root()).envs(environment);
    let said = Said::of(unshare.output().unwrap());
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    said.says("No space left on device").says("ouro-out/");
    assert_eq!(said.out.lines().filter(|line| line.ends_with(".o")).count(), 0, "{}", said.out);
    workspace.ok(&["build", "//..."]);
}

#[test]
fn an_unwritable_folder_is_an_error_that_names_it() {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.write("ouro-out", "in the way");
    let said = workspace.fails(1, &["build", "//..."]);
    said.says("ouro-out");
}

#[test]
fn generate_serves_editors() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["generate"]);
    let commands: serde_json::Value = serde_json::from_str(&workspace.read("compile_commands.json")).unwrap();
    let commands = commands.as_array().unwrap();
    assert_eq!(commands.len(), 4);
    assert!(workspace.read(".clangd").contains("CompilationDatabase"));
    // Each command compiles as it stands: the generated headers are there.
    for command in commands {
        let arguments: Vec<&str> =
            command["arguments"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
        let status =
            Command::new(arguments[0]).args(&arguments[1..]).arg("-fsyntax-only").current_dir(workspace.root()).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }
}

#[test]
fn a_new_workspace_builds_at_once_and_grows() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], folder: &std::path::Path| {
        let said =
            Said::of(Command::new(OURO).args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder).output().unwrap());
        assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
        said
    };
    run(&["init", "guard"], folder.path());
    let root = folder.path().join("guard");
    run(&["build", "//..."], &root);
    let listing = run(&["-v", "build", "//..."], &root).err;
    let chain = listing.lines().find(|line| line.ends_with(".bundle")).expect("a chain").to_owned();
    assert!(root.join(chain.trim()).is_file());
    run(&["add", "//fw:no_ping", "--after", "count", "-v"], &root);
    let grown = run(&["build", "-v", "-j1", "//..."], &root);
    assert!(grown.err.contains("compile //fw:no_ping") && grown.err.contains("bundle //fw:fw"), "{}", grown.err);
    let drawing =
        Said::of(Command::new(OURO).args(["graph", "//fw:fw"]).current_dir(&root).env("PATH", "/nonexistent").output().unwrap());
    assert!(drawing.out.contains("no_ping") && drawing.code == 0, "a drawing needs no compiler\n{}{}", drawing.out, drawing.err);
    let again = Said::of(Command::new(OURO).args(["init", "guard"]).current_dir(folder.path()).output().unwrap());
    assert_eq!(again.code, 1, "{}", again.err);
}

#[test]
fn a_chain_is_drawn_in_every_format() {
    let workspace = Workspace::example("firewall");
    for (format, starts) in [("text", "//fw:fw"), ("dot", "digraph"), ("mermaid", "flowchart"), ("json", "{"), ("svg", "<svg")] {
        let drawing = workspace.ok(&["graph", "//fw:fw", "-o", format]).out;
        assert!(drawing.contains(starts), "{format}: {drawing}");
        for name in ["parse", "block_list", "rate_limit", "allow", "verdicts", "eth0"] {
            assert!(drawing.contains(name), "{format} has no `{name}`: {drawing}");
        }
    }
    workspace.fails(2, &["graph", "//fw:parse"]).says("is no chain");
    workspace.fails(2, &["graph", "//fw:all"]).says("more than one target");
}

#[test]
fn a_bundle_is_written_whole_or_not_at_all() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.ok(&["build", "//..."]);
    fs::create_dir(workspace.path("small")).unwrap();
    let script =
        "mount -t tmpfs -o size=8k small small && \"$0\" bundle //:two -o small/two.bundle; code=$?; ls -A small; exit $code";
    let ouro = workspace.command(&[]);
    let environment = ouro.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, OURO]).current_dir(workspace.root()).envs(environment);
    let said = Said::of(unshare.output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
    said.says("small/two.bundle").says("No space left");
}

#[test]
fn a_broken_ouro_toml_is_never_passed_over() {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.write("ouro.toml", "[deploy]\nbpfs = \"/x\"\n");
    for command in [&["status"][..], &["undeploy", "hello"], &["-C", ".", "build", "//..."]] {
        workspace.fails(2, command).says("bpfs").says("bpffs").says("ouro.toml:2");
    }
}

#[test]
fn outputs_cannot_be_edited_by_accident() {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.ok(&["build", "//..."]);
    let object = fs::read_dir(workspace.path("ouro-out")).unwrap().next().unwrap().unwrap().path();
    let files: Vec<_> = walk(&object).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "o")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o222, 0, "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
