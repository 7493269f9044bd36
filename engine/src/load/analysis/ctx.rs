//! `ctx`: what implementations see of their target and of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::action::{Artifact, Tool};
use ouro_rules::attr::{EdgeKind, Value as Attr};
use ouro_rules::builtin::info;
use ouro_rules::data::{Data, Info};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use ouro_rules::rule::{Config, Context};
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::starlark_module;
use starlark::starlark_simple_value;
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, starlark_value};

use super::actions::Actions;
use super::inputs::ToolView;
use super::native;
use super::target::TargetView;
use crate::load::attr_function::UserAttr;
use crate::load::errors::refuse;
use crate::load::plain;
use crate::load::rule_function::Definition;
use crate::load::values::shown_as;
use crate::load::views::{FileView, LabelView};

/// `ctx` for one target.
pub(super) fn value<'v>(definition: &Definition, ctx: &Context<'_>, heap: Heap<'v>) -> Value<'v> {
    let attrs = Attrs { ctx, heap };
    let (mut attr, mut file, mut files, mut executable) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in &definition.attrs {
        let name = one.spec.name.as_str();
        attr.push((name, attrs.value(one)));
        if one.spec.edge.is_some_and(|edge| edge != EdgeKind::Jump) {
            files.push((name, attrs.files(name)));
            if let Attr::Label(label) = ctx.target.get(name) {
                file.push((name, attrs.file(label)));
                executable.push((name, attrs.executable(label)));
            } else if *ctx.target.get(name) == Attr::None {
                file.push((name, Value::new_none()));
                executable.push((name, Value::new_none()));
            }
        }
    }
    attr.push(("name", heap.alloc(&*ctx.target.label.name)));
    attr.push(("tags", heap.alloc(AllocList(ctx.target.tags.iter().map(|tag| &**tag)))));
    heap.alloc(AllocStruct([
        ("actions", heap.alloc(Actions)),
        ("attr", heap.alloc(AllocStruct(attr))),
        ("bin_dir", heap.alloc(AllocStruct([("path", ctx.config.out_dir.as_str())]))),
        ("bpf", native::value(heap)),
        ("config", config(ctx, heap)),
        ("executable", heap.alloc(AllocStruct(executable))),
        ("file", heap.alloc(AllocStruct(file))),
        ("files", heap.alloc(AllocStruct(files))),
        ("label", heap.alloc(LabelView(ctx.target.label.clone()))),
        ("toolchain", heap.alloc(ToolchainView::of(ctx.config))),
    ]))
}

fn config<'v>(ctx: &Context<'_>, heap: Heap<'v>) -> Value<'v> {
    let workspace = ctx.config.workspace.as_ref().map_or(Value::new_none(), |name| heap.alloc(name.as_str()));
    let (arch, out_dir) = (heap.alloc(ctx.config.arch.as_str()), heap.alloc(ctx.config.out_dir.as_str()));
    heap.alloc(AllocStruct([("arch", arch), ("out_dir", out_dir), ("workspace", workspace)]))
}

/// `ctx.toolchain`.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
struct ToolchainView {
    #[allocative(skip)]
    facts: BTreeMap<Arc<str>, Data>,
    version: Option<String>,
}

starlark_simple_value!(ToolchainView);
shown_as!(ToolchainView, _this => "<toolchain>");
starlark::methods_static!(TOOLCHAIN = toolchain_attributes);

/// What every toolchain has to be run.
const TOOLS: [(&str, Tool); 3] = [("clang", Tool::Clang), ("llvm_link", Tool::LlvmLink), ("shell", Tool::Shell)];

impl ToolchainView {
    fn of(config: &Config) -> ToolchainView {
        ToolchainView { facts: info::toolchain(config), version: config.clang_version.clone() }
    }
}

#[starlark_value(type = "toolchain")]
impl<'v> StarlarkValue<'v> for ToolchainView {
    fn get_methods() -> Option<&'static Methods> {
        Some(TOOLCHAIN.methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let tool = TOOLS.into_iter().find(|(name, _)| *name == attribute).map(|(_, tool)| heap.alloc(ToolView(tool)));
        tool.or_else(|| self.facts.get(attribute).map(|fact| plain::value(fact, heap)))
    }

    fn dir_attr(&self) -> Vec<String> {
        TOOLS.iter().map(|(name, _)| (*name).to_owned()).chain(self.facts.keys().map(ToString::to_string)).collect()
    }
}

