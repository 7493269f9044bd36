//! Toolchains as targets, and `ouro doctor`.
//!
//! The other compilers are scripts around the machine's own, so that the tests need no second one.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{OURO, Said, Workspace};

const PROGRAM: &str = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#ifndef BODY\n#define BODY 1\n#endif\nSEC(\"xdp\") int a(struct xdp_md *ctx)\n{\n\tchar text[64];\n\tbpf_probe_read_kernel(text, sizeof(text), (void *)0);\n\treturn text[ctx->rx_queue_index & 63] + BODY;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n";

/// The machine's own compiler, as `ouro doctor` tells.
fn own_clang() -> (PathBuf, u32) {
    let said = Workspace::new().ouro(&["doctor", "--json"]);
    let facts: Value = serde_json::from_str(&said.out).unwrap();
    let clang = facts["checks"].as_array().unwrap().iter().find(|fact| fact["check"] == "clang").unwrap();
    let what = clang["what"].as_str().unwrap();
    let (path, version) = what.split_once(": ").unwrap();
    let number = version.split("clang version ").nth(1).unwrap().split('.').next().unwrap();
    (path.into(), number.parse().unwrap())
}

/// A compiler that is a script with these arguments before its own.
fn wrapper(workspace: &Workspace, path: &str, arguments: &str) {
    script(workspace, path, &format!("exec {} {arguments} \"$@\"", own_clang().0.display()));
}

fn script(workspace: &Workspace, path: &str, text: &str) {
    workspace.write(path, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(workspace.path(path), fs::Permissions::from_mode(0o755)).unwrap();
}

fn workspace(toolchains: &str) -> Workspace {
    Workspace::with(&[
        ("fw/BUILD.ouro", "bpf_program(name = \"a\", srcs = [\"a.c\"], type = \"xdp\")\n"),
        ("fw/a.c", PROGRAM),
        ("tools/BUILD.ouro", toolchains),
    ])
}

fn object(workspace: &Workspace, folder: impl Fn(&str) -> bool) -> Vec<u8> {
    let folders = fs::read_dir(workspace.path("ouro-out")).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| folder(path.file_name().unwrap().to_str().unwrap()) && path.join("fw/a.o").is_file();
    let mut found: Vec<PathBuf> = folders.filter(named).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    fs::read(found.remove(0).join("fw/a.o")).unwrap()
}

#[test]
fn several_are_built_side_by_side_each_in_its_folder() {
    let workspace = workspace("bpf_toolchain(name = \"two\", clang = \":bin/two\", copts = [\"-DBODY=2\"])\nbpf_toolchain(name = \"own\", clang = \"CLANG\")\n".replace("CLANG", &own_clang().0.display().to_string()).as_str());
    wrapper(&workspace, "tools/bin/two", "");
    let said = workspace.ok(&["build", "//fw:a", "--toolchain=//tools:two", "--toolchain=//tools:own"]);
    assert_eq!(said.compiled(), ["//fw:a", "//fw:a"]);
    said.says("+tools.two: 1 target in ouro-out/").says("+tools.own: 1 target in ouro-out/");
    workspace.ok(&["build", "//fw:a"]);
    let plain = object(&workspace, |name| !name.contains('+'));
    assert!(plain == object(&workspace, |name| name.ends_with("+tools.own")), "the same compiler makes the same object");
    assert!(plain != object(&workspace, |name| name.ends_with("+tools.two")));
    workspace.settle(&["build", "//fw:a", "--toolchain=//tools:two", "--toolchain=//tools:own"]);
    // A change goes the short way from the snapshot, to each with its own compiler.
    workspace.edit("fw/a.c", "+ BODY", "+ BODY + 1");
    let again = workspace.ok(&["build", "//fw:a", "--toolchain=//tools:two", "--toolchain=//tools:own"]);
    assert_eq!(again.compiled().len(), 2, "{}", again.err);
    assert!(object(&workspace, |name| name.ends_with("+tools.own")) != object(&workspace, |name| name.ends_with("+tools.two")));
}

#[test]
fn settings_choose_one_for_all_builds_or_for_a_configuration() {
    let workspace = workspace("bpf_toolchain(name = \"two\", clang = \":bin/two\", copts = [\"-DBODY=2\"])\n");
    wrapper(&workspace, "tools/bin/two", "");
    workspace.ok(&["build", "//fw:a"]);
    let plain = object(&workspace, |_| true);
    workspace.write("ouro.toml", "[config.second]\ntoolchain = \"//tools:two\"\n");
    workspace.ok(&["build", "//fw:a", "--config=second"]);
    let second = object(&workspace, |name| name.ends_with("-second"));
    assert!(plain != second);
    workspace.ok(&["clean"]);
    workspace.write("ouro.toml", "[toolchain]\nlabel = \"//tools:two\"\n");
    workspace.ok(&["build", "//fw:a"]);
    assert!(second == object(&workspace, |name| !name.contains(['+', '-'])));
}

#[test]
fn another_compiler_in_the_same_place_compiles_anew() {
    let workspace = workspace("bpf_toolchain(name = \"two\", clang = \":bin/two\")\n");
    wrapper(&workspace, "tools/bin/two", "");
    let build = ["build", "//fw:a", "--toolchain=//tools:two"];
    workspace.settle(&build);
    wrapper(&workspace, "tools/bin/two", "-DOTHER");
    assert_eq!(workspace.ok(&build).compiled(), ["//fw:a"]);
    workspace.edit("tools/BUILD.ouro", ")", ", copts = [\"-DBODY=3\"])");
    assert_eq!(workspace.ok(&build).compiled(), ["//fw:a"]);
}

/// Hardened distributions have their compilers told, by files or by scripts around them, what makes no BPF code.
#[test]
fn what_a_distribution_adds_changes_no_byte() {
    let hardening = "-fstack-protector-all -fcf-protection=full -D_FORTIFY_SOURCE=2 -ftrivial-auto-var-init=zero";
    let workspace =
        workspace("[bpf_toolchain(name = name, clang = \":bin/\" + name) for name in [\"plain\", \"hard\", \"files\"]]\n");
    wrapper(&workspace, "tools/bin/plain", "");
    wrapper(&workspace, "tools/bin/hard", hardening);
    let (clang, version) = own_clang();
    let folder = workspace.path("tools/etc");
    workspace.write("tools/etc/clang.cfg", &format!("{} -DBODY=7\n", hardening.replace("-fcf-protection=full ", "")));
    let reads_files = if version >= 16 { format!("--config-system-dir={}", folder.display()) } else { String::new() };
    wrapper(&workspace, "tools/bin/files", &reads_files);
    if version >= 16 {
        let output = Command::new(&clang)
            .args([reads_files.as_str(), "-target", "bpf", "-E", "-dM", "-x", "c", "/dev/null"])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("#define BODY 7"), "the file would have been read");
    }
    let objects = ["plain", "hard", "files"].map(|name| {
        workspace.ok(&["build", "//fw:a", &format!("--toolchain=//tools:{name}")]);
        object(&workspace, |folder| folder.ends_with(&format!("+tools.{name}")))
    });
    assert!(objects[0] == objects[1], "what a script adds");
    assert!(objects[0] == objects[2], "what a file adds");
}

