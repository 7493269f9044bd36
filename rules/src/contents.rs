//! What maps hold at first: values of BUILD files, and the bytes that C types make of them.
//!
//! Pure. Knows neither objects nor the kernel.

mod encode;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attr::{Spanned, Value};
use crate::diagnostic::{Diagnostic, Span};
use crate::manifest::{Bytes, Content, Element, Layout, MapSpec};
use crate::map_type::{self, Fill, MapType};
use crate::provider::MapInfo;

/// The largest value a kernel takes (`KMALLOC_MAX_SIZE`).
const MAX_BYTES: u32 = 1 << 22;

/// A value of a BUILD file, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The value.
    pub value: GivenValue,
    /// Where it is written.
    pub span: Span,
}

/// The value of a [`Given`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GivenValue {
    /// A number.
    Int(i64),
    /// `True` or `False`.
    Bool(bool),
    /// Text, or a number that does not fit the other kind.
    Text(Arc<str>),
    /// A list.
    List(Vec<Given>),
    /// A dictionary, in the order written.
    Dict(Vec<(Given, Given)>),
    /// Keys with their values that were written as a list.
    Pairs(Vec<(Given, Given)>),
    /// A map, by its name.
    Map(String),
}

impl Given {
    /// Of an attribute's value; `map` is asked for the map behind a label. `None` for what no BUILD file can give.
    pub fn of<'a>(value: &Spanned, map: &dyn Fn(&crate::Label) -> Option<&'a Arc<MapInfo>>) -> Option<Given> {
        let of = |item: &Spanned| Given::of(item, map);
        let given = match &value.value {
            Value::Int(number) => GivenValue::Int(*number),
            Value::Bool(truth) => GivenValue::Bool(*truth),
            Value::Str(text) => GivenValue::Text(text.clone()),
            Value::List(items) => GivenValue::List(items.iter().map(of).collect::<Option<_>>()?),
            Value::Dict(entries) => {
                let entries = entries.iter().map(|(key, value)| Some((of(key)?, of(value)?)));
                GivenValue::Dict(entries.collect::<Option<_>>()?)
            }
            Value::Label(label) => GivenValue::Map(map(label)?.spec.name.clone()),
            Value::None | Value::Record(_) | Value::Select(_) => return None,
        };
        Some(Given { value: given, span: value.span.clone() })
    }

    /// The same, its lists of two taken for keys with values: the contents of a map that has keys.
    pub fn paired(self) -> Given {
        let GivenValue::List(items) = &self.value else { return self };
        let pair = |item: &Given| match &item.value {
            GivenValue::List(pair) => {
                <&[Given; 2]>::try_from(pair.as_slice()).ok().map(|[key, value]| (key.clone(), value.clone()))
            }
            _ => None,
        };
        match items.iter().map(pair).collect() {
            Some(pairs) => Given { value: GivenValue::Pairs(pairs), span: self.span },
            None => self,
        }
    }

    /// The maps it names.
    pub fn names<'a>(&'a self) -> Vec<&'a str> {
        let name = |(_, value): (Option<&'a Given>, &'a Given)| match &value.value {
            GivenValue::Map(name) => Some(name.as_str()),
            _ => None,
        };
        self.entries().into_iter().filter_map(name).collect()
    }

    /// What it is, for people.
    fn describe(&self) -> String {
        match &self.value {
            GivenValue::Int(number) => format!("`{number}`"),
            GivenValue::Bool(true) => "`True`".to_owned(),
            GivenValue::Bool(false) => "`False`".to_owned(),
            GivenValue::Text(text) => format!("`\"{text}\"`"),
            GivenValue::List(items) => format!("a list of {}", items.len()),
            GivenValue::Dict(_) | GivenValue::Pairs(_) => "a dictionary".to_owned(),
            GivenValue::Map(name) => format!("the map `{name}`"),
        }
    }

    /// The keys, where there are any, and the values. A list of pairs stands for a dictionary whose keys BUILD files cannot have.
    fn entries(&self) -> Vec<(Option<&Given>, &Given)> {
        match &self.value {
            GivenValue::Pairs(pairs) => pairs.iter().map(|(key, value)| (Some(key), value)).collect(),
            GivenValue::List(items) => items.iter().map(|item| (None, item)).collect(),
            GivenValue::Dict(entries) => entries.iter().map(|(key, value)| (Some(key), value)).collect(),
            _ => Vec::new(),
        }
    }
}

