//! Values that stand for files: files themselves, targets, sets and lists of them.

use allocative::Allocative;
use ouro_rules::action::{Artifact, Tool};
use ouro_rules::data::Data;
use ouro_rules::diagnostic::Diagnostic;
use starlark::any::ProvidesStaticType;
use starlark::starlark_simple_value;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::target::TargetView;
use crate::load::errors::refuse;
use crate::load::values::shown_as;
use crate::load::views::{DepsetView, FileView};

/// A tool of the toolchain.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct ToolView(#[allocative(skip)] pub(super) Tool);

starlark_simple_value!(ToolView);
shown_as!(ToolView, this => "<tool {:?}>", this.0);

#[starlark_value(type = "Tool")]
impl<'v> StarlarkValue<'v> for ToolView {}

/// The file a value is.
pub(super) fn file(what: &str, value: Value<'_>) -> starlark::Result<Artifact> {
    value.downcast_ref::<FileView>().map(|file| file.0.clone()).ok_or_else(|| {
        let finding = Diagnostic::bare(format!("`{what}` takes files, not a {}", value.get_type()));
        refuse(finding.help("give what `ctx.file`, `ctx.files` or `ctx.actions.declare_file()` gave"))
    })
}

/// All files of a list, a set, or lists of these.
#[derive(Default)]
pub(super) struct Collected {
    files: Vec<Artifact>,
    known: std::collections::HashSet<Artifact>,
}

impl Collected {
    /// Adds a file, once.
    pub(super) fn add(&mut self, file: &Artifact) {
        if self.known.insert(file.clone()) {
            self.files.push(file.clone());
        }
    }

    /// Adds what a parameter was given.
    pub(super) fn extend(&mut self, what: &str, value: Value<'_>) -> starlark::Result<()> {
        match items(value) {
            Some(items) => items.into_iter().try_for_each(|item| self.one(what, item)),
            None => self.one(what, value),
        }
    }

    /// The files, each once, in the order they came.
    pub(super) fn into_files(self) -> Vec<Artifact> {
        self.files
    }

    fn one(&mut self, what: &str, value: Value<'_>) -> starlark::Result<()> {
        if let Some(set) = value.downcast_ref::<DepsetView>() {
            for item in set.0.list() {
                let Data::File(file) = item else {
                    return Err(refuse(Diagnostic::bare(format!("`{what}` takes files, and the depset holds something else"))));
                };
                self.add(&file);
            }
        } else if let Some(target) = value.downcast_ref::<TargetView>() {
            let run = target.providers.run.iter().map(|run| &run.executable);
            target.providers.files.iter().chain(&target.providers.runfiles).chain(run).for_each(|file| self.add(file));
        } else if value.downcast_ref::<ToolView>().is_none() {
            self.add(&file(what, value)?);
        }
        Ok(())
    }
}

/// The items of a list or tuple.
pub(super) fn items<'v>(value: Value<'v>) -> Option<Vec<Value<'v>>> {
    match (ListRef::from_value(value), TupleRef::from_value(value)) {
        (Some(list), _) => Some(list.iter().collect()),
        (None, Some(tuple)) => Some(tuple.iter().collect()),
        (None, None) => None,
    }
}
