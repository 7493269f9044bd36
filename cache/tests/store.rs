//! The store against real files: damage, rivals, full disks.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ouro_cache::{Absent, ActionResult, Digest, Entry, Output, Read, Store, Trouble};
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("cache/v1")).unwrap();
    (dir, store)
}

fn entry(reads: &[(&str, &[u8])], printed: &str) -> Entry {
    let reads = reads.iter().map(|(path, bytes)| Read { path: (*path).into(), digest: Digest::of(bytes) }).collect();
    let outputs = vec![Output { digest: Digest::of(b"made"), executable: false }];
    Entry { reads, absent: Arc::default(), result: ActionResult { outputs, printed: printed.to_owned() } }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_goes_in_comes_out_read_only() {
    let (dir, store) = store();
    let digest = store.insert(b"bytes").unwrap();
    assert_eq!(digest, Digest::of(b"bytes"));
    assert_eq!(store.read(&digest).unwrap().as_deref(), Some(&b"bytes"[..]));
    let hex = digest.to_string();
    let blob = dir.path().join("cache/v1/cas").join(&hex[..2]).join(&hex[2..]);
    assert_eq!(fs::metadata(&blob).unwrap().permissions().mode() & 0o777, 0o444);
    for (executable, mode) in [(false, 0o444), (true, 0o555)] {
        let out = dir.path().join("out");
        assert!(store.materialise(&digest, &out, executable).unwrap().is_some());
        assert_eq!(fs::read(&out).unwrap(), b"bytes");
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(store.read(&Digest::of(b"never")).unwrap(), None);
    assert!(store.materialise(&Digest::of(b"never"), &dir.path().join("none"), false).unwrap().is_none());
    assert!(!dir.path().join("none").exists());
}

#[test]
fn files_of_every_size_are_kept() {
    let (dir, store) = store();
    for size in [0, 1, 5_000_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n * 7 % 251) as u8).collect();
        let path = dir.path().join("file");
        fs::write(&path, &bytes).unwrap();
        for _ in 0..2 {
            assert_eq!(store.insert_file(&path).unwrap(), Digest::of(&bytes));
        }
        assert_eq!(Digest::of_file(&path).unwrap(), Digest::of(&bytes));
        assert_eq!(store.read(&Digest::of(&bytes)).unwrap(), Some(bytes));
    }
    assert_eq!(files(&dir.path().join("cache/v1/tmp")), Vec::<PathBuf>::new());
}

#[test]
fn an_adopted_file_is_kept_without_a_copy_and_writing_to_it_is_found_out() {
    let (dir, store) = store();
    let path = dir.path().join("file");
    fs::write(&path, "bytes").unwrap();
    for _ in 0..2 {
        assert_eq!(store.adopt(&path).unwrap(), Digest::of(b"bytes"));
    }
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
    fs::remove_file(&path).unwrap();
    assert_eq!(store.read(&Digest::of(b"bytes")).unwrap().as_deref(), Some(&b"bytes"[..]));

    fs::write(&path, "other").unwrap();
    let other = store.adopt(&path).unwrap();
    fs::write(&path, "OTHER").unwrap();
    assert_eq!(store.read(&other).unwrap(), None);
    assert!(matches!(store.troubles()[..], [Trouble::Damaged(digest)] if digest == other));
    assert_eq!(fs::read(&path).unwrap(), b"OTHER", "only the damaged name is removed");
}

/// However an output that shares its bytes with the store is changed, with whatever time and mode afterwards, the store does not give
/// the changed bytes to anybody.
#[test]
fn a_changed_output_never_comes_back() {
    let changes: [fn(&Path); 4] = [
        |path| overwrite(path, b"BYTES"),
        |path| overwrite(path, b""),
        |path| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            overwrite(path, b"BYTES");
            fs::File::open(path).unwrap().set_modified(time).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
        },
        |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            fs::File::options().append(true).open(path).and_then(|mut file| file.write_all(b"!")).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let (dir, store) = store();
        let out = dir.path().join("out");
        fs::write(&out, "bytes").unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o444)).unwrap();
        let digest = store.adopt(&out).unwrap();
        for place in ["out", "other"] {
            assert!(store.materialise(&digest, &dir.path().join(place), false).unwrap().is_some());
        }
        change(&out);
        let third = dir.path().join("third");
        match store.materialise(&digest, &third, false).unwrap() {
            Some(_) => assert_eq!(fs::read(&third).unwrap(), b"bytes", "change {number}"),
            None => assert!(!third.exists() && !store.contains(&digest) && store.troubles().len() == 1, "change {number}"),
        }
    }
}

