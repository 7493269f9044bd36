//! The cache as people see it: what is in it, making it smaller, and sharing it with other folders and other users.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::{OURO, Said, Workspace, copy};

/// Who owns nothing; what a second user is here.
const NOBODY: u32 = 65_534;

fn cache_of(workspace: &Workspace) -> PathBuf {
    workspace.path("../cache/ouro/v1")
}

fn facts(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn outputs(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let out = root.join("ouro-out");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let one = |path: PathBuf| (path.strip_prefix(&out).unwrap().to_owned(), (fs::read(&path).unwrap(), mode(&path)));
    files(&out).into_iter().map(one).collect()
}

/// Forgets all but the cache.
fn forget(root: &Path) {
    for folder in ["ouro-out", ".ouro"] {
        fs::remove_dir_all(root.join(folder)).unwrap();
    }
}

#[test]
fn it_says_what_is_in_it_and_makes_itself_smaller() {
    let workspace = Workspace::example("02-two-program-chain");
    let empty = facts(&workspace.ok(&["cache", "stat", "--json"]));
    assert_eq!((empty["files"].as_u64(), empty["max_size"].as_u64()), (Some(0), Some(10_000_000_000)));
    workspace.ok(&["build", "//..."]);
    let full = facts(&workspace.ok(&["cache", "stat", "--json"]));
    let (count, bytes) = (full["files"].as_u64().unwrap(), full["bytes"].as_u64().unwrap());
    assert!(count > 3 && bytes > 1_000 && full["results"].as_u64() >= Some(2), "{full}");
    assert!(workspace.ok(&["cache", "stat"]).out.contains(&format!("{count} files")));

    let kept = facts(&workspace.ok(&["cache", "gc", "--max-size", "1GB", "--json"]));
    assert_eq!((kept["removed"].as_u64(), kept["left"]["files"].as_u64()), (Some(0), Some(count)));
    let half = facts(&workspace.ok(&["cache", "gc", "--max-size", &format!("{}B", bytes / 2), "--json"]));
    assert!(half["left"]["bytes"].as_u64().unwrap() <= bytes / 2 && half["freed"].as_u64() > Some(0), "{half}");
    forget(&workspace.root());
    workspace.ok(&["build", "//..."]);
    let again = outputs(&workspace.root());
    workspace.ok(&["cache", "gc", "--max-age", "0s"]);
    forget(&workspace.root());
    workspace.ok(&["build", "//..."]);
    assert_eq!(outputs(&workspace.root()), again);
}

#[test]
fn old_things_go_and_those_of_use_stay() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.ok(&["build", "//..."]);
    let blobs = files(&cache_of(&workspace).join("cas"));
    let old = SystemTime::now() - Duration::from_secs(100 * 86_400);
    blobs.iter().for_each(|path| fs::File::open(path).unwrap().set_modified(old).unwrap());
    // What is asked for again is not old any more.
    forget(&workspace.root());
    workspace.ok(&["build", "//..."]).says("2 cached");
    let said = workspace.ok(&["cache", "gc", "--max-age", "30d"]);
    let left = files(&cache_of(&workspace).join("cas")).len();
    assert!(left >= 2 && left <= blobs.len(), "{}", said.out);
    forget(&workspace.root());
    workspace.ok(&["build", "//..."]).says("2 cached");
}

#[test]
fn builds_keep_it_within_the_limits_of_the_workspace() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.write("ouro.toml", "[cache]\nmax_size = \"6KB\"\n");
    for round in 0..4 {
        workspace.edit("ouro.toml", "\n", &format!("\n# {round}\n"));
        workspace.ok(&["build", "//...", "--mode", ["dbg", "opt"][round % 2]]);
        let size: u64 = files(&cache_of(&workspace).join("cas")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(size <= 6_000, "{size} bytes after round {round}");
    }
    workspace.write("ouro.toml", "[cache]\nmax_size = \"six\"\n");
    workspace.fails(2, &["build"]).says("`six` is no size; write it as `10GB`");
    workspace.write("ouro.toml", "[cache]\nmax_size = \"10\"\n");
    workspace.fails(2, &["build"]).says("`10` has no unit; write it as `10GB`").says("ouro.toml:2:12");
    workspace.fails(2, &["cache", "gc", "--max-size", "10"]).says("`10` has no unit");
    workspace.write("ouro.toml", "");
    workspace.fails(2, &["cache", "gc", "--max-age", "old"]).says("`old` is no age; write it as `30d`");
}

/// Such as a home that is not there, or a folder of another user.
#[test]
fn a_cache_that_cannot_be_made_costs_time_alone() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.write("file", "");
    let flag = format!("--cache-dir={}", workspace.path("file/v1").display());
    let said = workspace.ok(&["build", "//...", &flag]);
    said.says("warning: cannot create the folder").says("builds go on").says("name another folder: `--cache-dir DIR`");
    assert_eq!((said.compiled().len(), said.err.matches("builds go on").count()), (2, 1), "{}", said.err);
    let cached = outputs(&workspace.root());
    fs::remove_dir_all(workspace.path("ouro-out")).unwrap();
    workspace.ok(&["build", "//..."]);
    assert_eq!(outputs(&workspace.root()), cached);
}

