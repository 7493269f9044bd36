//! The null build: a snapshot holds while nothing changed, and for every kind of change it does not.

mod execute_support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use execute_support::{Workspace, three_programs};
use ouro_cache::Digest;
use ouro_engine::state::{Seen, Stamp, snapshot};
use tempfile::TempDir;

/// Longer than a file system's clock ticks.
const TICK: Duration = Duration::from_millis(40);

fn see(root: &Path, paths: &[&str]) -> Vec<Seen> {
    paths.iter().map(|path| Seen { path: (*path).into(), stamp: Stamp::of(&root.join(path)).unwrap() }).collect()
}

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("fw/deep")).unwrap();
    fs::create_dir_all(dir.path().join(".ouro/snapshots")).unwrap();
    for path in ["ouro.toml", "fw/BUILD", "fw/a.c", "fw/deep/a.h"] {
        fs::write(dir.path().join(path), path).unwrap();
    }
    std::thread::sleep(TICK);
    dir
}

const SEEN: [&str; 8] = ["ouro.toml", "fw/BUILD", "fw/a.c", "fw/deep/a.h", "fw", "fw/absent.h", "gone/absent.h", "/bin/sh"];

#[test]
fn a_build_can_be_recognised() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    std::thread::sleep(TICK);
    let built = workspace.build(actions);
    let request = Digest::of(b"//...");
    let seen = &built.summary().seen;
    assert!(
        seen.iter().any(|seen| &*seen.path == "ouro-out/x/fw/a.o") && seen.iter().any(|seen| seen.path.ends_with("linux/bpf.h"))
    );
    assert!(snapshot::write(&workspace.root, &request, seen, b"3 actions").unwrap());
    assert_eq!(snapshot::check(&workspace.root, &request).as_deref(), Some(&b"3 actions"[..]));
    for path in ["fw/a.c", "fw/lib.h", "ouro-out/x/fw/c.o"] {
        let before = workspace.read(path);
        workspace.overwrite(path, b"changed");
        assert_eq!(snapshot::check(&workspace.root, &request), None, "{path}");
        workspace.overwrite(path, &before);
    }
}

#[test]
fn every_change_is_noticed() {
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 8] = [
        ("a file is edited", |root| fs::write(root.join("fw/a.c"), "fw/b.c").unwrap()),
        ("a file is removed", |root| fs::remove_file(root.join("fw/deep/a.h")).unwrap()),
        ("a folder is removed", |root| fs::remove_dir_all(root.join("fw")).unwrap()),
        ("an absent file appears", |root| fs::write(root.join("fw/absent.h"), "").unwrap()),
        ("an absent file appears in a folder that was absent", |root| {
            fs::create_dir(root.join("gone")).unwrap();
            fs::write(root.join("gone/absent.h"), "").unwrap();
        }),
        ("a folder gets a new entry", |root| fs::write(root.join("fw/new.c"), "").unwrap()),
        ("a file is replaced by one of the same size and time", |root| {
            let path = root.join("fw/BUILD");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(root.join("fw/deep/new"), "FW/build").unwrap();
            fs::rename(root.join("fw/deep/new"), &path).unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }),
        ("a file becomes a folder", |root| {
            fs::remove_file(root.join("ouro.toml")).unwrap();
            fs::create_dir(root.join("ouro.toml")).unwrap();
        }),
    ];
    let request = Digest::of(b"request");
    for (what, change) in changes {
        let dir = folder();
        assert!(snapshot::write(dir.path(), &request, &see(dir.path(), &SEEN), b"summary").unwrap());
        assert_eq!(snapshot::check(dir.path(), &request).as_deref(), Some(&b"summary"[..]), "{what}: before");
        change(dir.path());
        assert_eq!(snapshot::check(dir.path(), &request), None, "{what}");
    }
}

#[test]
fn other_requests_have_other_snapshots() {
    let dir = folder();
    let requests: Vec<Digest> = (0..10_u8).map(|n| Digest::of(&[n])).collect();
    for (n, request) in requests.iter().enumerate() {
        assert!(snapshot::write(dir.path(), request, &see(dir.path(), &SEEN), &[n as u8]).unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
    let kept: Vec<bool> = requests.iter().map(|request| snapshot::check(dir.path(), request).is_some()).collect();
    assert_eq!(kept, [[false; 2].as_slice(), &[true; 8]].concat(), "the last eight are kept");
    assert_eq!(snapshot::check(dir.path(), &requests[9]), Some(vec![9]));
    assert_eq!(snapshot::check(dir.path(), &Digest::of(b"never built")), None);
}

#[test]
fn a_damaged_snapshot_is_none() {
    let dir = folder();
    let request = Digest::of(b"request");
    snapshot::write(dir.path(), &request, &see(dir.path(), &SEEN), b"summary").unwrap();
    let [path] = &execute_support::files(&dir.path().join(".ouro/snapshots"))[..] else { panic!("one snapshot") };
    let whole = fs::read(path).unwrap();
    for place in 0..whole.len() {
        let mut bad = whole.clone();
        bad[place] ^= 0x11;
        fs::write(path, &bad).unwrap();
        assert_eq!(snapshot::check(dir.path(), &request), None, "byte {place}");
        fs::write(path, &whole[..place]).unwrap();
        assert_eq!(snapshot::check(dir.path(), &request), None, "cut to {place} bytes");
    }
}

#[test]
fn a_file_changed_just_before_makes_no_snapshot_and_removes_the_old() {
    let dir = folder();
    let request = Digest::of(b"request");
    assert!(snapshot::write(dir.path(), &request, &see(dir.path(), &SEEN), b"old").unwrap());
    fs::write(dir.path().join("fw/a.c"), "fresh").unwrap();
    assert!(!snapshot::write(dir.path(), &request, &see(dir.path(), &SEEN), b"new").unwrap());
    assert_eq!(execute_support::files(&dir.path().join(".ouro/snapshots")).len(), 0);
}

#[test]
fn two_sights_of_one_file_that_differ_never_hold() {
    let dir = folder();
    let mut seen = see(dir.path(), &SEEN);
    fs::write(dir.path().join("fw/a.c"), "later").unwrap();
    std::thread::sleep(TICK);
    seen.extend(see(dir.path(), &["fw/a.c"]));
    let request = Digest::of(b"request");
    assert!(snapshot::write(dir.path(), &request, &seen, b"summary").unwrap());
    assert_eq!(snapshot::check(dir.path(), &request), None);
}

#[test]
fn many_files_are_looked_at_by_several_threads() {
    let dir = TempDir::new().unwrap();
    let mut paths = Vec::new();
    for folder in 0..7 {
        fs::create_dir(dir.path().join(format!("d{folder}"))).unwrap();
        paths.extend((0..1000).map(|file| format!("d{folder}/f{file}")));
    }
    paths.iter().for_each(|path| fs::write(dir.path().join(path), "").unwrap());
    std::thread::sleep(TICK);
    let names: Vec<&str> = paths.iter().map(String::as_str).collect();
    let request = Digest::of(b"request");
    for changed in ["d0/f0", "d3/f500", "d6/f999"] {
        assert!(snapshot::write(dir.path(), &request, &see(dir.path(), &names), b"").unwrap());
        assert!(snapshot::check(dir.path(), &request).is_some());
        fs::write(dir.path().join(changed), "changed").unwrap();
        assert!(snapshot::check(dir.path(), &request).is_none(), "{changed}");
        std::thread::sleep(TICK);
    }
}
