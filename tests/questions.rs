//! Commands that only look answer from what an earlier one kept: the same as if all were loaded, after every kind of change.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use support::{OURO, Said, Workspace};

/// What `-v` says when nothing was loaded, not even looked at by the interpreter.
const KEPT: &str = "  nothing that was loaded has changed\n";

/// A workspace in which everything can change that loading looks at.
fn workspace() -> Workspace {
    Workspace::with(&[
        (
            "BUILD.ouro",
            "load(\"//rules:defs.star\", \"files\")\nprint(\"root\")\nfiles(name = \"texts\", srcs = glob([\"*.txt\"]))\n\
             filegroup(name = \"below\", srcs = [\"sub/b.txt\"], tags = [\"slow\"])\n\
             config_setting(name = \"debug\", mode = \"dbg\")\n\
             filegroup(name = \"mode\", srcs = select({\":debug\": [\"a.txt\"], \"//conditions:default\": [\"//lib:lib\"]}))\n\
             config_setting(name = \"arm\", arch = \"arm64\")\n\
             filegroup(name = \"never\", srcs = select({\"//:debug\": []}))\n",
        ),
        (
            "rules/defs.star",
            "def files(name, srcs):\n    filegroup(name = name, srcs = srcs, visibility = [\"//visibility:public\"])\n",
        ),
        ("a.txt", "a\n"),
        ("sub/b.txt", "b\n"),
        ("lib/BUILD", "filegroup(name = \"lib\", srcs = [\"lib.h\"], visibility = [\"//visibility:public\"])\n"),
        ("lib/lib.h", "\n"),
        ("user/BUILD", "filegroup(name = \"user\", srcs = [\"//lib\", \"//:texts\"])\n"),
        ("ignored/BUILD", "filegroup(name = \"ignored\", srcs = [\"//lib\"])\n"),
        ("ouro.toml", "[workspace]\nignore = [\"ignored\"]\n"),
    ])
}

fn look(workspace: &Workspace, arguments: &[&str]) -> Said {
    workspace.ouro(&[&["-v"], arguments].concat())
}

/// Asks until it is answered from what was kept: files changed within the clock's grain of a command are not trusted by it.
#[track_caller]
fn settle(workspace: &Workspace, arguments: &[&str]) -> Said {
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(40));
        let said = look(workspace, arguments);
        if said.err.contains(KEPT) {
            return said;
        }
        assert!(said.err.contains("  loaded "), "{arguments:?}\n{}", said.err);
    }
    panic!("nothing is kept: {arguments:?}");
}

/// The answer when nothing is kept.
#[track_caller]
fn loaded(workspace: &Workspace, arguments: &[&str]) -> Said {
    let kept = workspace.path(".ouro/questions");
    if kept.exists() {
        fs::remove_dir_all(kept).unwrap();
    }
    let said = look(workspace, arguments);
    assert!(!said.err.contains(KEPT), "{}", said.err);
    said
}

/// All that was said, but for how it was found out.
fn answer(said: &Said) -> (i32, &str, Vec<&str>) {
    let is_answer = |line: &&str| !line.starts_with("  loaded ") && !KEPT.starts_with(line.trim_end_matches('\n'));
    (said.code, &said.out, said.err.lines().filter(is_answer).collect())
}

/// What is kept says the same as loading.
#[track_caller]
fn agrees(workspace: &Workspace, arguments: &[&str]) {
    let kept = settle(workspace, arguments);
    let loaded = loaded(workspace, arguments);
    assert_eq!(answer(&kept), answer(&loaded), "{arguments:?}");
}

