//! Which tests are meant: patterns select, suites and aliases stand for others, a filter looks at names.
//!
//! Pure. Nothing is analysed yet: tests are known by their rules, suites and aliases by the kinds of their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_rules::label::{Pattern, Scope};
use ouro_rules::{Diagnostic, EdgeKind, Label, Target};
use regex::Regex;

use crate::load::Loaded;

/// What names of tests must match, somewhere.
#[derive(Debug, Clone)]
pub struct Filter(Regex);

impl Filter {
    /// Reads a regular expression.
    pub fn parse(text: &str) -> Result<Filter, Diagnostic> {
        // The last line of the error is the reason; those before draw the expression.
        let finding = |error: regex::Error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Diagnostic::bare(format!("the filter is no regular expression: {reason}"))
        };
        Regex::new(text).map(Filter).map_err(finding)
    }
}

/// What was selected.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) tests: BTreeSet<Label>,
    /// Suites and aliases that led to tests, or should have.
    pub(super) through: BTreeSet<Label>,
}

/// The tests among what the patterns select. One that is named and is no test is a finding.
pub(super) fn select(loaded: &Loaded, patterns: &[Pattern], filter: Option<&Filter>) -> Result<Selected, Vec<Diagnostic>> {
    let mut expansion = Expansion { loaded, tests: BTreeMap::new() };
    let mut tests: BTreeSet<Label> = loaded.requested.iter().flat_map(|label| expansion.of(label)).collect();
    let findings: Vec<Diagnostic> = named(patterns).filter_map(|label| expansion.finding(label)).collect();
    if !findings.is_empty() {
        return Err(findings);
    }
    // Suites that nobody named do not bring what must be named.
    let by_name: BTreeSet<Label> = named(patterns).flat_map(|label| expansion.of(label)).collect();
    let is_manual = |label: &Label| loaded.target(label).is_some_and(|target| has_tag(target, "manual"));
    tests.retain(|label| by_name.contains(label) || !is_manual(label));
    // Suites may bring back what was excluded.
    let excluded = |label: &Label| patterns.iter().rev().find(|pattern| pattern.matches(label)).is_some_and(|it| it.negative);
    tests.retain(|label| !excluded(label) && filter.is_none_or(|filter| filter.0.is_match(&label.to_string())));
    let through = expansion.tests.into_keys().filter(|label| is_group(loaded, label)).collect();
    Ok(Selected { tests, through })
}

fn named(patterns: &[Pattern]) -> impl Iterator<Item = &Label> {
    patterns.iter().filter(|pattern| !pattern.negative).filter_map(|pattern| match &pattern.scope {
        Scope::Target(label) => Some(label),
        Scope::Package(_) | Scope::Subtree(_) => None,
    })
}

/// What targets stand for, each worked out once.
struct Expansion<'l> {
    loaded: &'l Loaded,
    tests: BTreeMap<Label, BTreeSet<Label>>,
}

