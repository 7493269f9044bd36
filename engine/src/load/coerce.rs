//! Values of the interpreter to values of attributes, checked against their types.
//!
//! Reports every finding it can and leaves nothing of the interpreter in what it makes.

use ouro_rules::attr::{AttrSpec, AttrType, Spanned, Value as Attr};
use ouro_rules::diagnostic::{Diagnostic, Span, did_you_mean};
use ouro_rules::label::Label;
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value, ValueLike};

use super::context::Context;
use super::places::Place;
use super::select::is_select;
use super::values::{RecordValue, is_unknown};

/// More lists in each other than C types have arrays and structs; ends those that hold themselves.
const MAX_DEPTH: usize = 32;
/// What tells a label from other text, where both can stand.
const LABEL_BEGINS: [&str; 3] = [":", "//", "@"];

/// The attribute a value is given to.
pub(super) struct Slot<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) attr: &'a AttrSpec,
}

impl Slot<'_> {
    /// The value; `None` when a finding was reported.
    pub(super) fn coerce(&self, value: Value<'_>, place: Place<'_>) -> Option<Spanned> {
        if is_select(value) {
            let finding = Diagnostic::error(&place.span(), format!("`{}` cannot depend on the configuration", self.attr.name));
            return self.report(finding.help("give a plain value; it counts before a configuration is chosen"));
        }
        self.plain(value, place)
    }

    /// The same, of a value that is known to be no `select()`.
    pub(super) fn plain(&self, value: Value<'_>, place: Place<'_>) -> Option<Spanned> {
        self.typed(&self.attr.ty, value, place).map(|value| Spanned { value, span: place.span() })
    }

    fn typed(&self, ty: &AttrType, value: Value<'_>, place: Place<'_>) -> Option<Attr> {
        if is_unknown(value) {
            return None;
        }
        let ty = first_fit(ty, value).or_else(|| self.report(self.mismatch(ty, value, &place.span())))?;
        match ty {
            AttrType::Bool => value.unpack_bool().map(Attr::Bool),
            AttrType::Int => self.integer(value, place),
            AttrType::String => self.string(value.unpack_str()?, place),
            AttrType::Label => self.label(value.unpack_str()?, place),
            AttrType::List(item) => self.list(item, ListRef::from_value(value)?, place),
            AttrType::Dict => self.dict(&AttrType::String, &DictRef::from_value(value)?, place),
            AttrType::Scalars => {
                let scalar = AttrType::OneOf(vec![AttrType::Bool, AttrType::Int, AttrType::String]);
                self.dict(&scalar, &DictRef::from_value(value)?, place)
            }
            AttrType::Data => self.data(value, place, 0),
            AttrType::Record(_) => Some(Attr::Record((*value.downcast_ref::<RecordValue>()?.0).clone())),
            AttrType::OneOf(_) => None,
        }
    }

    fn integer(&self, value: Value<'_>, place: Place<'_>) -> Option<Attr> {
        match i64::unpack_value(value) {
            Ok(Some(n)) => Some(Attr::Int(n)),
            _ => {
                let finding = Diagnostic::error(&place.span(), format!("{value} does not fit into 64 bits with a sign"));
                let in_text = || "write it as a string, as in `\"0xffffffffffffffff\"`".to_owned();
                self.report(finding.maybe_help((self.attr.ty == AttrType::Data).then(in_text)))
            }
        }
    }

    fn string(&self, text: &str, place: Place<'_>) -> Option<Attr> {
        let allowed = &self.attr.allowed;
        if allowed.is_empty() || allowed.iter().any(|one| one == text) {
            return Some(Attr::Str(text.into()));
        }
        let help = did_you_mean(text, allowed.iter().map(String::as_str)).unwrap_or_else(|| one_of(allowed));
        self.report(Diagnostic::error(&place.span(), format!("`{text}` is no value of `{}`", self.attr.name)).help(help))
    }

    fn label(&self, text: &str, place: Place<'_>) -> Option<Attr> {
        if self.attr.allowed.iter().any(|word| word == text) {
            return Some(Attr::Str(text.into()));
        }
        self.label_of(text, &place.span()).map(Attr::Label)
    }

    /// What a text names, seen from here.
    pub(super) fn label_of(&self, text: &str, span: &Span) -> Option<Label> {
        match self.context.label(text) {
            Ok(label) => Some(label),
            Err(finding) => self.report(Diagnostic { span: Some(span.clone()), ..finding }),
        }
    }

    fn list(&self, item: &AttrType, list: &ListRef<'_>, place: Place<'_>) -> Option<Attr> {
        let len = list.len();
        let items = list.iter().enumerate().map(|(index, value)| {
            let place = place.item(index, len);
            self.typed(item, value, place).map(|value| Spanned { value, span: place.span() })
        });
        // Every item is looked at, also behind a bad one.
        let items: Vec<Option<Spanned>> = items.collect();
        items.into_iter().collect::<Option<Vec<Spanned>>>().map(Attr::List)
    }

    fn dict(&self, value_type: &AttrType, dict: &DictRef<'_>, place: Place<'_>) -> Option<Attr> {
        // With an edge, the keys are what the edges lead to.
        let key_type = if self.attr.edge.is_some() { AttrType::Label } else { AttrType::String };
        let entries = dict.iter().enumerate().map(|(index, (key, value))| {
            let (key_place, value_place) = place.pair(index);
            Some((self.entry(&key_type, key, key_place)?, self.entry(value_type, value, value_place)?))
        });
        let entries: Vec<Option<(Spanned, Spanned)>> = entries.collect();
        entries.into_iter().collect::<Option<Vec<_>>>().map(Attr::Dict)
    }

    /// A value of any shape; `depth` is how many lists and dictionaries it stands in.
    fn data(&self, value: Value<'_>, place: Place<'_>, depth: usize) -> Option<Attr> {
        if depth > MAX_DEPTH {
            return self.report(Diagnostic::error(&place.span(), format!("`{}` is nested too deeply", self.attr.name)));
        }
        if is_unknown(value) {
            return None;
        }
        let inner =
            |value, place: Place<'_>, depth| self.data(value, place, depth).map(|value| Spanned { value, span: place.span() });
        if let Some(list) = ListRef::from_value(value).map(|list| list.content()).or_else(|| tuple(value)) {
            let items = list.iter().enumerate().map(|(index, item)| inner(*item, place.item(index, list.len()), depth + 1));
            return items.collect::<Vec<_>>().into_iter().collect::<Option<_>>().map(Attr::List);
        }
        if let Some(dict) = DictRef::from_value(value) {
            let entries = dict.iter().enumerate().map(|(index, (key, value))| {
                let (key_place, value_place) = place.pair(index);
                // A key never names a target.
                Some((inner(key, key_place, depth + 2)?, inner(value, value_place, depth + 1)?))
            });
            return entries.collect::<Vec<_>>().into_iter().collect::<Option<_>>().map(Attr::Dict);
        }
        match (value.unpack_bool(), value.unpack_str()) {
            (Some(truth), _) => Some(Attr::Bool(truth)),
            (_, Some(text))
                if depth == 1 && self.attr.edge.is_some() && LABEL_BEGINS.iter().any(|begin| text.starts_with(begin)) =>
            {
                self.label(text, place)
            }
            (_, Some(text)) => Some(Attr::Str(text.into())),
            _ if value.get_type() == "int" => self.integer(value, place),
            _ => self.report(self.mismatch(&AttrType::Data, value, &place.span())),
        }
    }

    fn entry(&self, ty: &AttrType, value: Value<'_>, place: Place<'_>) -> Option<Spanned> {
        self.typed(ty, value, place).map(|value| Spanned { value, span: place.span() })
    }

    fn mismatch(&self, ty: &AttrType, value: Value<'_>, span: &Span) -> Diagnostic {
        if is_select(value) {
            return Diagnostic::error(span, "`select()` stands inside of another value")
                .help("let it choose the whole value, or a part: `[...] + select({\"//:condition\": [...]})`");
        }
        let finding = mismatch(&self.attr.name, ty, value, span);
        match &finding.help {
            None if !self.attr.allowed.is_empty() => finding.help(one_of(&self.attr.allowed)),
            _ => finding,
        }
    }

    pub(super) fn report<T>(&self, finding: Diagnostic) -> Option<T> {
        self.context.report(finding);
        None
    }
}

