//! Expressions to sets of nodes.
//!
//! Knows nothing of how either is written. What could be wrong is found before: here everything has an answer.

use std::collections::BTreeMap;

use ouro_rules::label::Scope;
use regex::Regex;

use super::Attributes;
use super::bits::Bits;
use super::expr::{Call, Expr, Operator};
use super::function::Function;
use super::links::{Link, Links};
use super::node::{Ix, Kind};
use super::target_graph::TargetGraph;
use super::walk::Walk;
use super::word::Meaning;

/// One evaluation.
pub(super) struct Evaluation<'a> {
    pub(super) graph: &'a TargetGraph,
    pub(super) attributes: Attributes<'a>,
    /// What each word means.
    pub(super) meanings: &'a BTreeMap<String, Meaning>,
    /// The variables, the innermost last.
    pub(super) variables: Vec<(&'a str, Bits)>,
}

impl<'a> Evaluation<'a> {
    /// The nodes, sorted by label, or in the order of the way.
    pub(super) fn run(mut self, expr: &'a Expr) -> Vec<Ix> {
        match expr {
            Expr::Call(call) if call.function == Function::Somepath => {
                let args = self.args(call);
                self.path(&args[0], &args[1])
            }
            expr => self.set(expr).iter().collect(),
        }
    }

