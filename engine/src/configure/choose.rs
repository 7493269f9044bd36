//! Which branch of a `select()` holds: that of the most specific condition.

use std::rc::Rc;
use std::sync::Arc;

use ouro_rules::attr::{Record, Spanned, Value};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::select::{self, Branch, Choice, Part, Select};
use ouro_rules::{Configuration, Target};

use super::conditions::{Condition, Conditions};
use crate::load::Loaded;
use crate::visibility;

pub(super) struct Chooser<'a, 'l> {
    pub(super) loaded: &'l Loaded,
    pub(super) configuration: &'a Configuration,
    pub(super) conditions: Conditions<'l>,
}

type Findings = Vec<Diagnostic>;

impl Chooser<'_, '_> {
    /// The target with everything chosen.
    pub(super) fn target(&self, target: &Target) -> Result<Target, Findings> {
        let (mut attrs, mut findings) = (Vec::with_capacity(target.attrs.len()), Findings::new());
        for (name, attr) in &target.attrs {
            match self.value(target, attr) {
                Ok(value) => attrs.push((Arc::clone(name), value)),
                Err(more) => findings.extend(more),
            }
        }
        if findings.is_empty() { Ok(Target { attrs: attrs.into_iter().collect(), ..target.clone() }) } else { Err(findings) }
    }

    fn value(&self, target: &Target, attr: &Spanned) -> Result<Spanned, Findings> {
        let value = match &attr.value {
            Value::Select(select) => return self.sum(target, select, attr),
            Value::List(items) if attr.value.has_select() => Value::List(all(items.iter().map(|item| self.value(target, item)))?),
            Value::Record(record) if attr.value.has_select() => {
                let fields = record.fields.iter().map(|(name, field)| Ok((Arc::clone(name), self.value(target, field)?)));
                Value::Record(Record { kind: Arc::clone(&record.kind), fields: all(fields)? })
            }
            other => other.clone(),
        };
        Ok(Spanned { value, span: attr.span.clone() })
    }

    fn sum(&self, target: &Target, select: &Select, attr: &Spanned) -> Result<Spanned, Findings> {
        let parts = select.parts.iter().map(|part| match part {
            Part::Plain(value) => self.value(target, value),
            Part::Choice(choice) => self.value(target, self.choice(target, choice)?),
        });
        let joined = all(parts)?
            .into_iter()
            .map(|part| part.value)
            .reduce(|sum, part| select::join(sum, part).expect("BUG: loading checked that the parts can be joined"));
        Ok(Spanned { value: joined.unwrap_or(Value::None), span: attr.span.clone() })
    }

    /// The value of the branch that holds.
    fn choice<'c>(&self, target: &Target, choice: &'c Choice) -> Result<&'c Spanned, Findings> {
        let judged = all(choice.branches.iter().map(|branch| Ok((branch, self.condition(target, branch)?))))?;
        let holding: Vec<_> = judged.iter().filter(|(_, condition)| condition.holds).collect();
        let best: Vec<&Branch> = holding
            .iter()
            .filter(|one| !holding.iter().any(|other| beats(&other.1, &one.1)))
            .map(|(branch, _)| *branch)
            .collect();
        match (best.as_slice(), &choice.default) {
            ([], Some(default)) => Ok(default),
            ([], None) => Err(vec![self.no_match(target, choice)]),
            ([first, others @ ..], _) if others.iter().all(|other| select::alike(&other.value.value, &first.value.value)) => {
                Ok(&first.value)
            }
            (several, _) => Err(vec![self.ambiguous(target, choice, several)]),
        }
    }

    fn condition(&self, target: &Target, branch: &Branch) -> Result<Rc<Condition>, Findings> {
        let condition = self.conditions.get(&branch.condition, &branch.span).map_err(|finding| vec![finding])?;
        if let Err(findings) = &condition.requirements {
            return Err(findings.clone());
        }
        let named = self.loaded.target(&branch.condition);
        match named.and_then(|named| visibility::hidden(self.loaded, &target.label, &target.label.package, named, &branch.span)) {
            Some(finding) => Err(vec![finding]),
            None => Ok(condition),
        }
    }

    fn no_match(&self, target: &Target, choice: &Choice) -> Diagnostic {
        let message = match choice.no_match_error.as_str() {
            "" => "no condition of this `select()` holds",
            text => text,
        };
        let finding = self.about(target, choice, message.to_owned());
        let finding = choice
            .branches
            .iter()
            .fold(finding, |finding, branch| finding.related(&branch.span, format!("`{}` does not hold", branch.condition)));
        finding.help(format!("add a branch for this configuration, or one for `{}`", select::DEFAULT))
    }

    fn ambiguous(&self, target: &Target, choice: &Choice, several: &[&Branch]) -> Diagnostic {
        let names: Vec<String> = several.iter().map(|branch| format!("`{}`", branch.condition)).collect();
        let message = format!("several conditions of this `select()` hold, and none is the most specific: {}", names.join(", "));
        let finding = self.about(target, choice, message);
        let finding = several
            .iter()
            .fold(finding, |finding, branch| finding.related(&branch.span, format!("`{}` holds", branch.condition)));
        finding.help("add a condition that asks for all that these ask for, or let them give the same value")
    }

    fn about(&self, target: &Target, choice: &Choice, message: String) -> Diagnostic {
        let finding = Diagnostic::error(&choice.span, message).note(format!("the configuration is: {}", self.configuration));
        // A `select()` of a `.star` file serves many targets.
        if choice.span.file == target.span.file {
            finding
        } else {
            finding.related(&target.span, format!("for `{}`", target.label))
        }
    }
}

/// Whether one condition asks for all that the other does, and more.
fn beats(one: &Condition, other: &Condition) -> bool {
    match (&one.requirements, &other.requirements) {
        (Ok(one), Ok(other)) => one.include(other) && !other.include(one),
        _ => false,
    }
}

/// All values, or all findings.
fn all<T>(results: impl Iterator<Item = Result<T, Findings>>) -> Result<Vec<T>, Findings> {
    let (mut values, mut findings) = (Vec::new(), Findings::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => findings.extend(more),
        }
    }
    if findings.is_empty() { Ok(values) } else { Err(findings) }
}
