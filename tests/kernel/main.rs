//! The command against the real kernel: every example deployed with real packets, and what is said when something is missing.

#[path = "../../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
#[path = "../support/mod.rs"]
mod support;

mod generations;
mod packets;
mod live;
mod run;
mod bundle;
mod refused;
mod demo;
mod variants;
mod arguments;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use lab::{Lab, bpftool, is_gone};
use serde_json::Value;
use support::{Said, Workspace};

/// Runs ouro in the laboratory; the last arguments name its bpffs.
fn ouro(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    Said::of(workspace.command(arguments).arg("--bpffs").arg(&lab.bpffs).output().expect("ouro runs"))
}

#[track_caller]
fn ok(lab: &Lab, workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = ouro(lab, workspace, arguments);
    assert_eq!(said.code, 0, "ouro {arguments:?}\n{}{}", said.out, said.err);
    said
}

fn status(lab: &Lab, workspace: &Workspace) -> Value {
    serde_json::from_str(&ok(lab, workspace, &["status", "--json"]).out).expect("JSON")
}

/// The pin of a deployment's map.
fn map(lab: &Lab, deployment: &str, name: &str) -> PathBuf {
    let pins = fs::read_dir(lab.bpffs.join("ouro").join(deployment).join("maps")).expect("it is deployed");
    let mut pins = pins.map(|pin| pin.expect("a pin").path());
    let is_it = |pin: &PathBuf| pin.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")));
    pins.find(is_it).unwrap_or_else(|| panic!("`{name}` is not pinned"))
}

/// Sums the per-CPU values behind a key.
fn per_cpu_sum(map: &Path, key: usize) -> u64 {
    let dump = bpftool(&["map", "dump", "pinned", map.to_str().expect("a plain path")]);
    let entry = &dump[key];
    let values = entry["formatted"]["values"].as_array().or(entry["values"].as_array()).unwrap_or_else(|| panic!("{dump}"));
    values.iter().map(|value| value["value"].as_u64().unwrap_or_else(|| panic!("{value}"))).sum()
}

fn nothing_left(lab: &Lab, before: &Value) {
    let status = before.as_array().expect("deployments");
    for deployment in status {
        for program in deployment["programs"].as_array().expect("programs") {
            assert!(is_gone("prog", program["id"].as_u64().expect("an id") as u32), "{program}");
        }
        for map in deployment["maps"].as_array().expect("maps") {
            assert!(is_gone("map", map["id"].as_u64().expect("an id") as u32), "{map}");
        }
    }
    assert!(!lab.bpffs.join("ouro").exists(), "the folder is gone, too");
}

/// Sends a signal.
fn send(child: &Child, signal: i32) {
    // SAFETY: no pointers; the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
}
