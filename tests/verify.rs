//! `ouro verify`: the kernel's word on programs, and nothing left behind.

#[path = "../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
mod support;

use lab::{NEAR, bpftool, lab};
use serde_json::Value;
use support::Workspace;

const BUILD: &str = r#"
bpf_program(name = "entry", srcs = ["entry.c"], type = "xdp", jumps = [":next"], on_miss = "pass", globals = {"limit": 3})
bpf_program(name = "next", srcs = ["next.c"], type = "xdp")
bpf_chain(name = "two", entry = ":entry", attach = [xdp(interface = "eth0", mode = "generic")])
"#;
const ENTRY: &str = "#include <ouro/program.h>\nconst volatile int limit = 1;\n\
    SEC(\"xdp\") int entry(struct xdp_md *ctx) { if (limit == 3) OURO_JUMP(ctx, next); return XDP_PASS; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const NEXT: &str = "#include <ouro/program.h>\n\
    SEC(\"xdp\") int next(struct xdp_md *ctx) { (void)ctx; return XDP_PASS; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";
const BAD: &str = "#include <ouro/program.h>\n\
    SEC(\"xdp\") int next(struct xdp_md *ctx) { return *(int *)(long)ctx->data; }\n\
    char _license[] SEC(\"license\") = \"GPL\";\n";

fn two() -> Workspace {
    Workspace::with(&[("BUILD.ouro", BUILD), ("entry.c", ENTRY), ("next.c", NEXT)])
}

/// Whether the kernel has a program of this name; it frees them a moment late.
fn stays(name: &str) -> bool {
    (0..100).all(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let all = bpftool(&["prog", "list"]);
        all.as_array().is_some_and(|all| all.iter().any(|program| program["name"] == name))
    })
}

#[test]
fn a_chain_is_verified_and_nothing_stays() {
    let workspace = two();
    // A name that no other test's program has.
    workspace.edit("next.c", "int next(", "int judged_only(");
    let said = workspace.ok(&["verify", "//:two"]);
    assert!(said.out.contains("entry  xdp  ") && said.out.contains("stack ") && said.out.contains(" of 512"), "{}", said.out);
    assert!(said.out.starts_with("ouro-out/"), "the workspace is known: {}", said.out);
    let json: Value = serde_json::from_str(&workspace.ok(&["verify", "//...", "--json"]).out).expect("JSON");
    let all = json.as_array().expect("programs");
    // Each program once, in its chain.
    assert_eq!(all.len(), 2, "{json:#}");
    assert!(all.iter().all(|one| one["ok"] == true && one["verified"]["instructions"].as_u64() > Some(1)), "{json:#}");
    assert!(!stays("judged_only"));
}

/// What is undeployed as `fw` is not deployed so.
#[test]
fn a_chain_is_named_by_its_label() {
    let workspace = Workspace::with(&[("fw/BUILD.ouro", "bpf_chain(name = \"fw\", entry = \":none\")\n")]);
    let said = workspace.ouro(&["plan", "fw"]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("name a chain of the package `//fw` by its label: `//fw:fw`"), "{}", said.err);
}

#[test]
fn a_rejection_is_told_and_the_others_are_tried() {
    let workspace = two();
    workspace.write("next.c", BAD);
    let said = workspace.fails(1, &["verify", "//:two"]);
    assert!(said.out.contains("next   xdp  rejected") && said.out.contains("entry  xdp  "), "{}", said.out);
    assert!(said.err.contains("rejected `next`") && said.err.contains("next.c:2"), "{}", said.err);
    let said = workspace.fails(1, &["verify", "//:next", "--verifier-log"]);
    assert!(said.out.contains("R1 offset is outside of the packet"), "{}", said.out);
}

