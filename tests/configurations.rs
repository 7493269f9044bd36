//! Configurations with the real command and the real compiler: platforms, modes, flags, `select()`, repositories, Ctrl-C.

mod support;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Said, Workspace};

const SOURCE: &str = r#"#include <ouro/program.h>
SEC("xdp") int p(struct xdp_md *ctx)
{
	return VERDICT;
}
char _license[] SEC("license") = "GPL";
"#;

/// A program whose verdict depends on the configuration.
fn workspace() -> Workspace {
    Workspace::with(&[
        (
            "ouro.toml",
            "[config.small]\ndefines = [\"SMALL\"]\nflags = { \"//fw:verdict\" = \"drop\" }\n[config.arm]\nplatform = \"aarch64\"\nmode = \"dbg\"\n",
        ),
        (
            "fw/BUILD.ouro",
            r#"string_flag(name = "verdict", default = "pass", values = ["pass", "drop"])
config_setting(name = "drop", flags = {":verdict": "drop"})
config_setting(name = "arm", arch = "arm64")
bpf_program(
    name = "p",
    srcs = ["p.c"],
    type = "xdp",
    defines = ["PLAIN"] + select({":drop": ["VERDICT=XDP_DROP"], "//conditions:default": ["VERDICT=XDP_PASS"]}),
)
filegroup(name = "by_arch", srcs = select({":arm": ["arm.txt"]}), tags = ["manual"])
"#,
        ),
        ("fw/p.c", SOURCE),
        ("fw/arm.txt", ""),
    ])
}

