//! `scripts/demo`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::sh;
use crate::send;
use crate::support::{OURO, Said};

#[test]
fn the_demo_runs_and_leaves_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let before = (sh("ip netns list"), sh("grep -c ouro-demo /proc/self/mounts || true"));
    let said = Said::of(Command::new(&script).env("OURO", OURO).stdin(Stdio::null()).output().unwrap());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for word in ["allowed", "blocked", "rate-limited", "undeploy"] {
        assert!(said.out.contains(word), "`{word}` is missing in:\n{}", said.out);
    }
    assert_eq!(before, (sh("ip netns list"), sh("grep -c ouro-demo /proc/self/mounts || true")));
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(&script)
        .env("OURO", OURO)
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mine = format!("ouro-demo-{}-", child.id());
    let until = Instant::now() + Duration::from_secs(30);
    while !sh("ip netns list").contains(&mine) {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the demo makes its namespaces");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!sh("ip netns list").contains(&mine));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "its folder is gone");
}