#[test]
fn objects_from_elsewhere_are_verified_without_a_workspace() {
    let workspace = two();
    workspace.ok(&["build", "//..."]);
    let folder = tempfile::tempdir().expect("a folder");
    let (good, none) = (folder.path().join("good.o"), folder.path().join("none.o"));
    std::fs::copy(find(&workspace.path("ouro-out"), "next.o"), &good).expect("it was built");
    std::fs::write(&none, "no object").expect("a file");
    let (good, none) = (good.to_str().expect("a path"), none.to_str().expect("a path"));
    let place = folder.path().to_str().expect("a path");
    assert!(workspace.ok(&["-C", place, "verify", "--object", good]).out.contains("next  xdp  "));
    let said = workspace.fails(1, &["-C", place, "verify", "--object", none, good]);
    assert!(said.err.contains("it is no ELF file") && said.out.contains("next  xdp  "), "{}{}", said.out, said.err);
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found = entries.filter_map(|path| match path.is_dir() {
        true => std::panic::catch_unwind(|| find(&path, name)).ok(),
        false => path.ends_with(name).then_some(path),
    });
    found.next().expect("the file is there")
}

#[test]
fn globals_have_the_values_of_the_build_file_and_of_the_command_line() {
    lab(|lab| {
        let workspace = two();
        let bpffs = lab.bpffs.to_str().expect("a path").to_owned();
        let deploy = |more: &[&str]| {
            let arguments = ["deploy", "//:two", "--interface", NEAR, "--bpffs", bpffs.as_str()];
            workspace.ouro(&[&arguments, more].concat())
        };
        let taken = || {
            let status = workspace.ok(&["status", "--bpffs", bpffs.as_str(), "--json"]);
            let status: Value = serde_json::from_str(&status.out).expect("JSON");
            status[0]["edges"][0]["counts"]["taken"].as_u64().expect("a count")
        };
        assert_eq!(deploy(&[]).code, 0);
        assert_eq!(lab.ping(3), 3);
        assert!(taken() >= 3, "the BUILD file's 3 opens the way");
        assert_eq!(deploy(&["--set", "limit=1"]).code, 0);
        assert_eq!(lab.ping(3), 3);
        assert_eq!(taken(), 0, "1 closes it");
        assert!(deploy(&["--set", "entry.limit=1"]).err.contains("nothing to do"), "the same is live already");
        let said = workspace.ok(&["plan", "//:two", "--interface", NEAR, "--bpffs", bpffs.as_str(), "--set", "limit=7"]);
        assert!(said.out.contains("~ global `entry.limit`: 1 -> 7"), "{}", said.out);
        // The later value was for all, and the one for a single program was lost without a word.
        for sets in [["--set", "entry.limit=7", "--set", "limit=5"], ["--set", "limit=5", "--set", "entry.limit=7"]] {
            let plan = ["plan", "//:two", "--interface", NEAR, "--bpffs", bpffs.as_str()];
            let said = workspace.ok(&[&plan[..], &sets].concat());
            assert!(said.out.contains("~ global `entry.limit`: 1 -> 7"), "{}", said.out);
        }
        let said = workspace.ok(&["status", "--bpffs", bpffs.as_str()]);
        assert!(said.out.contains("  global   entry.limit  1\n"), "{}", said.out);
        let said = deploy(&["--set", "limti=1", "--set", "limit=x", "--set", "nxt.limit=1", "--set", "limit=2", "--set", "=3"]);
        assert_eq!(said.code, 2);
        let all = [
            "did you mean `limit`?",
            "holds a whole number",
            "did you mean `next`?",
            "`--set limit` is given twice",
            "`--set =3` sets nothing",
        ];
        for words in all {
            assert!(said.err.contains(words), "{words}: {}", said.err);
        }
        workspace.ok(&["undeploy", "two", "--bpffs", bpffs.as_str()]);
    });
}

#[test]
fn a_global_that_is_not_there_is_a_finding_of_the_build() {
    let workspace = two();
    workspace.edit("BUILD.ouro", "\"limit\": 3", "\"limits\": 3");
    workspace.fails(1, &["build", "//:two"]).says("has no global variable `limits`").says("did you mean `limit`?");
    workspace.edit("BUILD.ouro", "\"limits\": 3", "\"limit\": [3]");
    workspace.fails(1, &["build", "//:two"]).says("expected a boolean or an integer or a string for `globals`");
}
