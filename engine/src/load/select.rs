//! `select()`: what the interpreter sees of a value that depends on the configuration, and what attributes make of it.
//!
//! Knows nothing of which branch holds.

use std::fmt;
use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::attr::{Spanned, Value as Attr};
use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::select::{self, Branch, Choice, DEFAULT, Part, Select};
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::values::dict::DictRef;
use starlark::values::{
    Freeze, Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Trace, Value, ValueLifetimeless, ValueLike, starlark_value,
};
use starlark::{starlark_complex_value, starlark_module, starlark_simple_value};

use super::coerce::Slot;
use super::context::Context;
use super::places::Place;
use super::values::{Unknown, is_unknown};

/// One call of `select()`.
#[derive(Debug, Trace, Freeze, Coerce, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
#[repr(C)]
pub(super) struct SelectCallGen<V: ValueLifetimeless> {
    /// A dictionary.
    branches: V,
    no_match_error: String,
    /// A [`Spot`].
    spot: V,
}

/// A sum with a `select()` in it, each part a value of its own.
#[derive(Debug, Trace, Freeze, Coerce, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
#[repr(C)]
pub(super) struct SelectSumGen<V: ValueLifetimeless> {
    parts: Vec<V>,
}

/// Where a `select()` was called.
#[derive(Debug, Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct Spot(#[allocative(skip)] Arc<Span>);

starlark_complex_value!(pub(super) SelectCall);
starlark_complex_value!(pub(super) SelectSum);
starlark_simple_value!(Spot);

impl<'v, V: ValueLike<'v>> SelectCallGen<V> {
    /// Itself as a part of a sum.
    fn alone(&self, heap: Heap<'v>) -> Value<'v> {
        let (branches, spot) = (self.branches.to_value(), self.spot.to_value());
        heap.alloc(SelectCall { branches, no_match_error: self.no_match_error.clone(), spot })
    }
}

#[starlark_value(type = "select")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for SelectCallGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    fn add(&self, rhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(sum(vec![self.alone(heap)], parts(rhs), heap)))
    }

    fn radd(&self, lhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(sum(parts(lhs), vec![self.alone(heap)], heap)))
    }
}

#[starlark_value(type = "select")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for SelectSumGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    fn add(&self, rhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(sum(self.parts.iter().map(|part| part.to_value()).collect(), parts(rhs), heap)))
    }

    fn radd(&self, lhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        Some(Ok(sum(parts(lhs), self.parts.iter().map(|part| part.to_value()).collect(), heap)))
    }
}

#[starlark_value(type = "place")]
impl<'v> StarlarkValue<'v> for Spot {}

impl<V: ValueLifetimeless> fmt::Display for SelectCallGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("select(...)")
    }
}

impl<V: ValueLifetimeless> fmt::Display for SelectSumGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("select(...) + ...")
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.line)
    }
}

/// The parts of a value; a value that is no sum is its only part.
fn parts(value: Value<'_>) -> Vec<Value<'_>> {
    SelectSum::from_value(value).map_or_else(|| vec![value], |sum| sum.parts.clone())
}

fn sum<'v>(mut left: Vec<Value<'v>>, right: Vec<Value<'v>>, heap: Heap<'v>) -> Value<'v> {
    left.extend(right);
    heap.alloc(SelectSum { parts: left })
}

/// Whether a value depends on the configuration.
pub(super) fn is_select(value: Value<'_>) -> bool {
    SelectCall::from_value(value).is_some() || SelectSum::from_value(value).is_some()
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// A value that depends on the configuration: that of the most specific condition that holds.
    fn select<'v>(
        #[starlark(require = pos)] branches: Value<'v>,
        #[starlark(require = named, default = "")] no_match_error: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let context = Context::of(eval)?;
        let site = context.site(eval);
        // In a macro, the macro's own line.
        let span = site.trace.last().unwrap_or(&site.span).clone();
        let heap = eval.heap();
        let size = DictRef::from_value(branches).map(|dict| dict.iter().count());
        match size {
            _ if is_unknown(branches) => Ok(branches),
            None | Some(0) => {
                let finding = Diagnostic::error(&span, "`select()` takes a dictionary with at least one branch");
                context.report(finding.help("write `select({\"//:condition\": ..., \"//conditions:default\": ...})`"));
                Ok(heap.alloc(Unknown))
            }
            Some(_) => {
                let spot = heap.alloc(Spot(Arc::new(span)));
                Ok(heap.alloc(SelectCall { branches, no_match_error: no_match_error.to_owned(), spot }))
            }
        }
    }
}

