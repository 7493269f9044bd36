//! A target as implementations see it: its label, its files, and its providers by indexing.

use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::builtin::info;
use ouro_rules::data::{Data, Depset, Order};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use ouro_rules::provider::Providers;
use starlark::any::ProvidesStaticType;
use starlark::starlark_simple_value;
use starlark::values::{Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use crate::load::errors::refuse;
use crate::load::provider_function::{Provider, ProviderFunction};
use crate::load::values::shown_as;
use crate::load::views::{DepsetView, InfoView, LabelView};

/// A target that an attribute names.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct TargetView {
    #[allocative(skip)]
    label: Label,
    #[allocative(skip)]
    pub(super) providers: Arc<Providers>,
}

starlark_simple_value!(TargetView);
shown_as!(TargetView, this => "<target {}>", this.label);

impl TargetView {
    pub(super) fn new(label: &Label, providers: &Providers) -> TargetView {
        TargetView { label: label.clone(), providers: Arc::new(providers.clone()) }
    }
}

#[starlark_value(type = "Target")]
impl<'v> StarlarkValue<'v> for TargetView {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "label" => Some(heap.alloc(LabelView(self.label.clone()))),
            "files" => {
                let files = self.providers.files.iter().cloned().map(Data::File).collect();
                Some(heap.alloc(DepsetView(Depset::new(Order::Postorder, files, Vec::new()))))
            }
            _ => None,
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        ["files", "label"].map(str::to_owned).to_vec()
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let provider = provider(index)?;
        match info::offered(&self.providers, &provider.id()) {
            Some(info) => Ok(heap.alloc(InfoView(info))),
            None => {
                let name = provider.name();
                let finding = Diagnostic::bare(format!("`{}` does not provide `{name}`", self.label));
                let help = format!("require it of the attribute: `providers = [{name}]`; or ask first: `if {name} in dep`");
                Err(refuse(finding.help(help)))
            }
        }
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(info::has(&self.providers, &provider(other)?.id()))
    }
}

fn provider(value: Value<'_>) -> starlark::Result<&Provider> {
    value.downcast_ref::<ProviderFunction>().map(|function| &*function.0).ok_or_else(|| {
        let finding = Diagnostic::bare(format!("a target is asked for providers, not for a {}", value.get_type()));
        refuse(finding.help("write `dep[DefaultInfo]`"))
    })
}
