//! Attribute values as text, for regular expressions and people.
//!
//! Knows nothing of the places values were written at.

use ouro_rules::{Spanned, Value};

/// A value as BUILD files write it, but strings and labels bare; none when the attribute was not given.
pub fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::None => return None,
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Str(text) => text.to_string(),
        Value::Label(label) => label.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Dict(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", inner(key), inner(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Record(record) => {
            let given = record.fields.iter().filter(|(_, field)| field.value != Value::None);
            let fields = given.map(|(name, field)| format!("{name} = {}", inner(field)));
            format!("{}({})", record.kind, fields.collect::<Vec<_>>().join(", "))
        }
    })
}

fn inner(item: &Spanned) -> String {
    text(&item.value).unwrap_or_else(|| "None".to_owned())
}
