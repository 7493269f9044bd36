//! `ouro test`, with real scripts.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Said, Workspace};

const BUILD: &str = r#"
sh_test(name = "good", srcs = ["good.sh"], data = ["data.txt"], args = ["one", "two words"], env = {"KEY": "value"})
sh_test(name = "bad", srcs = ["bad.sh"], tags = ["unit"])
sh_test(name = "slow", srcs = ["slow.sh"], size = "small", tags = ["manual"])
"#;

/// A workspace with the package `t`; scripts get `#!/bin/sh` and may be run.
fn workspace(build: &str, scripts: &[(&str, &str)]) -> Workspace {
    let workspace = Workspace::with(&[("t/BUILD.ouro", build), ("t/data.txt", "data\n"), ("t/secret.txt", "secret\n")]);
    scripts.iter().for_each(|(name, text)| script(&workspace, name, text));
    workspace
}

fn script(workspace: &Workspace, name: &str, text: &str) {
    let path = format!("t/{name}");
    workspace.write(&path, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(workspace.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
}

fn usual() -> Workspace {
    let good = "echo \"got $# $2 $KEY\"; cat t/data.txt; ! test -e t/secret.txt";
    workspace(BUILD, &[("good.sh", good), ("bad.sh", "echo out; echo err >&2; exit 3"), ("slow.sh", "sleep 60")])
}

/// The line of a test.
fn line<'s>(said: &'s Said, label: &str) -> &'s str {
    let found = said.out.lines().find(|line| line.split(' ').next() == Some(label));
    found.unwrap_or_else(|| panic!("no `{label}` in:\n{}{}", said.out, said.err))
}

fn log(workspace: &Workspace, name: &str) -> String {
    workspace.read(&format!("ouro-out/testlogs/t/{name}/test.log"))
}

#[test]
fn passes_and_failures_are_told_with_their_output_and_kept_in_logs() {
    let workspace = usual();
    let said = workspace.fails(4, &["test"]);
    assert!(line(&said, "//t:good").contains(" PASSED in "), "{}", said.out);
    assert!(line(&said, "//t:bad").ends_with("(exit code 3)"), "{}", said.out);
    assert!(said.out.contains("---- output of //t:bad ----\nout\nerr\n---- end ----\n"), "{}", said.out);
    assert!(!said.out.contains("got 2") && !said.out.contains("//t:slow"), "{}", said.out);
    assert!(said.out.contains("\n2 tests in ") && said.out.ends_with(": 1 passed, 1 failed\n"), "{}", said.out);
    assert_eq!(log(&workspace, "good"), "got 2 two words value\ndata\n");
    assert_eq!(log(&workspace, "bad"), "out\nerr\n");
    let all = workspace.ok(&["test", "//t:good", "--test-output", "all"]);
    assert!(all.out.contains("got 2 two words"), "the log of a pass that is cached is kept: {}", all.out);
    let none = workspace.fails(4, &["test", "--test-output", "summary"]);
    assert!(!none.out.contains("err\n") && none.out.contains("ouro-out/testlogs/t/bad/test.log"), "{}", none.out);
    let streamed = workspace.fails(4, &["test", "--test-output", "streamed", "--no-cached"]);
    assert!(streamed.out.contains("out\nerr\n//t:bad") && streamed.out.contains("data\n//t:good"), "{}", streamed.out);
}

#[test]
fn keep_going_runs_what_nothing_is_wrong_with() {
    let workspace = usual();
    workspace.edit("t/BUILD.ouro", "[\"bad.sh\"]", "[\"bda.sh\"]");
    assert_eq!(workspace.fails(1, &["test"]).says("no target or file `//t:bda.sh`").out, "");
    let said = workspace.fails(1, &["test", "-k"]);
    said.says("no target or file `//t:bda.sh`");
    assert!(line(&said, "//t:good").contains(" PASSED in ") && line(&said, "//t:bad").contains("NOT BUILT"), "{}", said.out);
}