/// Another mode, another disk, more links than the disk allows: then it is a copy.
#[test]
fn what_cannot_be_linked_is_copied() {
    let (dir, store) = store();
    let digest = store.insert(b"bytes").unwrap();
    let same = |path: &Path| fs::metadata(path).unwrap().ino() == fs::metadata(store.blob(&digest)).unwrap().ino();
    let (plain, runnable) = (dir.path().join("plain"), dir.path().join("runnable"));
    for _ in 0..2 {
        assert!(store.materialise(&digest, &plain, false).unwrap().is_some());
        assert!(store.materialise(&digest, &runnable, true).unwrap().is_some());
        assert_eq!(fs::read(&runnable).unwrap(), b"bytes");
        assert!(!same(&runnable), "a link would have the mode of the other");
    }
    let disk = Path::new("/dev/shm");
    if disk.is_dir() && fs::metadata(disk).unwrap().dev() != fs::metadata(dir.path()).unwrap().dev() {
        let other = TempDir::new_in(disk).unwrap();
        assert!(store.materialise(&digest, &other.path().join("out"), false).unwrap().is_some());
        assert_eq!(fs::read(other.path().join("out")).unwrap(), b"bytes");
    }
}

#[test]
fn what_entries_have_in_common_is_written_once() {
    let (dir, store) = store();
    let names: String = (0..200).map(|n| format!("header{n}.h\n")).collect();
    let of = |n: u32| {
        let mut entry = entry(&[("/usr/include/a.h", b"1"), ("fw/a.h", &n.to_le_bytes())], "");
        entry.absent = [
            Absent { folder: "/usr/local/include".into(), names: names.as_str().into() },
            Absent { folder: "fw".into(), names: "b.h\n".into() },
        ]
        .into();
        entry
    };
    (0..100_u32).for_each(|n| store.record(&Digest::of(&n.to_le_bytes()), &of(n)).unwrap());
    let root = dir.path().join("cache/v1");
    let again = Store::open(&root).unwrap();
    assert!((0..100_u32).all(|n| again.entries(&Digest::of(&n.to_le_bytes())) == [of(n)]));
    let bytes: u64 = files(&root.join("ac")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 100 * 400, "{bytes}");
    // Without what they have in common they are none.
    for path in files(&root.join("ac")) {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        if text.contains("header199.h") {
            fs::remove_file(path).unwrap();
        }
    }
    assert!((0..100).all(|n| Store::open(&root).unwrap().entries(&Digest::of(&u32::to_le_bytes(n))).is_empty()));
}

#[test]
fn a_file_of_another_disk_is_adopted_by_a_copy() {
    let (_dir, store) = store();
    let digest = store.adopt(Path::new("/proc/sys/kernel/ostype")).unwrap();
    assert_eq!(store.read(&digest).unwrap().as_deref(), Some(&b"Linux\n"[..]));
}

#[test]
fn a_damaged_blob_is_missing_and_can_come_back() {
    let (dir, store) = store();
    let digest = store.insert(b"bytes").unwrap();
    overwrite(&store.blob(&digest), b"BYTES");
    let out = dir.path().join("out");
    assert!(store.materialise(&digest, &out, false).unwrap().is_none());
    assert!(!out.exists() && !store.contains(&digest));
    store.insert(b"bytes").unwrap();
    overwrite(&store.blob(&digest), b"other");
    assert_eq!(store.read(&digest).unwrap(), None);
    assert!(!store.contains(&digest));
    store.insert(b"bytes").unwrap();
    assert!(store.read(&digest).unwrap().is_some());
}

