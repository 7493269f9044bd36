//! `rule()`, and rules of users as functions that declare targets.
//!
//! Knows nothing of what implementations do; they run in [`super::analysis`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use allocative::Allocative;
use ouro_rules::attr::AttrSpec;
use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::rule::Role;
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::environment::GlobalsBuilder;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_complex_value;
use starlark::starlark_module;
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::typing::StarlarkCallable;
use starlark::values::{
    Freeze, NoSerialize, StarlarkPagablePanic, StarlarkValue, Trace, UnpackValue, Value, ValueLifetimeless, ValueLike,
    starlark_value,
};

use super::assigned::Assigned;
use super::attr_function::{AttrValue, UserAttr};
use super::context::Context;
use super::errors::refuse;
use super::provider_function::{Provider, ProviderFunction};
use super::values::{Schema, call};

/// What every rule has; a user's rule cannot declare it.
const COMMON: &[&str] = &["name", "visibility", "tags"];

/// What `rule()` was told, besides the implementation.
pub(super) struct Definition {
    export: Arc<Assigned>,
    pub(super) doc: String,
    pub(super) attrs: Vec<UserAttr>,
    /// Whether its targets are tests.
    pub(super) test: bool,
    /// Whether its targets can be run.
    pub(super) executable: bool,
    /// What its targets offer, always.
    pub(super) provides: Vec<Arc<Provider>>,
    /// Ready for calls once it has a name.
    schema: OnceLock<Arc<Schema>>,
}

impl Definition {
    /// Its name for people.
    pub(super) fn name(&self) -> Arc<str> {
        self.export.name()
    }

    /// The file that defines it, as in places.
    pub(super) fn file(&self) -> &str {
        &self.export.file
    }

    /// Its name in the rule table: two files may each have a rule of this name.
    pub(super) fn key(&self) -> String {
        format!("{}%{}", self.export.file, self.export.name())
    }

    /// The call that made it.
    pub(super) fn span(&self) -> &Span {
        &self.export.span
    }

    /// Its attributes as those of built-in rules.
    pub(super) fn specs(&self) -> Vec<AttrSpec> {
        self.attrs.iter().map(|attr| attr.spec.clone()).collect()
    }

    fn schema(&self) -> &Arc<Schema> {
        self.schema.get_or_init(|| Schema::new(&self.name(), &self.key(), &self.specs(), Role::Built))
    }
}

/// A rule as a function, with its implementation.
#[derive(Trace, Coerce, Freeze, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
#[repr(C)]
pub(super) struct UserRuleGen<V: ValueLifetimeless> {
    #[trace(unsafe_ignore)]
    #[freeze(identity)]
    #[allocative(skip)]
    pub(super) definition: Arc<Definition>,
    pub(super) implementation: V,
}

starlark_complex_value!(pub(super) UserRule);

impl<V: ValueLifetimeless> fmt::Display for UserRuleGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<rule {}>", self.definition.name())
    }
}

impl<V: ValueLifetimeless> fmt::Debug for UserRuleGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[starlark_value(type = "rule")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for UserRuleGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        call(self.definition.schema(), args, eval)
    }

    fn export_as(&self, name: &str, _eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
        self.definition.export.assign(name);
        Ok(())
    }
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// A new rule: a function that BUILD files call to declare targets, and the function that says what such a target means.
    fn rule<'v>(
        implementation: Value<'v>,
        #[starlark(require = named)] attrs: Option<Value<'v>>,
        #[starlark(require = named, default = "")] doc: &str,
        #[starlark(require = named, default = false)] test: bool,
        #[starlark(require = named, default = false)] executable: bool,
        #[starlark(require = named)] provides: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<UserRule<'v>> {
        let context = Context::of_star(eval, "rule")?;
        let export = Assigned::new("rule", context.file, context.site(eval).span);
        context.assigned.borrow_mut().push(export.clone());
        if !is_callable(implementation) {
            let finding = Diagnostic::bare(format!("`implementation` of `rule` is a {}", implementation.get_type()));
            return Err(refuse(finding.help("give a function that takes `ctx` and returns a list of providers")));
        }
        let attrs = attrs.map_or(Ok(Vec::new()), attributes).map_err(refuse)?;
        let provides = provides.map_or(Ok(Vec::new()), providers).map_err(refuse)?;
        let (doc, schema) = (doc.to_owned(), OnceLock::new());
        let definition = Definition { export, doc, attrs, test, executable, provides, schema };
        Ok(UserRuleGen { definition: Arc::new(definition), implementation })
    }
}

fn is_callable(value: Value<'_>) -> bool {
    let unpacked: Result<Option<StarlarkCallable<'_>>, _> = StarlarkCallable::unpack_value(value);
    matches!(unpacked, Ok(Some(_)))
}

fn attributes(given: Value<'_>) -> Result<Vec<UserAttr>, Diagnostic> {
    let Some(dict) = DictRef::from_value(given) else {
        return Err(Diagnostic::bare("`attrs` of `rule` is a dictionary").help("write `{\"srcs\": attr.label_list()}`"));
    };
    dict.iter().map(|(name, attr)| attribute(name, attr)).collect()
}

fn attribute(name: Value<'_>, attr: Value<'_>) -> Result<UserAttr, Diagnostic> {
    let text = name.unpack_str().unwrap_or_default();
    let is_name = text.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()));
    if text.is_empty() || !is_name {
        return Err(Diagnostic::bare(format!("{} cannot name an attribute", name.to_repr())).help("use letters, digits and `_`"));
    }
    if COMMON.contains(&text) {
        return Err(Diagnostic::bare(format!("every rule has the attribute `{text}`")).help("remove it, or choose another name"));
    }
    let Some(attr) = attr.downcast_ref::<AttrValue>() else {
        let finding = Diagnostic::bare(format!("attribute `{text}` is a {}", attr.get_type()));
        return Err(finding.help("describe it by a function of `attr`: `attr.string()`"));
    };
    let mut attr = (*attr.0).clone();
    attr.spec.name = text.to_owned();
    if text.starts_with('_') && attr.spec.required {
        let finding = Diagnostic::bare(format!("attribute `{text}` is mandatory, and nobody can give it"));
        return Err(finding.help("give it a `default`, or a name without the `_`"));
    }
    Ok(attr)
}

fn providers(given: Value<'_>) -> Result<Vec<Arc<Provider>>, Diagnostic> {
    let provider = |value: Value<'_>| value.downcast_ref::<ProviderFunction>().map(|provider| provider.0.clone());
    let list = ListRef::from_value(given).and_then(|list| list.iter().map(provider).collect());
    list.ok_or_else(|| Diagnostic::bare("`provides` of `rule` is a list of providers"))
}