#[test]
fn a_pass_holds_until_something_it_depends_on_changes() {
    let workspace = usual();
    let cached = |arguments: &[&str]| {
        let said = workspace.ok(&[&["test", "//t:good"], arguments].concat());
        line(&said, "//t:good").contains("(cached) PASSED")
    };
    assert!(!cached(&[]) && cached(&[]));
    assert!(!cached(&["--no-cached"]));
    workspace.write("t/data.txt", "other\n");
    assert!(!cached(&[]) && cached(&[]));
    assert_eq!(log(&workspace, "good"), "got 2 two words value\nother\n");
    workspace.edit("t/BUILD.ouro", "\"one\"", "\"ONE\"");
    assert!(!cached(&[]) && cached(&[]));
    workspace.edit("t/BUILD.ouro", "\"value\"", "\"VALUE\"");
    assert!(!cached(&[]) && cached(&[]));
    assert!(!cached(&["--test-env", "MORE=1"]) && cached(&["--test-env", "MORE=1"]) && !cached(&["--test-env", "MORE=2"]));
    assert!(!cached(&["--test-filter", "case"]) && cached(&["--timeout", "9"]));
    script(&workspace, "good.sh", "exit 0");
    assert!(!cached(&[]) && cached(&[]));
    workspace.write("t/data.txt", "data\n");
    workspace.ok(&["clean"]);
    script(&workspace, "good.sh", "echo \"got $# $2 $KEY\"; cat t/data.txt; ! test -e t/secret.txt");
    workspace.edit("t/BUILD.ouro", "VALUE", "value");
    workspace.edit("t/BUILD.ouro", "ONE", "one");
    assert!(cached(&[]), "what passed before passes without a run");
    assert_eq!(log(&workspace, "good"), "got 2 two words value\ndata\n");
    assert!(workspace.read("ouro-out/testlogs/t/good/test.xml").contains("name=\"//t:good\""));
}

