//! Collecting and verifying a store: what goes, what stays, and that nobody's work is disturbed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ouro_cache::collect::{self, Collected};
use ouro_cache::{ActionResult, Digest, Entry, Limits, Output, Store};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Cache {
    dir: TempDir,
}

impl Cache {
    fn new() -> Cache {
        Cache { dir: TempDir::new().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("v1")
    }

    fn store(&self) -> Store {
        Store::open(&self.root()).unwrap()
    }

    /// Keeps a result with one output of a thousand bytes, as if that was days ago.
    fn add(&self, number: u32, days: u32) -> Digest {
        let (store, bytes) = (self.store(), number.to_le_bytes().repeat(250));
        let digest = store.insert(&bytes).unwrap();
        let result = ActionResult { outputs: vec![Output { digest, executable: false }], printed: String::new() };
        store.record(&key(number), &Entry { reads: Arc::default(), absent: Arc::default(), result }).unwrap();
        let file = fs::File::open(store.blob(&digest)).unwrap();
        file.set_modified(SystemTime::now() - days * DAY).unwrap();
        digest
    }

    fn add_all(&self, numbers: std::ops::Range<u32>, days: impl Fn(u32) -> u32) {
        for number in numbers {
            self.add(number, days(number));
        }
    }

    fn collect(&self, size: u64, age: Option<Duration>) -> Collected {
        collect::collect(&self.root(), &Limits { size, age }).unwrap().unwrap()
    }

    /// Which of the results can still be given.
    fn alive(&self, numbers: std::ops::Range<u32>) -> Vec<u32> {
        let store = self.store();
        let is_alive = |number: &u32| {
            let entries = store.entries(&key(*number));
            let kept = entries.iter().flat_map(|entry| &entry.result.outputs).all(|output| store.contains(&output.digest));
            assert!(entries.is_empty() || kept, "{number} is remembered, and its bytes are gone");
            !entries.is_empty()
        };
        numbers.filter(is_alive).collect()
    }
}

fn key(number: u32) -> Digest {
    Digest::of(format!("key {number}").as_bytes())
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_of_no_use_for_longest_goes_until_it_fits() {
    let cache = Cache::new();
    cache.add_all(0..20, |number| 100 - number);
    // Two of the oldest were of use lately.
    let used = cache.store();
    for number in [0, 3] {
        let digest = Digest::of(&u32::to_le_bytes(number).repeat(250));
        assert!(used.materialise(&digest, &cache.dir.path().join("out"), false).unwrap().is_some());
    }
    drop(used);
    let collected = cache.collect(100_000, None);
    assert_eq!((collected.removed, collected.left.blobs, collected.left.results), (0, 20, 20));
    let collected = cache.collect(10_000, None);
    assert_eq!((collected.left.bytes, collected.freed), (9_000, 11_000), "a tenth is left for what comes next");
    assert_eq!(cache.alive(0..20), [0, 3, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(collect::stat(&cache.root()).unwrap(), collected.left);
    assert_eq!(cache.collect(0, None).left.blobs, 0);
    assert_eq!(cache.alive(0..20), [0; 0]);
}

#[test]
fn what_is_too_old_goes_whatever_the_size() {
    let cache = Cache::new();
    cache.add_all(0..10, |number| number);
    assert_eq!(cache.collect(u64::MAX, Some(5 * DAY + DAY / 2)).removed, 4);
    assert_eq!(cache.alive(0..10), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn nothing_is_collected_while_somebody_uses_the_store() {
    let cache = Cache::new();
    cache.add(1, 100);
    let running = cache.store();
    assert_eq!(collect::collect(&cache.root(), &Limits { size: 0, age: None }).unwrap(), None);
    assert_eq!(cache.alive(1..2), [1]);
    drop(running);
    assert_eq!(cache.collect(0, None).removed, 1);
}

#[test]
fn it_is_due_when_it_grew_or_aged() {
    let cache = Cache::new();
    let (small, large) = (Limits { size: 3_500, age: None }, Limits { size: 1 << 40, age: None });
    cache.add_all(0..3, |_| 0);
    assert!(!collect::is_due(&cache.root(), &small));
    cache.add(3, 0);
    // The same again is no growth.
    cache.add(3, 0);
    assert!(collect::is_due(&cache.root(), &small) && !collect::is_due(&cache.root(), &large));
    cache.collect(small.size, None);
    assert!(!collect::is_due(&cache.root(), &small));
    let aging = Limits { age: Some(DAY), ..large };
    assert!(!collect::is_due(&cache.root(), &aging), "just collected");
    fs::File::open(cache.root().join("collected")).unwrap().set_modified(SystemTime::now() - 2 * DAY).unwrap();
    assert!(collect::is_due(&cache.root(), &aging));
}

#[test]
fn damage_is_found_removed_and_told() {
    let cache = Cache::new();
    let digests: Vec<Digest> = (0..6).map(|number| cache.add(number, 0)).collect();
    let store = cache.store();
    assert_eq!(collect::verify(&cache.root()).unwrap().damaged, []);
    overwrite(&store.blob(&digests[0]), b"");
    overwrite(&store.blob(&digests[1]), b"other");
    let mut whole = fs::read(store.blob(&digests[2])).unwrap();
    whole[999] ^= 1;
    overwrite(&store.blob(&digests[2]), &whole);
    fs::write(cache.root().join("cas/ab-stray"), "x").unwrap();
    fs::write(store.blob(&digests[3]).with_file_name("stray"), "x").unwrap();
    let verified = collect::verify(&cache.root()).unwrap();
    let mut damaged = digests[..3].to_vec();
    damaged.sort();
    assert_eq!((verified.damaged, verified.blobs, verified.strange.len()), (damaged, 6, 1));
    assert!(digests.iter().enumerate().all(|(number, digest)| store.contains(digest) == (number > 2)));
    assert_eq!(collect::verify(&cache.root()).unwrap().blobs, 3);
}

/// Records that newer ones replaced, or that were torn, do not stay for ever.
#[test]
fn collecting_makes_the_records_small_again() {
    let cache = Cache::new();
    for _ in 0..50 {
        cache.add_all(0..4, |_| 0);
    }
    let record = fs::read_dir(cache.root().join("ac")).unwrap().next().unwrap().unwrap().path();
    fs::File::options().append(true).open(record).unwrap().write_all(b"\x7fouroAC1 torn").unwrap();
    let before = collect::stat(&cache.root()).unwrap();
    let after = cache.collect(u64::MAX, None).left;
    assert_eq!((before.results, after.results, after.blobs), (200, 4, 4));
    assert!(after.result_bytes * 20 < before.result_bytes, "{after:?} {before:?}");
    assert_eq!(cache.alive(0..4), [0, 1, 2, 3]);
}

#[test]
fn no_store_is_an_empty_one() {
    let dir = TempDir::new().unwrap();
    assert_eq!(collect::stat(&dir.path().join("none")).unwrap(), collect::Stat::default());
    assert_eq!(collect::verify(&dir.path().join("none")).unwrap(), collect::Verified::default());
    assert!(!collect::is_due(&dir.path().join("none"), &Limits::default()));
}