/// The folders of outputs.
fn folders(workspace: &Workspace) -> Vec<String> {
    let entries = fs::read_dir(workspace.path("ouro-out")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn object(workspace: &Workspace, folder: &str) -> Vec<u8> {
    fs::read(workspace.path(&format!("ouro-out/{folder}/fw/p.o"))).unwrap()
}

#[test]
fn platforms_are_built_side_by_side_and_told_apart() {
    let workspace = workspace();
    let said = workspace.ok(&["build", "//...", "--platform", "x86_64", "--platform", "aarch64", "--platform", "s390x"]);
    assert_eq!(said.compiled(), ["//fw:p", "//fw:p", "//fw:p"]);
    said.says("compile //fw:p [x86]").says("compile //fw:p [arm64]").says("compile //fw:p [s390]");
    said.says("built 12 targets in").says("  arm64: 4 targets in ouro-out/arm64\n");
    assert_eq!(folders(&workspace), ["arm64", "s390", "x86"]);
    let byte_order = |folder: &str| object(&workspace, folder)[5];
    assert_eq!((byte_order("x86"), byte_order("arm64"), byte_order("s390")), (1, 1, 2));
    // The program asks nothing of the machine, so only its byte order counts.
    assert_eq!(object(&workspace, "x86"), object(&workspace, "arm64"));
    let failed = workspace.fails(1, &["build", "//fw:by_arch", "--platform", "arm64", "--platform", "arm"]);
    failed.says("no condition of this `select()` holds").says("the configuration is: platform `arm`, mode `opt`");
}

/// A build from the snapshot tells the configurations apart as the whole way does, also of what is only told again.
#[test]
fn a_build_from_the_snapshot_tells_configurations_apart() {
    let workspace = workspace();
    workspace.edit("fw/BUILD.ouro", "filegroup(", "bpf_program(name = \"q\", srcs = [\"q.c\"], type = \"xdp\")\nfilegroup(");
    workspace.write("fw/q.c", &SOURCE.replace("p(", "q(").replace("VERDICT", "0"));
    let two = ["build", "//...", "--platform", "x86_64", "--platform", "aarch64", "--events", "events.jsonl"];
    workspace.settle(&two);
    workspace.edit("fw/q.c", "return 0;", "int unused; return 0;");
    workspace.ok(&two).says("compile //fw:q [x86] ").says("compile //fw:q [arm64] ").says("unused variable");
    let nothing = workspace.ok(&two);
    nothing.says("compile //fw:q [x86] up to date").says("compile //fw:q [arm64] up to date");
    workspace.edit("fw/p.c", "return VERDICT;", "#ifdef __TARGET_ARCH_arm64\nreturn 0;\n#endif\n\treturn VERDICT;");
    let said = workspace.ok(&two);
    assert_eq!(said.compiled(), ["//fw:p", "//fw:p"], "{}", said.err);
    said.says("compile //fw:p [x86] ").says("compile //fw:p [arm64] ");
    said.says("compile //fw:q [x86] up to date").says("compile //fw:q [arm64] up to date");
    let text = workspace.read("events.jsonl");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str, field: &str| {
        let named = events.iter().filter(|event| event["event"] == name);
        named.map(|event| event[field].clone()).collect::<Vec<Value>>()
    };
    assert_eq!((of("phase_began", "phase"), of("phase_ended", "phase")), (vec!["execute".into()], vec!["execute".into()]));
    assert_eq!(of("configured", "configuration"), ["x86", "arm64", "x86", "arm64"]);
    let mut numbers: Vec<u64> = of("action_finished", "action").iter().map(|number| number.as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let planned = of("planned", "actions")[0].as_u64().unwrap();
    assert_eq!(numbers, (0..planned).collect::<Vec<u64>>(), "each has a number of its own");
}

#[test]
fn a_failed_action_names_its_configuration() {
    let workspace = workspace();
    workspace.edit("fw/p.c", "return VERDICT;", "#ifdef __TARGET_ARCH_arm64\n#error not for arm\n#endif\n\treturn VERDICT;");
    let said = workspace.fails(1, &["build", "//...", "--platform", "x86", "--platform", "arm64", "-k"]);
    said.says("compile //fw:p [arm64] failed").says("#error not for arm").says("1 action failed");
    assert_eq!(said.compiled().len(), 2, "one succeeded, one failed: {}", said.err);
}

#[test]
fn switching_back_and_forth_compiles_nothing() {
    let workspace = workspace();
    let ways: &[&[&str]] = &[
        &["--platform", "x86"],
        &["--platform", "x86", "--config", "small"],
        &["--platform", "x86", "--flag", "//fw:verdict=drop"],
        &["--platform", "x86", "--mode", "dbg"],
        &["--config", "arm"],
        &["--config", "arm", "--config", "small", "--platform", "riscv64"],
    ];
    let build = |way: &[&str]| workspace.ok(&[&["build", "//..."], way].concat());
    for way in ways {
        let said = build(way);
        assert!(!said.compiled().is_empty(), "{way:?}: {}", said.err);
    }
    assert_eq!(folders(&workspace).len(), 7, "{:?}", folders(&workspace));
    for way in ways.iter().chain(ways.iter().rev()) {
        assert!(build(way).compiled().is_empty(), "{way:?}");
    }
    // An edit concerns each of them again.
    workspace.edit("fw/p.c", "int p(", "int  p(");
    workspace.edit("fw/p.c", "return VERDICT;", "return VERDICT + 0 * sizeof(int);");
    for way in ways {
        assert!(!build(way).compiled().is_empty(), "{way:?}");
    }
}

#[test]
fn flags_and_names_choose_what_is_compiled() {
    let workspace = workspace();
    workspace.ok(&["build", "//fw:p", "--platform", "x86"]);
    let pass = object(&workspace, "x86");
    workspace.ok(&["build", "//fw:p", "--platform", "x86", "--config", "small"]);
    let drop = object(&workspace, "x86-small");
    assert_ne!(pass, drop);
    // From a folder below, flags are named as targets are.
    workspace.ok(&["-C", "fw", "build", ":p", "--platform", "x86", "--flag", ":verdict=drop"]);
    let by_flag = folders(&workspace).into_iter().find(|name| name.starts_with("x86-0")).expect("a folder of its own");
    assert_eq!(object(&workspace, &by_flag), drop);
    workspace.edit("fw/p.c", "return VERDICT;", "#ifdef OURO_DEBUG\n\tbpf_printk(\"debug\");\n#endif\n\treturn VERDICT;");
    workspace.ok(&["build", "//fw:p", "--config", "arm"]);
    let debug = object(&workspace, "arm64-dbg-arm");
    assert!(debug.windows(5).any(|window| window == b"debug"));
}

#[test]
fn wrong_words_have_near_ones() {
    let workspace = workspace();
    let fails = |code: i32, arguments: &[&str]| workspace.fails(code, &[&["build", "//..."], arguments].concat());
    fails(2, &["--platform", "aarch46"]).says("unknown platform `aarch46`").says("did you mean `aarch64`?");
    fails(2, &["--config", "smal"]).says("unknown configuration `smal`").says("did you mean `small`?");
    fails(2, &["--min-kernel", "five"]).says("`five` is no kernel version");
    fails(2, &["--mode", "debug"]).says("dbg");
    fails(2, &["--flag", "//fw:verdic=drop"]).says("there is no flag `//fw:verdic`").says("did you mean `verdict`?");
    fails(2, &["--flag", "//fw:verdict=drp"]).says("`drp` is no value of `//fw:verdict`").says("did you mean `drop`?");
    fails(2, &["--flag", "//fw:p=drop"]).says("there is no flag `//fw:p`").says("it is a `bpf_program`");
    fails(2, &["--flag", "//wf:verdict=drop"]).says("no package `//wf`").says("did you mean `//fw`?");
    fails(2, &["--flag", "verdict:x:y=1"]).says("label");
    workspace.edit("ouro.toml", "\"//fw:verdict\" = \"drop\"", "\"//fw:verdict\" = \"dorp\"");
    fails(2, &["--config", "small"]).says("--> ouro.toml:3:").says("did you mean `drop`?");
}

#[test]
fn commands_for_one_configuration_refuse_several() {
    let workspace = Workspace::example("02-two-program-chain");
    for command in [&["bundle", "//:two"][..], &["graph", "//:two"], &["generate"], &["deploy", "//:two", "--plan"]] {
        let said = workspace.fails(2, &[command, &["--platform", "arm", "--platform", "arm64"]].concat());
        said.says("takes one configuration, and these are 2: `arm`, `arm64`").says("once at most");
    }
    workspace.ok(&["bundle", "//:two", "--platform", "s390x", "-o", "big.bundle"]);
    workspace.ok(&["bundle", "//:two", "--platform", "aarch64", "-o", "little.bundle"]);
    assert_ne!(fs::read(workspace.path("big.bundle")).unwrap(), fs::read(workspace.path("little.bundle")).unwrap());
    workspace.ok(&["generate", "--platform", "aarch64"]);
    assert!(workspace.read("compile_commands.json").contains("-D__TARGET_ARCH_arm64"));
}

#[test]
fn a_repository_builds_from_its_own_root() {
    let workspace = Workspace::with(&[
        ("ouro.toml", "[repositories]\nlibfoo = \"third_party/foo\"\n"),
        ("BUILD.ouro", "bpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\"@libfoo//lib:verdict\"])\n"),
        (
            "p.c",
            &SOURCE.replace("#include <ouro/program.h>", "#include <ouro/program.h>\n#include \"third_party/foo/lib/verdict.h\""),
        ),
        ("third_party/foo/ouro.toml", ""),
        (
            "third_party/foo/lib/BUILD.ouro",
            "bpf_library(name = \"verdict\", hdrs = [\"verdict.h\"], deps = [\"//base:base\"], visibility = [\"//visibility:public\"])\nbpf_program(name = \"own\", srcs = [\"own.c\"], type = \"xdp\", deps = [\":verdict\"], function = \"p\")\n",
        ),
        ("third_party/foo/lib/verdict.h", "#include \"base/value.h\"\n#define VERDICT VALUE\n"),
        (
            "third_party/foo/lib/own.c",
            &SOURCE.replace("#include <ouro/program.h>", "#include <ouro/program.h>\n#include \"lib/verdict.h\""),
        ),
        (
            "third_party/foo/base/BUILD.ouro",
            "bpf_library(name = \"base\", hdrs = [\"value.h\"], visibility = [\"//lib:__pkg__\"])\n",
        ),
        ("third_party/foo/base/value.h", "#define VALUE XDP_DROP\n"),
        // A file of the same path in the workspace is not the repository's.
        ("base/value.h", "#error the wrong file\n"),
    ]);
    assert_eq!(workspace.ok(&["build", "@libfoo//..."]).compiled(), ["//third_party/foo/lib:own"]);
    fs::remove_file(workspace.path("base/value.h")).unwrap();
    assert_eq!(workspace.ok(&["build", "//..."]).compiled(), ["//:p"]);
    workspace.fails(2, &["build", "@libfoo//lib:ow"]).says("did you mean `own`?");
    workspace.fails(2, &["build", "@libfo//lib:own"]).says("unknown repository `@libfo`").says("did you mean `libfoo`?");
    workspace.fails(2, &["build", "@other//..."]).says("[repositories] other = ");
    // As a workspace of its own it builds, too.
    let alone = workspace.ok(&["-C", "third_party/foo", "build", "//lib:own"]);
    assert!(alone.err.contains("built 1 target"), "{}", alone.err);
}

/// What docs/configuration.md shows is what works.
#[test]
fn the_documented_configuration_builds() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    let block = |kind: &str| text.split(kind).nth(1).and_then(|rest| rest.split("```").next()).unwrap().to_owned();
    let workspace = Workspace::with(&[
        ("ouro.toml", &block("```toml\n")),
        ("fw/BUILD.ouro", &block("```python\n")),
        (
            "fw/parse.c",
            "#include <ouro/program.h>\nint more(void);\nSEC(\"xdp\") int parse(struct xdp_md *ctx) { return more(); }\nchar _license[] SEC(\"license\") = \"GPL\";\n",
        ),
        ("fw/arm.c", "#if FAST != 1\n#error not this one\n#endif\nint more(void) { return 2; }\n"),
        ("fw/other.c", "int more(void) { return 1; }\n"),
    ]);
    workspace.ok(&["build", "//...", "--config", "small"]).says("link //fw:parse");
    workspace.ok(&["build", "//...", "--platform", "x86_64", "--flag", "//fw:fast"]);
    workspace.fails(1, &["build", "//...", "--config", "small", "--min-kernel", "6.2"]).says("#error not this one");
}

/// A file that computes for ever, or nearly, is left at once, and nothing is left behind.
#[test]
fn an_interrupt_ends_an_evaluation() {
    let workspace = Workspace::new();
    for index in 0..400 {
        workspace.write(&format!("p{index}/BUILD.ouro"), "x = [0 for a in range(30000) for b in range(300)]\n");
    }
    for command in ["build", "generate"] {
        let mut started = workspace.command(&[command, "//..."]);
        let child = started.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let interrupted = Instant::now();
        // SAFETY: sends a signal to a child that was not waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 130, "{command}: {}", said.err);
        said.says("interrupted");
        assert!(!said.err.contains("BUILD.ouro"), "what was found until then means nothing: {}", said.err);
        assert!(interrupted.elapsed() < Duration::from_secs(20), "{command}: {:?}", interrupted.elapsed());
        let outputs = fs::read_dir(workspace.path("ouro-out")).map_or(0, Iterator::count);
        let state = fs::read_dir(workspace.path(".ouro")).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = state.filter(|name| !["lock", "toolchain", "fresh"].iter().any(|known| name == known)).collect();
        assert!(outputs == 0 && left.is_empty(), "{left:?}");
    }
}

/// So is what rules of the user compute: each target may take a second, and there are many.
#[test]
fn an_interrupt_ends_the_analysis() {
    let rule = "def _slow(ctx):\n    for a in range(9000000):\n        pass\n    return []\nslow_test = rule(implementation = _slow, test = True)\n";
    let targets = "load(\":defs.star\", \"slow_test\")\n[slow_test(name = \"t%d\" % n) for n in range(100)]\n";
    let workspace = Workspace::with(&[("BUILD.ouro", targets), ("defs.star", rule)]);
    for command in [&["build", "//..."][..], &["test", "//..."], &["aquery", "//..."], &["build", "//...", "--nobuild"]] {
        let mut started = workspace.command(command);
        let child = started.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1000));
        let interrupted = Instant::now();
        // SAFETY: sends a signal to a child that was not waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 130, "{command:?}: {}", said.err);
        said.says("interrupted");
        assert!(!said.err.contains("defs.star"), "what was found until then means nothing: {}", said.err);
        assert!(interrupted.elapsed() < Duration::from_secs(5), "{command:?}: {:?}", interrupted.elapsed());
    }
}