#[starlark_module]
fn toolchain_attributes(builder: &mut MethodsBuilder) {
    /// What the compiler says it is. Without one, a rule that goes by it would make something wrong and tell nobody.
    #[starlark(attribute)]
    fn version(this: &ToolchainView) -> starlark::Result<String> {
        this.version.clone().ok_or_else(|| {
            let finding = Diagnostic::bare("there is no compiler whose version could be told");
            refuse(finding.help("`ouro doctor` says what is missing"))
        })
    }
}

/// Makes values of attributes.
struct Attrs<'a, 'c, 'v> {
    ctx: &'a Context<'c>,
    heap: Heap<'v>,
}

impl<'v> Attrs<'_, '_, 'v> {
    fn value(&self, attr: &UserAttr) -> Value<'v> {
        let value = self.ctx.target.get(&attr.spec.name);
        // What a jump leads to may not be analysed yet, so that jumps stay names.
        if attr.spec.edge == Some(EdgeKind::Jump) { plain::value(&data(value), self.heap) } else { self.plain(value) }
    }

    fn plain(&self, value: &Attr) -> Value<'v> {
        match value {
            Attr::Label(label) => self.target(label),
            Attr::List(items) => self.heap.alloc(AllocList(items.iter().map(|item| self.plain(&item.value)))),
            Attr::Dict(entries) => {
                let entries = entries.iter().map(|(key, value)| (self.plain(&key.value), self.plain(&value.value)));
                self.heap.alloc(AllocDict(entries))
            }
            other => plain::value(&data(other), self.heap),
        }
    }

    fn target(&self, label: &Label) -> Value<'v> {
        match (self.ctx.deps)(label) {
            Some(providers) => self.heap.alloc(TargetView::new(label, providers)),
            None => self.heap.alloc(LabelView(label.clone())),
        }
    }

    fn files(&self, name: &str) -> Value<'v> {
        let (mut files, value) = (Vec::<Artifact>::new(), self.ctx.target.attrs.get(name));
        let mut known = std::collections::HashSet::new();
        if let Some(value) = value {
            value.value.each_label(&value.span, &mut |label, _| {
                let of_target = (self.ctx.deps)(label).into_iter().flat_map(|providers| &providers.files);
                files.extend(of_target.filter(|file| known.insert(*file)).cloned());
            });
        }
        self.heap.alloc(AllocList(files.into_iter().map(FileView)))
    }

    /// The only file of a target.
    fn file(&self, label: &Label) -> Value<'v> {
        match (self.ctx.deps)(label).map(|providers| &providers.files[..]) {
            Some([file]) => self.heap.alloc(FileView(file.clone())),
            _ => self.heap.alloc(NotOne),
        }
    }

    /// What a target runs; a file runs itself.
    fn executable(&self, label: &Label) -> Value<'v> {
        let run = (self.ctx.deps)(label).and_then(|providers| providers.run.as_ref());
        run.map_or_else(|| self.file(label), |run| self.heap.alloc(FileView(run.executable.clone())))
    }
}

/// Stands where one file is asked for of a target with none or several: harmless until it is used.
#[derive(Clone, Copy, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
struct NotOne;

starlark_simple_value!(NotOne);
shown_as!(NotOne, _this => "<not one file>");

#[starlark_value(type = "target without exactly one file (see ctx.files)")]
impl<'v> StarlarkValue<'v> for NotOne {}

/// An attribute's value as plain data; labels stay names.
fn data(value: &Attr) -> Data {
    match value {
        // Nothing is left to choose in a configured target.
        Attr::None | Attr::Select(_) => Data::None,
        Attr::Bool(flag) => Data::Bool(*flag),
        Attr::Int(number) => Data::Int(*number),
        Attr::Str(text) => Data::Str(text.clone()),
        Attr::Label(label) => Data::Label(label.clone()),
        Attr::List(items) => Data::List(items.iter().map(|item| data(&item.value)).collect()),
        Attr::Dict(entries) => Data::Dict(entries.iter().map(|(key, value)| (data(&key.value), data(&value.value))).collect()),
        Attr::Record(record) => {
            let fields: BTreeMap<Arc<str>, Data> =
                record.fields.iter().map(|(name, field)| (name.clone(), data(&field.value))).collect();
            Data::Info(Arc::new(Info { id: info::id(&record.kind), fields }))
        }
    }
}
