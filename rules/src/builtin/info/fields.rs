//! Reading the fields of a provider's value.
//!
//! Types were checked when the value was made ([`Takes::accepts`](super::Takes::accepts)); what a set holds is checked here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::Artifact;
use crate::data::{Data, Info};
use crate::label::Label;

/// The fields of one value.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    /// What they belong to, for messages.
    of: &'a str,
    fields: &'a BTreeMap<Arc<str>, Data>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(of: &'a str, fields: &'a BTreeMap<Arc<str>, Data>) -> Fields<'a> {
        Fields { of, fields }
    }

    pub(super) fn of(info: &'a Info) -> Fields<'a> {
        Fields { of: &info.id.name, fields: &info.fields }
    }

    pub(super) fn get(&self, name: &str) -> &'a Data {
        self.fields.get(name).unwrap_or(&Data::None)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Data::Bool(true))
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        if let Data::Int(number) = self.get(name) { Some(*number) } else { None }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        if let Data::Str(text) = self.get(name) { Some(text) } else { None }
    }

    pub(super) fn label(&self, name: &str) -> Option<&'a Label> {
        if let Data::Label(label) = self.get(name) { Some(label) } else { None }
    }

    pub(super) fn file(&self, name: &str) -> Option<&'a Artifact> {
        if let Data::File(file) = self.get(name) { Some(file) } else { None }
    }

    pub(super) fn list(&self, name: &str) -> &'a [Data] {
        if let Data::List(items) = self.get(name) { items } else { &[] }
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let text = |item: &Data| if let Data::Str(text) = item { Some(text.to_string()) } else { None };
        self.list(name).iter().filter_map(text).collect()
    }

    pub(super) fn dict(&self, name: &str) -> BTreeMap<String, String> {
        let Data::Dict(entries) = self.get(name) else { return BTreeMap::new() };
        let texts = |(key, value): &(Data, Data)| match (key, value) {
            (Data::Str(key), Data::Str(value)) => Some((key.to_string(), value.to_string())),
            _ => None,
        };
        entries.iter().filter_map(texts).collect()
    }

    /// The values of a provider in a list.
    pub(super) fn infos(&self, name: &str) -> impl Iterator<Item = &'a Info> {
        self.list(name).iter().filter_map(|item| if let Data::Info(info) = item { Some(&**info) } else { None })
    }

    /// The files of a list or set, each once; none when the field is not given. The error is a message.
    pub(super) fn files(&self, name: &str) -> Result<Option<Vec<Artifact>>, String> {
        let items = match self.get(name) {
            Data::List(items) => items.to_vec(),
            Data::Depset(set) => set.list(),
            _ => return Ok(None),
        };
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            let Data::File(file) = item else {
                return Err(format!("`{name}` of `{}` holds something that is no file", self.of));
            };
            files.push(file);
        }
        Ok(Some(files))
    }
}
