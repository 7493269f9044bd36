//! What an implementation returned: a list of providers.

use std::sync::Arc;

use ouro_rules::data::Info;
use ouro_rules::diagnostic::Diagnostic;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{Value, ValueLike};

use crate::load::errors::refuse;
use crate::load::rule_function::Definition;
use crate::load::views::InfoView;

/// The providers, as plain data.
pub(super) fn infos(returned: Value<'_>, definition: &Definition) -> starlark::Result<Vec<Arc<Info>>> {
    if returned.is_none() {
        return Ok(Vec::new());
    }
    let items = match (ListRef::from_value(returned), TupleRef::from_value(returned)) {
        (Some(list), _) => list.iter().collect(),
        (None, Some(tuple)) => tuple.iter().collect(),
        (None, None) => vec![returned],
    };
    items.into_iter().map(|item| info(item, definition)).collect()
}

fn info(item: Value<'_>, definition: &Definition) -> starlark::Result<Arc<Info>> {
    item.downcast_ref::<InfoView>().map(|info| info.0.clone()).ok_or_else(|| {
        let message = format!("the implementation of `{}` returned a {}", definition.name(), item.get_type());
        refuse(Diagnostic::bare(message).help("return a list of providers: `[DefaultInfo(files = depset([out]))]`"))
    })
}
