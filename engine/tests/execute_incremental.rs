//! What runs again after which change: never more than what the change can reach.

mod execute_support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use execute_support::{Workspace, compile, script, three_programs, write};
use ouro_engine::event::Event;

const ALL: [&str; 3] = ["a", "b", "c"];

#[test]
fn a_second_build_runs_nothing_and_leaves_files_alone() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    let first = workspace.build(actions.clone());
    assert_eq!(first.which("ran"), ALL, "{}", first.complaints());
    assert_eq!((first.summary().ran, first.summary().failed), (3, 0));
    assert_eq!(workspace.outputs(), ALL.map(|name| format!("ouro-out/x/fw/{name}.o")), "no dependency file stays");
    let object = fs::metadata(workspace.root.join("ouro-out/x/fw/a.o")).unwrap();
    assert_eq!(object.permissions().mode() & 0o777, 0o444);

    let second = workspace.build(actions);
    assert_eq!(second.which("up to date"), ALL);
    assert_eq!(second.summary().up_to_date, 3);
    let again = fs::metadata(workspace.root.join("ouro-out/x/fw/a.o")).unwrap();
    assert_eq!((again.ino(), again.mtime_nsec()), (object.ino(), object.mtime_nsec()));
}

#[test]
fn a_touched_file_is_read_again_and_nothing_runs() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let later = SystemTime::now() + Duration::from_secs(5);
    for path in ["fw/a.c", "fw/lib.h", "ouro-out/x/fw/b.o"] {
        fs::File::open(workspace.root.join(path)).unwrap().set_modified(later).unwrap();
    }
    assert_eq!(workspace.build(actions).which("up to date"), ALL);
}

#[test]
fn an_edited_source_runs_its_own_action() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    workspace.write("fw/b.c", "int b(void *ctx) { return 1; }\n");
    let built = workspace.build(actions.clone());
    assert_eq!((built.which("ran"), built.which("up to date")), (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()]));

    workspace.write("fw/b.c", "#include <linux/bpf.h>\n#include \"fw/lib.h\"\nint b(struct __sk_buff *skb) { return LIMIT; }\n");
    assert_eq!(workspace.build(actions).which("cached"), ["b"], "the first source again");
}

#[test]
fn an_edit_of_the_same_size_and_time_is_noticed() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let source = workspace.root.join("fw/c.c");
    let written = fs::metadata(&source).unwrap().modified().unwrap();
    let text = fs::read_to_string(&source).unwrap().replace("LIMIT 9", "LIMIT 8");
    fs::write(&source, text).unwrap();
    fs::File::open(&source).unwrap().set_modified(written).unwrap();
    assert_eq!(workspace.build(actions).which("ran"), ["c"]);
}

#[test]
fn an_edited_header_runs_only_those_that_include_it() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    workspace.write("fw/lib.h", "#define LIMIT 8\n");
    let built = workspace.build(actions.clone());
    assert_eq!((built.which("ran"), built.which("up to date")), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
    workspace.write("fw/lib.h", "#define LIMIT 7\n");
    assert_eq!(workspace.build(actions).which("cached"), ["a", "b"], "the first header again");
}

#[test]
fn same_bytes_stop_the_rebuild() {
    let workspace = Workspace::new();
    workspace.write("in.txt", "one\nnoise\n");
    let actions = vec![
        script("first", "head -n1 in.txt > ouro-out/first", &["in.txt"], &["ouro-out/first"]),
        script("second", "cat ouro-out/first ouro-out/first > ouro-out/second", &["ouro-out/first"], &["ouro-out/second"]),
    ];
    workspace.build(actions.clone());
    assert_eq!(workspace.read("ouro-out/second"), b"one\none\n");
    workspace.write("in.txt", "one\nother noise\n");
    let built = workspace.build(actions.clone());
    assert_eq!((built.which("ran"), built.which("up to date")), (vec!["first".to_owned()], vec!["second".to_owned()]));
    workspace.write("in.txt", "two\n");
    assert_eq!(workspace.build(actions).which("ran"), ["first", "second"]);
    assert_eq!(workspace.read("ouro-out/second"), b"two\ntwo\n");
}

#[test]
fn a_lost_output_comes_back_from_the_cache() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let whole = workspace.read("ouro-out/x/fw/a.o");
    fs::remove_file(workspace.root.join("ouro-out/x/fw/a.o")).unwrap();
    let built = workspace.build(actions);
    assert_eq!((built.which("cached"), built.which("up to date")), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(workspace.read("ouro-out/x/fw/a.o"), whole);
}

