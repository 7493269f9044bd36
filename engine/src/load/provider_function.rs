//! `provider()`, and providers as functions that make their values.
//!
//! Knows nothing of what the providers that come with ouro mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::attr::EdgeKind;
use ouro_rules::builtin::info::{FieldSpec, Given, INFOS, InfoSpec};
use ouro_rules::data::{Data, Info, ProviderId};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use starlark::any::ProvidesStaticType;
use starlark::environment::GlobalsBuilder;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_module;
use starlark::starlark_simple_value;
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::{NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, starlark_value};

use super::assigned::Assigned;
use super::context::Context;
use super::errors::refuse;
use super::plain;
use super::values::shown_as;
use super::views::InfoView;

/// A provider.
pub(super) struct Provider {
    export: Arc<Assigned>,
    fields: Fields,
}

enum Fields {
    /// Whatever is given.
    Any,
    /// Those of a user's provider.
    Named(Vec<Arc<str>>),
    /// Those of a provider that comes with ouro.
    Builtin(&'static InfoSpec),
}

/// A provider as a function.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct ProviderFunction(#[allocative(skip)] pub(super) Arc<Provider>);

starlark_simple_value!(ProviderFunction);
shown_as!(ProviderFunction, this => "<provider {}>", this.0.name());

impl Provider {
    /// Its name for people.
    pub(super) fn name(&self) -> Arc<str> {
        self.export.name()
    }

    /// Its name for all.
    pub(super) fn id(&self) -> ProviderId {
        ProviderId { file: self.export.file.clone(), name: self.export.name() }
    }

    /// The edge of labels that must offer it.
    pub(super) fn edge(&self) -> EdgeKind {
        if let Fields::Builtin(spec) = self.fields { spec.edge } else { EdgeKind::Dep }
    }

    fn make(&self, mut given: BTreeMap<Arc<str>, Data>) -> Result<Info, Diagnostic> {
        match &self.fields {
            Fields::Any => {}
            Fields::Named(names) => {
                self.check_names(&given, names.iter().map(|name| &**name))?;
                for name in names {
                    given.entry(name.clone()).or_insert(Data::None);
                }
            }
            Fields::Builtin(spec) if !spec.made => {
                let help = format!("take it from a target: `dep[{}]`", spec.name);
                return Err(Diagnostic::bare(format!("no rule can make a `{}`", spec.name)).help(help));
            }
            Fields::Builtin(spec) => {
                let known = spec.fields.iter().filter(|field| field.given != Given::Never);
                self.check_names(&given, known.map(|field| field.name))?;
                typed(spec.name, spec.fields, &mut given)?;
            }
        }
        Ok(Info { id: self.id(), fields: given })
    }

    fn check_names<'n>(
        &self,
        given: &BTreeMap<Arc<str>, Data>,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<(), Diagnostic> {
        let Some(unknown) = given.keys().find(|name| !known.clone().any(|known| *known == ***name)) else { return Ok(()) };
        let list = || format!("it has {}", known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
        let help = did_you_mean(unknown, known.clone()).unwrap_or_else(list);
        Err(Diagnostic::bare(format!("`{}` has no field `{unknown}`", self.name())).help(help))
    }
}

/// Checks values against the types of fields or parameters and adds those that are not given as none.
pub(super) fn typed(of: &str, specs: &[FieldSpec], given: &mut BTreeMap<Arc<str>, Data>) -> Result<(), Diagnostic> {
    for spec in specs {
        let value = given.entry(spec.name.into()).or_insert(Data::None);
        match value {
            Data::None if spec.given == Given::Always => {
                let finding = Diagnostic::bare(format!("missing `{}` of `{of}`", spec.name));
                return Err(finding.help(format!("it is {}", spec.takes.describe())));
            }
            Data::None => {}
            value if !spec.takes.accepts(value) => {
                return Err(Diagnostic::bare(format!("expected {} for `{}` of `{of}`", spec.takes.describe(), spec.name)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The arguments of a call as plain data; all have names.
pub(super) fn arguments<'v>(
    of: &str,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<BTreeMap<Arc<str>, Data>> {
    if args.positions(eval.heap())?.next().is_some() {
        let finding = Diagnostic::bare(format!("`{of}` takes its arguments by name"));
        return Err(refuse(finding.help("write `name = value`")));
    }
    let named = args.names_map()?.into_iter();
    let plain = named.map(|(name, value)| {
        let wrong = |message| refuse(Diagnostic::bare(format!("in `{}` of `{of}`: {message}", name.as_str())));
        Ok((Arc::from(name.as_str()), plain::data(value).map_err(wrong)?))
    });
    plain.collect()
}

#[starlark_value(type = "provider")]
impl<'v> StarlarkValue<'v> for ProviderFunction {
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let given = arguments(&self.0.name(), args, eval)?;
        let info = self.0.make(given).map_err(refuse)?;
        Ok(eval.heap().alloc(InfoView(Arc::new(info))))
    }

    fn export_as(&self, name: &str, _eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
        self.0.export.assign(name);
        Ok(())
    }
}

/// `provider()`, and every provider that comes with ouro.
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    provider_function(builder);
    for spec in INFOS {
        let provider = Provider { export: Assigned::builtin(spec.name), fields: Fields::Builtin(spec) };
        builder.set(spec.name, ProviderFunction(Arc::new(provider)));
    }
}

#[starlark_module]
fn provider_function(builder: &mut GlobalsBuilder) {
    /// A new provider: a function that makes values with these fields, which rules return and read from their dependencies.
    fn provider<'v>(
        #[starlark(require = named, default = "")] doc: &str,
        #[starlark(require = named)] fields: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ProviderFunction> {
        // It is there for those who read the file.
        let _ = doc;
        let context = Context::of_star(eval, "provider")?;
        let export = Assigned::new("provider", context.file, context.site(eval).span);
        context.assigned.borrow_mut().push(export.clone());
        let fields = fields.map_or(Ok(Fields::Any), field_names)?;
        Ok(ProviderFunction(Arc::new(Provider { export, fields })))
    }
}

fn field_names(given: Value<'_>) -> starlark::Result<Fields> {
    let names: Option<Vec<Arc<str>>> = match (ListRef::from_value(given), DictRef::from_value(given)) {
        (Some(list), _) => list.iter().map(|name| name.unpack_str().map(Arc::from)).collect(),
        (None, Some(dict)) => dict.iter().map(|(name, _)| name.unpack_str().map(Arc::from)).collect(),
        (None, None) => None,
    };
    names.map(Fields::Named).ok_or_else(|| {
        let finding = Diagnostic::bare("`fields` of `provider` takes the fields' names");
        refuse(finding.help("write `[\"name\"]`, or `{\"name\": \"what it holds\"}`"))
    })
}
