//! Which conditions hold, and what flags are set to.
//!
//! Knows nothing of who asks for them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ouro_rules::condition::{Flag, Requirements, flag_entries, no_value};
use ouro_rules::diagnostic::{Diagnostic, Span, did_you_mean};
use ouro_rules::rule::Role;
use ouro_rules::{Configuration, EdgeKind, Label, Target};

use crate::load::Loaded;

/// Longer rows of aliases than anybody has use for.
const MAX_ALIASES: usize = 64;

/// What is known of conditions in one configuration.
pub(super) struct Conditions<'l> {
    loaded: &'l Loaded,
    configuration: Configuration,
    /// What was asked before, by the label of the `config_setting` itself.
    known: RefCell<BTreeMap<&'l Label, Rc<Condition>>>,
}

/// A `config_setting`.
pub(super) struct Condition {
    pub(super) holds: bool,
    /// What it asks for; or what is wrong with it.
    pub(super) requirements: Result<Requirements, Vec<Diagnostic>>,
}

impl<'l> Conditions<'l> {
    /// For this configuration; reports flags that it sets and that are none, or do not take the value.
    pub(super) fn new(loaded: &'l Loaded, configuration: &Configuration, findings: &mut Vec<Diagnostic>) -> Conditions<'l> {
        let mut configuration = configuration.clone();
        for (label, given) in &mut configuration.flags {
            let placed = |finding: Diagnostic| finding.named_at(given.span.clone());
            let Some(flag) = flag_of(loaded, label) else {
                findings.push(placed(no_flag(loaded, label)));
                continue;
            };
            match flag.read(&given.value) {
                Ok(value) => given.value = value,
                Err(help) => findings.push(placed(no_value(&given.value, label).help(help))),
            }
        }
        Conditions { loaded, configuration, known: RefCell::default() }
    }

    /// The condition of this label, through aliases.
    pub(super) fn get(&self, label: &Label, span: &Span) -> Result<Rc<Condition>, Diagnostic> {
        let target = self.setting(label, span)?;
        if let Some(known) = self.known.borrow().get(&target.label) {
            return Ok(Rc::clone(known));
        }
        let condition = Rc::new(self.judge(target));
        self.known.borrow_mut().insert(&target.label, Rc::clone(&condition));
        Ok(condition)
    }

    fn judge(&self, target: &'l Target) -> Condition {
        let unknown = flag_entries(target).filter(|(label, _)| flag_of(self.loaded, label).is_none());
        let unknown: Vec<Diagnostic> =
            unknown.map(|(label, value)| Diagnostic { span: Some(value.span.clone()), ..no_flag(self.loaded, label) }).collect();
        let requirements = Requirements::of(target, &|label| flag_of(self.loaded, label));
        let requirements = if unknown.is_empty() { requirements } else { Err(unknown) };
        let value = |label: &Label| {
            let given = self.configuration.flags.get(label).map(|given| Arc::clone(&given.value));
            given.or_else(|| flag_of(self.loaded, label).map(|flag| flag.default))
        };
        let holds = requirements.as_ref().is_ok_and(|requirements| requirements.hold(&self.configuration, &value));
        Condition { holds, requirements }
    }

    /// The `config_setting` that a label means.
    fn setting(&self, label: &Label, span: &Span) -> Result<&'l Target, Diagnostic> {
        let mut here = label;
        // Aliases of aliases may go in a circle.
        for _ in 0..MAX_ALIASES {
            let target = self.loaded.target(here).ok_or_else(|| missing(self.loaded, here, span))?;
            match role(self.loaded, target) {
                Some(Role::Condition) => return Ok(target),
                _ => here = actual(self.loaded, target).ok_or_else(|| no_condition(label, target, span))?,
            }
        }
        Err(Diagnostic::error(span, format!("`{label}` is an alias of itself")).help("let it stand for a `config_setting`"))
    }
}

fn role(loaded: &Loaded, target: &Target) -> Option<Role> {
    loaded.rules.rule(&target.rule).map(|rule| rule.role())
}

/// What a target stands for, if it is an alias.
fn actual<'l>(loaded: &'l Loaded, target: &'l Target) -> Option<&'l Label> {
    let attrs = loaded.rules.rule(&target.rule)?.attrs();
    let attr = attrs.iter().find(|attr| attr.edge == Some(EdgeKind::Actual))?;
    target.get(&attr.name).as_label()
}

fn flag_of(loaded: &Loaded, label: &Label) -> Option<Flag> {
    let target = loaded.target(label).filter(|target| role(loaded, target) == Some(Role::Flag))?;
    // What is wrong with its default is told by its own analysis.
    Some(Flag::of(target).unwrap_or_else(|_| Flag { default: "".into(), values: Vec::new() }))
}

fn no_flag(loaded: &Loaded, label: &Label) -> Diagnostic {
    let finding = Diagnostic::bare(format!("there is no flag `{label}`"));
    if let Some(target) = loaded.target(label) {
        return finding.note(format!("it is a `{}`", target.rule)).help("name a `string_flag` or `bool_flag`");
    }
    let targets = loaded.packages.get(&label.package).into_iter().flat_map(|package| package.targets.values());
    let flags = targets.filter(|target| role(loaded, target) == Some(Role::Flag)).map(|target| &*target.label.name);
    let declare = || format!("declare a `string_flag` or `bool_flag` of this name in `//{}`", label.package);
    finding.help(did_you_mean(&label.name, flags).unwrap_or_else(declare))
}

fn missing(loaded: &Loaded, label: &Label, span: &Span) -> Diagnostic {
    let names = loaded.packages.get(&label.package).into_iter().flat_map(|package| package.targets.keys());
    let declare = || format!("declare a `config_setting` of this name in `//{}`", label.package);
    let near = did_you_mean(&label.name, names.map(|name| &**name));
    Diagnostic::error(span, format!("there is no target `{label}`")).help(near.unwrap_or_else(declare))
}

fn no_condition(label: &Label, target: &Target, span: &Span) -> Diagnostic {
    let finding = Diagnostic::error(span, format!("`{label}` is a `{}`, which is no condition", target.rule));
    finding.related(&target.span, "declared here").help("name a `config_setting`")
}