/// An output and the cache's file are one: writing to it damages both, which is noticed, told, and made again. A new file in its place
/// damages nothing.
#[test]
fn an_edited_output_is_put_right() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let whole = workspace.read("ouro-out/x/fw/b.o");
    for how in ["ran", "ran", "cached", "cached", "ran"] {
        if how == "cached" {
            fs::remove_file(workspace.root.join("ouro-out/x/fw/b.o")).unwrap();
            workspace.write("ouro-out/x/fw/b.o", "edited by a user");
        } else {
            workspace.overwrite("ouro-out/x/fw/b.o", b"edited by a user");
        }
        let built = workspace.build(actions.clone());
        assert_eq!((built.which(how), built.which("up to date")), (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(workspace.read("ouro-out/x/fw/b.o"), whole);
        let told = built.events.iter().filter(|event| matches!(event, Event::Troubled(_))).count();
        assert_eq!(told, usize::from(how == "ran"), "{:?}", built.events);
    }
}

#[test]
fn written_files_are_inputs_like_others() {
    let workspace = Workspace::new();
    workspace.write("fw/p.c", "#include \"gen/limit.h\"\nint p(void *ctx) { return LIMIT; }\n");
    let actions = |limit: u32| {
        let header = "ouro-out/x/gen/limit.h";
        vec![write("header", &format!("#define LIMIT {limit}\n"), header), compile("p", &[header])]
    };
    let first = workspace.build(actions(1));
    assert_eq!(first.which("ran"), ["header", "p"], "{}", first.complaints());
    assert_eq!(first.summary().ran, 1, "writing a file is not running something");
    assert_eq!(workspace.build(actions(1)).which("up to date"), ["header", "p"]);
    assert_eq!(workspace.build(actions(2)).which("ran"), ["header", "p"]);
    assert_eq!(workspace.build(actions(1)).ends(), [("header".into(), "ran".into()), ("p".into(), "cached".into())]);
}

#[test]
fn a_file_may_become_a_folder_and_a_folder_a_file() {
    let workspace = Workspace::new();
    let file = vec![script("x", "echo file > ouro-out/x", &[], &["ouro-out/x"])];
    let below = vec![script("y", "echo below > ouro-out/x/y", &[], &["ouro-out/x/y"]), write("z", "z", "ouro-out/x/w/z")];
    for _ in 0..2 {
        let built = workspace.build(file.clone());
        assert_eq!((built.complaints().as_str(), workspace.read("ouro-out/x").as_slice()), ("", &b"file\n"[..]));
        let built = workspace.build(below.clone());
        assert_eq!((built.complaints().as_str(), workspace.read("ouro-out/x/y").as_slice()), ("", &b"below\n"[..]));
    }
}

#[test]
fn a_link_as_output_becomes_a_file_and_its_source_stays_writable() {
    // In a sandbox nothing outside of the outputs' folders can be linked to.
    let workspace = Workspace::new().open();
    workspace.write("in.txt", "text");
    let actions = vec![
        script("hard", "ln in.txt ouro-out/hard", &["in.txt"], &["ouro-out/hard"]),
        script("soft", "ln -s ../in.txt ouro-out/soft", &["in.txt"], &["ouro-out/soft"]),
    ];
    let built = workspace.build(actions);
    assert_eq!(built.complaints(), "");
    let source = fs::metadata(workspace.root.join("in.txt")).unwrap();
    for path in ["ouro-out/hard", "ouro-out/soft"] {
        let made = fs::symlink_metadata(workspace.root.join(path)).unwrap();
        assert!(made.is_file() && made.ino() != source.ino() && made.permissions().mode() & 0o777 == 0o444, "{path}");
    }
    assert!(source.permissions().mode() & 0o200 != 0 && source.nlink() == 1);
}

#[test]
fn an_executable_output_stays_executable() {
    let workspace = Workspace::new();
    let actions = vec![script("tool", "echo 'echo hi' > ouro-out/tool; chmod +x ouro-out/tool", &[], &["ouro-out/tool"])];
    let mode = || fs::metadata(workspace.root.join("ouro-out/tool")).unwrap().permissions().mode() & 0o777;
    workspace.build(actions.clone());
    assert_eq!(mode(), 0o555);
    fs::set_permissions(workspace.root.join("ouro-out/tool"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!((workspace.build(actions.clone()).which("cached"), mode()), (vec!["tool".to_owned()], 0o555));
    fs::remove_file(workspace.root.join("ouro-out/tool")).unwrap();
    assert_eq!((workspace.build(actions).which("cached"), mode()), (vec!["tool".to_owned()], 0o555));
}

#[test]
fn the_environment_is_fixed() {
    let workspace = Workspace::new();
    workspace.build(vec![script("env", "env > ouro-out/env; pwd > ouro-out/pwd", &[], &["ouro-out/env", "ouro-out/pwd"])]);
    let text = String::from_utf8(workspace.read("ouro-out/env")).unwrap();
    let mut names: Vec<&str> = text.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_=")).collect();
    names.sort();
    let home = workspace.root.join(".ouro/sandbox/1/home").display().to_string();
    let (home, temporary) = (format!("HOME={home}"), format!("TMPDIR={home}"));
    assert_eq!(names, [&*home, "LC_ALL=C", "PATH=/usr/bin:/bin", "SOURCE_DATE_EPOCH=0", &*temporary]);
    let pwd = String::from_utf8(workspace.read("ouro-out/pwd")).unwrap();
    assert_eq!(pwd.trim(), workspace.root.canonicalize().unwrap().to_str().unwrap());
}
