//! What the README shows is run: its `sh` blocks in order, in one shell, in an empty folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The blocks of a Markdown text that are marked `sh`, in order.
fn blocks(text: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => script += &format!("{line}\n"),
            _ => {}
        }
    }
    script
}

#[test]
fn the_tour_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = blocks(&fs::read_to_string(root.join("README.md")).unwrap());
    assert!(script.contains("ouro init") && script.contains("ouro undeploy"), "the README has a tour");
    let folder = tempfile::Builder::new().prefix("tour").tempdir().unwrap();
    // A bpffs and a place for namespaces' names of its own: they vanish with the mount namespace, whatever the tour leaves.
    let wrapped =
        format!("set -e\nmount -t bpf bpf /sys/fs/bpf\nmkdir -p /run/netns\nmount -t tmpfs names /run/netns\nset -x\n{script}");
    let bin = Path::new(env!("CARGO_BIN_EXE_ouro")).parent().unwrap();
    let path = format!("{}:{}:/usr/sbin:/sbin", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &wrapped]).current_dir(folder.path());
    command.env("PATH", path).env("XDG_CACHE_HOME", folder.path().join(".cache")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains(" 2 received") && out.contains("no answer, as it should be"), "{out}\n{err}");
    assert!(out.contains("count -> no_ping"), "the last status shows the jump:\n{out}\n{err}");
}