#[test]
fn failures_and_what_asks_for_it_are_never_cached() {
    let build = "sh_test(name = \"out\", srcs = [\"a.sh\"], tags = [\"external\"])\nsh_test(name = \"now_and_then\", srcs = [\"b.sh\"])\n";
    let workspace = workspace(build, &[("a.sh", "exit 0"), ("b.sh", "exec \"$SCRIPT\"")]);
    let outside = workspace.path("outside.sh");
    let outcome = |text: &str| {
        fs::write(&outside, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let variable = format!("SCRIPT={}", outside.display());
    let run = |more: &[&str]| workspace.ouro(&[&["test", "--sandbox=off", "--test-env", &variable], more].concat());
    outcome("exit 0");
    assert_eq!((run(&[]).code, line(&run(&[]), "//t:out").contains("cached")), (0, false));
    assert!(line(&run(&[]), "//t:now_and_then").contains("(cached)"));
    // A test that passed, and now fails though nothing it declares changed, has not passed.
    outcome("exit 1");
    assert!(line(&run(&[]), "//t:now_and_then").contains("(cached)"));
    assert_eq!((run(&["--no-cached"]).code, run(&[]).code, run(&[]).code), (4, 4, 4));
    outcome("exit 0");
    assert!(!line(&run(&[]), "//t:now_and_then").contains("(cached)"));
    assert!(line(&run(&[]), "//t:now_and_then").contains("(cached)"));
}

#[test]
fn what_runs_a_script_is_part_of_it() {
    let workspace = workspace("sh_test(name = \"a\", srcs = [\"a.sh\"])\n", &[("a.sh", ""), ("runner", "exit 0")]);
    workspace.write("t/a.sh", &format!("#!{}\n", workspace.path("t/runner").display()));
    workspace.ok(&["test"]);
    assert!(workspace.ok(&["test"]).out.contains("(cached)"));
    script(&workspace, "runner", "exit 1");
    workspace.fails(4, &["test"]);
}

#[test]
fn undeclared_files_and_variables_are_not_found() {
    let text = "test ! -e t/secret.txt && test ! -e ouro.toml && test -z \"$LEAK\" && test -z \"$USER\" &&\n\
        test \"$HOME\" = \"$TEST_TMPDIR\" && test \"$TMPDIR\" = \"$HOME\" && test -z \"$(ls -A \"$HOME\")\" && touch \"$HOME/x\" y &&\n\
        test \"$PWD\" = \"$TEST_SRCDIR/$TEST_WORKSPACE\" && test \"$TEST_TARGET\" = //t:clean && test \"$GIVEN $TAKEN\" = '1 2' && echo fine";
    let build = "sh_test(name = \"clean\", srcs = [\"clean.sh\"])\nsh_test(name = \"declared\", srcs = [\"declared.sh\"], data = [\":made\", \"data.txt\"])\n\
        genrule(name = \"made\", outs = [\"made.txt\"], cmd = \"echo made > $@\")\n";
    let workspace = workspace(build, &[("clean.sh", text), ("declared.sh", "cat t/made.txt t/data.txt ouro-out/*/t/made.txt")]);
    let arguments = ["test", "--test-env", "GIVEN=1", "--test-env", "TAKEN", "--test-env", "UNSET"];
    let output = workspace.command(&arguments).env("LEAK", "1").env("TAKEN", "2").output().unwrap();
    let said = Said::of(output);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!((log(&workspace, "clean").as_str(), log(&workspace, "declared").as_str()), ("fine\n", "made\ndata\nmade\n"));
    assert!(!workspace.path("t/y").exists());
}

#[test]
fn a_test_that_takes_too_long_is_ended_with_all_it_started() {
    let text = "echo begun; trap '' TERM; (trap '' TERM; sleep 300) & echo $! > \"$PIDS\"; sleep 300";
    let workspace = workspace(BUILD, &[("good.sh", "exit 0"), ("bad.sh", "exit 0"), ("slow.sh", text)]);
    let pids = workspace.path("pids");
    let began = Instant::now();
    let said = workspace
        .fails(4, &["test", "//t:slow", "--timeout", "1", "--sandbox=off", "--test-env", &format!("PIDS={}", pids.display())]);
    assert!(line(&said, "//t:slow").contains(" TIMEOUT in ") && said.out.contains("begun\n"), "{}", said.out);
    assert!((Duration::from_secs(1)..Duration::from_secs(30)).contains(&began.elapsed()));
    assert!(is_gone(&pids));
}

/// Whether the process whose number stands in a file is gone; whoever reaps it may take a moment.
fn is_gone(file: &Path) -> bool {
    let pid = fs::read_to_string(file).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        match fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(text) if !text.contains(") Z ") => std::thread::sleep(Duration::from_millis(10)),
            _ => return true,
        }
    }
    false
}

#[test]
fn an_interruption_ends_all_and_leaves_nothing() {
    let workspace =
        workspace(BUILD, &[("good.sh", "exit 0"), ("bad.sh", "exit 0"), ("slow.sh", "sleep 300 & echo $! > $PIDS; wait")]);
    let (pids, temp) = (workspace.path("pids"), tempfile::tempdir().unwrap());
    let mut command =
        workspace.command(&["test", "//t:slow", "--sandbox=off", "--test-env", &format!("PIDS={}", pids.display())]);
    let child = command.env("TMPDIR", temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')) {
        assert!(began.elapsed() < Duration::from_secs(60), "the test does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    // `kill` of the shell: the tests of the command need no unsafe code of their own.
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.code, 130, "{}{}", said.out, said.err);
    said.says("interrupted");
    assert!(is_gone(&pids));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "folders of tests are removed");
}

