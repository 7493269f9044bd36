//! Targets that stand for what an earlier build found: they have the names and files of their originals, and offer the same.
//!
//! Each is of a rule that has the name of its original's and does nothing, so that no phase can tell them apart from others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ouro_rules::named::Named;
use ouro_rules::{
    Analysis, AttrSpec, AttrType, Context, Diagnostic, EdgeKind, Label, Providers, Rule, RuleTable, Span, Spanned, Target, Value,
};

use super::Book;
use super::record::{Kept, Shown};
use crate::load::Package;

/// The edges that chains follow from program to program, each with the attribute that has its labels.
const ONWARD: [(EdgeKind, &str); 3] = [(EdgeKind::Jump, "jumps"), (EdgeKind::Actual, "actual"), (EdgeKind::Program, "programs")];

/// Whether a chain follows such an edge.
pub(super) fn leads_onward(kind: EdgeKind) -> bool {
    ONWARD.iter().any(|(other, _)| *other == kind)
}

/// Makes packages that stand for those of a book, and remembers what their targets offer.
pub(in crate::build) struct Stubs<'b> {
    book: &'b Book<'b>,
    offered: Mutex<Offered>,
}

/// The names of the rules that targets are of, and what they offer.
type Offered = BTreeMap<Label, (Arc<str>, Providers)>;

impl<'b> Stubs<'b> {
    /// None yet.
    pub(in crate::build) fn new(book: &'b Book<'b>) -> Stubs<'b> {
        Stubs { book, offered: Mutex::default() }
    }

    /// What stands for the package of this name; nothing when it must be loaded. Of targets that nobody needed nothing is known, so
    /// none stands for them.
    pub(in crate::build) fn package(&self, name: &str) -> Option<Package> {
        let kept = self.book.kept(name).filter(|kept| !kept.must_be_loaded())?;
        let (name, mut targets) = (Arc::<str>::from(name), Vec::new());
        for offer in &kept.offers {
            let shown = offer.shown()?;
            let Some(providers) = &shown.providers else { continue };
            let offered = (shown.rule.as_ref().into(), providers.clone().into_owned());
            let label = Label::new(name.clone(), offer.name.clone());
            targets.push((offer.name.clone(), stub(&kept, &label, &offer.outs, &shown)));
            self.offered.lock().unwrap_or_else(PoisonError::into_inner).insert(label, offered);
        }
        let build_file = kept.build_file.clone();
        Some(Package { name, build_file, targets: targets.into_iter().collect(), recalled: true, ..Package::default() })
    }

    /// Adds the rules of all that was made.
    pub(in crate::build) fn add_rules(self, rules: &mut RuleTable) {
        let offered = Arc::new(self.offered.into_inner().unwrap_or_else(PoisonError::into_inner));
        let names: BTreeSet<&Arc<str>> = offered.values().map(|(rule, _)| rule).collect();
        for name in names {
            rules.add(key(name), Arc::new(Recalled { name: Arc::clone(name), attrs: attrs(), offered: Arc::clone(&offered) }));
        }
    }
}

fn stub(kept: &Kept, label: &Label, outs: &[Arc<str>], shown: &Shown<'_>) -> Target {
    // Where it really stands matters only to findings, and those make the build go the whole way.
    let span = Span::point(kept.build_file.clone(), 1, 1);
    let spanned = |value| Spanned { value, span: span.clone() };
    let outs = outs.iter().map(|out| spanned(Value::Str(out.clone()))).collect();
    let mut attrs: Vec<(Arc<str>, Spanned)> = vec![("outs".into(), spanned(Value::List(outs)))];
    for (kind, name) in ONWARD {
        let labels =
            shown.onward.iter().filter(|(other, _)| *other == kind).map(|(_, label)| Value::Label(label.as_ref().clone()));
        let labels: Vec<Spanned> = labels.map(spanned).collect();
        // Conditions are found through what aliases stand for.
        let value = if kind == EdgeKind::Actual { labels.into_iter().next() } else { Some(spanned(Value::List(labels))) };
        attrs.extend(value.map(|value| (name.into(), value)));
    }
    Target {
        label: label.clone(),
        rule: key(&shown.rule).into(),
        attrs: Named::from_iter(attrs),
        visibility: shown.visibility.as_ref().clone(),
        tags: Vec::new(),
        span,
        macro_trace: Vec::new(),
    }
}

/// Of the rule of stubs for targets of this rule; no other has such a one.
fn key(rule: &str) -> String {
    format!("%{rule}")
}

fn attrs() -> Vec<AttrSpec> {
    let attr = |(kind, name): (EdgeKind, &str)| AttrSpec::new(name, AttrType::Label.list(), "").edge(kind);
    ONWARD.into_iter().map(attr).collect()
}

/// The rule of stubs.
struct Recalled {
    /// Of the rule it stands for.
    name: Arc<str>,
    attrs: Vec<AttrSpec>,
    offered: Arc<Offered>,
}

impl Rule for Recalled {
    fn name(&self) -> &str {
        &self.name
    }

    fn doc(&self) -> &str {
        ""
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let providers = self.offered.get(&ctx.target.label).map(|(_, providers)| providers.clone());
        Ok(Analysis { providers: providers.unwrap_or_default(), ..Analysis::default() })
    }
}