#[test]
fn what_is_kept_says_what_loading_says() {
    let workspace = workspace();
    let expressions = [
        "deps(//...)",
        "rdeps(//..., //lib:lib.h)",
        "rdeps(lib/lib.h)",
        "somepath(//user, //lib:lib.h)",
        "attr(tags, slow, //...)",
        "attr(srcs, 'lib', //...)",
        "buildfiles(//...) + loadfiles(//:texts)",
        "labels(srcs, //:mode) + siblings(//lib:lib.h)",
        "kind('source file', deps(//:all)) - //ignored",
        "let x = //user in allpaths($x, //lib:lib.h)",
        "//ignored:ignored + //lib",
    ];
    for expression in expressions {
        agrees(&workspace, &["query", expression]);
    }
    for output in ["label", "label_kind", "package", "location", "json", "graph", "mermaid"] {
        agrees(&workspace, &["query", "-o", output, "deps(//...)"]);
        agrees(&workspace, &["query", "--mode", "dbg", "-o", output, "deps(//...)"]);
    }
    let firewall = Workspace::example("firewall");
    for output in ["label_kind", "json", "location", "mermaid"] {
        agrees(&firewall, &["query", "-o", output, "deps(//...)"]);
        agrees(&firewall, &["query", "--jumps", "-o", output, "//..."]);
    }
    agrees(&firewall, &["query", "--jumps", "attr(type, xdp, deps(//fw:parse))"]);
    agrees(&firewall, &["aquery", "-o", "json", "mnemonic(compile, deps(//...))"]);
    agrees(&firewall, &["aquery", "rdeps(//..., fw/parse.c)"]);
    agrees(&workspace, &["aquery", "loadfiles(//...) + buildfiles(//user) + //lib"]);
}

/// What loading said is said again, and mistakes in the expression are shown as ever.
#[test]
fn what_loading_said_is_said_again() {
    let workspace = workspace();
    settle(&workspace, &["query", "//..."]).says("root").says("left out, for no branch of a `select()` holds: //:never");
    let said = look(&workspace, &["query", "deps(//lib:lbi) + //..."]);
    said.says(KEPT).says("did you mean `lib`?");
    assert_eq!(said.code, 2);
    look(&workspace, &["query", "labels(scrs, //...)"]).says(KEPT).says("did you mean `srcs`?");
}

#[test]
fn questions_about_the_same_packages_share_what_is_kept() {
    let workspace = workspace();
    settle(&workspace, &["query", "//..."]);
    for expression in ["deps(//...)", "rdeps(//..., //lib)", "rdeps(user/BUILD)", "//... - //lib:all", "attr(name, lib, //...)"] {
        look(&workspace, &["query", expression]).says(KEPT);
    }
    look(&workspace, &["query", "--jumps", "//..."]).says(KEPT);
    look(&workspace, &["aquery", "//..."]).says(KEPT);
    // What `...` leaves out is not among them.
    let said = look(&workspace, &["query", "//ignored + //..."]);
    assert!(said.err.contains("  loaded ") && said.out.contains("//ignored:ignored\n"), "{}", said.err);
}