/// Values in values in values: what takes them apart calls itself, and the end of the stack ended the process with an abort.
#[test]
fn a_value_too_deep_is_refused_by_name() {
    let nested = |wrap: &str, result: &str| {
        format!(
            "def nested():\n    x = ()\n    for i in range(1000000):\n        x = {wrap}\n    return {result}\nx = nested()\n"
        )
    };
    for (wrap, result) in [("[x]", "x"), ("struct(x = x)", "str(x)"), ("[x]", "print(x)"), ("(x,)", "{x: 1}")] {
        let workspace =
            Workspace::with(&[("fw/BUILD.ouro", "load(\":defs.star\", \"x\")\n"), ("fw/defs.star", &nested(wrap, result))]);
        let said = workspace.fails(1, &["build", "//..."]);
        said.says("error: `fw/defs.star` makes values that are nested too deeply");
        said.says("help: look for a value that is put into a new one in a loop");
    }
}

/// The same for what a rule of the user makes.
#[test]
fn a_rule_whose_values_are_too_deep_is_refused_by_name() {
    let rule = "def _deep(ctx):\n    x = []\n    for i in range(1000000):\n        x = [x]\n    return [DefaultInfo(files = depset([str(x)]))]\ndeep = rule(implementation = _deep)\n";
    let workspace =
        Workspace::with(&[("fw/BUILD.ouro", "load(\":defs.star\", \"deep\")\ndeep(name = \"a\")\n"), ("fw/defs.star", rule)]);
    workspace.fails(1, &["build", "//..."]).says("error: `fw/defs.star` makes values that are nested too deeply");
}

