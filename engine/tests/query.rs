//! Queries on thousands of random graphs, compared with a naive model.

mod query_model;

use std::collections::BTreeSet;

use ouro_engine::query::{Here, Name, Query, TargetGraph};
use ouro_rules::{Diagnostic, Label, Repositories};
use query_model::{Dice, E, Model, PLAIN, Set, Thing};

const PACKAGES: [&str; 3] = ["p0", "p1", "p1/sub"];
const KINDS: [&str; 7] =
    ["library rule", "library rule", "program rule", "unit_test rule", "test_suite rule", "source file", "generated file"];

/// A workspace of at most `most` targets and files besides BUILD files. Without circles if asked.
fn workspace(dice: &mut Dice, most: usize, circles: bool) -> Model {
    let mut model = Model::default();
    let star = Thing { package: "p0", name: "defs.star".to_owned(), kind: "source file".to_owned(), manual: false, color: None };
    model.things.insert("//p0:defs.star".to_owned(), star.clone());
    for package in PACKAGES {
        let build_file = format!("//{package}:BUILD");
        model.things.insert(build_file.clone(), Thing { package, name: "BUILD".to_owned(), ..star.clone() });
        let loads = if dice.roll(2) == 0 { Set::from(["//p0:defs.star".to_owned()]) } else { Set::new() };
        model.packages.insert(package, (build_file, loads));
    }
    for number in 0..=dice.roll(most) {
        let (package, name) = (dice.pick(&PACKAGES), format!("t{number}"));
        let kind = dice.pick(&KINDS).to_owned();
        let color = dice.pick(&[None, Some("red"), Some("dark red"), Some("blue")]);
        let color = color.filter(|_| kind.ends_with(" rule"));
        let thing = Thing { package, name: name.clone(), kind, manual: dice.roll(4) == 0, color };
        model.things.insert(format!("//{package}:{name}"), thing);
    }
    let labels: Vec<String> = model.things.keys().cloned().collect();
    for _ in 0..dice.roll(3 * labels.len()) {
        let (mut from, mut to) = (dice.roll(labels.len()), dice.roll(labels.len()));
        if !circles {
            (from, to) = (from.min(to), from.max(to));
        }
        let attr = dice.pick(&[None, Some("deps"), Some("deps"), Some("srcs"), Some("tests"), Some("outs")]);
        if circles || from != to {
            model.edges.insert((labels[from].clone(), attr, labels[to].clone()));
        }
    }
    model
}

fn expression(dice: &mut Dice, model: &Model, depth: usize, variables: usize) -> E {
    let wide = ["//...", "//p1/...", "...", "//p0:all", ":all"];
    let word = |dice: &mut Dice| {
        let labels: Vec<&String> = model.things.keys().collect();
        let label = dice.pick(&labels).clone();
        let thing = &model.things[&label];
        match dice.roll(4) {
            0 => dice.pick(&wide).to_owned(),
            1 if thing.package == "p1" => format!(":{}", thing.name),
            2 if thing.package == "p1" => thing.name.clone(),
            _ => label,
        }
    };
    if depth == 0 {
        return match dice.roll(4) {
            0 => E::Set((0..dice.roll(4)).map(|_| word(dice)).collect()),
            1 if variables > 0 => E::Variable(dice.roll(variables)),
            _ => E::Word(word(dice)),
        };
    }
    let steps = dice.pick(&[None, None, Some(0), Some(1), Some(2)]);
    let function = dice.roll(18);
    let inner = |dice: &mut Dice| Box::new(expression(dice, model, depth - 1, variables));
    match function {
        0 => {
            let value = inner(dice);
            E::Let(variables, value, Box::new(expression(dice, model, depth - 1, variables + 1)))
        }
        1 => E::Union(inner(dice), inner(dice)),
        2 => E::Except(inner(dice), inner(dice)),
        3 => E::Intersect(inner(dice), inner(dice)),
        4 | 5 => E::Deps(inner(dice), steps),
        6 => E::Rdeps(inner(dice), inner(dice), steps),
        7 => E::Allrdeps(inner(dice), steps),
        8 => E::RdepsOfAll(inner(dice)),
        9 => E::Allpaths(inner(dice), inner(dice)),
        10 => E::Kind(dice.pick(&["file", "rule", "_test rule", "program"]), inner(dice)),
        11 => E::Attr("color", dice.pick(&["red", "dark", "green"]), inner(dice)),
        12 => E::Filter(dice.pick(&["t1", "p1", "sub:", "BUILD"]), inner(dice)),
        13 => E::Labels(dice.pick(&["deps", "srcs", "tests"]), inner(dice)),
        14 => E::Some(inner(dice), steps.filter(|steps| *steps > 0)),
        _ => E::Plain(dice.pick(&PLAIN), inner(dice)),
    }
}