type Change = (&'static str, fn(&Workspace));

#[test]
fn every_change_is_seen() {
    let changes: [Change; 16] = [
        ("a BUILD file", |it| it.edit("lib/BUILD", "name = \"lib\"", "name = \"lib\", tags = [\"new\"]")),
        ("a BUILD file of the same length and time", |it| {
            let written = fs::metadata(it.path("user/BUILD")).unwrap().modified().unwrap();
            it.edit("user/BUILD", "name = \"user\"", "name = \"resu\"");
            File::open(it.path("user/BUILD")).unwrap().set_modified(written).unwrap();
        }),
        ("a new package", |it| it.write("new/BUILD", "filegroup(name = \"new\")\n")),
        ("a new package deep down", |it| it.write("new/deep/down/BUILD", "filegroup(name = \"down\")\n")),
        ("a package that went", |it| fs::remove_dir_all(it.path("new")).unwrap()),
        ("another BUILD file beside one", |it| it.write("lib/BUILD.ouro", &it.read("lib/BUILD").replace("lib.h", "BUILD"))),
        ("that file gone again", |it| fs::remove_file(it.path("lib/BUILD.ouro")).unwrap()),
        ("a .star file", |it| it.edit("rules/defs.star", "filegroup(name", "filegroup(tags = [\"made\"], name")),
        ("a file that a glob matches", |it| it.write("c.txt", "")),
        ("such a file gone", |it| fs::remove_file(it.path("c.txt")).unwrap()),
        ("a link that a glob matches", |it| symlink("sub/b.txt", it.path("link.txt")).unwrap()),
        ("where that leads", |it| fs::rename(it.path("sub/b.txt"), it.path("sub/other.txt")).unwrap()),
        ("a file that a label names", |it| it.write("sub/b.txt", "")),
        ("a package between a target and its file", |it| it.write("sub/BUILD", "exports_files([\"b.txt\"])\n")),
        ("that package gone", |it| fs::remove_file(it.path("sub/BUILD")).unwrap()),
        ("the settings", |it| it.write("ouro.toml", "")),
    ];
    let asked = ["query", "-o", "json", "deps(//...)"];
    let workspace = workspace();
    for (what, change) in changes {
        let before = loaded(&workspace, &asked);
        if before.code == 0 {
            settle(&workspace, &asked);
        }
        change(&workspace);
        let now = look(&workspace, &asked);
        assert!(!now.err.contains(KEPT), "{what}: {}", now.err);
        assert_ne!(answer(&before), answer(&now), "{what}");
        assert_eq!(answer(&now), answer(&loaded(&workspace, &asked)), "{what}");
    }
}

#[test]
fn flags_and_configurations_have_answers_of_their_own() {
    let workspace = workspace();
    let plain = ["query", "labels(srcs, //:mode) - //:debug"];
    let debug = ["query", "--mode", "dbg", "labels(srcs, //:mode) - //:debug"];
    assert_eq!(settle(&workspace, &plain).out, "//lib:lib\n");
    assert_eq!(settle(&workspace, &debug).out, "//:a.txt\n");
    assert_eq!(look(&workspace, &plain).says(KEPT).out, "//lib:lib\n");
}

/// Of packages that are named the folders are not listed: each file is looked for by itself.
#[test]
fn a_file_that_comes_or_goes_is_seen_without_its_folder() {
    let workspace = workspace();
    let asked = ["query", "deps(//lib)"];
    let right = settle(&workspace, &asked).out;
    workspace.write("lib/other.h", "");
    look(&workspace, &asked).says(KEPT);
    fs::remove_file(workspace.path("lib/lib.h")).unwrap();
    assert_eq!(look(&workspace, &asked).says("there is no target or file `//lib:lib.h`").code, 1);
    fs::create_dir(workspace.path("lib/lib.h")).unwrap();
    assert_eq!(look(&workspace, &asked).says("there is no target or file `//lib:lib.h`").code, 1);
    fs::remove_dir(workspace.path("lib/lib.h")).unwrap();
    workspace.write("lib/lib.h", "");
    assert_eq!(look(&workspace, &asked).out, right);
    settle(&workspace, &asked);
    workspace.write("lib/BUILD.ouro", "filegroup(name = \"lib\")\n");
    assert_eq!(look(&workspace, &asked).out, "//lib:lib\n");
}

/// Files that nobody reads to know the targets may change, and those that are read may be written anew with the same bytes.
#[test]
fn what_does_not_matter_is_not_loaded_for() {
    let workspace = workspace();
    let asked = ["query", "deps(//...)"];
    let before = settle(&workspace, &asked).out;
    workspace.write("lib/lib.h", "changed\n");
    workspace.write("user/BUILD", &workspace.read("user/BUILD"));
    // An editor writes beside its file and renames.
    workspace.write("a.tmp", "other\n");
    fs::rename(workspace.path("a.tmp"), workspace.path("a.txt")).unwrap();
    let now = look(&workspace, &asked);
    assert_eq!(now.says(KEPT).out, before);
    workspace.ok(&["build", "//:texts"]);
    // The build has made its folder in the root, which is listed.
    settle(&workspace, &asked);
    workspace.write("sub/b.txt", "changed\n");
    workspace.ok(&["build", "//:below"]);
    look(&workspace, &asked).says(KEPT);
}

/// A file that changed just before a command, or while it reads, may change again without another stamp.
#[test]
fn what_has_just_changed_is_not_trusted() {
    let workspace = workspace();
    let asked = ["query", "//lib"];
    for round in 0..20 {
        let name = format!("n{round}");
        workspace.write("lib/BUILD", &format!("filegroup(name = \"lib\")\nfilegroup(name = \"{name}\")\n"));
        assert!(look(&workspace, &["query", "//lib:all"]).out.contains(&name));
        assert_eq!(look(&workspace, &asked).out, "//lib:lib\n");
    }
}

/// The only file that is kept.
fn kept_file(workspace: &Workspace) -> PathBuf {
    let mut all = fs::read_dir(workspace.path(".ouro/questions")).unwrap();
    let path = all.next().expect("something is kept").unwrap().path();
    assert!(all.next().is_none(), "one question, one file");
    path
}

#[test]
fn damage_costs_time_and_no_answer() {
    let workspace = workspace();
    let asked = ["query", "-o", "json", "deps(//...)"];
    let right = settle(&workspace, &asked).out;
    let path = kept_file(&workspace);
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let said = look(&workspace, &asked);
        assert_eq!((said.code, &said.out), (0, &right), "{what}: {}", said.err);
        said.err.contains(KEPT)
    };
    for part in 0..8 {
        assert!(!check(&whole[..whole.len() * part / 8], "truncated"));
    }
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        noticed += usize::from(!check(&bytes, &format!("a bit at {at}")));
    }
    assert!(noticed > 30, "{noticed}");
    assert!(check(&whole, "undamaged"));
}