    fn set(&mut self, expr: &'a Expr) -> Bits {
        match expr {
            Expr::Word(word) => self.named([word.text.as_str()]),
            Expr::Set(words) => self.named(words.iter().map(|word| word.text.as_str())),
            Expr::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| *known == name.text);
                known.map_or_else(|| self.none(), |(_, set)| set.clone())
            }
            Expr::Call(call) => self.call(call),
            Expr::Chain(first, rest) => self.chain(first, rest),
            Expr::Let(name, value, body) => {
                let value = self.set(value);
                self.variables.push((&name.text, value));
                let set = self.set(body);
                self.variables.pop();
                set
            }
        }
    }

    fn none(&self) -> Bits {
        Bits::new(self.graph.len())
    }

    fn of(&self, nodes: impl IntoIterator<Item = Ix>) -> Bits {
        let mut set = self.none();
        set.extend(nodes);
        set
    }

    fn named<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Bits {
        let meanings = words.into_iter().filter_map(|word| self.meanings.get(word));
        self.of(meanings.flat_map(|meaning| self.graph.select(&meaning.scope)))
    }

    fn chain(&mut self, first: &'a Expr, rest: &'a [(Operator, Expr)]) -> Bits {
        let mut set = self.set(first);
        for (operator, expr) in rest {
            let other = self.set(expr);
            match operator {
                Operator::Union => set.unite(&other),
                Operator::Except => set.subtract(&other),
                Operator::Intersect => set.intersect(&other),
            }
        }
        set
    }

    fn args(&mut self, call: &'a Call) -> Vec<Bits> {
        call.targets().map(|expr| self.set(expr)).collect()
    }

    fn call(&mut self, call: &'a Call) -> Bits {
        let graph = self.graph;
        let args = self.args(call);
        // Every function has an expression, and in all but three it is the only one.
        let (first, last) = (&args[0], &args[args.len() - 1]);
        match call.function {
            Function::Deps => self.walk(graph.down(), None).reach(last, call.number()),
            Function::Rdeps if args.len() == 2 => self.rdeps(first, last, call.number()),
            Function::Rdeps | Function::Allrdeps => self.dependents(last, None, call.number()),
            Function::Somepath => self.of(self.path(first, last)),
            Function::Allpaths => {
                let mut set = self.walk(graph.down(), None).reach(first, None);
                set.intersect(&self.walk(graph.up(), None).reach(last, None));
                set
            }
            Function::Kind => self.matching(call, last, |node, regex| regex.is_match(&graph.node(node).kind.to_string())),
            Function::Filter => self.matching(call, last, |node, regex| regex.is_match(&graph.node(node).label.to_string())),
            Function::Attr => self.matching(call, last, |node, regex| self.attr_matches(call, node, regex)),
            Function::Labels => self.labels(call, last),
            Function::Owner => self.owners(last),
            Function::Tests => self.tests(last),
            Function::Buildfiles => self.files(last, true),
            Function::Loadfiles => self.files(last, false),
            Function::Siblings => self.of(self.packages(last).iter().flat_map(|package| graph.members(package))),
            Function::SamePkgDirectRdeps => self.same_package_rdeps(last),
            Function::Some => self.of(last.iter().take(call.number().unwrap_or(1) as usize)),
            // These stand outside of everything else, and are taken off before.
            Function::Mnemonic | Function::Inputs | Function::Outputs => last.clone(),
        }
    }

    fn walk<'w>(&self, links: &'w Links, within: Option<&'w Bits>) -> Walk<'w> {
        Walk { links, follow: Link::is_declared, within }
    }

    fn path(&self, from: &Bits, to: &Bits) -> Vec<Ix> {
        self.walk(self.graph.down(), None).path(from, to)
    }

    fn rdeps(&self, universe: &Bits, of: &Bits, steps: Option<u32>) -> Bits {
        let within = self.walk(self.graph.down(), None).reach(universe, None);
        self.dependents(of, Some(&within), steps)
    }

    /// What depends on these. On a BUILD or `.star` file all targets do that are made from it.
    fn dependents(&self, of: &Bits, within: Option<&Bits>, steps: Option<u32>) -> Bits {
        let up = |mut start: Bits, steps| {
            within.iter().for_each(|within| start.intersect(within));
            self.walk(self.graph.up(), within).reach(&start, steps)
        };
        let mut set = up(of.clone(), steps);
        let (files, made) = self.made_from(of, within);
        set.unite(&files);
        if steps != Some(0) && made.iter().next().is_some() {
            set.unite(&up(made, steps.map(|steps| steps - 1)));
        }
        set
    }

    /// The BUILD and `.star` files among these nodes, and the targets `within` that are made from them.
    fn made_from(&self, set: &Bits, within: Option<&Bits>) -> (Bits, Bits) {
        let (mut files, mut made) = (self.none(), self.none());
        for (name, package) in self.graph.packages() {
            let own: Vec<Ix> =
                package.loads.iter().copied().chain([package.build_file]).filter(|file| set.contains(*file)).collect();
            if own.is_empty() {
                continue;
            }
            let mut targets = self.graph.select(&Scope::Package(name.into()));
            targets.retain(|target| within.is_none_or(|within| within.contains(*target)));
            if !targets.is_empty() {
                files.extend(own);
                made.extend(targets);
            }
        }
        (files, made)
    }

    fn matching(&self, call: &Call, set: &Bits, matches: impl Fn(Ix, &Regex) -> bool) -> Bits {
        call.regex().map_or_else(|| self.none(), |regex| set.filtered(|node| matches(node, regex)))
    }

    fn attr_matches(&self, call: &Call, node: Ix, regex: &Regex) -> bool {
        let value = call.attribute().and_then(|name| (self.attributes)(self.graph.node(node).label, &name.text));
        value.is_some_and(|text| regex.is_match(&text))
    }

    fn labels(&self, call: &Call, set: &Bits) -> Bits {
        let name = call.attribute().map_or("", |word| &word.text);
        let is_meant = |link: &&Link| self.graph.attr(link).is_some_and(|attr| **attr == *name);
        self.of(set.iter().flat_map(|node| self.graph.down().of(node).iter().filter(is_meant)).map(|link| link.to))
    }

    /// For files the targets that name or make them; targets own themselves.
    fn owners(&self, set: &Bits) -> Bits {
        let mut owners = self.none();
        for node in set.iter() {
            match self.graph.node(node).kind {
                Kind::Rule(_) => drop(owners.insert(node)),
                Kind::Source => owners.extend(self.declared(self.graph.up(), node)),
                Kind::Generated => owners.extend(self.declared(self.graph.down(), node)),
            }
        }
        owners
    }

    /// The tests of a set, and those that its suites stand for. A suite that lists none stands for all of its package that need
    /// not be named.
    fn tests(&self, set: &Bits) -> Bits {
        let graph = self.graph;
        let mut seen = set.clone();
        let mut open: Vec<Ix> = set.iter().filter(|node| graph.node(*node).is_suite()).collect();
        while let Some(suite) = open.pop() {
            let is_member = |link: &&Link| graph.attr(link).is_some_and(|attr| &**attr == "tests");
            let mut members: Vec<Ix> = graph.down().of(suite).iter().filter(is_member).map(|link| link.to).collect();
            if members.is_empty() {
                let own = graph.members(graph.node(suite).label.package);
                members = own.filter(|node| graph.node(*node).is_test() && !graph.node(*node).is_manual()).collect();
            }
            open.extend(members.into_iter().filter(|node| seen.insert(*node) && graph.node(*node).is_suite()));
        }
        seen.filtered(|node| graph.node(node).is_test())
    }

    /// The BUILD files of the packages of a set, and the `.star` files that those load; or the latter alone.
    fn files(&self, set: &Bits, build_files: bool) -> Bits {
        let packages = self.packages(set).into_iter().filter_map(|package| self.graph.package(package));
        self.of(packages.flat_map(|package| package.loads.iter().copied().chain(build_files.then_some(package.build_file))))
    }

    fn packages(&self, set: &Bits) -> Vec<&'a str> {
        let graph = self.graph;
        let own = set.iter().map(|node| graph.node(node).label).filter(|label| label.repo.is_empty());
        let mut packages: Vec<&str> = own.map(|label| label.package).collect();
        packages.dedup();
        packages
    }

    fn same_package_rdeps(&self, set: &Bits) -> Bits {
        let package = |node: Ix| self.graph.node(node).label.package;
        let rdeps = |node: Ix| self.declared(self.graph.up(), node).filter(move |other| package(*other) == package(node));
        self.of(set.iter().flat_map(rdeps))
    }

    fn declared<'l>(&self, links: &'l Links, node: Ix) -> impl Iterator<Item = Ix> + use<'l> {
        links.of(node).iter().filter(|link| link.is_declared()).map(|link| link.to)
    }
}