fn parse(text: &str) -> Result<Query, Vec<Diagnostic>> {
    let is_file = |path: &str| ["p1/BUILD", "p0/BUILD", "p1/sub/x/file.c", "p1/sub/BUILD", "x.c"].contains(&path);
    Query::parse(text, Here { cwd: "p1", repositories: &Repositories::default(), is_file: &is_file })
}

fn ask(model: &Model, graph: &TargetGraph, text: &str) -> Vec<String> {
    let attribute = |label: Name<'_>, name: &str| {
        let thing = &model.things[&label.to_string()];
        thing.color.filter(|_| name == "color").map(str::to_owned)
    };
    let query = parse(text).unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
    // What a query displays reads as the same query.
    let again = parse(&query.to_string()).unwrap_or_else(|findings| panic!("{query}: {findings:?}"));
    assert_eq!(again.to_string(), query.to_string());
    let labels = |query: &Query| {
        let nodes = query.evaluate(graph, &attribute);
        let nodes = nodes.unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
        nodes.into_iter().map(|node| graph.node(node).label.to_string()).collect::<Vec<_>>()
    };
    let answer = labels(&query);
    assert_eq!(labels(&again), answer, "{text}\n{query}");
    answer
}

#[test]
fn random_expressions_are_what_the_model_says() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut not_empty = 0;
    for _ in 0..600 {
        let model = workspace(&mut dice, 11, true);
        let made = model.graph();
        // What is kept is read back as it was.
        let graph: TargetGraph = postcard::from_bytes(&postcard::to_stdvec(&made).unwrap()).unwrap();
        assert_eq!(graph, made);
        for depth in [0, 1, 1, 1, 2, 2, 2, 3, 3, 4] {
            let e = expression(&mut dice, &model, depth, 0);
            let answer = ask(&model, &graph, &e.to_string());
            let set: Set = answer.iter().cloned().collect();
            assert_eq!(set, model.eval(&e, &mut Vec::new()), "{e}\n{model:#?}");
            let labels: Vec<Label> = answer.iter().map(|text| Label::parse(text, "", "").unwrap()).collect();
            assert!(labels.is_sorted() && set.len() == answer.len(), "{e}: {answer:?}");
            not_empty += usize::from(!set.is_empty());
        }
    }
    assert!(not_empty > 3_000, "most expressions select something: {not_empty}");
}

/// Random expressions seldom ask about one suite alone.
#[test]
fn functions_of_one_set_are_right_for_every_node() {
    let mut dice = Dice(11);
    for _ in 0..300 {
        let model = workspace(&mut dice, 9, true);
        let graph = model.graph();
        for (label, function) in model.things.keys().flat_map(|label| PLAIN.map(|function| (label, function))) {
            let e = E::Plain(function, Box::new(E::Word(label.clone())));
            let answer: Set = ask(&model, &graph, &e.to_string()).into_iter().collect();
            assert_eq!(answer, model.eval(&e, &mut Vec::new()), "{e}\n{model:#?}");
        }
    }
}

#[test]
fn somepath_is_a_shortest_way_and_the_first_of_them() {
    let mut dice = Dice(42);
    let mut found = 0;
    for _ in 0..400 {
        let model = workspace(&mut dice, 7, true);
        let graph = model.graph();
        let labels: Vec<String> = graph.ids().map(|node| graph.node(node).label.to_string()).collect();
        let place = |label: &String| labels.iter().position(|known| known == label);
        for _ in 0..6 {
            let mut some = || (0..=dice.roll(2)).map(|_| dice.pick(&labels)).collect::<BTreeSet<String>>();
            let (from, to) = (some(), some());
            let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let answer = ask(&model, &graph, &format!("somepath(set({}), set({}))", list(&from), list(&to)));
            let ways = from.iter().flat_map(|from| to.iter().flat_map(|to| model.ways(from, to)));
            let best = ways.min_by_key(|way| (way.len(), way.iter().map(place).collect::<Vec<_>>())).unwrap_or_default();
            assert_eq!(answer, best, "{model:#?}");
            found += usize::from(answer.len() > 1);
        }
    }
    assert!(found > 300, "{found} ways");
}

#[test]
fn allpaths_without_circles_is_every_node_of_every_way() {
    let mut dice = Dice(7);
    for _ in 0..400 {
        let model = workspace(&mut dice, 8, false);
        let graph = model.graph();
        let labels: Vec<&String> = model.things.keys().collect();
        let (from, to) = (dice.pick(&labels), dice.pick(&labels));
        let answer: Set = ask(&model, &graph, &format!("allpaths({from}, {to})")).into_iter().collect();
        let every: Set = model.ways(from, to).into_iter().flatten().collect();
        assert_eq!(answer, every, "{from} {to} {model:#?}");
    }
}

