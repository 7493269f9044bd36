//! Snapshots: they name the files that changed, for every kind of change, and no damage makes them say anything wrong.

mod execute_support;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ouro_cache::Digest;
use ouro_engine::state::Stamp;
use ouro_engine::state::snapshot::{self, Acted, Added, Draft, FileId, Known, Patch, Roles, Snapshot, Step};
use tempfile::TempDir;

/// Longer than a file system's clock ticks.
const TICK: Duration = Duration::from_millis(40);

const SEEN: [&str; 8] = ["ouro.toml", "fw/BUILD", "fw/a.c", "fw/deep/a.h", "fw", "fw/absent.h", "gone/absent.h", "/bin/sh"];

fn request() -> Digest {
    Digest::of(b"request")
}

fn known(root: &Path, path: &str) -> Known {
    let place = root.join(path);
    Known::new(Stamp::of(&place).unwrap(), Digest::of_file(&place).ok(), Roles::LOAD)
}

fn files(root: &Path, paths: &[&str]) -> HashMap<Arc<str>, Known> {
    paths.iter().map(|path| (Arc::from(*path), known(root, path))).collect()
}

/// One action reads `fw/a.c` and `fw/deep/a.h` and makes `fw/absent.h`; the next reads that.
fn draft(root: &Path) -> Draft<'static> {
    let first = Step {
        inputs: vec!["fw/a.c"],
        outputs: vec!["fw/absent.h"],
        reads: vec!["fw/deep/a.h"],
        words: vec!["-c", "fw/a.c"],
        what: b"compile".to_vec(),
        result: b"well".to_vec(),
        told: b"warning".to_vec(),
    };
    let second = Step { inputs: vec!["fw/absent.h"], words: vec!["-c"], what: b"inspect".to_vec(), ..Step::default() };
    let steps = Box::new([first, second].into_iter());
    Draft { files: files(root, &SEEN), steps, said: b"summary".to_vec(), ..Draft::default() }
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

/// A folder with a snapshot of it.
fn taken() -> (TempDir, PathBuf) {
    let dir = folder();
    snapshot::write(dir.path(), &request(), draft(dir.path())).unwrap();
    let [path] = &execute_support::files(&dir.path().join(".ouro/snapshots"))[..] else { panic!("one snapshot") };
    let path = path.clone();
    (dir, path)
}

fn open(dir: &TempDir) -> Option<Snapshot> {
    Snapshot::open(dir.path(), &request())
}

fn differing(snapshot: &Snapshot, root: &Path) -> Vec<String> {
    let paths = snapshot
        .differing(root, 2, &mut |_| ControlFlow::Continue(()))
        .into_iter()
        .map(|file| snapshot.path(file).unwrap().to_string());
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths
}

/// Everything a snapshot says, as text.
fn words(snapshot: &Snapshot) -> String {
    let ids: HashMap<FileId, Arc<str>> =
        SEEN.iter().chain(&["fw/new.h"]).filter_map(|path| Some((snapshot.find(path)?, Arc::from(*path)))).collect();
    let names = |files: &mut dyn Iterator<Item = FileId>| files.map(|file| ids[&file].to_string()).collect::<Vec<_>>();
    let mut text = format!("{:?} {:?} {:?} {}\n", snapshot.said(), snapshot.said_later(), snapshot.told(), snapshot.len());
    for path in SEEN.iter().chain(&["fw/new.h"]) {
        let known = snapshot.find(path).and_then(|file| snapshot.known(file)).map(|known| Known { digest: None, ..known });
        text += &format!("{path} {known:?}\n");
    }
    let Some(steps) = snapshot.steps() else { return text };
    for step in steps.ids() {
        let files = [names(&mut steps.inputs(step)), names(&mut steps.outputs(step)), names(&mut steps.reads(step))];
        text += &format!("{files:?} {:?} {:?} {:?}\n", steps.words(step), steps.what(step), steps.result(step));
    }
    text
}