#[test]
fn damage_is_found_told_and_made_again() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.ok(&["build", "//..."]);
    let whole = outputs(&workspace.root());
    assert!(workspace.ok(&["cache", "verify"]).out.contains(" 0 damaged"));
    for blob in files(&cache_of(&workspace).join("cas")) {
        fs::set_permissions(&blob, Permissions::from_mode(0o644)).unwrap();
        fs::write(&blob, "other bytes").unwrap();
    }
    forget(&workspace.root());
    // Those that are asked for are found by the build itself.
    let said = workspace.ok(&["build", "//..."]);
    assert_eq!(said.says("warning: the cache held other bytes than it should").compiled().len(), 2);
    assert_eq!(outputs(&workspace.root()), whole);
    let blob = &files(&cache_of(&workspace).join("cas"))[0];
    fs::remove_file(blob).unwrap();
    fs::write(blob, "other bytes").unwrap();
    let said = workspace.ok(&["cache", "verify", "--json"]);
    assert!(facts(&said)["damaged"].as_array().unwrap().len() == 1 && said.err.contains("had other bytes"), "{}", said.err);
    assert!(!blob.exists());
}

/// It is everybody's: no workspace is needed to look at it.
#[test]
fn it_can_be_named_and_needs_no_workspace() {
    let workspace = Workspace::example("01-hello-xdp");
    let named = workspace.path("../named");
    let flag = format!("--cache-dir={}", named.display());
    workspace.ok(&["build", &flag]);
    assert!(!cache_of(&workspace).exists());
    let outside = workspace.command(&["cache", "stat", "--json", &flag]).current_dir("/").output().unwrap();
    assert!(facts(&Said::of(outside))["files"].as_u64() > Some(0));
    workspace.fails(2, &["cache"]);
}

/// A checkout elsewhere, later, of a user with another home, mask and number: the same bytes, and nothing runs.
#[test]
fn another_user_elsewhere_gets_the_same_bytes_from_the_cache() {
    let ours = Workspace::example("02-two-program-chain");
    ours.ok(&["build", "//..."]);
    let theirs = Workspace::new();
    copy(&ours.root(), &theirs.root());
    let above = theirs.root().parent().unwrap().to_owned();
    for mask in ["022", "077", "000"] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$0\" build //...")]).current_dir(theirs.root());
        command.env("HOME", &above).env("OURO_CACHE", cache_of(&ours)).env_remove("XDG_CACHE_HOME");
        // Only root can be someone else; others still have another home and mask.
        match chown(&above, Some(NOBODY), None) {
            Ok(()) => {
                let program = above.join("ouro");
                fs::copy(OURO, &program).unwrap();
                [above.clone(), theirs.root()].iter().for_each(|path| chown(path, Some(NOBODY), None).unwrap());
                ours.root()
                    .ancestors()
                    .skip(1)
                    .take(1)
                    .for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap());
                command.arg(program).uid(NOBODY);
            }
            Err(_) => drop(command.arg(OURO)),
        }
        let said = Said::of(command.output().unwrap());
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.compiled().is_empty() && said.err.contains("2 cached"), "umask {mask}: {}", said.err);
        assert_eq!(outputs(&theirs.root()), outputs(&ours.root()), "umask {mask}");
        forget(&theirs.root());
    }
}

/// Whoever owns a file may write to it: one that is also an output of somebody else would be changed in both places.
#[test]
fn outputs_are_no_files_of_others() {
    let workspace = Workspace::example("02-two-program-chain");
    workspace.ok(&["build", "//..."]);
    let (whole, blobs) = (outputs(&workspace.root()), files(&cache_of(&workspace).join("cas")));
    if blobs.iter().any(|blob| chown(blob, Some(NOBODY), None).is_err()) {
        // Only root can give files away.
        return;
    }
    let own = fs::metadata(workspace.path("ouro.toml")).unwrap().uid();
    for forgotten in [&["ouro-out"][..], &["ouro-out", ".ouro"]] {
        forgotten.iter().for_each(|folder| fs::remove_dir_all(workspace.path(folder)).unwrap());
        assert!(workspace.ok(&["build", "//..."]).compiled().is_empty());
        assert_eq!(outputs(&workspace.root()), whole);
        for path in files(&workspace.path("ouro-out")) {
            let found = fs::metadata(&path).unwrap();
            assert_eq!(found.uid(), own, "{}", path.display());
        }
    }
}

/// A folder that all may write to is written to by all.
#[test]
fn users_fill_one_cache() {
    let workspace = Workspace::example("02-two-program-chain");
    let above = workspace.root().parent().unwrap().to_owned();
    let shared = above.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    workspace.ok(&["build", "//...", "--cache-dir", shared.to_str().unwrap()]);
    for path in [shared.join("cas"), shared.join("ac"), shared.join("tmp")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777, "{}", path.display());
    }
    for path in files(&shared.join("ac")).into_iter().chain(["lock", "grown"].map(|name| shared.join(name))) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666, "{}", path.display());
    }
}
