//! Rebuilds from a snapshot: after every kind of change the files are those of a clean build, byte for byte, and where only
//! sources or outputs changed, only the actions that the change reaches were looked at.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use support::damage::{damaged, snapshot};
use support::{Said, Workspace, copy};
use tempfile::TempDir;

const NOTHING: &str = "nothing to do";

/// Two programs in a chain, one of them with a header, beside a row of scripts; each part stands alone.
fn workspace() -> Workspace {
    let parse = "#include <ouro/program.h>\n#include \"lib.h\"\nSEC(\"xdp\") int parse(struct xdp_md *ctx)\n{\n\tOURO_JUMP(ctx, drop);\n\treturn VERDICT;\n}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    let drop = "#include <ouro/program.h>\nSEC(\"xdp\") int drop(struct xdp_md *ctx) { return XDP_DROP; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
    Workspace::with(&[
        (
            "fw/BUILD.ouro",
            "bpf_library(name = \"lib\", hdrs = [\"lib.h\", \"unread.h\"])\nbpf_program(name = \"parse\", srcs = [\"parse.c\"], type = \"xdp\", deps = [\":lib\"], jumps = [\":drop\"], on_miss = \"pass\")\nbpf_program(name = \"drop\", srcs = [\"drop.c\"], type = \"xdp\")\nbpf_chain(name = \"fw\", entry = \":parse\", attach = [xdp(interface = \"eth0\")])\n",
        ),
        ("fw/lib.h", "#define VERDICT XDP_PASS\n"),
        ("fw/unread.h", "#define UNREAD 1\n"),
        ("fw/parse.c", parse),
        ("fw/drop.c", drop),
        (
            "text/BUILD.ouro",
            "load(\"//:defs.star\", \"script\")\nscript(name = \"first\", srcs = [\"a.txt\"], cmd = \"head -n1\")\nscript(name = \"second\", srcs = [\":first\"], cmd = \"cat\")\nscript(name = \"third\", srcs = [\"b.txt\"], cmd = \"sort\")\nscript(name = \"lists\", srcs = glob([\"*.list\"]), cmd = \"cat\")\ngenrule(name = \"tool\", srcs = [\"b.txt\"], outs = [\"tool.sh\"], cmd = \"cp $(SRCS) $@ && chmod +x $@\")\n",
        ),
        (
            "defs.star",
            "def script(name, srcs, cmd):\n    genrule(name = name, srcs = srcs, outs = [name + \".out\"], cmd = cmd + \" $(SRCS) > $@\")\n",
        ),
        ("text/a.txt", "one\nnoise\n"),
        ("text/b.txt", "b\na\n"),
        ("text/one.list", "1\n"),
    ])
}

fn build(workspace: &Workspace) -> Said {
    workspace.ok(&["-v", "build", "//..."])
}

/// How many actions a build looked at: with `-v` each has a line, `compile //fw:parse 34 ms`.
fn looked_at(said: &Said) -> usize {
    let is_action = |line: &&str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with("//"));
    said.err.lines().filter(is_action).count()
}

/// Builds until nothing is left to do: a file changed within the clock's grain of a build is not trusted by it.
fn settle(workspace: &Workspace) {
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        if build(workspace).err.contains(NOTHING) {
            return;
        }
    }
    panic!("there is always something to do");
}

fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let mode = fs::metadata(&path).unwrap().mode();
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), (fs::read(&path).unwrap(), mode));
                }
            }
        }
    }
    found
}

/// Has every file that a build of the same sources from nothing makes, with its bytes.
#[track_caller]
fn is_as_clean(workspace: &Workspace, what: &str) {
    is_as_made_with(&tempfile::tempdir().unwrap(), workspace, what);
}

