//! Ctrl-C: nothing goes on behind the prompt, and nothing half-made is left.

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Said, Workspace};

/// Writes half of its output, leaves a child in the background, and takes a minute for the rest.
fn slow(name: &str) -> String {
    let command = "printf half > $@; (trap '' TERM; sleep 60) & sleep 60; printf rest >> $@";
    format!("genrule(name = \"{name}\", srcs = [], outs = [\"{name}.out\"], cmd = \"{command}\")\n")
}

/// Processes that stand in this folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let found = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let inside = found.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)));
    inside.map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default()).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupted_build_leaves_no_process_and_no_half_output() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let workspace = Workspace::with(&[("BUILD.ouro", &(slow("one") + &slow("two") + &slow("three")))]);
        let mut command = workspace.command(&["build", "//...", "-j2", "--events", "events.jsonl"]);
        let ouro = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = workspace.path("ouro-out");
        wait_for("both jobs run", || files(&out).len() == 2);
        // SAFETY: sends a signal to our own child, which nobody has waited for yet.
        unsafe { libc::kill(ouro.id() as libc::pid_t, signal) };
        let start = Instant::now();
        let said = Said::of(ouro.wait_with_output().unwrap());
        assert!(start.elapsed() < Duration::from_secs(10), "it waited for the sleep");
        assert_eq!(said.code, 130, "{}", said.err);
        said.says("interrupted");
        assert_eq!(files(&out), Vec::<String>::new());
        let root = workspace.root().canonicalize().unwrap();
        wait_for("a process is left", || processes_in(&root).is_empty());
        let events = workspace.read("events.jsonl");
        assert_eq!(events.matches("\"action_stopped\"").count(), 2, "{events}");
        assert!(events.trim_end().lines().last().unwrap().contains("\"ok\":false"), "{events}");
        // What was stopped is done when it is asked for again.
        workspace.write("BUILD.ouro", &slow("one").replace("sleep 60", "true"));
        workspace.ok(&["build", "//..."]);
        assert_eq!(fs::read_to_string(&files(&out)[0]).unwrap(), "halfrest");
    }
}

/// A command in the background that wrote on after its action had ended: a build with nothing to do confirmed its bytes.
#[test]
fn nothing_that_a_command_starts_outlives_the_build() {
    let appends = "exec 3>$@; (trap '' TERM; while sleep 0.01; do echo x >&3; done) & sleep 0.05";
    let changes = "exec 3>$@; head -c 20000000 /dev/zero >&3; exec 3<>$@; (sleep 0.01; printf CHANGED >&3) & exit 0";
    let leaves =
        "echo > $@; setsid sh -c 'setsid sleep 60; sleep 60' < /dev/null > /dev/null 2>&1 & until test -s $@; do :; done";
    let rule = |name: &str, cmd: &str| {
        format!("genrule(name = \"{name}\", srcs = [], outs = [\"{name}.out\"], cmd = r\"\"\"{cmd}\"\"\")\n")
    };
    let build = rule("appends", appends) + &rule("changes", changes) + &rule("leaves", leaves);
    let workspace = Workspace::with(&[("BUILD.ouro", &build)]);
    let root = workspace.root().canonicalize().unwrap();
    workspace.ok(&["build", "//..."]);
    assert_eq!(processes_in(&root), Vec::<String>::new());
    let made = || files(&workspace.path("ouro-out")).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let before = made();
    assert!(!before.iter().any(|bytes| bytes.starts_with(b"CHANGED")));
    workspace.settle(&["build", "//..."]);
    assert!(before == made() && workspace.ok(&["cache", "verify"]).out.contains(" 0 damaged"));
}

