//! Loading where a golden workspace cannot say it: names git does not keep, links, many packages, and the real rules.

#[expect(dead_code, reason = "each test binary uses its own part of what is shared")]
mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ouro_engine::load::{self, Loaded};
use ouro_engine::workspace::Workspace;
use ouro_rules::label::{Label, Pattern};
use ouro_rules::{Diagnostic, RuleTable};
use support::{comments, dump, rules};

/// A workspace of these files.
fn workspace(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in [("ouro.toml", "")].iter().chain(files) {
        write(folder.path(), path, text.as_bytes());
    }
    folder
}

fn write(root: &Path, path: impl AsRef<Path>, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a new folder");
    std::fs::write(path, bytes).expect("a new file");
}

fn load_with(root: &Path, patterns: &[&str], table: &RuleTable) -> Result<Loaded, Vec<Diagnostic>> {
    let workspace = Workspace::find(root)?;
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text, "").expect("a pattern")).collect();
    load::load(&workspace, &patterns, table)
}

fn load(root: &Path, patterns: &[&str]) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(root, patterns, &rules::table())
}

fn messages(result: Result<Loaded, Vec<Diagnostic>>) -> String {
    result.expect_err("findings").iter().map(comments::show).collect()
}

fn requested(loaded: &Loaded) -> Vec<String> {
    loaded.requested.iter().map(ToString::to_string).collect()
}

#[test]
fn walks_leave_out_outputs_links_and_folders_named_build() {
    let folder = workspace(&[
        ("fw/BUILD", "filegroup(name = 'x', srcs = glob(['**']))"),
        ("fw/real/a.c", ""),
        ("ouro-out/x86_64/BUILD", "never read ("),
        ("other/BUILD/file", ""),
    ]);
    let root = folder.path();
    symlink(root, root.join("fw/circle")).unwrap();
    symlink(root.join("fw/real/a.c"), root.join("fw/linked.c")).unwrap();
    symlink("nowhere", root.join("fw/dangling.c")).unwrap();
    let loaded = load(root, &["//..."]).unwrap();
    assert_eq!(requested(&loaded), ["//fw:x"]);
    let target = loaded.target(&Label::new("fw", "x")).unwrap();
    let files: Vec<&str> = target.get("srcs").items().iter().map(|item| &*item.value.as_label().unwrap().name).collect();
    assert_eq!(files, ["BUILD", "linked.c", "real/a.c"]);
}

#[test]
fn names_that_are_not_utf8_are_findings_in_globs_and_ignored_elsewhere() {
    let folder = workspace(&[("fw/BUILD", "filegroup(name = 'x', srcs = glob(['*.c'], allow_empty = True))"), ("ok/BUILD", "")]);
    let odd = Path::new("fw").join(OsStr::from_bytes(b"\xff.c"));
    write(folder.path(), Path::new("ok").join(OsStr::from_bytes(b"\xfe/BUILD")), b"never read (");
    assert!(load(folder.path(), &["//..."]).is_ok());
    write(folder.path(), odd, b"");
    let found = messages(load(folder.path(), &["//..."]));
    assert!(
        found.starts_with(
            "fw/BUILD:1:30-1:63: Error: `\u{fffd}.c` in the folder `fw` has a name that is not UTF-8\n    help: rename it"
        ),
        "{found}"
    );
}

#[test]
fn files_that_cannot_be_read_are_findings() {
    let folder = workspace(&[("fw/BUILD", "load(':bad.star', 'x')\n"), ("ok/BUILD", "filegroup(name = 'x', scrs = [])")]);
    write(folder.path(), "fw/bad.star", b"x = 1\ny = '\xff'\n");
    std::fs::create_dir(folder.path().join("loop")).unwrap();
    symlink("BUILD", folder.path().join("loop/BUILD")).unwrap();
    let found = messages(load(folder.path(), &["//...", "//loop:all"]));
    assert!(
        found.contains("fw/bad.star:2:6-2:7: Error: `fw/bad.star` is not UTF-8\n    help: save the file as UTF-8"),
        "{found}"
    );
    assert!(found.contains("(no place): Error: cannot read `loop/BUILD`: "), "{found}");
    assert!(found.contains("ok/BUILD:1:23-1:27: Error: unknown attribute `scrs`"), "{found}");
}