fn one_of(allowed: &[String]) -> String {
    format!("use one of {}", allowed.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "))
}

/// What a key can be where a list cannot.
fn tuple<'v>(value: Value<'v>) -> Option<&'v [Value<'v>]> {
    TupleRef::from_value(value).map(|tuple| tuple.content())
}

/// The type itself, or the first of its alternatives, that takes this kind of value.
fn first_fit<'t>(ty: &'t AttrType, value: Value<'_>) -> Option<&'t AttrType> {
    let fits = match ty {
        AttrType::Bool => value.unpack_bool().is_some(),
        AttrType::Int => value.get_type() == "int",
        AttrType::String | AttrType::Label => value.unpack_str().is_some(),
        AttrType::List(_) => ListRef::from_value(value).is_some(),
        AttrType::Dict | AttrType::Scalars => DictRef::from_value(value).is_some(),
        AttrType::Data => ListRef::from_value(value).is_some() || DictRef::from_value(value).is_some(),
        AttrType::Record(kinds) => {
            value.downcast_ref::<RecordValue>().is_some_and(|made| kinds.iter().any(|kind| **kind == *made.0.kind))
        }
        AttrType::OneOf(types) => return types.iter().find_map(|ty| first_fit(ty, value)),
    };
    fits.then_some(ty)
}

fn mismatch(attr: &str, ty: &AttrType, value: Value<'_>, span: &Span) -> Diagnostic {
    let finding = Diagnostic::error(span, format!("expected {} for `{attr}`, got {}", ty.describe(), describe(value)));
    finding.maybe_help(remedy(ty, value))
}

/// Brackets too few or too many are the usual mistake, and quotes around numbers.
fn remedy(ty: &AttrType, value: Value<'_>) -> Option<String> {
    let takes_numbers = matches!(ty, AttrType::Int) || matches!(ty, AttrType::OneOf(types) if types.contains(&AttrType::Int));
    if let Some(number) = value.unpack_str().filter(|text| takes_numbers && text.parse::<i64>().is_ok()) {
        return Some(format!("write `{number}`, without quotes"));
    }
    let lists = |ty: &AttrType| matches!(ty, AttrType::List(item) if first_fit(item, value).is_some());
    let wraps = lists(ty) || matches!(ty, AttrType::OneOf(types) if types.iter().any(lists));
    if wraps {
        return Some(format!("write `[{}]`", value.to_repr()));
    }
    match ListRef::from_value(value)?.content() {
        [only] if first_fit(ty, *only).is_some() => Some(format!("write `{}`", only.to_repr())),
        _ => None,
    }
}

fn describe(value: Value<'_>) -> String {
    match value.get_type() {
        "string" => "a string".to_owned(),
        "int" => "an integer".to_owned(),
        "bool" => "a boolean".to_owned(),
        "list" => "a list".to_owned(),
        "dict" => "a dictionary".to_owned(),
        "tuple" => "a tuple".to_owned(),
        "float" => "a float".to_owned(),
        "NoneType" => "`None`".to_owned(),
        "record" => format!("`{value}`"),
        other => format!("a {other}"),
    }
}