/// Programs that jump through aliases, compared with following each jump by hand.
#[test]
fn the_jump_graph_has_programs_alone_and_follows_aliases() {
    let mut dice = Dice(99);
    for _ in 0..300 {
        let mut model = Model::default();
        let count = 2 + dice.roll(9);
        let kinds: Vec<&str> =
            (0..count).map(|_| dice.pick(&["program rule", "program rule", "alias rule", "library rule"])).collect();
        let label = |number: usize| format!("//p0:t{number:02}");
        for (number, kind) in kinds.iter().enumerate() {
            let thing =
                Thing { package: "p0", name: format!("t{number:02}"), kind: (*kind).to_owned(), manual: false, color: None };
            model.things.insert(label(number), thing);
            match *kind {
                // An alias of a later node: no circles.
                "alias rule" if number + 1 < count => {
                    let to = number + 1 + dice.roll(count - number - 1);
                    model.edges.insert((label(number), Some("actual"), label(to)));
                }
                "program rule" => {
                    for _ in 0..dice.roll(3) {
                        model.edges.insert((label(number), Some("jumps"), label(dice.roll(count))));
                        model.edges.insert((label(number), Some("deps"), label(dice.roll(count))));
                    }
                }
                _ => {}
            }
        }
        let behind = |mut node: String| {
            while let Some((_, _, to)) = model.edges.iter().find(|(from, attr, _)| *from == node && *attr == Some("actual")) {
                node = to.clone();
            }
            node
        };
        let is_program = |node: &String| model.things[node].kind == "program rule";
        let graph = model.graph().jumps();
        assert!(graph.ids().all(|node| is_program(&graph.node(node).label.to_string())));
        for from in 0..count {
            let meant = behind(label(from));
            let jumps = model.edges.iter().filter(|(node, attr, _)| *node == meant && *attr == Some("jumps"));
            let expected: Set = jumps.map(|(_, _, to)| behind(to.clone())).chain([meant.clone()]).filter(is_program).collect();
            let query = parse(&format!("deps({}, 1)", label(from))).unwrap();
            let answer = query.evaluate(&graph, &|_, _| None);
            match answer {
                Ok(nodes) => {
                    let labels: Set = nodes.into_iter().map(|node| graph.node(node).label.to_string()).collect();
                    assert_eq!(labels, expected, "{from} {model:#?}");
                }
                Err(findings) => {
                    assert!(!is_program(&meant), "{from} {model:#?}");
                    assert!(findings[0].message.ends_with("is no program"), "{findings:?}");
                }
            }
        }
    }
}

/// Where the caret stands, what is said and what is advised.
#[test]
fn mistakes_are_told_with_their_place() {
    let cases = [
        ("", (1, 2), "expected a target, found the end", ""),
        ("deps(", (6, 7), "expected a target, found the end", ""),
        ("deps(//a:b", (11, 12), "expected `)`, found the end", "write `deps(e[, depth])`"),
        ("dep(//a:b)", (1, 4), "unknown function `dep`", "did you mean `deps`?"),
        ("frobnicate(//a:b)", (1, 11), "unknown function `frobnicate`", "there are: deps, rdeps"),
        ("deps(//a:b, many)", (13, 17), "`many` is no whole number", ""),
        ("deps(//a:b, -1)", (13, 14), "expected a number, found `-`", ""),
        ("deps(//a:b, 1, 2)", (14, 15), "expected `)`, found `,`", "write `deps"),
        ("somepath(//a:b)", (15, 16), "expected `,`, found `)`", "write `somepath(from, to)`"),
        ("//a:b //a:c", (7, 12), "expected an operator (`+`, `-`, `^`) or the end, found `//a:c`", ""),
        ("//a:b + ", (9, 10), "expected a target, found the end", ""),
        ("//a:b union in", (13, 15), "expected a target, found `in`", "`in` is a keyword; a target of that name needs quotes"),
        ("let = //a:b in $x", (5, 6), "expected the name of a variable, found `=`", ""),
        ("let 1x = //a:b in $x", (5, 7), "`1x` is no name of a variable", "letters"),
        ("let x = //a:b", (14, 15), "expected `in`, found the end", ""),
        ("let xyz = //a:b in $xyy", (20, 24), "there is no variable `xyy` here", "did you mean `xyz`?"),
        ("(let x = //a:b in $x) + $x", (25, 27), "there is no variable `x` here", "define it: `let x = ... in ...`"),
        ("set(//a:b, //a:c)", (10, 11), "expected a target or `)`; a set lists words with spaces between, found `,`", ""),
        ("kind('a\"b', //a:b) + \"x", (22, 23), "`\"` is never closed", "close the quotation"),
        ("filter('[', //a:b)", (8, 11), "bad regular expression `[`: unclosed character class", ""),
        ("//a//b:c", (1, 9), "label `//a//b:c` has the path component ``", ""),
        ("'-//a:b'", (1, 9), "`-//a:b` takes away, and there is nothing before it", "write `a - b`"),
        ("mnemonic(x, //a:b)", (1, 9), "unknown function `mnemonic`", ""),
        ("sub/fiel.c", (1, 11), "`p1/sub/fiel.c` is neither a file nor a package", ""),
        ("../x.c", (1, 7), "the file `x.c` belongs to no package", "BUILD"),
    ];
    for (text, columns, message, help) in cases {
        let findings = parse(text).err().unwrap_or_else(|| panic!("`{text}` was read"));
        let span = findings[0].span.as_ref().unwrap();
        assert_eq!((span.column, span.end_column), columns, "`{text}`: {findings:?}");
        assert!(findings[0].message.contains(message), "`{text}`: {}", findings[0].message);
        assert!(findings[0].help.as_deref().unwrap_or_default().contains(help), "`{text}`: {:?}", findings[0].help);
    }
    let findings = parse("deps(//a//b:c) +\n  'ä b'").err().unwrap();
    let places = findings.iter().map(|finding| finding.span.as_ref().map(|span| (span.line, span.column, span.end_column)));
    assert_eq!(places.collect::<Vec<_>>(), [Some((1, 6, 14)), Some((2, 3, 8))], "all wrong words at once");
}