/// The same; `cache` is one that only clean builds share.
#[track_caller]
fn is_as_made_with(cache: &TempDir, workspace: &Workspace, what: &str) {
    let clean = Workspace::new();
    copy(&workspace.root(), &clean.root());
    let built = clean.command(&["build", "//..."]).env("OURO_CACHE", cache.path()).output().unwrap();
    assert!(built.status.success(), "{what}: {}", String::from_utf8_lossy(&built.stderr));
    let (ours, theirs) = (files(&workspace.path("ouro-out")), files(&clean.path("ouro-out")));
    for (path, (bytes, mode)) in &theirs {
        let (our_bytes, our_mode) = ours.get(path).unwrap_or_else(|| panic!("{what}: {} is missing", path.display()));
        assert!(our_bytes == bytes && our_mode == mode, "{what}: {} differs from a clean build's", path.display());
    }
}

fn output(workspace: &Workspace, name: &str) -> PathBuf {
    let mut found = files(&workspace.path("ouro-out")).into_keys().filter(|path| path.ends_with(name));
    workspace.path("ouro-out").join(found.next().unwrap_or_else(|| panic!("no output `{name}`")))
}

fn overwrite(path: &Path, bytes: &str) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

fn forge(path: &Path, change: impl FnOnce()) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    change();
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// A change, and how many actions it reaches; none when only the whole way can tell.
type Change = (&'static str, Option<usize>, fn(&Workspace));

const CHANGES: &[Change] = &[
    ("nothing", Some(0), |_| {}),
    ("a touched source", Some(0), |w| w.write("text/b.txt", &w.read("text/b.txt"))),
    ("a touched BUILD file", Some(0), |w| w.write("text/BUILD.ouro", &w.read("text/BUILD.ouro"))),
    ("a touched module", Some(0), |w| w.write("defs.star", &w.read("defs.star"))),
    ("a source with a time of the future", Some(0), |w| {
        let later = SystemTime::now() + Duration::from_secs(3600);
        File::open(w.path("text/b.txt")).unwrap().set_modified(later).unwrap();
    }),
    ("a source with a time long gone", Some(0), |w| {
        File::open(w.path("text/b.txt")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }),
    ("a source saved by a rename", Some(0), |w| {
        w.write("text/b.txt.new", &w.read("text/b.txt"));
        fs::rename(w.path("text/b.txt.new"), w.path("text/b.txt")).unwrap();
    }),
    ("other permissions", Some(0), |w| {
        fs::set_permissions(w.path("text/b.txt"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(output(w, "third.out"), Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(output(w, "third.out"), Permissions::from_mode(0o444)).unwrap();
    }),
    ("an edited source", Some(2), |w| w.write("text/b.txt", "c\nb\n")),
    ("the same source again", Some(2), |w| w.write("text/b.txt", "b\na\n")),
    ("an edit of the same size and time", Some(2), |w| {
        forge(&w.path("text/b.txt"), || w.write("text/b.txt", "b\nB\n"));
    }),
    ("a source replaced by one of the same size and time", Some(2), |w| {
        forge(&w.path("text/b.txt"), || {
            w.write("text/b.txt.new", "x\nX\n");
            fs::rename(w.path("text/b.txt.new"), w.path("text/b.txt")).unwrap();
        });
    }),
    ("an edit that a script looks over", Some(2), |w| w.write("text/a.txt", "one\nmore noise\n")),
    ("an edit that goes through two scripts", Some(2), |w| w.write("text/a.txt", "two\n")),
    ("an edited program", Some(2), |w| w.edit("fw/drop.c", "XDP_DROP", "XDP_ABORTED")),
    ("a comment in a program", Some(2), |w| w.edit("fw/drop.c", "{ return", "/* why */ { return")),
    ("an edited header", Some(2), |w| w.write("fw/lib.h", "#define VERDICT XDP_DROP\n")),
    ("an edited header that nobody reads", Some(2), |w| w.write("fw/unread.h", "#define UNREAD 2\n")),
    ("a header read for the first time", Some(2), |w| {
        w.edit("fw/parse.c", "#include \"lib.h\"", "#include \"lib.h\"\n#include \"unread.h\"\n#include <linux/ip.h>");
        w.edit("fw/parse.c", "return VERDICT", "return UNREAD");
    }),
    ("an edit of that header", Some(2), |w| w.write("fw/unread.h", "#define UNREAD XDP_TX\n")),
    ("two edits at once", Some(4), |w| {
        w.write("text/b.txt", "z\n");
        w.write("fw/lib.h", "#define VERDICT XDP_TX\n");
    }),
    ("a deleted output", Some(1), |w| fs::remove_file(output(w, "third.out")).unwrap()),
    ("an edited output", Some(1), |w| overwrite(&output(w, "third.out"), "edited")),
    ("an output edited in its place, with its size and time", Some(1), |w| {
        let path = output(w, "second.out");
        forge(&path, || overwrite(&path, "owt\n"));
        fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
    }),
    ("a deleted output in the middle", Some(2), |w| fs::remove_file(output(w, "first.out")).unwrap()),
    ("a deleted object", Some(2), |w| fs::remove_file(output(w, "drop.o")).unwrap()),
    ("an edited object", Some(2), |w| overwrite(&output(w, "drop.o"), "")),
    ("a deleted bundle", Some(1), |w| fs::remove_file(output(w, "fw.bundle")).unwrap()),
    ("an output that cannot be run any more", Some(1), |w| {
        fs::set_permissions(output(w, "tool.sh"), Permissions::from_mode(0o444)).unwrap();
    }),
    ("an edited source and its output", Some(2), |w| {
        w.write("text/b.txt", "y\n");
        fs::remove_file(output(w, "third.out")).unwrap();
    }),
    ("an edited generated header", None, |w| overwrite(&output(w, "parse.program.h"), "#error edited")),
    ("a deleted generated header", None, |w| fs::remove_file(output(w, "parse.program.h")).unwrap()),
    ("an edited header of all programs", None, |w| overwrite(&output(w, "ouro/program.h"), "#error edited")),
    ("a new file in a folder that is listed", None, |w| w.write("text/two.list", "2\n")),
    ("a renamed file in a folder that is listed", None, |w| {
        fs::rename(w.path("text/two.list"), w.path("text/zero.list")).unwrap();
    }),
    ("one less", None, |w| fs::remove_file(w.path("text/zero.list")).unwrap()),
    ("a new file that nobody reads", None, |w| w.write("text/README", "")),
    ("an edited BUILD file", Some(2), |w| w.edit("text/BUILD.ouro", "head -n1", "tail -n1")),
    ("an edited module", Some(4), |w| w.edit("defs.star", "cmd + \"", "\"LC_ALL=C \" + cmd + \"")),
    ("a new package", None, |w| w.write("more/BUILD.ouro", "filegroup(name = \"more\", srcs = [])\n")),
    ("other settings", None, |w| w.write("ouro.toml", "[workspace]\nname = \"renamed\"\n")),
    ("no outputs at all", Some(0), |w| fs::remove_dir_all(w.path("ouro-out")).unwrap()),
    ("no outputs of a package", Some(0), |w| {
        fs::remove_dir_all(output(w, "third.out").parent().unwrap()).unwrap();
    }),
    ("no outputs, and an edited source", Some(2), |w| {
        fs::remove_dir_all(w.path("ouro-out")).unwrap();
        w.write("text/b.txt", "q\n");
    }),
    ("no outputs, and no cache", None, |w| {
        fs::remove_dir_all(w.path("ouro-out")).unwrap();
        fs::remove_dir_all(w.root().parent().unwrap().join("cache")).unwrap();
    }),
    ("no state at all", None, |w| fs::remove_dir_all(w.path(".ouro")).unwrap()),
];

/// Outputs were put back, which gave the damaged snapshot up, and then something was built, which failed to give it up again.
#[test]
fn a_damaged_snapshot_costs_time_alone() {
    let workspace = workspace();
    settle(&workspace);
    for path in fs::read_dir(workspace.path(".ouro/snapshots")).unwrap().map(|entry| entry.unwrap().path()) {
        let torn = File::options().append(true).open(path).and_then(|mut file| file.write_all(b"torn"));
        torn.unwrap();
    }
    let folder = output(&workspace, "drop.o").parent().unwrap().to_owned();
    fs::remove_dir_all(folder).unwrap();
    workspace.edit("fw/drop.c", "XDP_DROP", "XDP_ABORTED");
    build(&workspace);
    is_as_clean(&workspace, "a torn snapshot");
    settle(&workspace);
}

#[test]
fn after_every_change_all_is_as_in_a_clean_build() {
    let workspace = workspace();
    let all = looked_at(&build(&workspace));
    assert!(all > 8, "{all} actions");
    settle(&workspace);
    let cache = tempfile::tempdir().unwrap();
    for (what, reaches, change) in CHANGES {
        change(&workspace);
        let said = build(&workspace);
        assert_eq!(looked_at(&said), reaches.unwrap_or_else(|| looked_at(&said).max(all)), "{what}: {}", said.err);
        is_as_made_with(&cache, &workspace, what);
        let made = files(&workspace.path("ouro-out"));
        settle(&workspace);
        assert!(made == files(&workspace.path("ouro-out")), "{what}: changed by a build that had nothing to do");
    }
}

/// The stamps of files that changed just before a build prove nothing: each build looks at them again, and finds every change.
#[test]
fn quick_edits_are_all_noticed() {
    let workspace = workspace();
    settle(&workspace);
    for round in 0..30 {
        workspace.write("text/b.txt", &format!("{:02}\n", round));
        build(&workspace);
        assert_eq!(fs::read_to_string(output(&workspace, "third.out")).unwrap(), format!("{round:02}\n"));
    }
    let said = build(&workspace);
    assert!(said.err.contains(NOTHING), "{}", said.err);
    is_as_clean(&workspace, "after many edits");
}

#[test]
fn a_failure_is_told_until_it_is_mended() {
    let workspace = workspace();
    settle(&workspace);
    let good = workspace.read("fw/drop.c");
    workspace.write("fw/drop.c", &good.replace("XDP_DROP", "XDP_DORP"));
    workspace.write("text/b.txt", "meanwhile\n");
    for _ in 0..3 {
        workspace.fails(1, &["build", "-k", "//..."]).says("use of undeclared identifier 'XDP_DORP'");
        std::thread::sleep(Duration::from_millis(50));
    }
    workspace.write("fw/drop.c", &good);
    build(&workspace);
    is_as_clean(&workspace, "mended");
    settle(&workspace);
    is_as_clean(&workspace, "and again");
}

/// A finding of an action has the place of its target, also when nothing was loaded.
#[test]
fn a_finding_keeps_its_place() {
    let workspace = workspace();
    settle(&workspace);
    workspace.edit("fw/parse.c", "OURO_JUMP(ctx, drop);", "");
    let said = workspace.fails(1, &["build", "//..."]);
    assert_eq!(said.err.matches("fw/BUILD.ouro:2:1").count(), 1, "{}", said.err);
    assert_eq!(looked_at(&workspace.fails(1, &["-v", "build", "//..."])), 1, "the compile");
}

/// The compiler is linked while other files are still looked at, where one will be needed; nothing is left of it where it was not.
#[test]
fn a_compiler_is_started_ahead_of_what_it_compiles() {
    let workspace = workspace();
    settle(&workspace);
    let was_ahead = |words: &[&str]| workspace.ok(words).err.contains("1 process came from a warm compiler");
    workspace.edit("fw/parse.c", "<ouro/program.h>\n", "<ouro/program.h>\nextern int one;\n");
    assert!(was_ahead(&["-v", "build", "//..."]));
    workspace.edit("fw/lib.h", "#define", "extern int two;\n#define");
    assert!(was_ahead(&["-v", "build", "//..."]), "what a compile read without being told to");
    workspace.edit("fw/parse.c", "<ouro/program.h>\n", "<ouro/program.h>\nextern int three;\n");
    assert!(!was_ahead(&["-v", "build", "--no-warm", "//..."]));
    settle(&workspace);
    workspace.edit("text/a.txt", "one", "1");
    let said = build(&workspace);
    assert!(!said.err.contains("warm") && looked_at(&said) > 0, "no compile needs that file: {}", said.err);
    assert_eq!(looked_at(&build(&workspace)), 0, "and nothing was disturbed");
}

#[test]
fn a_deleted_source_is_told_as_by_the_whole_way() {
    let workspace = workspace();
    settle(&workspace);
    let text = workspace.read("fw/lib.h");
    fs::remove_file(workspace.path("fw/lib.h")).unwrap();
    workspace.fails(1, &["build", "//..."]).says("there is no target or file `//fw:lib.h`");
    workspace.write("fw/lib.h", &text);
    build(&workspace);
    settle(&workspace);
    is_as_clean(&workspace, "back again");
}

/// Warnings of the compiler and words of `print()` come again, whether little, much or nothing is done.
#[test]
fn what_was_said_is_said_again() {
    let workspace = workspace();
    workspace.write("defs.star", &("print(\"loaded\")\n".to_owned() + &workspace.read("defs.star")));
    workspace.edit("fw/drop.c", "{ return", "{ int unused; return");
    let says = |said: &Said| {
        assert_eq!(said.err.matches("unused variable 'unused'").count(), 1, "{}", said.err);
        assert_eq!(said.err.matches("warning: loaded").count(), 1, "{}", said.err);
    };
    (0..3).for_each(|_| {
        says(&build(&workspace));
        std::thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(looked_at(&build(&workspace)), 1, "the one that was said again");
    workspace.write("text/b.txt", "other\n");
    let said = build(&workspace);
    says(&said);
    assert_eq!(looked_at(&said), 3);
    workspace.edit("fw/drop.c", "int unused; ", "");
    (0..2).for_each(|_| assert!(!build(&workspace).err.contains("unused variable")));
}

/// Whatever was killed when: the next build makes all good.
#[test]
fn a_killed_build_leaves_nothing_wrong() {
    let workspace = workspace();
    workspace.edit("text/BUILD.ouro", "cmd = \"sort\"", "cmd = \"sleep 0.3; sort\"");
    settle(&workspace);
    for round in 0..8_u64 {
        workspace.write("text/b.txt", &format!("{round}\n"));
        workspace.write("text/a.txt", &format!("{round}\n"));
        let mut child = workspace.command(&["build", "//..."]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 60));
        child.kill().unwrap();
        child.wait().unwrap();
        build(&workspace);
        is_as_clean(&workspace, "after a kill");
    }
    settle(&workspace);
}

#[test]
fn damage_of_the_snapshot_costs_time_alone() {
    let workspace = workspace();
    settle(&workspace);
    workspace.write("text/b.txt", "into the tail\n");
    settle(&workspace);
    let path = snapshot(&workspace);
    for (round, (place, bytes)) in damaged(&fs::read(&path).unwrap(), 30).enumerate() {
        fs::write(&path, bytes).unwrap();
        workspace.write("text/b.txt", &format!("{round}\n"));
        build(&workspace);
        assert_eq!(fs::read_to_string(output(&workspace, "third.out")).unwrap(), format!("{round}\n"), "byte {place}");
        settle(&workspace);
    }
    is_as_clean(&workspace, "after all the damage");
}

/// Two builds at once, of requests that share actions, while sources change under them.
#[test]
fn builds_at_the_same_time_do_not_mislead_each_other() {
    let workspace = workspace();
    settle(&workspace);
    workspace.ok(&["build", "//text/..."]);
    let end = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        for patterns in ["//...", "//text/..."] {
            let workspace = &workspace;
            scope.spawn(move || {
                while Instant::now() < end {
                    let said = workspace.ouro(&["build", patterns]);
                    assert!(said.code == 0 || said.err.contains("change again and again while it runs"), "{}", said.err);
                }
            });
        }
        for round in 0.. {
            if Instant::now() > end {
                break;
            }
            workspace.write("text/b.txt", &format!("{round}\n"));
            workspace.write("text/a.txt", &format!("{round}\n"));
            std::thread::sleep(Duration::from_millis(round % 37));
        }
    });
    for patterns in ["//...", "//text/..."] {
        workspace.ok(&["build", patterns]);
    }
    settle(&workspace);
    is_as_clean(&workspace, "after both");
}
