//! Attributes: the types rules declare and the values BUILD files give.
//!
//! Values are plain, owned and carry the place they were written at; nothing of Starlark is left in them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Span;
use crate::label::Label;
use crate::select::Select;

/// What kind of values an attribute takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttrType {
    /// `True` or `False`.
    Bool,
    /// A whole number.
    Int,
    /// A string.
    String,
    /// A string that names a target or file.
    Label,
    /// A list of one type.
    List(Box<AttrType>),
    /// A dictionary from strings to strings; from labels, when the attribute has an edge.
    Dict,
    /// A list or dictionary of numbers, strings, truth values, and lists and dictionaries of those. With an edge, a string in the
    /// outermost that begins with `:`, `//` or `@` is a label.
    Data,
    /// A dictionary from strings to strings, whole numbers and booleans.
    Scalars,
    /// What one of these constructors makes (see [`RecordSpec`]), such as `xdp(...)`.
    Record(Vec<String>),
    /// Any of these; the first that fits wins.
    OneOf(Vec<AttrType>),
}

impl AttrType {
    /// A list of `self`.
    pub fn list(self) -> AttrType {
        AttrType::List(Box::new(self))
    }

    /// As shown in errors: `a list of labels`.
    pub fn describe(&self) -> String {
        match self {
            AttrType::Bool => "a boolean".to_owned(),
            AttrType::Int => "an integer".to_owned(),
            AttrType::String => "a string".to_owned(),
            AttrType::Label => "a label".to_owned(),
            AttrType::List(item) => format!("a list, each item {}", item.describe()),
            AttrType::Dict => "a dictionary of strings".to_owned(),
            AttrType::Data => "a list or a dictionary".to_owned(),
            AttrType::Scalars => "a dictionary of strings, integers and booleans".to_owned(),
            AttrType::Record(kinds) => kinds.iter().map(|k| format!("`{k}(...)`")).collect::<Vec<_>>().join(" or "),
            AttrType::OneOf(types) => types.iter().map(AttrType::describe).collect::<Vec<_>>().join(" or "),
        }
    }
}

/// What a label in an attribute means for the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EdgeKind {
    /// A source: a file of the workspace, or a target that makes files.
    Source,
    /// A library.
    Dep,
    /// A map the program uses.
    Map,
    /// A declared tail call. Does not make one target wait for the other: programs may jump in circles.
    Jump,
    /// A chain's first program.
    Entry,
    /// A chain's member: found by following jumps, or listed.
    Member,
    /// What an alias stands for.
    Actual,
    /// A program this target is made from: a chain with this target follows that program's jumps.
    Program,
    /// A flag that a condition looks at, or a group of packages that another includes. Nothing is built for it.
    Setting,
    /// What a program needs beside it when it runs: a file, or a target that makes files.
    Data,
    /// A test of a suite, or another suite.
    Test,
}

impl EdgeKind {
    /// Whether the label may name a plain file.
    pub fn takes_files(self) -> bool {
        matches!(self, EdgeKind::Source | EdgeKind::Data)
    }
}

/// One attribute of a rule or constructor.
#[derive(Debug, Clone)]
pub struct AttrSpec {
    /// Its name.
    pub name: String,
    /// The values it takes.
    pub ty: AttrType,
    /// Whether it must be given.
    pub required: bool,
    /// Its value when not given; `Value::None` if there is none.
    pub default: Value,
    /// The strings it allows; any when empty. Where it takes labels, the words that are none.
    pub allowed: Vec<String>,
    /// For labels: the edge they make. `None` for attributes without labels.
    pub edge: Option<EdgeKind>,
    /// The package that labels of the default are named from, when that is not the target's own.
    pub home: Option<Arc<str>>,
    /// One sentence for the reference.
    pub doc: String,
}

impl AttrSpec {
    /// An optional attribute without a default.
    pub fn new(name: &str, ty: AttrType, doc: &str) -> AttrSpec {
        AttrSpec {
            name: name.to_owned(),
            ty,
            required: false,
            default: Value::None,
            allowed: Vec::new(),
            edge: None,
            home: None,
            doc: doc.to_owned(),
        }
    }