#[test]
fn a_blob_cut_short_is_replaced_when_its_bytes_come_again() {
    let (_dir, store) = store();
    let digest = store.insert(b"bytes").unwrap();
    overwrite(&store.blob(&digest), b"");
    store.insert(b"bytes").unwrap();
    assert_eq!(store.read(&digest).unwrap().as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn results_hold_while_the_files_they_read_do() {
    let (_dir, store) = store();
    let key = Digest::of(b"key");
    store.record(&key, &entry(&[("a.h", b"1")], "one")).unwrap();
    store.record(&key, &entry(&[("a.h", b"2"), ("b.h", b"2")], "two")).unwrap();
    let printed = |a: &[u8]| {
        let holds = |entry: &Entry| entry.reads.iter().all(|read| &*read.path != "a.h" || read.digest == Digest::of(a));
        store.lookup(&key, holds).map(|entry| entry.result.printed)
    };
    assert_eq!(printed(b"1").as_deref(), Some("one"));
    assert_eq!(printed(b"2").as_deref(), Some("two"));
    assert_eq!(printed(b"3"), None);
    assert!(store.entries(&Digest::of(b"other key")).is_empty());
}

#[test]
fn a_damaged_record_is_a_miss_and_can_be_written_again() {
    let (dir, store) = store();
    let root = dir.path().join("cache/v1");
    let key = Digest::of(b"key");
    store.record(&key, &entry(&[], "one")).unwrap();
    let records = files(&root.join("ac"));
    assert!(!records.is_empty());
    for record in &records {
        let whole = fs::read(record).unwrap();
        for bad in [&b""[..], b"nonsense", &whole[..whole.len() - 1]] {
            fs::write(record, bad).unwrap();
            assert_eq!(Store::open(&root).unwrap().entries(&key), Vec::new());
        }
        fs::write(record, &whole).unwrap();
        assert_eq!(Store::open(&root).unwrap().entries(&key).len(), 1);
    }
    records.iter().for_each(|record| fs::write(record, b"").unwrap());
    let store = Store::open(&root).unwrap();
    store.record(&key, &entry(&[], "two")).unwrap();
    assert_eq!(Store::open(&root).unwrap().entries(&key), vec![entry(&[], "two")]);
}

#[test]
fn many_writers_at_once_leave_whole_blobs() {
    let (dir, _) = store();
    let root = dir.path().join("cache/v1");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(&root).unwrap();
                for n in 0..200_u32 {
                    let bytes = n.to_le_bytes().repeat(500);
                    let digest = store.insert(&bytes).unwrap();
                    assert_eq!(store.read(&digest).unwrap(), Some(bytes));
                    store.record(&Digest::of(&n.to_le_bytes()), &entry(&[], "same")).unwrap();
                    assert_eq!(store.entries(&Digest::of(&n.to_le_bytes())), [entry(&[], "same")]);
                }
            });
        }
    });
    assert_eq!(files(&root.join("cas")).len(), 200);
    let late = Store::open(&root).unwrap();
    assert!((0..200_u32).all(|n| late.entries(&Digest::of(&n.to_le_bytes())) == [entry(&[], "same")]));
    assert_eq!(files(&root.join("tmp")), Vec::<PathBuf>::new());
}

#[test]
fn a_store_that_cannot_be_made_says_where() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/v1")).unwrap_err().to_string();
    assert!(error.contains("cannot create the folder") && error.contains("file/v1"), "{error}");
}

/// Runs the test below on a disk of 64 KiB of its own.
#[test]
fn a_full_disk_is_an_error_with_a_path_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && exec \"$2\" --exact on_a_full_disk --ignored --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(dir.path()).arg(std::env::current_exe().unwrap());
    let output = command.env("OURO_SMALL_DISK", dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "needs the small disk that `a_full_disk_is_an_error_with_a_path_and_leaves_nothing` mounts for it"]
fn on_a_full_disk() {
    let disk = PathBuf::from(std::env::var_os("OURO_SMALL_DISK").expect("run by the test above"));
    let store = Store::open(&disk.join("cache")).unwrap();
    let small = store.insert(b"small").unwrap();
    let big = vec![7; 100_000];
    let error = store.insert(&big).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert!(error.path.starts_with(&disk) && error.to_string().starts_with("cannot write `"), "{error}");
    let filler = vec![9; 30_000];
    fs::write(disk.join("filler"), &filler).unwrap();
    assert!(store.insert_file(&disk.join("filler")).is_err());
    assert_eq!(files(&disk.join("cache/tmp")), Vec::<PathBuf>::new());
    assert_eq!(files(&disk.join("cache/cas")), vec![store.blob(&small)]);
    assert_eq!(store.read(&small).unwrap().as_deref(), Some(&b"small"[..]));
}