/// Someone looks around in a folder that is not theirs. A file stands where the state should: that stops the superuser, too.
#[test]
fn where_nothing_can_be_kept_the_answer_is_the_same() {
    let workspace = workspace();
    workspace.write(".ouro", "");
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(40));
        let said = look(&workspace, &["query", "//user"]);
        assert_eq!((said.code, said.out.as_str()), (0, "//user:user\n"), "{}", said.err);
        assert!(said.err.contains("  loaded ") && !said.err.contains("error") && !said.err.contains("warning: cannot"));
    }
    assert_eq!(workspace.read(".ouro"), "");
}

#[test]
fn another_program_loads_anew() {
    let workspace = workspace();
    let asked = ["-v", "query", "//user"];
    let program = workspace.path("../ouro");
    fs::copy(OURO, &program).unwrap();
    let run = || {
        thread::sleep(Duration::from_millis(40));
        Said::of(Command::new(&program).args(asked).current_dir(workspace.root()).output().expect("ouro runs"))
    };
    let is_kept = || (0..5).any(|_| run().err.contains(KEPT));
    settle(&workspace, &asked[1..]);
    assert!(!run().err.contains(KEPT), "what another program kept");
    assert!(is_kept());
    fs::remove_file(&program).unwrap();
    fs::copy(OURO, &program).unwrap();
    assert!(!run().err.contains(KEPT), "what the program kept that was here before");
}

#[test]
fn many_at_once_all_say_the_same() {
    let workspace = workspace();
    let right = loaded(&workspace, &["query", "deps(//...)"]).out;
    thread::scope(|scope| {
        for worker in 0..6 {
            let (workspace, right) = (&workspace, &right);
            scope.spawn(move || {
                for round in 0..8 {
                    match (worker, round % 2) {
                        (0, _) => drop(workspace.ok(&["build", "//user"])),
                        (1, 0) => {
                            workspace.write("../BUILD", &workspace.read("lib/BUILD"));
                            fs::rename(workspace.path("../BUILD"), workspace.path("lib/BUILD")).unwrap();
                        }
                        _ => assert_eq!(&workspace.ok(&["query", "deps(//...)"]).out, right),
                    }
                }
            });
        }
    });
}

/// The clock was set back, or a file comes from a machine whose clock is ahead: such a stamp proves nothing.
#[test]
fn a_file_from_the_future_is_read_each_time() {
    let workspace = workspace();
    let asked = ["query", "//lib:all"];
    settle(&workspace, &asked);
    let later = SystemTime::now() + Duration::from_secs(3600);
    for name in ["one", "two"] {
        workspace.write("lib/BUILD", &format!("filegroup(name = \"{name}\")\n"));
        File::options().write(true).open(workspace.path("lib/BUILD")).unwrap().set_modified(later).unwrap();
        assert_eq!(look(&workspace, &asked).out, format!("//lib:{name}\n"));
    }
}

#[test]
fn git_does_not_see_what_is_kept() {
    let workspace = workspace();
    settle(&workspace, &["query", "//..."]);
    assert_eq!(workspace.read(".ouro/.gitignore"), "*\n");
}

/// What keeps the state from being written, for every user: with a read-only workspace it is the same.
#[test]
fn where_nothing_can_be_written_nothing_is_kept_and_who_only_looks_goes_on() {
    let workspace = Workspace::example("firewall");
    workspace.write(".ouro", "no folder");
    assert!(workspace.ok(&["aquery", "//fw:allow"]).out.contains("compile"));
    workspace.ok(&["explain", "//fw:allow"]);
    let doctor = workspace.ouro(&["doctor"]);
    assert!(!doctor.out.contains("missing clang") && doctor.out.contains("makes BPF code"), "{}", doctor.out);
    workspace.fails(1, &["build", "//fw:allow"]).says("create the folder").says("help: a build keeps what it made");
}
