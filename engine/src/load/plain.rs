//! Values of the interpreter to plain data and back.
//!
//! Everything that leaves an evaluation inside a provider goes through here, so nothing of the interpreter can. Values are taken as
//! they are at that moment; what is read back is a copy.

use std::sync::Arc;

use ouro_rules::data::Data;
use starlark::values::dict::{AllocDict, DictRef};
use starlark::values::list::{AllocList, ListRef};
use starlark::values::structs::{AllocStruct, StructRef};
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, UnpackValue, Value, ValueLike};

use super::views::{DepsetView, FileView, InfoView, LabelView};

/// How deep values may lie in one another: they are taken apart by functions that call themselves.
const MOST_DEPTH: usize = 50;

/// How many values may lie in one another, each counted as often as it is met.
const MOST_VALUES: usize = 1_000_000;

/// The value as plain data; the error is a message.
pub(super) fn data(value: Value<'_>) -> Result<Data, String> {
    Budget { values: MOST_VALUES }.data(value, MOST_DEPTH)
}

/// The value as an element of a set: sets in sets would be taken apart by functions that call themselves, however deep they are.
pub(super) fn element(value: Value<'_>) -> Result<Data, String> {
    let element = data(value)?;
    if has_set(&element) { Err("a depset's element holds a depset; give it as `transitive`".to_owned()) } else { Ok(element) }
}

/// Plain data as a value.
pub(super) fn value<'v>(data: &Data, heap: Heap<'v>) -> Value<'v> {
    match data {
        Data::None => Value::new_none(),
        Data::Bool(value) => Value::new_bool(*value),
        Data::Int(number) => heap.alloc(*number),
        Data::Str(text) => heap.alloc(&**text),
        Data::Label(label) => heap.alloc(LabelView(label.clone())),
        Data::File(file) => heap.alloc(FileView(file.clone())),
        Data::List(items) => heap.alloc(AllocList(items.iter().map(|item| value(item, heap)))),
        Data::Dict(entries) => heap.alloc(AllocDict(entries.iter().map(|(key, item)| (value(key, heap), value(item, heap))))),
        Data::Struct(fields) => heap.alloc(AllocStruct(fields.iter().map(|(name, field)| (&**name, value(field, heap))))),
        Data::Info(info) => heap.alloc(InfoView(info.clone())),
        Data::Depset(set) => heap.alloc(DepsetView(set.clone())),
    }
}

struct Budget {
    values: usize,
}

impl Budget {
    fn data(&mut self, value: Value<'_>, depth: usize) -> Result<Data, String> {
        self.spend(depth)?;
        let depth = depth - 1;
        if let Some(text) = value.unpack_str() {
            return Ok(Data::Str(text.into()));
        }
        if let Some(flag) = value.unpack_bool() {
            return Ok(Data::Bool(flag));
        }
        if let Some(list) = ListRef::from_value(value) {
            return self.list(list.iter(), depth);
        }
        if let Some(tuple) = TupleRef::from_value(value) {
            return self.list(tuple.iter(), depth);
        }
        if let Some(dict) = DictRef::from_value(value) {
            let entries = dict.iter().map(|(key, value)| Ok((self.data(key, depth)?, self.data(value, depth)?)));
            return Ok(Data::Dict(entries.collect::<Result<_, String>>()?));
        }
        if let Some(fields) = StructRef::from_value(value) {
            let fields = fields.iter().map(|(name, field)| Ok((name.as_str().into(), self.data(field, depth)?)));
            return Ok(Data::Struct(Arc::new(fields.collect::<Result<_, String>>()?)));
        }
        self.view(value, depth)
    }

    fn list<'v>(&mut self, items: impl Iterator<Item = Value<'v>>, depth: usize) -> Result<Data, String> {
        let items: Result<Vec<Data>, String> = items.map(|item| self.data(item, depth)).collect();
        Ok(Data::List(items?.into()))
    }

    fn view(&mut self, value: Value<'_>, depth: usize) -> Result<Data, String> {
        if value.is_none() {
            return Ok(Data::None);
        }
        if let Some(file) = value.downcast_ref::<FileView>() {
            return Ok(Data::File(file.0.clone()));
        }
        if let Some(label) = value.downcast_ref::<LabelView>() {
            return Ok(Data::Label(label.0.clone()));
        }
        if let Some(set) = value.downcast_ref::<DepsetView>() {
            return Ok(Data::Depset(set.0.clone()));
        }
        if let Some(info) = value.downcast_ref::<InfoView>() {
            let known = Data::Info(info.0.clone());
            return self.walk(&known, depth + 1).map(|()| known);
        }
        match i64::unpack_value(value) {
            Ok(Some(number)) => Ok(Data::Int(number)),
            _ => Err(exotic(value)),
        }
    }

    /// Spends what is already plain: shared values count as often as they are met, because that is how often they are walked over.
    fn walk(&mut self, data: &Data, depth: usize) -> Result<(), String> {
        self.spend(depth)?;
        parts(data).try_for_each(|part| self.walk(part, depth - 1))
    }

    fn spend(&mut self, depth: usize) -> Result<(), String> {
        self.values = self.values.saturating_sub(1);
        if depth == 0 || self.values == 0 {
            return Err("the value is nested too deeply, or too large; collect things in a `depset`".to_owned());
        }
        Ok(())
    }
}

/// What a value consists of; of a set nothing, whose parts are shared and never walked over.
fn parts(data: &Data) -> Box<dyn Iterator<Item = &Data> + '_> {
    match data {
        Data::List(items) => Box::new(items.iter()),
        Data::Dict(entries) => Box::new(entries.iter().flat_map(|(key, value)| [key, value])),
        Data::Struct(fields) => Box::new(fields.values()),
        Data::Info(info) => Box::new(info.fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn has_set(data: &Data) -> bool {
    matches!(data, Data::Depset(_)) || parts(data).any(has_set)
}

fn exotic(value: Value<'_>) -> String {
    let help = match value.get_type() {
        "function" | "native_function" => {
            "; it takes plain values: strings, numbers, files, labels, lists, dictionaries, depsets"
        }
        "Target" => "; keep its `label`, its files or one of its providers",
        _ => "",
    };
    format!("a {} is no plain value{help}", value.get_type())
}