/// What the user has set for compilers of other code.
#[test]
fn variables_of_the_user_reach_no_compiler() {
    let headers = tempfile::tempdir().unwrap();
    fs::create_dir(headers.path().join("bpf")).unwrap();
    fs::write(headers.path().join("bpf/bpf_helpers.h"), "#error not this one\n").unwrap();
    let workspace = workspace("");
    let mut command = workspace.command(&["build", "//fw:a"]);
    for name in ["CPATH", "C_INCLUDE_PATH"] {
        command.env(name, headers.path());
    }
    let said = Said::of(command.env("CCC_OVERRIDE_OPTIONS", "+-DBODY=9").env("CLANG_NO_DEFAULT_CONFIG", "0").output().unwrap());
    assert_eq!(said.code, 0, "{}", said.err);
    let other = self::workspace("");
    other.ok(&["build", "//fw:a"]);
    assert!(object(&workspace, |_| true) == object(&other, |_| true));
}

#[test]
fn folders_with_headers_come_before_the_systems() {
    let headers = tempfile::tempdir().unwrap();
    fs::create_dir(headers.path().join("bpf")).unwrap();
    let header = headers.path().join("bpf/bpf_helpers.h");
    let text = "#define SEC(name) __attribute__((section(name), used))\nstatic long (*bpf_probe_read_kernel)(void *, int, const void *) = (void *)113;\n";
    fs::write(&header, format!("{text}#define BODY 5\n")).unwrap();
    let clang = own_clang().0;
    let declared = format!(
        "bpf_toolchain(name = \"own\", clang = \"{}\", includes = [\"{}\"])\n",
        clang.display(),
        headers.path().display()
    );
    let workspace = workspace(&declared);
    let build = ["build", "//fw:a", "--toolchain=//tools:own"];
    workspace.settle(&build);
    let first = object(&workspace, |_| true);
    fs::write(&header, format!("{text}#define BODY 6\n")).unwrap();
    assert_eq!(workspace.ok(&build).compiled(), ["//fw:a"]);
    assert!(first != object(&workspace, |_| true));
}