/// Whoever may write to a shared cache may hold it for ever.
#[test]
fn waiting_for_the_cache_is_told_and_can_be_interrupted() {
    let workspace = Workspace::with(&[("BUILD.ouro", &slow("one").replace("sleep 60", "true"))]);
    let cache = workspace.path("../cache/ouro/v1");
    fs::create_dir_all(&cache).unwrap();
    let lock = fs::File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut command = workspace.command(&["build", "//...", "--events", "events.jsonl"]);
    let ouro = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("it waits", || {
        workspace.path("events.jsonl").exists() && workspace.read("events.jsonl").contains("\"waiting_for_cache\"")
    });
    // SAFETY: sends a signal to our own child, which nobody has waited for yet.
    unsafe { libc::kill(ouro.id() as libc::pid_t, libc::SIGINT) };
    let start = Instant::now();
    let said = Said::of(ouro.wait_with_output().unwrap());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(said.code, 130, "{}", said.err);
    said.says("waiting for another ouro that makes the cache smaller").says("interrupted");
    assert_eq!(said.err.matches("waiting").count(), 1, "{}", said.err);
    drop(lock);
    workspace.ok(&["build", "//..."]);
}

#[test]
fn what_a_killed_build_left_is_removed_by_the_next() {
    let workspace = Workspace::with(&[("BUILD.ouro", &slow("one"))]);
    let mut ouro = workspace.command(&["build", "//..."]).stderr(Stdio::null()).spawn().unwrap();
    let out = workspace.path("ouro-out");
    wait_for("it runs", || files(&out).len() == 1);
    // SAFETY: sends a signal to our own child, which nobody has waited for yet.
    unsafe { libc::kill(ouro.id() as libc::pid_t, libc::SIGKILL) };
    ouro.wait().unwrap();
    let left = Path::new(&files(&out)[0]).with_file_name(".ouro-a1B2c3");
    fs::write(&left, "half of something").unwrap();
    workspace.write("BUILD.ouro", &slow("one").replace("sleep 60", "true"));
    workspace.ok(&["build", "//..."]);
    assert_eq!(files(&out).len(), 1, "{:?}", files(&out));
    // One that was not killed leaves nothing, and nobody looks.
    fs::write(&left, "a file of the user").unwrap();
    workspace.write("BUILD.ouro", &slow("two").replace("sleep 60", "true"));
    workspace.ok(&["build", "//..."]);
    assert!(left.exists());
}

/// A workspace whose last program takes a minute to compile, after enough others that the compiler is warm by then.
fn slow_to_compile() -> Workspace {
    let workspace = Workspace::new();
    let program = |name: &str, body: &str| {
        workspace.write(&format!("{name}.c"), &format!("#include <ouro/program.h>\n{body}\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ return XDP_PASS; }}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"));
        format!("bpf_program(name = \"{name}\", srcs = [\"{name}.c\"], type = \"xdp\")\n")
    };
    let quick: String = (0..40).map(|number| program(&format!("p{number:02}"), "")).collect();
    let doubled: String = (1..24).map(|n| format!("#define D{n} D{} D{}\n", n - 1, n - 1)).collect();
    let slow = program("z", &format!("#define D0 x = x * 3 + y;\n{doubled}int slow(int x, int y) {{ D23 return x; }}"));
    workspace.write("BUILD.ouro", &(quick + &slow));
    workspace
}

/// Nothing catches this signal: the kernel ends whatever ouro started, the warm compiler and its copies among it.
#[test]
fn a_killed_build_leaves_no_warm_compiler() {
    for signal in [libc::SIGKILL, libc::SIGINT] {
        let workspace = slow_to_compile();
        let mut ouro = workspace.command(&["build", "//...", "-j1"]).stderr(Stdio::null()).spawn().unwrap();
        let root = workspace.root().canonicalize().unwrap();
        // A copy is called by the arguments of its server.
        let copies = || processes_in(&root).iter().filter(|line| line.contains("--version")).count();
        let all_but_one = || files(&workspace.path("ouro-out")).iter().filter(|path| path.ends_with(".o")).count() == 40;
        wait_for("the slow one is compiled by a copy", || all_but_one() && copies() == 2);
        // SAFETY: sends a signal to our own child, which nobody has waited for yet.
        unsafe { libc::kill(ouro.id() as libc::pid_t, signal) };
        ouro.wait().unwrap();
        wait_for("a process is left", || processes_in(&root).is_empty());
    }
}
