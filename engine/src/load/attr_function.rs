//! `attr.string()` and its like: the attributes of rules that users define.
//!
//! Knows how an attribute is described; what is given for it in a BUILD file is read as for built-in rules.

use std::sync::Arc;

use allocative::Allocative;
use ouro_rules::attr::{AttrSpec, AttrType, EdgeKind, Value as Attr};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use starlark::any::ProvidesStaticType;
use starlark::environment::GlobalsBuilder;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::list::ListRef;
use starlark::values::{NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::coerce::Slot;
use super::context::Context;
use super::errors::refuse;
use super::provider_function::{Provider, ProviderFunction};
use super::values::shown_as;

/// An attribute of a user's rule.
#[derive(Clone)]
pub(super) struct UserAttr {
    /// As the attributes of built-in rules.
    pub(super) spec: AttrSpec,
    /// What its targets must offer: all of one of these. Nothing when there is none.
    pub(super) requires: Vec<Vec<Arc<Provider>>>,
    /// Which files it takes.
    pub(super) files: Files,
    /// Whether a target in it must have exactly one file.
    pub(super) single: bool,
}

/// Which files an attribute takes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Files {
    /// None of the workspace; whatever targets make.
    OfTargets,
    /// All.
    Any,
    /// Those with one of these endings.
    Ending(Vec<String>),
}

/// An attribute as a value.
#[derive(Clone, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct AttrValue(#[allocative(skip)] pub(super) Arc<UserAttr>);

/// One function of `attr`.
#[derive(Clone, Copy, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
struct AttrFunction(#[allocative(skip)] &'static Kind);

starlark_simple_value!(AttrValue);
starlark_simple_value!(AttrFunction);
shown_as!(AttrValue, this => "<attribute: {}>", this.0.spec.ty.describe());
shown_as!(AttrFunction, this => "<function attr.{}>", this.0.name);

/// A kind of attribute.
struct Kind {
    name: &'static str,
    ty: fn() -> AttrType,
    /// The value when none is given and none is declared.
    empty: fn() -> Attr,
    of: Of,
}

/// What its values consist of.
#[derive(PartialEq, Eq)]
enum Of {
    Strings,
    Labels,
    Jumps,
    Others,
}

const KINDS: &[Kind] = &[
    Kind { name: "bool", ty: || AttrType::Bool, empty: || Attr::Bool(false), of: Of::Others },
    Kind { name: "int", ty: || AttrType::Int, empty: || Attr::None, of: Of::Others },
    Kind { name: "int_list", ty: || AttrType::Int.list(), empty: || Attr::List(Vec::new()), of: Of::Others },
    Kind { name: "jumps", ty: jumps, empty: || Attr::List(Vec::new()), of: Of::Jumps },
    Kind { name: "label", ty: || AttrType::Label, empty: || Attr::None, of: Of::Labels },
    Kind { name: "label_list", ty: || AttrType::Label.list(), empty: || Attr::List(Vec::new()), of: Of::Labels },
    Kind { name: "string", ty: || AttrType::String, empty: || Attr::None, of: Of::Strings },
    Kind { name: "string_dict", ty: || AttrType::Dict, empty: || Attr::Dict(Vec::new()), of: Of::Others },
    Kind { name: "string_list", ty: || AttrType::String.list(), empty: || Attr::List(Vec::new()), of: Of::Strings },
];

fn jumps() -> AttrType {
    AttrType::OneOf(vec![AttrType::Label, AttrType::Record(vec!["jump".to_owned()])]).list()
}

impl Kind {
    fn params(&self) -> &'static [&'static str] {
        match self.of {
            Of::Strings => &["default", "mandatory", "doc", "values"],
            Of::Labels => &["default", "mandatory", "doc", "providers", "allow_files", "allow_single_file"],
            Of::Jumps | Of::Others => &["default", "mandatory", "doc"],
        }
    }
}

/// The functions of `attr`.
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    KINDS.iter().for_each(|kind| builder.set(kind.name, AttrFunction(kind)));
}

#[starlark_value(type = "function")]
impl<'v> StarlarkValue<'v> for AttrFunction {
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let context = Context::of_star(eval, "attr")?;
        if args.positions(eval.heap())?.next().is_some() {
            let finding = Diagnostic::bare(format!("`attr.{}` takes its arguments by name", self.0.name));
            return Err(refuse(finding.help("write `default = ...`")));
        }
        let given = args.names_map()?.into_iter().map(|(name, value)| (name.as_str(), value)).collect();
        let call = Call { context, kind: self.0, given };
        let attr = call.attr(eval).map_err(refuse)?;
        Ok(eval.heap().alloc(AttrValue(Arc::new(attr))))
    }
}

#[starlark_value(type = "attribute")]
impl<'v> StarlarkValue<'v> for AttrValue {}

/// A call of a function of `attr`.
struct Call<'a, 'v> {
    context: &'a Context<'a>,
    kind: &'static Kind,
    given: Vec<(&'v str, Value<'v>)>,
}