#[test]
fn rules_see_the_chosen_one() {
    let rule = "def _impl(ctx):\n    out = ctx.actions.declare_file(ctx.label.name + \".txt\")\n    ctx.actions.write(out, \"%s|%s\" % (ctx.toolchain.label, ctx.toolchain.version))\n    return [DefaultInfo(files = [out])]\n\nsays = rule(implementation = _impl)\n";
    let workspace = workspace("bpf_toolchain(name = \"two\", clang = \":bin/two\")\n");
    wrapper(&workspace, "tools/bin/two", "");
    workspace.write("rules/defs.star", rule);
    workspace.write("rules/BUILD.ouro", "load(\":defs.star\", \"says\")\nsays(name = \"s\")\n");
    workspace.ok(&["build", "//rules:s", "--toolchain=//tools:two"]);
    workspace.ok(&["build", "//rules:s"]);
    let texts: Vec<String> = fs::read_dir(workspace.path("ouro-out"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("rules/s.txt")).ok())
        .collect();
    assert!(texts.iter().any(|text| text.starts_with("//tools:two|") && text.contains("clang version")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("None|")), "{texts:?}");
}

/// The rule wrote an empty text as the version, and the build was well.
#[test]
fn without_a_compiler_a_rule_that_asks_for_its_version_is_told_so() {
    let rule = "def _impl(ctx):\n    out = ctx.actions.declare_file(ctx.label.name)\n    version = ctx.toolchain.version if ctx.attr.asks else \"any\"\n    ctx.actions.write(out, version + ctx.toolchain.arch)\n    return [DefaultInfo(files = [out])]\n\nsays = rule(implementation = _impl, attrs = {\"asks\": attr.bool()})\n";
    let workspace = workspace("");
    workspace.write("rules/defs.star", rule);
    workspace.write(
        "rules/BUILD.ouro",
        "load(\":defs.star\", \"says\")\nsays(name = \"plain\")\nsays(name = \"told\", asks = True)\n",
    );
    let build = |label: &str| Said::of(workspace.command(&["build", label]).env("PATH", "/nonexistent").output().unwrap());
    let said = build("//rules:plain");
    assert_eq!(said.code, 0, "who does not ask needs none: {}", said.err);
    let said = build("//rules:told");
    assert_eq!(said.code, 1, "{}", said.err);
    said.says("there is no compiler whose version could be told").says("rules/defs.star:3").says("`ouro doctor`");
    workspace.ok(&["build", "//rules:told"]);
    assert!(workspace.read("ouro-out/x86/rules/told").contains("clang version"));
}

#[test]
fn what_cannot_compile_is_told_with_a_remedy() {
    let names = ["old", "gcc", "hosts", "gone", "broken"];
    let list = names.map(|name| format!("bpf_toolchain(name = \"{name}\", clang = \":bin/{name}\")\n")).concat();
    let workspace = workspace(&(list + "filegroup(name = \"files\", srcs = [])\n"));
    script(&workspace, "tools/bin/old", "echo 'clang version 9.0.1'");
    script(&workspace, "tools/bin/gcc", "echo 'gcc (Debian 12.2.0-14) 12.2.0'");
    script(&workspace, "tools/bin/broken", "echo no libLLVM >&2; exit 127");
    let answers = "case \"$1\" in --version) echo 'clang version 18.1.0';; -print-targets) printf '  Registered Targets:\\n    x86-64 - 64-bit X86\\n';; *) echo /;; esac";
    script(&workspace, "tools/bin/hosts", answers);
    let build = |label: &str, code: i32| workspace.fails(code, &["build", "//fw:a", "--toolchain", label]);
    build("//tools:old", 3).says("is too old: `clang version 9.0.1`").says("use clang 13 or newer");
    build("//tools:gcc", 3).says("does not say that it is clang: `gcc (Debian 12.2.0-14) 12.2.0`");
    build("//tools:hosts", 3).says("cannot make BPF code: `bpf` is not among its targets");
    build("//tools:gone", 3).says("`tools/bin/gone`, which `//tools:gone` names, is no program");
    script(&workspace, "tools/versions/clang-14", "");
    script(&workspace, "tools/versions/clang-19", "");
    workspace.write("ouro.toml", "[toolchain]\nclang = \"clang-99\"\n");
    let missing = workspace.command(&["build", "//fw:a"]).env("PATH", workspace.path("tools/versions")).output().unwrap();
    Said::of(missing).says("`clang-99`, which `[toolchain] clang` in `ouro.toml` names").says("there are `clang-14`, `clang-19`");
    workspace.write("ouro.toml", "");
    build("//tools:broken", 3).says("failed: no libLLVM");
    build("//tools:oldd", 2).says("there is no toolchain `//tools:oldd`").says("did you mean `old`?");
    build("//tools:files", 1).says("`//tools:files` is a `filegroup`, which is no toolchain").says("tools/BUILD.ouro:6");
    build("tools:", 2);
}