#[test]
fn unknown_names_are_told_with_near_ones() {
    let mut dice = Dice(3);
    let graph = workspace(&mut dice, 3, false).graph();
    let ask = |text: &str| parse(text).unwrap().evaluate(&graph, &|_, _| None).unwrap_err();
    let findings = ask("deps(//p0:BULID) + labels(dep, //...) + sub/x/file.c + attr(colour, x, //...)");
    let told: Vec<(&str, Option<&str>)> =
        findings.iter().map(|finding| (finding.message.as_str(), finding.help.as_deref())).collect();
    let expected = [
        ("there is no target or file `//p0:BULID`", Some("did you mean `BUILD`?")),
        ("no target here has an attribute `dep`", Some("did you mean `deps`?")),
        ("no target names the file `p1/sub/x/file.c`", Some("list it in `srcs` or `hdrs`")),
        ("no target here has an attribute `colour`", Some("did you mean `color`?")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn words_are_patterns_and_file_names_seen_from_the_folder() {
    let model = workspace(&mut Dice(3), 1, false);
    let graph = model.graph();
    for word in ["sub/BUILD", "./sub/BUILD", "../p1/sub/./BUILD", "'sub/BUILD'", "//p1/sub:BUILD", "sub:BUILD"] {
        assert_eq!(ask(&model, &graph, word), ["//p1/sub:BUILD"], "{word}");
    }
    assert_eq!(ask(&model, &graph, "../p0/BUILD"), ["//p0:BUILD"]);
    assert_eq!(ask(&model, &graph, "BUILD -:BUILD"), Vec::<String>::new());
}

#[test]
fn what_must_be_loaded_is_known_from_the_words() {
    let patterns = |text: &str| {
        let query = parse(text).unwrap();
        query.patterns().iter().map(|pattern| format!("{:?}", pattern.scope)).collect::<Vec<_>>()
    };
    assert_eq!(patterns("//a:b + :x + //a:all"), ["Package(\"a\")", "Package(\"p1\")"]);
    assert_eq!(patterns("rdeps(//a:b, //c/...)"), ["Package(\"a\")", "Subtree(\"c\")"]);
    assert_eq!(patterns("rdeps(//a:b)"), ["Subtree(\"\")", "Package(\"a\")"]);
    assert_eq!(patterns("allrdeps(//a:b, 1)"), ["Subtree(\"\")", "Package(\"a\")"]);
    assert_eq!(patterns("sub/x/file.c"), ["Package(\"p1/sub\")"]);
    assert!(patterns("set() + @ouro//xdp:defs.star").is_empty());
}

/// Neither nesting nor length makes the reader run out of stack.
#[test]
fn deep_and_long_expressions_are_no_trouble() {
    let deep = format!("{}//p0:BUILD{}", "deps(".repeat(100), ")".repeat(100));
    let model = workspace(&mut Dice(5), 2, false);
    let graph = model.graph();
    assert!(!ask(&model, &graph, &deep).is_empty());
    let too_deep = format!("{}//p0:BUILD{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(parse(&too_deep).err().unwrap()[0].message, "expression too deep");
    let long = vec!["//p0:BUILD"; 50_000].join(" + ");
    assert_eq!(ask(&model, &graph, &long), ["//p0:BUILD"]);
}
