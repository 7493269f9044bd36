//! `select()`: values that depend on the configuration, as BUILD files give them.
//!
//! Every branch is checked against its attribute when it is loaded; which one holds is decided later, elsewhere.

use crate::attr::{Spanned, Value};
use crate::diagnostic::Span;
use crate::label::Label;

/// A value with parts that depend on the configuration; joined, they are the attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The parts in the order written. Several only for strings, lists and dictionaries.
    pub parts: Vec<Part>,
}

/// A part of the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The same in every configuration.
    Plain(Spanned),
    /// One `select()`.
    Choice(Choice),
}

/// One `select()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its branches, in the order written.
    pub branches: Vec<Branch>,
    /// What it is when no condition holds.
    pub default: Option<Spanned>,
    /// What to say when no condition holds and there is no default; empty when the author said nothing.
    pub no_match_error: String,
    /// The call of `select()`.
    pub span: Span,
}

/// One branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// What must hold.
    pub condition: Label,
    /// Where the condition is named.
    pub span: Span,
    /// What the choice is then.
    pub value: Spanned,
}

/// The condition that holds when no other does.
pub const DEFAULT: &str = "//conditions:default";

impl Select {
    /// Every value that some configuration may choose.
    pub fn values(&self) -> impl Iterator<Item = &Spanned> {
        self.parts.iter().flat_map(Part::values)
    }

    /// Calls `f` with every condition, those inside of branches, too.
    pub(crate) fn each_condition<'a>(&'a self, f: &mut dyn FnMut(&'a Label, &'a Span)) {
        for part in &self.parts {
            if let Part::Choice(choice) = part {
                choice.branches.iter().for_each(|branch| f(&branch.condition, &branch.span));
            }
            part.values().for_each(|value| value.value.each_condition(f));
        }
    }

    /// Calls `f` with every condition, and with every label of every branch.
    pub(crate) fn each_label<'a>(&'a self, f: &mut dyn FnMut(&'a Label, &'a Span)) {
        for part in &self.parts {
            if let Part::Choice(choice) = part {
                choice.branches.iter().for_each(|branch| f(&branch.condition, &branch.span));
            }
            part.values().for_each(|value| value.value.each_label(&value.span, f));
        }
    }
}

impl Part {
    fn values(&self) -> Box<dyn Iterator<Item = &Spanned> + '_> {
        match self {
            Part::Plain(value) => Box::new(std::iter::once(value)),
            Part::Choice(choice) => Box::new(choice.branches.iter().map(|branch| &branch.value).chain(&choice.default)),
        }
    }
}

/// Both values as one; `None` for kinds that cannot be joined. Of a key that both dictionaries have, the later value counts.
pub fn join(first: Value, second: Value) -> Option<Value> {
    match (first, second) {
        (Value::Str(first), Value::Str(second)) => Some(Value::Str(format!("{first}{second}").into())),
        (Value::List(mut first), Value::List(second)) => {
            first.extend(second);
            Some(Value::List(first))
        }
        (Value::Dict(mut first), Value::Dict(second)) => {
            for (key, value) in second {
                match first.iter_mut().find(|(known, _)| alike(&known.value, &key.value)) {
                    Some((_, known)) => *known = value,
                    None => first.push((key, value)),
                }
            }
            Some(Value::Dict(first))
        }
        _ => None,
    }
}

/// Whether two values are the same, wherever they are written.
pub fn alike(a: &Value, b: &Value) -> bool {
    let pair = |(a, b): (&Spanned, &Spanned)| alike(&a.value, &b.value);
    match (a, b) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(pair),
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((key_a, a), (key_b, b))| pair((key_a, key_b)) && pair((a, b)))
        }
        (Value::Record(a), Value::Record(b)) => {
            a.kind == b.kind
                && a.fields.len() == b.fields.len()
                && a.fields.iter().zip(&b.fields).all(|((name_a, a), (name_b, b))| name_a == name_b && pair((a, b)))
        }
        _ => a == b,
    }
}