#[test]
fn many_packages_load_in_parallel_and_report_in_order() {
    // More than are held as syntax trees at once: the later ones find the `.star` file evaluated.
    const COUNT: usize = 1_100;
    let folder = workspace(&[("tools/defs.star", "def stage(name, **rest):\n    filegroup(name = name, **rest)\n")]);
    for index in 0..COUNT {
        let build = format!("load('//tools:defs.star', 'stage')\nstage(name = 'x', srcs = ['//p{}:x'])\n", (index + 1) % COUNT);
        write(folder.path(), format!("p{index}/BUILD"), build.as_bytes());
    }
    let all = load(folder.path(), &["//..."]).unwrap();
    let closure = load(folder.path(), &["//p7:x"]).unwrap();
    assert_eq!((all.requested.len(), closure.requested.len(), closure.packages.len()), (COUNT, 1, COUNT));
    assert_eq!(closure.reads.files.len(), COUNT + 2, "every BUILD file, the `.star` file and ouro.toml");
    assert_eq!(closure.reads.absent.len(), COUNT, "every BUILD.ouro");

    for index in 0..COUNT {
        write(
            folder.path(),
            format!("p{index}/BUILD"),
            format!("filegroup(name = 'x', srcs = ['//q{index}:x'], bad = 1)\n").as_bytes(),
        );
    }
    let first = load(folder.path(), &["//..."]).unwrap_err();
    assert_eq!(first.len(), 2 * COUNT);
    assert!(first.is_sorted_by(|a, b| a.span <= b.span));
    assert_eq!(load(folder.path(), &["//..."]).unwrap_err(), first);
}

#[test]
fn what_is_barely_not_too_deep_loads_on_any_thread() {
    let depth = 450;
    let build = format!(
        "a = {}1{}\nb = {}1\nc = {}None\nd = 1{}\n",
        "[".repeat(depth * 2),
        "]".repeat(depth * 2),
        "not ".repeat(depth * 2),
        "lambda: ".repeat(depth),
        " + 1".repeat(depth),
    );
    let folder = workspace(&[("fw/BUILD", &build)]);
    let root = folder.path().to_owned();
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(move || load(&root, &["//..."]).map(|_| ())).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(()));
}

#[test]
fn printing_in_a_star_file_is_no_error() {
    let folder =
        workspace(&[("fw/BUILD", "load(':a.star', 'x')\nfilegroup(name = x)"), ("fw/a.star", "print('hello')\nx = 'x'\n")]);
    let loaded = load(folder.path(), &["//..."]).unwrap();
    assert_eq!(loaded.warnings.iter().map(comments::show).collect::<String>(), "fw/a.star:1:1-1:15: Warning: hello\n");
}

