//! A second evaluator of queries, as naive as can be: sets of labels, adjacency by lookup, reachability by closing a matrix,
//! ways by trying all. Shares nothing with the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ouro_engine::query::{Edge, Ix, Kind, Name, Node, Package, Parts, TargetGraph};
use ouro_rules::EdgeKind;
use ouro_rules::label::Label;

pub type Set = BTreeSet<String>;

/// Numbers that look random and are the same every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len())].clone()
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    pub package: &'static str,
    pub name: String,
    /// `bpf_program rule`, `source file`.
    pub kind: String,
    pub manual: bool,
    pub color: Option<&'static str>,
}

/// A workspace.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub things: BTreeMap<String, Thing>,
    /// From, attribute, to. An edge without an attribute follows from others.
    pub edges: BTreeSet<(String, Option<&'static str>, String)>,
    /// For each package its BUILD file and the files that loads.
    pub packages: BTreeMap<&'static str, (String, Set)>,
}

/// An expression.
#[derive(Debug, Clone)]
pub enum E {
    Word(String),
    Set(Vec<String>),
    Variable(usize),
    Let(usize, Box<E>, Box<E>),
    Union(Box<E>, Box<E>),
    Except(Box<E>, Box<E>),
    Intersect(Box<E>, Box<E>),
    Deps(Box<E>, Option<usize>),
    Rdeps(Box<E>, Box<E>, Option<usize>),
    Allrdeps(Box<E>, Option<usize>),
    RdepsOfAll(Box<E>),
    Allpaths(Box<E>, Box<E>),
    Kind(&'static str, Box<E>),
    Attr(&'static str, &'static str, Box<E>),
    Filter(&'static str, Box<E>),
    Labels(&'static str, Box<E>),
    Some(Box<E>, Option<usize>),
    /// A function of one set, by name.
    Plain(&'static str, Box<E>),
}

pub const PLAIN: [&str; 6] = ["owner", "tests", "buildfiles", "loadfiles", "siblings", "same_pkg_direct_rdeps"];

impl fmt::Display for E {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = |depth: &Option<usize>| depth.map(|depth| format!(", {depth}")).unwrap_or_default();
        match self {
            E::Word(word) => write!(f, "{word}"),
            E::Set(words) => write!(f, "set({})", words.join(" ")),
            E::Variable(name) => write!(f, "$v{name}"),
            E::Let(name, value, body) => write!(f, "(let v{name} = {value} in {body})"),
            E::Union(a, b) => write!(f, "({a} + {b})"),
            E::Except(a, b) => write!(f, "({a} except {b})"),
            E::Intersect(a, b) => write!(f, "({a} ^ {b})"),
            E::Deps(e, steps) => write!(f, "deps({e}{})", depth(steps)),
            E::Rdeps(u, e, steps) => write!(f, "rdeps({u}, {e}{})", depth(steps)),
            E::Allrdeps(e, steps) => write!(f, "allrdeps({e}{})", depth(steps)),
            E::RdepsOfAll(e) => write!(f, "rdeps({e})"),
            E::Allpaths(a, b) => write!(f, "allpaths({a}, {b})"),
            E::Kind(regex, e) => write!(f, "kind(\"{regex}\", {e})"),
            E::Attr(name, regex, e) => write!(f, "attr({name}, '{regex}', {e})"),
            E::Filter(regex, e) => write!(f, "filter(\"{regex}\", {e})"),
            E::Labels(attr, e) => write!(f, "labels({attr}, {e})"),
            E::Some(e, n) => write!(f, "some({e}{})", depth(n)),
            E::Plain(function, e) => write!(f, "{function}({e})"),
        }
    }
}

impl Thing {
    fn node(&self) -> Node<'_> {
        Node {
            label: Name { repo: "", package: self.package, name: &self.name },
            kind: match self.kind.strip_suffix(" rule") {
                Some(rule) => Kind::Rule(rule),
                None if self.kind == "source file" => Kind::Source,
                None => Kind::Generated,
            },
            declared: None,
            tags: if self.manual { vec!["manual"] } else { Vec::new() },
            jumps: self.kind.starts_with("program"),
            test: self.kind.ends_with("_test rule"),
            suite: self.kind == "test_suite rule",
        }
    }
}

impl Model {
    /// The same as a real graph.
    pub fn graph(&self) -> TargetGraph {
        let mut nodes: Vec<Node<'_>> = self.things.values().map(Thing::node).collect();
        nodes.sort_by_key(|node| node.label);
        let place = |text: &String| Ix::new(nodes.iter().position(|node| node.label.to_string() == *text).expect("a node"));
        let attrs = ["deps", "srcs", "tests", "outs", "jumps", "actual"];
        let edge = |(from, attr, to): &(String, Option<&'static str>, String)| Edge {
            from: place(from),
            to: place(to),
            attr: attr.map(|attr| attrs.iter().position(|known| *known == attr).expect("a name") as u16),
            kind: match *attr {
                None => EdgeKind::Member,
                Some("srcs" | "outs") => EdgeKind::Source,
                Some("jumps") => EdgeKind::Jump,
                Some("actual") => EdgeKind::Actual,
                Some(_) => EdgeKind::Dep,
            },
        };
        let package = |(build_file, loads): &(String, Set)| Package {
            build_file: place(build_file),
            loads: loads.iter().map(place).collect(),
            globs: Vec::new(),
        };
        TargetGraph::new(Parts {
            edges: self.edges.iter().rev().map(edge).collect(),
            attrs: attrs.map(Into::into).to_vec(),
            packages: self.packages.values().map(package).collect(),
            known: attrs.into_iter().chain(["color"]).map(Into::into).collect(),
            nodes,
            ..Parts::default()
        })
    }

    fn declared(&self) -> impl Iterator<Item = (&String, &'static str, &String)> {
        self.edges.iter().filter_map(|(from, attr, to)| Some((from, (*attr)?, to)))
    }

    fn is_rule(&self, label: &String) -> bool {
        self.things[label].kind.ends_with(" rule")
    }

    fn is_test(&self, label: &String) -> bool {
        self.things[label].kind.ends_with("_test rule")
    }

    fn all(&self) -> Set {
        self.things.keys().cloned().collect()
    }

    fn such(&self, is: impl Fn(&String) -> bool) -> Set {
        self.things.keys().filter(|label| is(label)).cloned().collect()
    }

    /// All pairs of which the first reaches the second, itself included.
    fn closure(&self) -> BTreeSet<(String, String)> {
        let mut pairs: BTreeSet<(String, String)> = self.things.keys().map(|label| (label.clone(), label.clone())).collect();
        pairs.extend(self.declared().map(|(from, _, to)| (from.clone(), to.clone())));
        for middle in self.things.keys() {
            let into: Vec<String> = pairs.iter().filter(|(_, to)| to == middle).map(|(from, _)| from.clone()).collect();
            let out: Vec<String> = pairs.iter().filter(|(from, _)| from == middle).map(|(_, to)| to.clone()).collect();
            into.iter().for_each(|from| pairs.extend(out.iter().map(|to| (from.clone(), to.clone()))));
        }
        pairs
    }

    /// Nodes at most `steps` edges from `set`; backwards, and inside of `within`, if asked.
    fn near(&self, set: &Set, steps: Option<usize>, back: bool, within: &Set) -> Set {
        let mut found: Set = set.intersection(within).cloned().collect();
        for _ in 0..steps.unwrap_or(self.things.len()) {
            let next: Set = self
                .declared()
                .map(|(from, _, to)| if back { (to, from) } else { (from, to) })
                .filter(|(from, to)| found.contains(*from) && within.contains(*to))
                .map(|(_, to)| to.clone())
                .collect();
            found.extend(next);
        }
        found
    }

    /// Every way without repetitions, by trying all.
    pub fn ways(&self, from: &str, to: &str) -> Vec<Vec<String>> {
        let mut open = vec![vec![from.to_owned()]];
        let mut ways = Vec::new();
        while let Some(way) = open.pop() {
            let last = &way[way.len() - 1];
            if last == to {
                ways.push(way.clone());
            }
            let onward = self.declared().filter(|(from, _, to)| *from == last && !way.contains(to));
            let onward: BTreeSet<&String> = onward.map(|(_, _, to)| to).collect();
            open.extend(onward.into_iter().map(|next| way.iter().chain([next]).cloned().collect()));
        }
        ways
    }

    /// What a word selects; the current folder is `p1`.
    pub fn word(&self, word: &str) -> Set {
        let is_in = |label: &String, package: &str| self.is_rule(label) && self.things[label].package == package;
        match word {
            "//..." => self.such(|label| self.is_rule(label)),
            "//p1/..." | "..." => self.such(|label| is_in(label, "p1") || is_in(label, "p1/sub")),
            "//p0:all" => self.such(|label| is_in(label, "p0")),
            ":all" => self.such(|label| is_in(label, "p1")),
            _ => {
                let absolute = match word.strip_prefix(':') {
                    Some(name) => format!("//p1:{name}"),
                    None if word.starts_with("//") => word.to_owned(),
                    None => format!("//p1:{word}"),
                };
                Set::from([absolute])
            }
        }
    }

    pub fn eval(&self, e: &E, variables: &mut Vec<(usize, Set)>) -> Set {
        let mut of = |e: &E| self.eval(e, variables);
        match e {
            E::Word(word) => self.word(word),
            E::Set(words) => words.iter().flat_map(|word| self.word(word)).collect(),
            E::Variable(name) => variables.iter().rfind(|(known, _)| known == name).map(|(_, set)| set.clone()).expect("bound"),
            E::Let(name, value, body) => {
                let value = of(value);
                variables.push((*name, value));
                let set = self.eval(body, variables);
                variables.pop();
                set
            }
            E::Union(a, b) => of(a).union(&of(b)).cloned().collect(),
            E::Except(a, b) => of(a).difference(&of(b)).cloned().collect(),
            E::Intersect(a, b) => of(a).intersection(&of(b)).cloned().collect(),
            E::Deps(e, steps) => self.near(&of(e), *steps, false, &self.all()),
            E::Rdeps(universe, e, steps) => {
                let within = self.near(&of(universe), None, false, &self.all());
                self.dependents(&of(e), *steps, &within)
            }
            E::Allrdeps(e, steps) => self.dependents(&of(e), *steps, &self.all()),
            E::RdepsOfAll(e) => self.dependents(&of(e), None, &self.all()),
            E::Allpaths(a, b) => {
                let (a, b, pairs) = (of(a), of(b), self.closure());
                let joined = |from: &String, to: &String| pairs.contains(&(from.clone(), to.clone()));
                self.such(|label| a.iter().any(|from| joined(from, label)) && b.iter().any(|to| joined(label, to)))
            }
            E::Kind(part, e) => of(e).into_iter().filter(|label| self.things[label].kind.contains(part)).collect(),
            E::Attr(name, part, e) => {
                let holds =
                    |label: &String| *name == "color" && self.things[label].color.is_some_and(|color| color.contains(part));
                of(e).into_iter().filter(holds).collect()
            }
            E::Filter(part, e) => of(e).into_iter().filter(|label| label.contains(part)).collect(),
            E::Labels(attr, e) => {
                let set = of(e);
                self.declared()
                    .filter(|(from, name, _)| set.contains(*from) && name == attr)
                    .map(|(_, _, to)| to.clone())
                    .collect()
            }
            E::Some(e, n) => {
                let mut labels: Vec<Label> = of(e).iter().map(|text| Label::parse(text, "", "").expect("a label")).collect();
                labels.sort();
                labels.iter().take(n.unwrap_or(1)).map(ToString::to_string).collect()
            }
            E::Plain(function, e) => self.plain(function, &of(e)),
        }
    }

    fn plain(&self, function: &str, set: &Set) -> Set {
        let packages: BTreeSet<&str> = set.iter().map(|label| self.things[label].package).collect();
        let package = |label: &String| self.things[label].package;
        match function {
            "owner" => {
                let mut owners: Set = set.iter().filter(|label| self.is_rule(label)).cloned().collect();
                for (from, _, to) in self.declared() {
                    if set.contains(to) && self.things[to].kind == "source file" {
                        owners.insert(from.clone());
                    }
                    if set.contains(from) && self.things[from].kind == "generated file" {
                        owners.insert(to.clone());
                    }
                }
                owners
            }
            "tests" => self.tests(set, &mut Set::new()),
            "buildfiles" => {
                let own = packages.iter().map(|package| &self.packages[package]);
                own.flat_map(|(build_file, loads)| loads.iter().chain([build_file])).cloned().collect()
            }
            "loadfiles" => packages.iter().flat_map(|package| self.packages[package].1.clone()).collect(),
            "siblings" => self.such(|label| packages.contains(package(label))),
            "same_pkg_direct_rdeps" => {
                let near = self.declared().filter(|(from, _, to)| set.contains(*to) && package(from) == package(to));
                near.map(|(from, _, _)| from.clone()).collect()
            }
            other => panic!("{other}"),
        }
    }

    /// What depends on these; on BUILD and `.star` files the targets of their packages do.
    fn dependents(&self, of: &Set, steps: Option<usize>, within: &Set) -> Set {
        let mut set = self.near(of, steps, true, within);
        for (name, (build, loads)) in &self.packages {
            let own: Set = loads.iter().chain([build]).filter(|file| of.contains(*file)).cloned().collect();
            let targets = self.such(|label| self.things[label].package == *name && self.things[label].kind.ends_with(" rule"));
            let targets: Set = targets.intersection(within).cloned().collect();
            if own.is_empty() || targets.is_empty() {
                continue;
            }
            set.extend(own);
            match steps {
                Some(0) => {}
                Some(steps) => set.extend(self.near(&targets, Some(steps - 1), true, within)),
                None => set.extend(self.near(&targets, None, true, within)),
            }
        }
        set
    }

    fn tests(&self, set: &Set, seen: &mut Set) -> Set {
        let mut tests = Set::new();
        for label in set {
            if self.is_test(label) {
                tests.insert(label.clone());
            }
            if self.things[label].kind == "test_suite rule" && seen.insert(label.clone()) {
                let listed: Set = self
                    .declared()
                    .filter(|(from, attr, _)| *from == label && *attr == "tests")
                    .map(|(_, _, to)| to.clone())
                    .collect();
                let package = self.things[label].package;
                let own = || {
                    self.such(|other| self.is_test(other) && !self.things[other].manual && self.things[other].package == package)
                };
                tests.extend(self.tests(&if listed.is_empty() { own() } else { listed }, seen));
            }
        }
        tests
    }
}