impl Slot<'_> {
    /// The value, which may depend on the configuration; `None` when a finding was reported.
    pub(super) fn configurable(&self, value: Value<'_>, place: Place<'_>) -> Option<Spanned> {
        if !is_select(value) {
            return self.plain(value, place);
        }
        let values = parts(value);
        let places = place.summands(values.len());
        // Every part is looked at, also behind a bad one.
        let parts: Vec<Option<Part>> = values.iter().zip(places).map(|(value, place)| self.part(*value, place)).collect();
        let select = Select { parts: parts.into_iter().collect::<Option<Vec<Part>>>()? };
        self.check_sum(&select, place)?;
        Some(Spanned { value: Attr::Select(Arc::new(select)), span: place.span() })
    }

    fn part(&self, value: Value<'_>, place: Place<'_>) -> Option<Part> {
        match SelectCall::from_value(value) {
            Some(call) => self.choice(call, place).map(Part::Choice),
            None => self.coerce(value, place).map(Part::Plain),
        }
    }

    fn choice(&self, call: &SelectCall<'_>, place: Place<'_>) -> Option<Choice> {
        let span = Spot::from_value(call.spot).map_or_else(|| place.span(), |spot| (*spot.0).clone());
        let mut choice =
            Choice { branches: Vec::new(), default: None, no_match_error: call.no_match_error.clone(), span: span.clone() };
        // A condition that is not written in the call itself stands near the `select()`.
        let written = place.branches().unwrap_or(Place::Call(&span));
        let mut complete = true;
        for (index, (key, value)) in DictRef::from_value(call.branches)?.iter().enumerate() {
            let (key_place, value_place) = written.pair(index);
            complete &= self.branch(&mut choice, (key, key_place), (value, value_place)).is_some();
        }
        complete.then_some(choice)
    }

    fn branch(&self, choice: &mut Choice, key: (Value<'_>, Place<'_>), value: (Value<'_>, Place<'_>)) -> Option<()> {
        let (condition, span) = (key.0.unpack_str(), key.1.span());
        let value = self.branch_value(value.0, value.1);
        let Some(condition) = condition else {
            return self.report(Diagnostic::error(&span, "a condition of `select()` is a label").help("write it as a string"));
        };
        if condition == DEFAULT {
            choice.default = Some(value?);
            return Some(());
        }
        let condition = self.label_of(condition, &span)?;
        if let Some(first) = choice.branches.iter().find(|branch| branch.condition == condition) {
            let finding = Diagnostic::error(&span, format!("`{condition}` has two branches"));
            return self.report(finding.related(&first.span, "the first is here").help("remove one of them"));
        }
        choice.branches.push(Branch { condition, span, value: value? });
        Some(())
    }

    /// `None` means "as if not given", as everywhere.
    fn branch_value(&self, value: Value<'_>, place: Place<'_>) -> Option<Spanned> {
        if !value.is_none() {
            return self.coerce(value, place);
        }
        if self.attr.required {
            return self.report(Diagnostic::error(&place.span(), format!("`{}` must be given in every branch", self.attr.name)));
        }
        Some(Spanned { value: self.attr.default.clone(), span: place.span() })
    }

    /// Whether the parts can be joined, whichever branches hold.
    fn check_sum(&self, select: &Select, place: Place<'_>) -> Option<()> {
        let Some(first) = select.values().next().filter(|_| select.parts.len() > 1) else { return Some(()) };
        match select.values().find(|value| select::join(first.value.clone(), value.value.clone()).is_none()) {
            None => Some(()),
            Some(_) => {
                let finding = Diagnostic::error(&place.span(), format!("the parts of `{}` cannot be joined", self.attr.name));
                self.report(finding.help("`+` with `select()` joins strings, lists or dictionaries"))
            }
        }
    }
}
