//! Results that are shared: between folders, between builds at once, after cleaning, after damage.

mod execute_support;

use std::fs;

use execute_support::{NEVER, Workspace, files, overwrite, script, three_programs};
use ouro_engine::state::{Lock, clean};

const ALL: [&str; 3] = ["a", "b", "c"];

fn objects(workspace: &Workspace) -> Vec<Vec<u8>> {
    ALL.iter().map(|name| workspace.read(&format!("ouro-out/x/fw/{name}.o"))).collect()
}

#[test]
fn another_folder_gets_the_same_files_without_a_compiler() {
    let here = Workspace::new();
    assert_eq!(here.build(three_programs(&here)).which("ran"), ALL);
    let there = Workspace::sharing(&here);
    assert_eq!(there.build(three_programs(&there)).which("cached"), ALL);
    assert_eq!(objects(&here), objects(&there));

    let apart = Workspace::new();
    assert_eq!(apart.build(three_programs(&apart)).which("ran"), ALL);
    assert_eq!(objects(&here), objects(&apart), "compiled elsewhere, with another cache");
}

#[test]
fn after_cleaning_everything_comes_from_the_cache() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let before = objects(&workspace);
    clean(Lock::acquire(&workspace.root, &NEVER, &|_| {}).unwrap()).unwrap();
    assert!(!workspace.exists("ouro-out") && !workspace.exists(".ouro"));
    let built = workspace.build(actions);
    assert_eq!((built.which("cached"), built.summary().ran), (ALL.map(str::to_owned).to_vec(), 0));
    assert_eq!(objects(&workspace), before);
}

#[test]
fn without_the_cache_what_is_in_place_stays() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    fs::remove_dir_all(&workspace.cache).unwrap();
    workspace.write("fw/a.c", "int a(void *ctx) { return 1; }\n");
    let built = workspace.build(actions.clone());
    assert_eq!((built.which("ran"), built.which("up to date")), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    fs::remove_file(workspace.root.join("ouro-out/x/fw/b.o")).unwrap();
    assert_eq!(workspace.build(actions).which("ran"), ["b"], "its blob is lost");
}

#[test]
fn a_damaged_blob_is_made_again() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    let before = objects(&workspace);
    for blob in files(&workspace.cache.join("cas")) {
        overwrite(&blob, b"damaged");
    }
    fs::remove_dir_all(workspace.root.join("ouro-out")).unwrap();
    assert_eq!(workspace.build(actions.clone()).which("ran"), ALL);
    assert_eq!(objects(&workspace), before);
    fs::remove_dir_all(workspace.root.join("ouro-out")).unwrap();
    assert_eq!(workspace.build(actions).which("cached"), ALL, "the cache is whole again");
}

#[test]
fn a_damaged_record_is_made_again() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    workspace.build(actions.clone());
    for record in files(&workspace.cache.join("ac")) {
        fs::write(record, b"damaged").unwrap();
    }
    fs::remove_dir_all(workspace.root.join(".ouro")).unwrap();
    assert_eq!(workspace.build(actions).which("ran"), ALL);
}

#[test]
fn builds_at_once_share_a_store() {
    let first = Workspace::new();
    let others: Vec<Workspace> = (0..3).map(|_| Workspace::sharing(&first)).collect();
    std::thread::scope(|scope| {
        for workspace in others.iter().chain([&first]) {
            scope.spawn(|| {
                let built = workspace.build(three_programs(workspace));
                assert_eq!(built.summary().failed, 0, "{}", built.complaints());
            });
        }
    });
    others.iter().for_each(|workspace| assert_eq!(objects(workspace), objects(&first)));
    let late = Workspace::sharing(&first);
    assert_eq!(late.build(three_programs(&late)).which("cached"), ALL);
}

#[test]
fn builds_at_once_in_one_workspace_come_one_after_the_other() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3).map(|_| scope.spawn(|| workspace.build(actions.clone()).summary().ran)).collect();
        let ran: usize = builds.into_iter().map(|build| build.join().unwrap()).sum();
        assert_eq!(ran, 3, "one build ran everything, the others nothing");
    });
}

#[test]
fn warnings_are_shown_every_time() {
    let here = Workspace::new();
    let source = "int a(void *ctx) { int unused; return 0; }\n";
    let actions = |workspace: &Workspace| {
        workspace.write("fw/a.c", source);
        vec![execute_support::compile("a", &[])]
    };
    let first = here.build(actions(&here));
    assert!(first.printed("a").contains("warning: unused variable 'unused'"), "{}", first.printed("a"));
    assert!(!first.printed("a").contains('\x1b'), "no colours where they are not wanted");
    let mut there = Workspace::sharing(&here);
    there.color = true;
    let second = there.build(actions(&there));
    assert_eq!(second.which("cached"), ["a"]);
    assert!(second.printed("a").contains("\x1b["), "colours, though the first build had none");
    assert_eq!(here.build(actions(&here)).printed("a"), first.printed("a"), "also when nothing runs");
}

#[test]
fn results_are_told_apart_by_what_was_read() {
    let workspace = Workspace::new();
    let actions = three_programs(&workspace);
    for round in 0..2 {
        for limit in 0..4 {
            workspace.write("fw/lib.h", &format!("#define LIMIT {limit}\n"));
            let built = workspace.build(actions.clone());
            let how = if round == 0 { "ran" } else { "cached" };
            assert!(built.which(how).starts_with(&["a".to_owned(), "b".to_owned()]), "{round} {limit} {:?}", built.ends());
        }
    }
}

#[test]
fn failures_are_not_kept() {
    let workspace = Workspace::new();
    let flag = workspace.root.join("flag");
    let text = format!("test -e {} && echo made > ouro-out/made", flag.display());
    let actions = vec![script("flaky", &text, &[], &["ouro-out/made"])];
    assert_eq!(workspace.build(actions.clone()).which("failed"), ["flaky"]);
    fs::write(flag, "").unwrap();
    assert_eq!(workspace.build(actions).which("ran"), ["flaky"]);
}