impl<'v> Call<'_, 'v> {
    fn attr(&self, eval: &Evaluator<'v, '_, '_>) -> Result<UserAttr, Diagnostic> {
        self.check_names()?;
        let requires = self.get("providers").map_or(Ok(Vec::new()), requirements)?;
        let single = self.get("allow_single_file");
        let files = single.or(self.get("allow_files")).map_or(Ok(Files::OfTargets), files)?;
        let mut spec = AttrSpec::new("default", (self.kind.ty)(), self.text("doc")?);
        spec.allowed = self.get("values").map_or(Ok(Vec::new()), |values| texts("values", values))?;
        spec.required = self.flag("mandatory")?;
        spec.home = Some(self.context.package.clone());
        spec.edge = self.edge(&requires, &files);
        spec.default = match self.get("default") {
            None => (self.kind.empty)(),
            Some(default) => self.default(&spec, default, eval)?,
        };
        Ok(UserAttr { spec, requires, single: single.is_some() && files != Files::OfTargets, files })
    }

    fn get(&self, name: &str) -> Option<Value<'v>> {
        self.given.iter().find(|(given, value)| *given == name && !value.is_none()).map(|(_, value)| *value)
    }

    fn check_names(&self) -> Result<(), Diagnostic> {
        let known = self.kind.params();
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let list = || format!("it has {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
        let help = did_you_mean(unknown, known.iter().copied()).unwrap_or_else(list);
        Err(Diagnostic::bare(format!("`attr.{}` has no parameter `{unknown}`", self.kind.name)).help(help))
    }

    fn text(&self, name: &str) -> Result<&'v str, Diagnostic> {
        let wrong = || Diagnostic::bare(format!("`{name}` of an attribute is a string"));
        self.get(name).map_or(Ok(""), |value| value.unpack_str().ok_or_else(wrong))
    }

    fn flag(&self, name: &str) -> Result<bool, Diagnostic> {
        let wrong = || Diagnostic::bare(format!("`{name}` of an attribute is `True` or `False`"));
        self.get(name).map_or(Ok(false), |value| value.unpack_bool().ok_or_else(wrong))
    }

    /// What its labels mean for the graph: what the providers they must have say, or whether they may be files.
    fn edge(&self, requires: &[Vec<Arc<Provider>>], files: &Files) -> Option<EdgeKind> {
        match self.kind.of {
            Of::Jumps => Some(EdgeKind::Jump),
            Of::Strings | Of::Others => None,
            Of::Labels if *files != Files::OfTargets => Some(EdgeKind::Source),
            Of::Labels => {
                let edges = requires.iter().flatten().map(|provider| provider.edge());
                Some(edges.max().unwrap_or(EdgeKind::Dep))
            }
        }
    }

    /// The default, read as if it were given here: labels start at the file that defines the attribute.
    fn default(&self, spec: &AttrSpec, default: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> Result<Attr, Diagnostic> {
        let site = self.context.site(eval);
        let before = self.context.found();
        let read = Slot { context: self.context, attr: spec }.coerce(default, site.argument("default"));
        read.map(|read| read.value).ok_or_else(|| {
            let found = self.context.findings.borrow_mut().drain(before..).next();
            found.unwrap_or_else(|| Diagnostic::bare("`default` of an attribute stands for nothing"))
        })
    }
}

/// `True`, `False`, or a list of endings.
fn files(given: Value<'_>) -> Result<Files, Diagnostic> {
    match given.unpack_bool() {
        Some(true) => Ok(Files::Any),
        Some(false) => Ok(Files::OfTargets),
        None => texts("allow_files", given).map(Files::Ending),
    }
}

fn texts(name: &str, given: Value<'_>) -> Result<Vec<String>, Diagnostic> {
    let list = ListRef::from_value(given);
    let texts = list.and_then(|list| list.iter().map(|item| item.unpack_str().map(str::to_owned)).collect());
    texts.ok_or_else(|| Diagnostic::bare(format!("`{name}` of an attribute is a list of strings")))
}

/// `[A, B]` is both; `[A, [B, C]]` is A, or B and C.
fn requirements(given: Value<'_>) -> Result<Vec<Vec<Arc<Provider>>>, Diagnostic> {
    let wrong = || {
        let finding = Diagnostic::bare("`providers` of an attribute is a list of providers");
        finding.help("write `[A, B]` for both, or `[[A], [B, C]]` for A, or B and C")
    };
    let provider = |value: Value<'_>| value.downcast_ref::<ProviderFunction>().map(|provider| provider.0.clone());
    let all = |list: &ListRef<'_>| list.iter().map(provider).collect::<Option<Vec<_>>>();
    let items = ListRef::from_value(given).ok_or_else(wrong)?;
    if let Some(all) = all(items) {
        return Ok(if all.is_empty() { Vec::new() } else { vec![all] });
    }
    let alternatives = items.iter().map(|item| match ListRef::from_value(item) {
        Some(inner) => all(inner),
        None => provider(item).map(|one| vec![one]),
    });
    alternatives.collect::<Option<Vec<_>>>().ok_or_else(wrong)
}