/// One step of the interpreter that asks for more memory than there is ended the process with a trace of it, or the machine.
#[test]
fn a_value_too_large_is_refused_by_name() {
    for (what, text) in [
        ("multiplied", "x = [0] * 2000000000\n"),
        ("sorted", "x = sorted(range(2000000000))\n"),
        ("doubled", "load(\":defs.star\", \"double\")\ndouble()\n"),
    ] {
        let workspace = Workspace::with(&[
            ("fw/BUILD.ouro", text),
            ("fw/defs.star", "def double():\n    x = \"12345678\"\n    for i in range(60):\n        x = x + x\n"),
        ]);
        let said = workspace.fails(1, &["build", "//..."]);
        said.says("error: `fw/BUILD.ouro` asks for more than 1 GiB of memory at once");
        assert!(said.err.lines().count() < 4, "{what}: {}", said.err);
    }
}

/// `trace` has no types for another machine than this one: nothing was built, and nobody said for which configuration.
#[test]
fn what_one_configuration_lacks_is_told_and_with_keep_going_the_others_are_built() {
    let workspace = workspace();
    let build = workspace.read("fw/BUILD.ouro");
    let odd = "filegroup(name = \"odd\", srcs = select({\":drop\": [\"p.c\"]}))\n\
               bpf_program(name = \"late\", srcs = [\"p.c\"], type = select({\":arm\": \"xdpp\", \"//conditions:default\": \"xdp\"}), \
               defines = [\"VERDICT=XDP_DROP\"], function = \"p\")\n";
    workspace.write("fw/BUILD.ouro", &format!("{build}{odd}"));
    let all = ["--config", "small", "--config", "arm"];
    let said = workspace.fails(1, &[&["build", "//fw:odd", "//fw:p"][..], &all].concat());
    said.says("note: in the configuration `arm64-dbg-arm`");
    assert!(said.compiled().is_empty() && !said.err.contains("x86-small"), "{}", said.err);
    let said = workspace.fails(1, &[&["build", "//fw:odd", "//fw:p", "-k"][..], &all].concat());
    said.says("note: in the configuration `arm64-dbg-arm`").says("compile //fw:p [x86-small]");
    assert_eq!((said.compiled().len(), folders(&workspace)), (1, vec!["x86-small".to_owned()]));
    // With a rule that fails, the rest of its configuration is built, too.
    let said = workspace.fails(1, &[&["build", "//fw:late", "//fw:p", "-k"][..], &all].concat());
    said.says("unknown program type `xdpp`").says("in the configuration `arm64-dbg-arm`");
    assert_eq!((said.compiled().len(), folders(&workspace).len()), (2, 2), "{}", said.err);
    // What planning finds is of those that are left, not of all.
    workspace.write("fw/BUILD.ouro", &format!("{build}{odd}genrule(name = \"twice\", outs = [\"p.o\"], cmd = \"true > $@\")\n"));
    let said = workspace.fails(1, &[&["build", "//fw:odd", "//fw:p", "//fw:twice", "-k"][..], &all].concat());
    said.says("is made by").says("note: in the configuration `x86-small`").says("note: in the configuration `arm64-dbg-arm`");
    let said = workspace.fails(1, &["build", "//fw:late", "--config", "arm"]);
    assert!(!said.err.contains("in the configuration"), "there is but one: {}", said.err);
}
