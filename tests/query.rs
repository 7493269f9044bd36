//! `ouro query` and `ouro aquery` on a real workspace.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use ouro_engine::state::State;
use serde_json::Value;
use support::{OURO, Said, Workspace};

/// A command of a document with the output that stands below it.
struct Shown {
    command: String,
    output: String,
}

/// The `console` blocks of a Markdown text.
fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line.strip_prefix("$ "), all.last_mut()) {
            (_, _, _) if line.starts_with("```") => inside = line == "```console",
            (true, Some(command), _) => all.push(Shown { command: command.to_owned(), output: String::new() }),
            (true, None, Some(last)) => last.output += &format!("{line}\n"),
            _ => {}
        }
    }
    all
}

#[test]
fn the_document_shows_what_is_said() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/query.md")).unwrap();
    let workspace = Workspace::example("firewall");
    let path = format!("{}:{}", Path::new(OURO).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let all = shown(&text);
    assert!(all.len() > 25, "the document has examples");
    for Shown { command, output } in all {
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).current_dir(workspace.root()).env("PATH", &path);
        let said = Said::of(shell.env("OURO_CACHE", workspace.path("../cache")).output().unwrap());
        assert_eq!(said.code, 0, "{command}\n{}", said.err);
        assert_eq!(said.out.replace("ouro-out/arm64/", "ouro-out/x86/"), output, "{command}");
    }
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}\n{}", said.out))
}

#[test]
fn json_has_every_fact_of_a_target() {
    let workspace = Workspace::example("firewall");
    let answer = json(&workspace.ok(&["query", "-o", "json", "//fw:parse + fw/parse.c"]));
    let (parse, source) = (&answer["nodes"][0], &answer["nodes"][1]);
    assert_eq!((&parse["label"], &parse["kind"]), (&"//fw:parse".into(), &"bpf_program rule".into()));
    assert_eq!((&parse["package"], &parse["file"], &parse["test"]), (&"//fw".into(), &"fw/BUILD.ouro".into(), &false.into()));
    assert_eq!(parse["attributes"]["type"], "xdp");
    assert_eq!(parse["attributes"]["jumps"][1]["jump"]["on_miss"], "pass");
    assert_eq!(parse["attributes"]["slot"], Value::Null);
    let deps = parse["deps"].as_array().unwrap();
    assert!(deps.contains(&serde_json::json!({ "label": "//fw:allow", "attribute": "jumps" })), "{deps:?}");
    assert_eq!((&source["kind"], &source["deps"]), (&"source file".into(), &serde_json::json!([])));
}

#[test]
fn drawings_have_the_edges_between_what_was_asked_for() {
    let workspace = Workspace::example("firewall");
    let dot = workspace.ok(&["query", "-o", "graph", "set(//fw:fw //fw:parse //fw:parse.c //fw:allow)"]).out;
    let arrows: Vec<&str> = dot.lines().filter(|line| line.contains("->")).map(str::trim).collect();
    let expected = ["n1 -> n2 [label=\"entry\"];", "n2 -> n0 [label=\"jumps\"];", "n2 -> n3 [label=\"srcs\"];"];
    assert_eq!(arrows, expected, "{dot}");
    let mermaid = workspace.ok(&["aquery", "-o", "mermaid", "//fw:allow"]).out;
    assert!(mermaid.contains("n0[\"compile<br/>//fw:allow\"]") && mermaid.contains("n2 --> n0"), "{mermaid}");
}

