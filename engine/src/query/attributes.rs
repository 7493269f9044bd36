//! What targets say of themselves: attribute values without the places they were written at, each once, however many have it.
//!
//! Knows nothing of rules.

use std::sync::Arc;

use ouro_rules::{Label, Spanned, Target, Value};
use serde::{Deserialize, Serialize};

use super::node::Ix;
use crate::fast::FastMap;

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Plain {
    /// Not given, and no default.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Str(Arc<str>),
    /// A label.
    Label(Label),
    /// A list.
    List(Vec<Plain>),
    /// A dictionary, in the order written.
    Dict(Vec<(Plain, Plain)>),
    /// What a constructor of this name made, with its arguments by name.
    Record(Arc<str>, Vec<(Arc<str>, Plain)>),
}

/// The attributes of the nodes of a graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttributeTable {
    names: Vec<Arc<str>>,
    values: Vec<Plain>,
    /// Of each node, one after the other: a name and a value.
    given: Vec<(u16, u32)>,
    /// Where those of each node end.
    ends: Vec<u32>,
}

impl AttributeTable {
    /// What the nodes say, in their order; those that are no targets say nothing.
    pub(super) fn new<'t>(nodes: impl Iterator<Item = Option<&'t Target>>) -> AttributeTable {
        let (mut names, mut values, mut table) = (FastMap::default(), FastMap::default(), AttributeTable::default());
        for target in nodes {
            for (name, attr) in target.into_iter().flat_map(|target| &target.attrs) {
                let name = number(&mut names, &mut table.names, name.clone());
                let value = number(&mut values, &mut table.values, Plain::of(&attr.value));
                table.given.push((u16::try_from(name).expect("BUG: rules have fewer than 65,536 attributes"), value));
            }
            table.ends.push(table.given.len() as u32);
        }
        table
    }

    /// What a node says, by the names of its attributes.
    pub fn of(&self, node: Ix) -> impl Iterator<Item = (&Arc<str>, &Plain)> {
        let end = |place: usize| self.ends.get(place).map_or(0, |end| *end as usize);
        let start = node.place().checked_sub(1).map_or(0, end);
        let given = self.given[start..end(node.place())].iter();
        given.map(|(name, value)| (&self.names[usize::from(*name)], &self.values[*value as usize]))
    }

    /// An attribute of a node as text, as `Plain::text` has it.
    pub fn text(&self, node: Ix, name: &str) -> Option<String> {
        self.of(node).find(|(other, _)| ***other == *name).and_then(|(_, value)| value.text())
    }
}

fn number<T: Clone + Eq + std::hash::Hash>(numbers: &mut FastMap<T, u32>, all: &mut Vec<T>, thing: T) -> u32 {
    *numbers.entry(thing).or_insert_with_key(|thing| {
        all.push(thing.clone());
        u32::try_from(all.len() - 1).expect("BUG: fewer than four billion values")
    })
}

impl Plain {
    /// A value of a configured target, in which nothing is left to choose.
    fn of(value: &Value) -> Plain {
        let of = |item: &Spanned| Plain::of(&item.value);
        match value {
            Value::None | Value::Select(_) => Plain::None,
            Value::Bool(truth) => Plain::Bool(*truth),
            Value::Int(number) => Plain::Int(*number),
            Value::Str(text) => Plain::Str(text.clone()),
            Value::Label(label) => Plain::Label(label.clone()),
            Value::List(items) => Plain::List(items.iter().map(of).collect()),
            Value::Dict(entries) => Plain::Dict(entries.iter().map(|(key, value)| (of(key), of(value))).collect()),
            Value::Record(record) => {
                let fields = record.fields.iter().map(|(name, field)| (name.clone(), of(field)));
                Plain::Record(record.kind.clone(), fields.collect())
            }
        }
    }

    /// As BUILD files write it, but strings and labels bare; none when the attribute was not given.
    fn text(&self) -> Option<String> {
        Some(match self {
            Plain::None => return None,
            Plain::Bool(true) => "True".to_owned(),
            Plain::Bool(false) => "False".to_owned(),
            Plain::Int(number) => number.to_string(),
            Plain::Str(text) => text.to_string(),
            Plain::Label(label) => label.to_string(),
            Plain::List(items) => format!("[{}]", items.iter().map(Plain::inner).collect::<Vec<_>>().join(", ")),
            Plain::Dict(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}: {}", key.inner(), value.inner()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Plain::Record(kind, fields) => {
                let given = fields.iter().filter(|(_, field)| *field != Plain::None);
                let fields = given.map(|(name, field)| format!("{name} = {}", field.inner()));
                format!("{kind}({})", fields.collect::<Vec<_>>().join(", "))
            }
        })
    }

    fn inner(&self) -> String {
        self.text().unwrap_or_else(|| "None".to_owned())
    }
}