#[test]
fn doctor_says_what_is_there() {
    let said = Workspace::new().ok(&["doctor"]);
    for check in [
        "clang ",
        "llvm-link ",
        "libbpf headers ",
        "kernel headers ",
        "cache ",
        "landlock ",
        "namespaces ",
        "bpffs ",
        "privileges ",
    ] {
        assert!(said.out.lines().any(|line| line.contains(check)), "`{check}` is missing in:\n{}", said.out);
    }
    let outside = tempfile::tempdir().unwrap();
    let output = Command::new(OURO).args(["doctor", "--json"]).current_dir(outside.path()).output().unwrap();
    let said = Said::of(output);
    let facts: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &facts["ok"]), (0, &Value::Bool(true)), "{}", said.out);
    assert!(facts["checks"].as_array().unwrap().iter().all(|fact| fact["what"].as_str().is_some_and(|what| !what.is_empty())));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[test]
fn doctor_fails_when_nothing_can_be_built() {
    let workspace = workspace("bpf_toolchain(name = \"old\", clang = \":bin/old\")\n");
    script(&workspace, "tools/bin/old", "echo 'clang version 9.0.1'");
    let said = Said::of(workspace.command(&["doctor"]).env("PATH", "/no/such/folder").output().unwrap());
    assert_eq!(said.code, 3, "{}", said.out);
    let clang = said.out.lines().position(|line| line.starts_with("missing  clang ")).expect("the clang is missing");
    assert!(said.out.lines().nth(clang + 1).unwrap().contains("clang"), "the remedy: {}", said.out);
    let old = workspace.fails(3, &["doctor", "--toolchain=//tools:old"]);
    assert!(old.out.contains("is too old"), "{}", old.out);
    let unwritable = Said::of(workspace.command(&["doctor", "--json"]).env("XDG_CACHE_HOME", "/proc/none").output().unwrap());
    let facts: Value = serde_json::from_str(&unwritable.out).unwrap();
    let cache = facts["checks"].as_array().unwrap().iter().find(|fact| fact["check"] == "cache").unwrap();
    assert_eq!((unwritable.code, cache["status"].as_str()), (3, Some("missing")), "{cache}");
    assert!(Path::new("/proc").is_dir() && cache["remedy"].as_str().unwrap().contains("OURO_CACHE"));
}

/// `/bin` is mostly a link to `/usr/bin`, and every compiler was told twice.
#[test]
fn doctor_tells_each_compiler_once_and_what_is_well_not_at_all_when_quiet() {
    let workspace = Workspace::with(&[("bin/clang-97", "#!/bin/sh\n")]);
    std::os::unix::fs::symlink("bin", workspace.path("linked")).unwrap();
    let path = format!("{0}/linked:{0}/bin:/usr/bin:/bin", workspace.root().display());
    let doctor = |more: &[&str]| {
        let mut command = workspace.command(&["doctor"]);
        Said::of(command.args(more).env("PATH", &path).output().unwrap())
    };
    let said = doctor(&["-C", workspace.root().to_str().unwrap()]);
    let others = said.out.lines().find(|line| line.contains("other clangs")).unwrap().to_owned();
    assert_eq!(others.matches("clang-97").count(), 1, "{others}");
    let chosen =
        said.out.lines().find_map(|line| line.strip_prefix("ok       clang ")?.trim().split(": ").next()).map(str::to_owned);
    assert!(chosen.is_none_or(|chosen| !others.contains(&format!(" {chosen},")) && !others.ends_with(&chosen)), "{others}");
    assert!(!doctor(&["-q"]).out.lines().any(|line| line.starts_with("ok ")));
}

/// A package of generated text could not be built without a C compiler.
#[test]
fn what_runs_no_compiler_needs_none() {
    let workspace = workspace("");
    workspace.write("text/BUILD.ouro", "genrule(name = \"t\", outs = [\"t.txt\"], cmd = \"echo text > $@\")\n");
    let ouro = |arguments: &[&str]| Said::of(workspace.command(arguments).env("PATH", workspace.path("tools")).output().unwrap());
    for _ in 0..2 {
        let said = ouro(&["build", "//text:t"]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    for arguments in [&["aquery", "//text:t"][..], &["explain", "//text:t"]] {
        assert_eq!(ouro(arguments).code, 0, "{arguments:?}");
    }
    for arguments in [&["build", "//..."][..], &["aquery", "//fw:a"], &["explain", "//fw:a"]] {
        let said = ouro(arguments);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{}", said.err);
        said.says("cannot find the C compiler").says("apt-get install clang");
    }
    // One that appears meanwhile is found.
    wrapper(&workspace, "tools/clang", "");
    let said = ouro(&["build", "//..."]);
    assert_eq!((said.code, said.compiled()), (0, vec!["//fw:a"]), "{}", said.err);
}