#[test]
fn mistakes_are_shown_with_carets_and_remedies() {
    let workspace = Workspace::example("firewall");
    let said = workspace.fails(2, &["query", "deps(//fw:pares) ^ kid(bpf_map, //...)"]);
    said.says("unknown function `kid`").says("did you mean `kind`?").says("  |                    ^^^\n");
    let said = workspace.fails(2, &["query", "deps(//fw:pares) ^\n//fw:alow"]);
    said.says("1 | deps(//fw:pares) ^\n  |      ^^^^^^^^^^\n").says("did you mean `parse`?");
    said.says("2 | //fw:alow\n  | ^^^^^^^^^\n").says("did you mean `allow`?");
    workspace.fails(2, &["query", "labels(src, //...)"]).says("did you mean `srcs`?");
    workspace.fails(2, &["query", "--jumps", "deps(//fw:fw)"]).says("`//fw:fw` is no program");
    workspace.fails(2, &["query", "fw/REAMDE.md"]).says("`fw/REAMDE.md` is neither a file nor a package");
    workspace.write("fw/notes.txt", "");
    workspace.fails(2, &["query", "owner(fw/notes.txt)"]).says("no target names the file `fw/notes.txt`");
    workspace.fails(2, &["aquery", "deps(mnemonic(compile, //fw:all))"]).says("`mnemonic()` gives actions");
    let said = workspace.fails(2, &["query", "--message-format", "json", "dep(x)"]);
    assert_eq!(json(&said)["file"], "<expression>", "{}", said.out);
    let said = workspace.ok(&["query", "kind(nothing, //...)"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", "nothing matches\n"));
}

#[test]
fn manual_targets_are_part_of_patterns_and_star_files_of_packages() {
    let workspace = Workspace::with(&[
        ("lib/names.star", "NAME = \"a\"\n"),
        (
            "lib/defs.star",
            "load(\"//lib:names.star\", \"NAME\")\ndef group(): filegroup(name = NAME, srcs = [\"a.txt\"], tags = [\"manual\"])\n",
        ),
        ("a/BUILD", "load(\"//lib:defs.star\", \"group\")\ngroup()\npackage(default_visibility = [\"//visibility:public\"])\n"),
        ("a/a.txt", ""),
        ("b/BUILD", "load(\"@ouro//xdp:defs.star\", \"xdp_pipeline\")\nalias(name = \"b\", actual = \"//a\")\n"),
    ]);
    assert_eq!(workspace.ok(&["query", "//..."]).out, "//a:a\n//b:b\n");
    assert_eq!(workspace.ok(&["query", "loadfiles(//a:a)"]).out, "//lib:defs.star\n//lib:names.star\n");
    assert_eq!(workspace.ok(&["query", "buildfiles(//b)"]).out, "//b:BUILD\n@ouro//xdp:defs.star\n");
    assert_eq!(workspace.ok(&["query", "rdeps(a/a.txt)"]).out, "//a:a\n//a:a.txt\n//b:b\n");
    assert_eq!(workspace.ok(&["query", "--jumps", "//..."]).out, "");
    // What it prints, it takes: `lib` is no package.
    let loaders = "//a:a\n//b:b\n//lib:names.star\n";
    for file in ["lib/names.star", "//lib:names.star"] {
        assert_eq!(workspace.ok(&["query", file]).out, "//lib:names.star\n");
        assert_eq!(workspace.ok(&["query", &format!("rdeps(//..., {file})")]).out, loaders);
    }
    assert_eq!(workspace.ok(&["-C", "lib", "query", "allrdeps(names.star, 1)"]).out, "//a:a\n//lib:names.star\n");
    assert_eq!(workspace.ok(&["query", "rdeps(//b:b, @ouro//xdp:defs.star)"]).out, "//b:b\n@ouro//xdp:defs.star\n");
    assert_eq!(workspace.ok(&["query", "rdeps(//a:a, @ouro//xdp:defs.star + b/BUILD)"]).out, "");
    assert_eq!(workspace.ok(&["query", "rdeps(a/BUILD)"]).out, "//a:BUILD\n//a:a\n//b:b\n");
    workspace.write("lib/unused.star", "");
    workspace.fails(2, &["query", "lib/unused.star"]).says("no package loads the file `lib/unused.star`");
}

/// Another target that is broken is told, for it may be part of the answer; a package that is not asked for is not even read.
#[test]
fn only_what_is_named_is_loaded() {
    let workspace =
        Workspace::with(&[("a/BUILD", "filegroup(name = \"a\", srcs = [\"a.txt\"])\n"), ("a/a.txt", ""), ("b/BUILD", "oops(")]);
    assert_eq!(workspace.ok(&["query", "deps(//a)"]).out, "//a:a\n//a:a.txt\n");
    workspace.fails(1, &["query", "rdeps(//a)"]).says("b/BUILD");
    workspace.fails(2, &["query", "deps(//c)"]).says("no package `//c`");
}

/// The promise of `ouro aquery`: the keys it shows are the keys that builds use.
#[test]
fn keys_are_those_that_execution_used() {
    let workspace = Workspace::example("firewall");
    let before = json(&workspace.ok(&["aquery", "-o", "json", "//fw:fw"]));
    assert_eq!(before["actions"][0]["key"], Value::Null);
    assert_eq!(before["actions"][0]["missing"].as_array().unwrap().len(), 4);
    workspace.ok(&["build", "//..."]);
    let state = State::load(&workspace.root());
    let answer = json(&workspace.ok(&["aquery", "-o", "json", "deps(//...)"]));
    let mut compared = 0;
    for action in
        answer["actions"].as_array().unwrap().iter().filter(|action| action["work"] != "write" && action["mnemonic"] != "inspect")
    {
        let used = state.result(action["outputs"][0].as_str().unwrap()).expect("it was built").key;
        assert_eq!(action["key"], used.to_string(), "{action:#}");
        compared += 1;
    }
    assert_eq!(compared, 6, "four programs, a command, a bundle");
    workspace.edit("fw/allow.c", "decide(ALLOWED)", "decide(BLOCKED)");
    let key = |answer: &Value| {
        let actions = answer["actions"].as_array().unwrap();
        actions.iter().find(|action| action["outputs"][0].as_str().unwrap().ends_with("/allow.o")).unwrap()["key"].clone()
    };
    assert_ne!(key(&json(&workspace.ok(&["aquery", "-o", "json", "//fw:allow"]))), key(&answer));
}

#[test]
fn actions_are_shown_as_they_run() {
    let workspace = Workspace::example("firewall");
    let answer = json(&workspace.ok(&["aquery", "-o", "json", "mnemonic(compile, outputs('/parse\\.o$', //fw:all))"]));
    let [action] = answer["actions"].as_array().unwrap().as_slice() else { panic!("{answer:#}") };
    let argv: Vec<&str> = action["argv"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(Path::new(argv[0]).is_absolute() && argv[0].contains("clang") && argv.contains(&"fw/parse.c"), "{argv:?}");
    assert_eq!(action["environment"]["LC_ALL"], "C");
    assert!(action["depfile"].as_str().unwrap().ends_with("parse.o.d"));
    assert!(action["inputs"].as_array().unwrap().contains(&"fw/packet.h".into()));
    let made = workspace.ok(&["aquery", "fw/../fw/parse.c + //fw:blocked_ports.h"]).out;
    assert!(
        made.starts_with("genrule //fw:blocked_ports_h\n") && made.lines().filter(|line| !line.starts_with(' ')).count() == 1,
        "{made}"
    );
    assert!(made.contains("  command: /bin/sh "), "{made}");
    let object = workspace.ok(&["aquery", "ouro-out/x86/fw/parse.o"]).out;
    assert!(object.starts_with("compile //fw:parse\n") && object.contains("output: ouro-out/x86/fw/parse.o\n"), "{object}");
    assert!(!object.contains("inspect"), "{object}");
    workspace.ok(&["aquery", "ouro-out/x86/fw/pars.o"]).says("nothing matches");
}