#[test]
fn the_standard_library_declares_a_pipeline_with_the_real_rules() {
    let build = "load('@ouro//xdp:defs.star', 'xdp_pipeline')\nxdp_pipeline(name = 'fw', stages = ['parse', 'block'], interface = ['eth0', 'eth1'], srcs = {'block': ['b.c']})\n";
    let folder = workspace(&[("fw/BUILD", build)]);
    let loaded = load_with(folder.path(), &["//fw:all"], &ouro_rules::builtin::table()).unwrap();
    assert_eq!(requested(&loaded), ["//fw:block", "//fw:fw", "//fw:parse"]);
    let labels = |name: &str, attr: &str| -> Vec<String> {
        let target = loaded.target(&Label::new("fw", name)).unwrap();
        target.get(attr).items().iter().map(|item| item.value.as_label().unwrap().to_string()).collect()
    };
    assert_eq!((labels("parse", "jumps"), labels("block", "jumps")), (vec!["//fw:block".to_owned()], vec![]));
    assert_eq!(
        (labels("parse", "srcs"), labels("block", "srcs")),
        (vec!["//fw:parse.c".to_owned()], vec!["//fw:b.c".to_owned()])
    );
    assert_eq!(loaded.target(&Label::new("fw", "fw")).unwrap().get("attach").items().len(), 2);
    let trace = &loaded.target(&Label::new("fw", "fw")).unwrap().macro_trace;
    assert_eq!(&*trace[0].file, "@ouro//xdp/defs.star");
    assert!(load::stdlib_source(&trace[0].file).unwrap().lines().nth(trace[0].line as usize - 1).unwrap().contains("bpf_chain("));

    write(
        folder.path(),
        "fw/BUILD",
        b"load('@ouro//xdp:defs.star', 'xdp_pipeline')\nxdp_pipeline(name = 'fw', stages = [], interface = 'eth0')\n",
    );
    let found = messages(load_with(folder.path(), &["//fw:all"], &ouro_rules::builtin::table()));
    assert!(found.starts_with("fw/BUILD:2:1-2:59: Error: `stages` of `fw` is empty"), "{found}");
}

/// Nothing a file can say depends on when, where or by how many threads it is evaluated.
#[test]
fn the_same_workspace_always_loads_the_same() {
    let folder = workspace(&[(
        "tools/defs.star",
        "def stage(name, words):\n    seen = {word: hash(word) for word in words}\n    print(name, seen, dir([]), set(words))\n    filegroup(name = name, srcs = sorted(seen.keys()), tags = [str(number) for number in seen.values()])\n",
    )]);
    for index in 0..100 {
        let build = format!(
            "load('//tools:defs.star', 'stage')\nstage(name = 'x', words = ['w%d' % n for n in range({index})])\nfilegroup(name = 'y', srcs = glob(['*']) + select({{'//p{}:x': ['a']}}))\n",
            index / 2
        );
        write(folder.path(), format!("p{index}/BUILD"), build.as_bytes());
        write(folder.path(), format!("p{index}/file.c"), b"");
    }
    let first = dump::loaded(&load(folder.path(), &["//..."]).unwrap());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| dump::loaded(&load(folder.path(), &["//..."]).unwrap()))).collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() == first));
    });
    // Another folder elsewhere, whose files were made in another order.
    let other = workspace(&[]);
    for index in (0..100).rev() {
        for file in ["file.c", "BUILD"] {
            let path = format!("p{index}/{file}");
            write(other.path(), &path, &std::fs::read(folder.path().join(&path)).unwrap());
        }
    }
    write(other.path(), "tools/defs.star", &std::fs::read(folder.path().join("tools/defs.star")).unwrap());
    assert!(dump::loaded(&load(other.path(), &["//..."]).unwrap()) == first);
}

/// What was being evaluated ends at once, what was not begun is not begun, and the thread tells no file any more.
#[test]
fn a_load_that_is_cancelled_ends_at_once() {
    let endless = "x = [0 for a in range(30000) for b in range(300)]\n";
    let folder = workspace(&[]);
    for index in 0..500 {
        write(folder.path(), format!("p{index}/BUILD"), endless.as_bytes());
    }
    let workspace = Workspace::find(folder.path()).unwrap();
    let (cancelled, patterns) = (AtomicBool::new(false), [Pattern::parse("//...", "").unwrap()]);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let options = load::Options { also: &[], cancelled: &cancelled, recall: None, keep_going: false };
        let (workspace, patterns) = (&workspace, &patterns);
        let thread = scope.spawn(move || load::load_with(workspace, patterns, &rules::table(), &options).is_ok());
        std::thread::sleep(Duration::from_millis(300));
        cancelled.store(true, Ordering::Relaxed);
        let _means_nothing = thread.join().unwrap();
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}; all of it takes minutes", began.elapsed());
    load::evaluated(|file| assert_eq!(file, None));
}