impl Expansion<'_> {
    /// The tests that a label stands for. With a stack of its own: suites may be nested deep, and in circles, which the graph reports.
    fn of(&mut self, label: &Label) -> BTreeSet<Label> {
        let mut open = vec![(label.clone(), false)];
        while let Some((label, parts_done)) = open.pop() {
            if parts_done {
                let tests = self.together(&label);
                self.tests.insert(label, tests);
                continue;
            }
            if self.tests.contains_key(&label) {
                continue;
            }
            let itself = is_test(self.loaded, &label).then(|| label.clone()).into_iter().collect();
            self.tests.insert(label.clone(), itself);
            let parts = parts(self.loaded, &label);
            open.push((label, true));
            open.extend(parts.into_iter().map(|part| (part, false)));
        }
        self.tests.get(label).cloned().unwrap_or_default()
    }

    /// The tests of a label's parts, all of which are known.
    fn together(&self, label: &Label) -> BTreeSet<Label> {
        let mut tests = self.tests[label].clone();
        tests.extend(parts(self.loaded, label).iter().flat_map(|part| self.tests.get(part).into_iter().flatten().cloned()));
        if let Some(suite) = self.loaded.target(label).filter(|target| labels(self.loaded, target, EdgeKind::Test).is_some()) {
            tests.retain(|test| self.loaded.target(test).is_some_and(|test| admits(suite, test)));
        }
        tests
    }

    /// What is wrong with a name that was given: it must be a test, or lead to a suite or test.
    fn finding(&mut self, label: &Label) -> Option<Diagnostic> {
        let mut seen = BTreeSet::new();
        let mut end = label.clone();
        while seen.insert(end.clone())
            && let Some(next) = self.loaded.target(&end).and_then(|target| labels(self.loaded, target, EdgeKind::Actual)?.pop())
        {
            end = next;
        }
        let is_suite = self.loaded.target(&end).is_some_and(|target| labels(self.loaded, target, EdgeKind::Test).is_some());
        let finding =
            || Diagnostic::bare(format!("`{label}` is no test")).help("name tests or test suites; `ouro build` builds the rest");
        (!is_suite && !is_test(self.loaded, &end)).then(|| finding().named_at(None))
    }
}

fn is_test(loaded: &Loaded, label: &Label) -> bool {
    let rule = loaded.target(label).and_then(|target| loaded.rules.rule(&target.rule));
    rule.is_some_and(|rule| rule.is_test())
}

fn is_group(loaded: &Loaded, label: &Label) -> bool {
    let has = |target: &Target, kind| labels(loaded, target, kind).is_some();
    loaded.target(label).is_some_and(|target| has(target, EdgeKind::Test) || has(target, EdgeKind::Actual))
}

/// The labels in the target's attributes of this kind; none when its rule has no such attribute.
fn labels(loaded: &Loaded, target: &Target, kind: EdgeKind) -> Option<Vec<Label>> {
    let attrs = loaded.rules.rule(&target.rule)?.attrs().iter().filter(|attr| attr.edge == Some(kind));
    let mut found = None;
    for attr in attrs {
        let labels = found.get_or_insert_with(Vec::new);
        let Some(value) = target.attrs.get(attr.name.as_str()) else { continue };
        value.value.each_label(&value.span, &mut |label, _| labels.push(label.clone()));
    }
    found
}

/// What a target stands for: what an alias or a suite names; for a suite that names nothing, all tests of its package.
fn parts(loaded: &Loaded, label: &Label) -> Vec<Label> {
    let Some(target) = loaded.target(label) else { return Vec::new() };
    match labels(loaded, target, EdgeKind::Test) {
        Some(tests) if tests.is_empty() => tests_of_package(loaded, &label.package),
        Some(tests) => tests,
        None => labels(loaded, target, EdgeKind::Actual).unwrap_or_default(),
    }
}

fn tests_of_package(loaded: &Loaded, package: &str) -> Vec<Label> {
    let targets = loaded.packages.get(package).into_iter().flat_map(|package| package.targets.values());
    let automatic = targets.filter(|target| !has_tag(target, "manual")).map(|target| target.label.clone());
    automatic.filter(|label| is_test(loaded, label)).collect()
}

/// Whether the tags of a suite let a test in: it has every one, and none of those with `-` in front.
fn admits(suite: &Target, test: &Target) -> bool {
    let fits = |tag: &Arc<str>| match tag.strip_prefix('-') {
        Some(unwanted) => !has_tag(test, unwanted),
        None => **tag == *"manual" || has_tag(test, tag.strip_prefix('+').unwrap_or(tag)),
    };
    suite.tags.iter().all(fits)
}

/// A test's size counts as a tag; it is medium unless it says otherwise.
fn has_tag(target: &Target, tag: &str) -> bool {
    let size = target.attrs.get("size").map(|size| size.value.as_str().unwrap_or("medium"));
    size == Some(tag) || target.tags.iter().any(|own| **own == *tag)
}
