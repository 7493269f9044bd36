//! The interpreter's view of plain data: files, labels, sets, and what providers hold.
//!
//! Knows nothing of targets and actions.

use std::hash::Hasher as _;
use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::action::Artifact;
use ouro_rules::data::{Data, Depset, Info, Order};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use starlark::any::ProvidesStaticType;
use starlark::collections::StarlarkHasher;
use starlark::environment::{GlobalsBuilder, Methods, MethodsBuilder};
use starlark::starlark_module;
use starlark::starlark_simple_value;
use starlark::values::list::AllocList;
use starlark::values::list_or_tuple::UnpackListOrTuple;
use starlark::values::{Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::errors::refuse;
use super::plain;
use super::values::shown_as;

/// A file of the build.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct FileView(#[allocative(skip)] pub(super) Artifact);

/// A label.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct LabelView(#[allocative(skip)] pub(super) Label);

/// A set that shares its parts with others.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct DepsetView(#[allocative(skip)] pub(super) Depset);

/// A value of a provider. Its fields become values when they are read.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct InfoView(#[allocative(skip)] pub(super) Arc<Info>);

starlark_simple_value!(FileView);
starlark_simple_value!(LabelView);
starlark_simple_value!(DepsetView);
starlark_simple_value!(InfoView);

shown_as!(FileView, this => "<file {}>", this.0.path());
shown_as!(LabelView, this => "{}", this.0);
shown_as!(DepsetView, _this => "depset(...)");
shown_as!(InfoView, this => "{}({})", this.0.id.name, this.0.fields.keys().map(|name| format!("{name} = ...")).collect::<Vec<_>>().join(", "));

/// How many folders of a made file's path are ouro's: `ouro-out/x86`.
const OUT_FOLDERS: usize = 2;

impl FileView {
    fn short_path(&self) -> &str {
        match &self.0 {
            Artifact::Source(path) => path,
            Artifact::Output(path) => path.splitn(OUT_FOLDERS + 1, '/').last().unwrap_or(path),
        }
    }

    fn text(&self, attribute: &str) -> Option<&str> {
        let path = self.0.path();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match attribute {
            "path" => Some(path),
            "short_path" => Some(self.short_path()),
            "basename" => Some(name),
            "dirname" => Some(folder),
            "extension" => Some(name.rsplit_once('.').map_or("", |(_, extension)| extension)),
            _ => None,
        }
    }
}

#[starlark_value(type = "File")]
impl<'v> StarlarkValue<'v> for FileView {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "is_source" => Some(Value::new_bool(matches!(self.0, Artifact::Source(_)))),
            _ => self.text(attribute).map(|text| heap.alloc(text)),
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        ["basename", "dirname", "extension", "is_source", "path", "short_path"].map(str::to_owned).to_vec()
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other.downcast_ref::<FileView>().is_some_and(|other| other.0 == self.0))
    }

    fn write_hash(&self, hasher: &mut StarlarkHasher) -> starlark::Result<()> {
        hasher.write(self.0.path().as_bytes());
        Ok(())
    }
}

#[starlark_value(type = "Label")]
impl<'v> StarlarkValue<'v> for LabelView {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "name" => Some(heap.alloc(&*self.0.name)),
            "package" => Some(heap.alloc(&*self.0.package)),
            "repo" => Some(heap.alloc(&*self.0.repo)),
            _ => None,
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        ["name", "package", "repo"].map(str::to_owned).to_vec()
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other.downcast_ref::<LabelView>().is_some_and(|other| other.0 == self.0))
    }

    fn write_hash(&self, hasher: &mut StarlarkHasher) -> starlark::Result<()> {
        hasher.write(self.0.to_string().as_bytes());
        Ok(())
    }
}

#[starlark_value(type = "depset")]
impl<'v> StarlarkValue<'v> for DepsetView {
    fn get_methods() -> Option<&'static Methods> {
        Some(DEPSET.methods())
    }
}

#[starlark_value(type = "Info")]
impl<'v> StarlarkValue<'v> for InfoView {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        self.0.fields.get(attribute).map(|field| plain::value(field, heap))
    }

    fn dir_attr(&self) -> Vec<String> {
        self.0.fields.keys().map(ToString::to_string).collect()
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other.downcast_ref::<InfoView>().is_some_and(|other| Arc::ptr_eq(&other.0, &self.0)))
    }
}

starlark::methods_static!(DEPSET = depset_methods);

#[starlark_module]
fn depset_methods(builder: &mut MethodsBuilder) {
    /// Every value once, in the set's order.
    fn to_list<'v>(this: &DepsetView, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let list = this.0.list();
        Ok(heap.alloc(AllocList(list.iter().map(|item| plain::value(item, heap)))))
    }
}

/// `depset()`.
#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// A set that shares its parts with others: making one costs nothing that grows with the sets in `transitive`.
    fn depset<'v>(
        direct: Option<UnpackListOrTuple<Value<'v>>>,
        #[starlark(require = named)] transitive: Option<UnpackListOrTuple<Value<'v>>>,
        #[starlark(require = named, default = "default")] order: &str,
    ) -> starlark::Result<DepsetView> {
        let order = match order {
            "default" | "postorder" => Order::Postorder,
            "preorder" => Order::Preorder,
            other => {
                let finding = Diagnostic::bare(format!("`{other}` is no order of a `depset`"));
                return Err(refuse(finding.help("use `postorder`, which is the default, or `preorder`")));
            }
        };
        let direct = direct.map(|list| list.items).unwrap_or_default().into_iter().map(plain::element);
        let direct: Vec<Data> =
            direct.collect::<Result<_, _>>().map_err(|message| refuse(Diagnostic::bare(format!("in a `depset`: {message}"))))?;
        let transitive = transitive.map(|list| list.items).unwrap_or_default().into_iter().map(set);
        Ok(DepsetView(Depset::new(order, direct, transitive.collect::<starlark::Result<_>>()?)))
    }
}

fn set(value: Value<'_>) -> starlark::Result<Depset> {
    value.downcast_ref::<DepsetView>().map(|set| set.0.clone()).ok_or_else(|| {
        let finding = Diagnostic::bare(format!("`transitive` of a `depset` holds a {}", value.get_type()));
        refuse(finding.help("it takes depsets; single values belong in `direct`"))
    })
}