/// What can be said of a map's contents before an object tells its types.
pub fn check(ty: &MapType, max_entries: u32, given: &Given) -> Vec<Diagnostic> {
    if let Some(finding) = wrong_shape(ty, given) {
        return vec![finding];
    }
    let entries = given.entries();
    let mut findings = Vec::new();
    if entries.len() as u64 > u64::from(max_entries) {
        let message = format!("{} elements do not fit into a map of {max_entries}", entries.len());
        findings.push(Diagnostic::error(&given.span, message).help("raise `max_entries`, or remove some"));
    }
    findings.extend(entries.iter().filter_map(|(_, value)| wrong_kind(ty, value)));
    findings
}

fn wrong_shape(ty: &MapType, given: &Given) -> Option<Diagnostic> {
    let is_list = matches!(given.value, GivenValue::List(_));
    let (message, help) = match ty.fill {
        Fill::Nothing => (format!("a `{}` map cannot have `contents`", ty.name), "programs or other tools fill it"),
        Fill::Keys if is_list => {
            let help = "write `contents = {key: value}`, or `[(key, value), ...]` where keys are structs";
            (format!("a `{}` map holds values by keys", ty.name), help)
        }
        Fill::Values if !is_list => (format!("a `{}` map has no keys", ty.name), "write `contents = [value, ...]`"),
        _ => return None,
    };
    Some(Diagnostic::error(&given.span, message).help(help))
}

fn wrong_kind(ty: &MapType, value: &Given) -> Option<Diagnostic> {
    let (message, help) = match (ty.holds_maps(), &value.value) {
        (true, GivenValue::Map(_)) => return None,
        (true, _) => {
            (format!("a `{}` map holds maps, not {}", ty.name, value.describe()), "name a `bpf_map`, as in `\":flows\"`")
        }
        (false, GivenValue::Map(name)) => {
            let message = format!("a `{}` map cannot hold the map `{name}`", ty.name);
            (message, "text that begins with `:`, `//` or `@` is a label; write its bytes as a list of numbers")
        }
        (false, _) => return None,
    };
    Some(Diagnostic::error(&value.span, message).help(help))
}

/// The elements of a map whose types an object has told. `pin` is asked for the pin of a map; numbers have their largest byte
/// first if `big_endian`.
pub fn elements(
    map: &MapSpec,
    given: &Given,
    pin: &BTreeMap<String, String>,
    big_endian: bool,
) -> Result<Vec<Element>, Vec<Diagnostic>> {
    let places = map_type::find(&map.ty).is_some_and(|ty| ty.fill == Fill::Places);
    let (mut elements, mut findings, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, (key, value)) in given.entries().into_iter().enumerate() {
        let key_bytes = match key {
            Some(key) => encode(map, "key", map.key_layout.as_ref(), key, big_endian),
            None if places => Ok(place(index, big_endian)),
            None => Ok(Vec::new()),
        };
        let value = match &value.value {
            GivenValue::Map(name) => Ok(Content::Map(pin.get(name).cloned().unwrap_or_default())),
            _ => encode(map, "value", map.value_layout.as_ref(), value, big_endian).map(|bytes| Content::Bytes(Bytes(bytes))),
        };
        match (key_bytes, value) {
            (Ok(bytes), Ok(value)) => {
                findings.extend(key.and_then(|key| wrong_key(map, key, &bytes, places, big_endian, !seen.insert(bytes.clone()))));
                elements.push(Element { key: Bytes(bytes), value });
            }
            (key, value) => findings.extend([key.err(), value.err()].into_iter().flatten().flatten()),
        }
    }
    if findings.is_empty() { Ok(elements) } else { Err(findings) }
}

fn place(index: usize, big_endian: bool) -> Vec<u8> {
    let index = index as u32;
    if big_endian { index.to_be_bytes().to_vec() } else { index.to_le_bytes().to_vec() }
}

/// A key that is there already, or beyond the end.
fn wrong_key(map: &MapSpec, key: &Given, bytes: &[u8], places: bool, big_endian: bool, is_known: bool) -> Option<Diagnostic> {
    let number =
        bytes.first_chunk().map(|bytes| if big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) });
    if places && number.is_none_or(|number| number >= map.max_entries) {
        let message = format!("there is no place {} in a map of {}", key.describe(), map.max_entries);
        return Some(Diagnostic::error(&key.span, message).help("places count from 0; raise `max_entries`, or use another"));
    }
    let again = || Diagnostic::error(&key.span, format!("{} is there already", key.describe())).help("remove one of the two");
    is_known.then(again)
}

fn encode(
    map: &MapSpec,
    what: &str,
    layout: Option<&Layout>,
    given: &Given,
    big_endian: bool,
) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let unknown = || {
        let message = format!("the type of the {what} of map `{}` is not known, so that nothing can be put into it", map.name);
        vec![Diagnostic::error(&given.span, message).help("use a type that the source or a header in `hdrs` declares")]
    };
    encode::encode(layout.filter(|layout| layout.bytes() <= MAX_BYTES).ok_or_else(unknown)?, given, big_endian)
}