    /// The same, required.
    pub fn required(mut self) -> AttrSpec {
        self.required = true;
        self
    }

    /// The same, with a default.
    pub fn default(mut self, value: Value) -> AttrSpec {
        self.default = value;
        self
    }

    /// The same, allowing only these strings.
    pub fn allowed(mut self, values: &[&str]) -> AttrSpec {
        self.allowed = values.iter().map(|v| (*v).to_owned()).collect();
        self
    }

    /// The same, its labels making edges of this kind.
    pub fn edge(mut self, kind: EdgeKind) -> AttrSpec {
        self.edge = Some(kind);
        self
    }
}

/// A constructor callable in BUILD files, such as `xdp(interface = "eth0")`; what it makes is a [`Record`].
#[derive(Debug, Clone)]
pub struct RecordSpec {
    /// The function's name, and the record's kind.
    pub name: String,
    /// Its arguments. The first may also be given by position.
    pub attrs: Vec<AttrSpec>,
    /// One sentence for the reference.
    pub doc: String,
}

/// A value with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned {
    /// The value.
    pub value: Value,
    /// Where; the whole call when the literal itself is not in the BUILD file (it came from a macro or a variable).
    pub span: Span,
}

/// An attribute's value. Defaults are filled in by loading, so rules see every declared attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not given, and no default.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Str(Arc<str>),
    /// A label, already absolute.
    Label(Label),
    /// A list.
    List(Vec<Spanned>),
    /// A dictionary, in the order written.
    Dict(Vec<(Spanned, Spanned)>),
    /// What a constructor made.
    Record(Record),
    /// What depends on the configuration; never in what rules see.
    Select(Arc<Select>),
}

/// What a constructor such as `xdp(...)` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The constructor's name.
    pub kind: Arc<str>,
    /// Its arguments, defaults filled in, sorted by name.
    pub fields: Vec<(Arc<str>, Spanned)>,
}

impl Record {
    /// A field's value; `Value::None` if not given.
    pub fn get(&self, name: &str) -> &Value {
        self.field(name).map_or(&Value::None, |field| &field.value)
    }

    /// A field with its place.
    pub fn field(&self, name: &str) -> Option<&Spanned> {
        self.fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
    }
}

impl Value {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The label, if it is one.
    pub fn as_label(&self) -> Option<&Label> {
        match self {
            Value::Label(label) => Some(label),
            _ => None,
        }
    }

    /// The record, if it is one.
    pub fn as_record(&self) -> Option<&Record> {
        match self {
            Value::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The items; empty for anything but a list.
    pub fn items(&self) -> &[Spanned] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Calls `f` with every label inside, however deep, and its place: of all branches, and their conditions, when it depends on
    /// the configuration.
    pub fn each_label<'a>(&'a self, span: &'a Span, f: &mut dyn FnMut(&'a Label, &'a Span)) {
        match self {
            Value::Label(label) => f(label, span),
            Value::List(items) => items.iter().for_each(|item| item.value.each_label(&item.span, f)),
            Value::Record(record) => record.fields.iter().for_each(|(_, field)| field.value.each_label(&field.span, f)),
            Value::Dict(entries) => {
                let both = entries.iter().flat_map(|(key, value)| [key, value]);
                both.for_each(|part| part.value.each_label(&part.span, f));
            }
            Value::Select(select) => select.each_label(f),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Str(_) => {}
        }
    }

    /// Calls `f` with every condition that some of it depends on.
    pub fn each_condition<'a>(&'a self, f: &mut dyn FnMut(&'a Label, &'a Span)) {
        match self {
            Value::Select(select) => select.each_condition(f),
            Value::List(items) => items.iter().for_each(|item| item.value.each_condition(f)),
            Value::Record(record) => record.fields.iter().for_each(|(_, field)| field.value.each_condition(f)),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Label(_) | Value::Dict(_) => {}
        }
    }

    /// Whether some of it depends on the configuration.
    pub fn has_select(&self) -> bool {
        match self {
            Value::Select(_) => true,
            Value::List(items) => items.iter().any(|item| item.value.has_select()),
            Value::Record(record) => record.fields.iter().any(|(_, field)| field.value.has_select()),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Label(_) | Value::Dict(_) => false,
        }
    }
}