#[test]
fn every_change_is_noticed() {
    type Change = (&'static str, &'static [&'static str], fn(&Path));
    let changes: [Change; 9] = [
        ("nothing", &[], |_| {}),
        ("a file is edited", &["fw/a.c"], |root| fs::write(root.join("fw/a.c"), "fw/b.c").unwrap()),
        ("a file is removed", &["fw/deep/a.h"], |root| fs::remove_file(root.join("fw/deep/a.h")).unwrap()),
        ("a folder is removed", &["fw", "fw/BUILD", "fw/a.c", "fw/deep/a.h"], |root| {
            fs::remove_dir_all(root.join("fw")).unwrap();
        }),
        ("an absent file appears", &["fw", "fw/absent.h"], |root| fs::write(root.join("fw/absent.h"), "").unwrap()),
        ("an absent file appears in a folder that was absent", &["gone/absent.h"], |root| {
            fs::create_dir(root.join("gone")).unwrap();
            fs::write(root.join("gone/absent.h"), "").unwrap();
        }),
        ("a folder gets a new entry", &["fw"], |root| fs::write(root.join("fw/new.c"), "").unwrap()),
        ("a file is replaced by one of the same size and time", &["fw", "fw/BUILD"], |root| {
            let path = root.join("fw/BUILD");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(root.join("fw/deep/new"), "FW/build").unwrap();
            fs::rename(root.join("fw/deep/new"), &path).unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }),
        ("a file becomes a folder", &["ouro.toml"], |root| {
            fs::remove_file(root.join("ouro.toml")).unwrap();
            fs::create_dir(root.join("ouro.toml")).unwrap();
        }),
    ];
    for (what, changed, change) in changes {
        let (dir, _) = taken();
        let snapshot = open(&dir).unwrap();
        assert_eq!(differing(&snapshot, dir.path()), Vec::<String>::new(), "{what}: before");
        change(dir.path());
        assert_eq!(differing(&snapshot, dir.path()), changed, "{what}");
    }
}

#[test]
fn every_file_is_found_by_its_path() {
    let (dir, _) = taken();
    let snapshot = open(&dir).unwrap();
    for path in SEEN {
        let file = snapshot.find(path).unwrap();
        assert_eq!(snapshot.path(file).as_deref(), Some(path));
        assert_eq!(snapshot.known(file), Some(known(dir.path(), path)), "{path}");
    }
    assert_eq!((snapshot.len(), snapshot.find("fw/b.c"), snapshot.find("other/a.c")), (SEEN.len(), None, None));
}

#[test]
fn a_changed_file_has_actions_that_read_it() {
    let (dir, _) = taken();
    let snapshot = open(&dir).unwrap();
    let expected = "[[\"fw/a.c\"], [\"fw/absent.h\"], [\"fw/deep/a.h\"]] Some([\"-c\", \"fw/a.c\"])";
    assert!(words(&snapshot).contains(expected), "{}", words(&snapshot));
}

#[test]
fn other_requests_have_other_snapshots() {
    let dir = folder();
    let requests: Vec<Digest> = (0..10_u8).map(|n| Digest::of(&[n])).collect();
    for (n, request) in requests.iter().enumerate() {
        let draft = Draft { said: vec![n as u8], ..Draft::default() };
        snapshot::write(dir.path(), request, draft).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let kept: Vec<bool> = requests.iter().map(|request| Snapshot::open(dir.path(), request).is_some()).collect();
    assert_eq!(kept, [[false; 2].as_slice(), &[true; 8]].concat(), "the last eight are kept");
    assert_eq!(Snapshot::open(dir.path(), &requests[9]).unwrap().said(), [9]);
    assert!(Snapshot::open(dir.path(), &Digest::of(b"never built")).is_none());
}

/// Those that are asked for often are not pushed out by those that were asked for once, nor by what a killed build left.
#[test]
fn the_snapshot_of_no_use_for_longest_goes_first() {
    let dir = folder();
    let ago = |days: u64| SystemTime::now() - Duration::from_secs(days * 86_400);
    let place = |n: u8| dir.path().join(".ouro/snapshots").join(&Digest::of(&[n]).to_string()[..16]);
    for n in 0..8_u8 {
        snapshot::write(dir.path(), &Digest::of(&[n]), Draft::default()).unwrap();
        fs::File::open(place(n)).unwrap().set_modified(ago(10 - u64::from(n))).unwrap();
    }
    assert!(Snapshot::open(dir.path(), &Digest::of(&[0])).is_some());
    let left = dir.path().join(".ouro/snapshots/.ouro-abcdef");
    fs::write(&left, "").unwrap();
    snapshot::write(dir.path(), &Digest::of(&[8]), Draft::default()).unwrap();
    let kept: Vec<u8> = (0..9).filter(|n| place(*n).exists()).collect();
    assert_eq!((kept, left.exists()), (vec![0, 2, 3, 4, 5, 6, 7, 8], false));
}

/// What is read again, a new file, and another end of the first action.
fn patch(dir: &TempDir, snapshot: &Snapshot) -> Patch {
    fs::write(dir.path().join("fw/a.c"), "changed").unwrap();
    fs::write(dir.path().join("fw/new.h"), "new").unwrap();
    std::thread::sleep(TICK);
    let step = snapshot.steps().unwrap().ids().next().unwrap();
    let mut patch = Patch { told: vec![(step, Vec::new())], ..Patch::default() };
    let new = patch.add_new(snapshot.len(), &"fw/new.h".into(), known(dir.path(), "fw/new.h"));
    assert_eq!(patch.add_new(snapshot.len(), &"fw/new.h".into(), known(dir.path(), "fw/new.h")), new, "once");
    patch.acted.push(Acted { step, reads: vec![new], result: b"better".to_vec() });
    patch.files.push((snapshot.find("fw/a.c").unwrap(), known(dir.path(), "fw/a.c")));
    patch.files.push((snapshot.find("fw").unwrap(), known(dir.path(), "fw")));
    patch
}

/// The second action is replaced by one that others need, and by one that needs it.
fn turnover(snapshot: &Snapshot) -> Patch {
    let (steps, file) = (snapshot.steps().unwrap(), |path: &str| snapshot.find(path).unwrap());
    let added = |inputs: &[&str], outputs: &[&str], what: &[u8]| Added {
        inputs: inputs.iter().map(|path| file(path)).collect(),
        outputs: outputs.iter().map(|path| file(path)).collect(),
        reads: Vec::new(),
        words: vec!["-o".to_owned()],
        what: what.to_vec(),
        result: b"new".to_vec(),
    };
    let next = steps.next();
    let after = added(&["fw/absent.h"], &["gone/absent.h"], b"after");
    let before = added(&["fw/BUILD"], &["fw/a.c"], b"before");
    let removed = steps.ids().skip(1).collect();
    let added = [(next, after), (next.after(), before)].into();
    Patch { removed, added, said: b"more".to_vec(), book: b"a page".to_vec(), ..Patch::default() }
}

#[test]
fn actions_that_come_and_go_keep_their_order() {
    let (dir, _) = taken();
    let mut snapshot = open(&dir).unwrap();
    let patch = turnover(&snapshot);
    snapshot.append(&patch).unwrap();
    for snapshot in [&snapshot, &open(&dir).unwrap()] {
        let steps = snapshot.steps().unwrap();
        let whats: Vec<&[u8]> = steps.ids().map(|step| steps.what(step)).collect();
        assert_eq!(whats, [&b"before"[..], b"compile", b"after"], "the first makes what the old one reads");
        assert_eq!((snapshot.said_later(), snapshot.book_later()), (&[b"more".to_vec()][..], &[b"a page".to_vec()][..]));
    }
    let steps = snapshot.steps().unwrap();
    let last = steps.ids().last().unwrap();
    assert_eq!((steps.words(last), steps.result(last)), (Some(vec!["-o"]), &b"new"[..]));
    let (next, read) = (steps.next(), snapshot.find("fw/BUILD").unwrap());
    drop(steps);
    let acted = vec![Acted { step: last, reads: vec![read], result: b"newer".to_vec() }];
    snapshot.append(&Patch { acted, ..Patch::default() }).unwrap();
    let again = open(&dir).unwrap();
    let steps = again.steps().unwrap();
    assert_eq!((steps.reads(last).collect::<Vec<_>>(), steps.result(last)), (vec![read], &b"newer"[..]));
    snapshot.append(&Patch { removed: vec![last], ..Patch::default() }).unwrap();
    let again = open(&dir).unwrap();
    let steps = again.steps().unwrap();
    assert_eq!((steps.ids().count(), steps.next()), (2, next), "its number is not given to another while a later one is there");
}

#[test]
fn a_part_of_what_was_kept_is_read() {
    let dir = folder();
    snapshot::write(dir.path(), &request(), Draft { book: b"a book".to_vec(), ..draft(dir.path()) }).unwrap();
    let mut snapshot = open(&dir).unwrap();
    let patch = patch(&dir, &snapshot);
    snapshot.append(&patch).unwrap();
    for snapshot in [&snapshot, &open(&dir).unwrap()] {
        assert_eq!((snapshot.book(2..6).as_deref(), snapshot.book(2..7)), (Some(&b"book"[..]), None));
        assert_eq!(snapshot.book(u64::MAX..u64::MAX), None);
    }
}

/// Every action may read as many files as there are: each is looked up, and none searched.
#[test]
fn fifty_thousand_new_files_are_numbered() {
    let (mut patch, known) = (Patch::default(), Known::new(None, None, Roles::READ));
    let paths: Vec<Arc<str>> = (0..50_000).map(|n| format!("fw/{n}.h").into()).collect();
    let start = Instant::now();
    for _ in 0..2 {
        let numbers = paths.iter().map(|path| patch.add_new(7, path, known).index());
        assert!(numbers.eq(7..50_007));
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn what_a_later_build_changed_is_added() {
    let (dir, _) = taken();
    let mut snapshot = open(&dir).unwrap();
    let patch = patch(&dir, &snapshot);
    snapshot.append(&patch).unwrap();
    for snapshot in [&snapshot, &open(&dir).unwrap()] {
        assert_eq!(differing(snapshot, dir.path()), Vec::<String>::new());
        assert_eq!(snapshot.known(snapshot.find("fw/a.c").unwrap()), Some(known(dir.path(), "fw/a.c")));
        let words = words(snapshot);
        assert!(words.contains("[[\"fw/a.c\"], [\"fw/absent.h\"], [\"fw/new.h\"]]"), "{words}");
        assert!(!words.contains("{StepId(0)"), "nothing is told any more: {words}");
    }
    fs::write(dir.path().join("fw/new.h"), "newer").unwrap();
    assert_eq!(differing(&open(&dir).unwrap(), dir.path()), ["fw/new.h"]);
}

#[test]
fn who_added_to_it_is_noticed_and_a_long_tail_ends_it() {
    let (dir, path) = taken();
    let (mut one, other) = (open(&dir).unwrap(), open(&dir).unwrap());
    let mut patch = patch(&dir, &one);
    one.append(&patch).unwrap();
    assert!(one.is_current() && !other.is_current());
    patch.acted[0].result = vec![7; 300 * 1024];
    one.append(&patch).unwrap();
    assert!(!path.exists() && !one.is_current(), "the next build writes all anew");
}

#[test]
fn a_damaged_snapshot_says_nothing_wrong() {
    let (dir, path) = taken();
    let before = words(&open(&dir).unwrap());
    let mut snapshot = open(&dir).unwrap();
    let patch = patch(&dir, &snapshot);
    let base = fs::read(&path).unwrap().len();
    snapshot.append(&patch).unwrap();
    let between = words(&open(&dir).unwrap());
    snapshot.append(&turnover(&snapshot)).unwrap();
    let after = words(&open(&dir).unwrap());
    let whole = fs::read(&path).unwrap();
    let says_nothing_wrong = |what: &str, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let Some(snapshot) = open(&dir) else { return };
        let words = words(&snapshot);
        // Without actions it ends early; a lost tail leaves what was true before.
        let was_true = [&before, &between, &after].iter().any(|text| text.starts_with(&words));
        assert!(was_true, "{what}:\n{words}\nbut was\n{before}\nthen\n{between}\nthen\n{after}");
    };
    for place in 0..whole.len() {
        let mut bad = whole.clone();
        bad[place] ^= 0x11;
        says_nothing_wrong(&format!("byte {place}"), &bad);
        says_nothing_wrong(&format!("cut to {place} bytes"), &whole[..place]);
    }
    fs::write(&path, &whole[..base]).unwrap();
    assert_eq!(words(&open(&dir).unwrap()), before);
}

/// Nobody adds to what was lost in the middle: it would hide what comes after it.
#[test]
fn nothing_is_added_behind_damage() {
    let (dir, path) = taken();
    let mut snapshot = open(&dir).unwrap();
    let patch = patch(&dir, &snapshot);
    snapshot.append(&patch).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut damaged = open(&dir).unwrap();
    for _ in 0..2 {
        damaged.append(&patch).unwrap();
        assert!(!path.exists());
    }
    damaged.restamp(&patch.files).unwrap();
}

/// As when outputs are put back, and then something is built: the first makes the tail too long.
#[test]
fn what_is_added_to_a_snapshot_that_was_given_up_is_lost_with_it() {
    let (dir, path) = taken();
    let mut snapshot = open(&dir).unwrap();
    let mut patch = patch(&dir, &snapshot);
    patch.acted[0].result = vec![7; 300 * 1024];
    snapshot.append(&patch).unwrap();
    patch.acted[0].result = Vec::new();
    snapshot.append(&patch).unwrap();
    assert!(!path.exists() && !snapshot.is_current());
}

#[test]
fn a_file_changed_just_before_is_never_taken_for_unchanged() {
    let dir = folder();
    fs::write(dir.path().join("fw/a.c"), "fresh").unwrap();
    snapshot::write(dir.path(), &request(), draft(dir.path())).unwrap();
    assert_eq!(differing(&open(&dir).unwrap(), dir.path()), ["fw/a.c"]);
}

#[test]
fn two_sights_of_one_file_that_differ_are_never_unchanged() {
    let dir = folder();
    let first = known(dir.path(), "fw/a.c");
    assert_eq!(first.and(first), first);
    fs::write(dir.path().join("fw/a.c"), "later").unwrap();
    std::thread::sleep(TICK);
    let both = first.and(known(dir.path(), "fw/a.c"));
    assert_eq!((both.sure, both.digest), (false, None));
    let mut draft = draft(dir.path());
    draft.files.insert("fw/a.c".into(), both);
    snapshot::write(dir.path(), &request(), draft).unwrap();
    assert_eq!(differing(&open(&dir).unwrap(), dir.path()), ["fw/a.c"]);
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
    let files = files(dir.path(), &names);
    snapshot::write(dir.path(), &request(), Draft { files, ..Draft::default() }).unwrap();
    let snapshot = open(&dir).unwrap();
    let mut changed = Vec::new();
    for path in ["d0/f0", "d3/f500", "d6/f999"] {
        fs::write(dir.path().join(path), "changed").unwrap();
        changed.push(path);
        for threads in [1, 2, 4, 100] {
            for end in [ControlFlow::Continue(()), ControlFlow::Break(())] {
                let mut told = BTreeSet::new();
                let found = snapshot.differing(dir.path(), threads, &mut |file| {
                    told.insert(file);
                    end
                });
                assert_eq!(found.len(), changed.len());
                assert!(told.is_subset(&found.into_iter().collect()) && (threads > 1 || !told.is_empty()));
            }
        }
        assert_eq!(differing(&snapshot, dir.path()), changed);
    }
}