#[test]
fn runs_are_counted() {
    let text = "echo x >> \"$COUNT\"; test $(($(wc -l < \"$COUNT\") % 2)) = 0";
    let workspace = workspace(BUILD, &[("good.sh", "exit 0"), ("bad.sh", text), ("slow.sh", "exit 0")]);
    let count = format!("COUNT={}", workspace.path("count").display());
    let said = workspace.fails(4, &["test", "--runs", "5", "--sandbox=off", "--test-env", &count]);
    assert!(line(&said, "//t:bad").contains("FAILED in 3 out of 5, in "), "{}", said.out);
    assert!(line(&said, "//t:good").contains("PASSED in all 5 runs"), "{}", said.out);
    assert_eq!(log(&workspace, "bad").matches("==== run ").count(), 5);
    workspace.ok(&["test", "//t:good"]);
    let again = workspace.ok(&["test", "//t:good", "--runs", "2"]);
    assert!(!again.out.contains("cached"), "{}", again.out);
}

#[test]
fn suites_tags_filters_and_patterns_choose() {
    let build = r#"
sh_test(name = "a", srcs = ["a.sh"], size = "small", tags = ["unit"])
sh_test(name = "b", srcs = ["a.sh"], tags = ["unit", "slow"])
sh_test(name = "c", srcs = ["a.sh"])
sh_test(name = "hidden", srcs = ["a.sh"], tags = ["manual"])
test_suite(name = "package")
test_suite(name = "unit", tags = ["unit", "-slow"])
test_suite(name = "small", tags = ["+small"])
test_suite(name = "listed", tests = [":b", ":hidden", ":small"])
test_suite(name = "quick", tests = [":listed"], tags = ["-slow"])
alias(name = "alias", actual = ":listed")
filegroup(name = "other", srcs = ["data.txt"])
"#;
    let workspace = workspace(build, &[("a.sh", "exit 0")]);
    let chosen = |arguments: &[&str]| {
        let said = workspace.ok(&[&["test", "--json"], arguments].concat());
        let tests = said.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let names = tests.filter_map(|test| Some(test["label"].as_str()?.strip_prefix("//t:")?.to_owned()));
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(chosen(&[]), "a b c");
    assert_eq!(chosen(&["//t:package"]), "a b c");
    assert_eq!(chosen(&["//t:unit"]), "a");
    assert_eq!(chosen(&["//t:small"]), "a");
    assert_eq!(chosen(&["//t:listed"]), "a b hidden");
    assert_eq!(chosen(&["//t:quick"]), "a hidden");
    assert_eq!(chosen(&["//t:alias", "-//t:b"]), "a hidden");
    assert_eq!(chosen(&["//t:all", "-//t:b"]), "a c");
    assert_eq!(chosen(&["//t:hidden"]), "hidden");
    assert_eq!(chosen(&["--filter", ":[bc]$"]), "b c");
    workspace.fails(2, &["test", "//t:other"]).says("`//t:other` is no test");
    workspace.fails(5, &["test", "--filter", "nothing"]).says("there is no test to run").says("--filter");
    workspace.fails(2, &["test", "--filter", "("]).says("is no regular expression: unclosed group");
    workspace.fails(2, &["test", "--test-env", "=1"]).says("names no variable");
    workspace.fails(2, &["test", "//t:aa"]).says("did you mean");
}

#[test]
fn tests_run_side_by_side_and_exclusive_ones_alone() {
    // Each of two waits for the other; the exclusive one finds nobody.
    let meet = "touch \"$MEET/$1\"; n=0; while ! test -e \"$MEET/$2\"; do sleep 0.05; n=$((n + 1)); test $n -lt 600 || exit 1; done\n\
        echo $1; sleep 0.2; echo $1; rm \"$MEET/$1\"";
    let build = r#"
sh_test(name = "one", srcs = ["meet.sh"], args = ["1", "2"])
sh_test(name = "two", srcs = ["meet.sh"], args = ["2", "1"])
sh_test(name = "alone", srcs = ["alone.sh"], tags = ["exclusive"])
"#;
    let meet = meet.replace(
        "rm \"$MEET/$1\"",
        "touch \"$MEET/$1.left\"; while ! test -e \"$MEET/$2.left\"; do sleep 0.05; done; rm -f \"$MEET/$1\"",
    );
    let workspace = workspace(
        build,
        &[("meet.sh", &meet), ("alone.sh", "test ! -e \"$MEET/1\" && test ! -e \"$MEET/2\" && test -e \"$MEET/1.left\"")],
    );
    let folder = tempfile::tempdir().unwrap();
    let variable = format!("MEET={}", folder.path().display());
    let said = workspace.ok(&["test", "-j", "3", "--sandbox=off", "--test-env", &variable, "--test-output", "all"]);
    assert!(said.out.contains("\n1\n1\n") && said.out.contains("\n2\n2\n"), "output stays together: {}", said.out);
    assert!(said.out.rfind("//t:alone") > said.out.rfind("//t:two"), "{}", said.out);
}

#[test]
fn a_failed_build_stops_all_or_only_what_needs_it() {
    let build = r#"
sh_test(name = "fine", srcs = ["a.sh"])
sh_test(name = "failing", srcs = ["b.sh"])
sh_test(name = "broken", srcs = ["a.sh"], data = [":far"])
genrule(name = "near", outs = ["near.txt"], cmd = "echo no; exit 1")
genrule(name = "far", srcs = [":near"], outs = ["far.txt"], cmd = "cp $< $@")
"#;
    let workspace = workspace(build, &[("a.sh", "exit 0"), ("b.sh", "exit 1")]);
    let said = workspace.fails(1, &["test"]);
    said.says("genrule //t:near failed").says("build failed: 1 action failed");
    assert_eq!(said.out, "");
    let said = workspace.fails(1, &["test", "-k", "--junit", "all.xml"]);
    assert!(line(&said, "//t:broken").ends_with(" NOT BUILT"), "{}", said.out);
    assert!(said.out.ends_with(": 1 passed, 1 failed, 1 not built\n"), "{}", said.out);
    assert!(workspace.read("all.xml").contains("<error message=\"it could not be built\"/>"));
    workspace.fails(4, &["test", "-k", "//t:fine", "//t:failing"]);
    workspace.ok(&["test", "-k", "//t:fine"]);
}

#[test]
fn what_cannot_be_started_says_why() {
    let build = r#"
sh_test(name = "mode", srcs = ["mode.sh"])
sh_test(name = "line", srcs = ["line.sh"])
sh_test(name = "none", srcs = ["none.sh"])
"#;
    let workspace = workspace(build, &[("none.sh", "")]);
    workspace.write("t/mode.sh", "#!/bin/sh\n");
    for (name, text) in [("t/line.sh", "#!/no/such/shell\n"), ("t/none.sh", "exit 0\n")] {
        workspace.write(name, text);
        fs::set_permissions(workspace.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let said = workspace.fails(4, &["test"]);
    assert!(line(&said, "//t:mode").contains("make it executable (`chmod +x t/mode.sh`)"), "{}", said.out);
    assert!(line(&said, "//t:line").contains("what its first line names is not there"), "{}", said.out);
    assert!(line(&said, "//t:none").contains("a script begins with a line such as `#!/bin/sh`"), "{}", said.out);
    fs::set_permissions(workspace.path("t/mode.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    workspace.ok(&["test", "//t:mode"]);
}

#[test]
fn json_has_a_line_for_each_test_and_one_for_all() {
    let workspace = usual();
    let said = workspace.fails(4, &["test", "--json"]);
    let lines: Vec<serde_json::Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_label: BTreeMap<&str, &serde_json::Value> =
        lines.iter().filter_map(|line| Some((line["label"].as_str()?, line))).collect();
    assert_eq!((&by_label["//t:good"]["status"], &by_label["//t:good"]["cached"]), (&"passed".into(), &false.into()));
    assert_eq!((&by_label["//t:bad"]["why"], &by_label["//t:bad"]["failed"]), (&"exit code 3".into(), &1.into()));
    assert_eq!(by_label["//t:bad"]["log"], "ouro-out/testlogs/t/bad/test.log");
    assert!(by_label["//t:bad"]["took_us"].as_u64().unwrap() > 100);
    let all = &lines.last().unwrap()["summary"];
    assert_eq!((&all["tests"], &all["passed"], &all["failed"]), (&2.into(), &1.into(), &1.into()));
}

/// The counts of elements in a document, which must be well-formed as far as ours and those of the tests here go: no comments, no
/// CDATA, no `>` in attributes.
fn elements(workspace: &Workspace, file: &str) -> BTreeMap<String, usize> {
    let text = workspace.read(file);
    let text = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    let (mut open, mut counts) = (Vec::new(), BTreeMap::new());
    for part in text.split('<').skip(1) {
        let (tag, between) = part.split_once('>').unwrap_or_else(|| panic!("`<{part}` has no end"));
        assert!(!between.contains('>') && (!open.is_empty() || between.trim().is_empty()), "{between:?}");
        let references = between.split('&').chain(tag.split('&').skip(1)).skip(1);
        references.for_each(|rest| {
            assert!(["amp;", "lt;", "gt;", "quot;", "#13;"].iter().any(|known| rest.starts_with(known)), "{rest}")
        });
        let name = tag.split(['/', ' ']).find(|word| !word.is_empty()).expect("a name").to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name));
            assert!(!open.is_empty() || between.trim().is_empty());
            continue;
        }
        *counts.entry(name.clone()).or_default() += 1;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    counts
}

#[test]
fn junit_is_well_formed_whatever_tests_print() {
    let own = "cat > $XML_OUTPUT_FILE <<'EOF'\n<?xml version=\"1.0\"?>\n<testsuites><testsuite name=\"own\"><testcase name=\"x\"/><testcase name=\"y\"/></testsuite></testsuites>\nEOF\n";
    let odd = "printf 'a<b>&\\033[31mred\\033[0m\\001\\377]]>\"\\n'; exit 1";
    let hidden = format!("{own}exit 1");
    let build = "sh_test(name = \"own\", srcs = [\"own.sh\"])\nsh_test(name = \"odd\", srcs = [\"odd.sh\"])\nsh_test(name = \"hidden\", srcs = [\"hidden.sh\"])\n\
        sh_test(name = \"torn\", srcs = [\"torn.sh\"])\n";
    let scripts = [("own.sh", own), ("odd.sh", odd), ("hidden.sh", &hidden), ("torn.sh", "echo '<testsuite' > $XML_OUTPUT_FILE")];
    let workspace = workspace(build, &scripts);
    workspace.fails(4, &["test", "--junit", "all.xml"]);
    let counts = elements(&workspace, "all.xml");
    // Two suites that tests wrote, one of them with ours behind it; two more of ours.
    assert_eq!((counts["testsuites"], counts["testsuite"], counts["testcase"], counts["failure"]), (1, 5, 7, 2), "{counts:?}");
    assert_eq!(elements(&workspace, "ouro-out/testlogs/t/own/test.xml")["testcase"], 2);
    assert_eq!(elements(&workspace, "ouro-out/testlogs/t/odd/test.xml")["system-out"], 1);
    let cached = workspace.fails(4, &["test", "--junit", "again.xml"]);
    assert!(line(&cached, "//t:own").contains("(cached)"));
    assert_eq!(elements(&workspace, "again.xml"), counts);
}

#[test]
fn the_firewall_tests_its_objects() {
    let workspace = Workspace::example("firewall");
    let said = workspace.ok(&["test", "//...", "--test-output", "all"]);
    assert!(said.out.contains("4 objects are as they should be"), "{}", said.out);
    assert!(line(&workspace.ok(&["test"]), "//fw:objects_test").contains("(cached)"));
    // A comment changes no byte of the object, so there is nothing to test again.
    let text = workspace.read("fw/allow.c");
    workspace.write("fw/allow.c", &format!("{text}\n// the end\n"));
    let said = workspace.ok(&["test"]);
    assert_eq!((said.compiled(), line(&said, "//fw:objects_test").contains("(cached)")), (vec!["//fw:allow"], true));
    let text = text + "\n__u64 lives_outside_of_maps;\n";
    workspace.write("fw/allow.c", &text);
    assert!(workspace.fails(4, &["test"]).out.contains("fw/allow.o: global variables"));
}
