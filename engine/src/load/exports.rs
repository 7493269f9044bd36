//! `exports_files()`: plain files of a package that other packages may name.
//!
//! Knows nothing of which files are there.

use ouro_rules::attr::{AttrSpec, AttrType, Spanned};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use ouro_rules::target::Visibility;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::none::NoneType;

use super::builtins::build_of;
use super::coerce::Slot;
use super::context::{Build, Context};
use super::places::{Place, Site};
use super::{Export, visibility};

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// Lets other packages name these files of this one: all of them, unless `visibility` says which.
    fn exports_files<'v>(
        srcs: Value<'v>,
        #[starlark(require = named)] visibility: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let context = Context::of(eval)?;
        let build = build_of(context, "exports_files")?;
        let site = context.site(eval);
        let strings = |name: &str, value: Value<'v>, place: Place<'_>| {
            let attr = AttrSpec::new(name, AttrType::String.list(), "");
            Slot { context, attr: &attr }.coerce(value, place)
        };
        let files = strings("srcs", srcs, first(&site));
        let visibility = visibility.filter(|value| !value.is_none());
        let visibility = visibility.and_then(|list| strings("visibility", list, site.argument("visibility")));
        let visibility = visibility.map_or(Visibility::Public, |list| visibility::read(context, &list));
        for file in files.iter().flat_map(|files| files.value.items()) {
            export(context, build, file, &visibility);
        }
        Ok(NoneType)
    }
}

fn first<'s>(site: &'s Site<'_>) -> Place<'s> {
    match site.argument("srcs") {
        Place::Call(_) => site.positional(),
        named => named,
    }
}

fn export(context: &Context<'_>, build: &Build<'_>, file: &Spanned, visibility: &Visibility) {
    let name = file.value.as_str().unwrap_or_default();
    let label = match Label::parse(&format!(":{}", name.strip_prefix(':').unwrap_or(name)), "", context.package) {
        Ok(label) => label,
        Err(error) => return context.report(Diagnostic::error(&file.span, error.to_string())),
    };
    let export = Export { visibility: visibility.clone(), span: file.span.clone() };
    if let Some(first) = build.exports.borrow_mut().insert(label.name, export) {
        context.report(Diagnostic::error(&file.span, format!("`{name}` is exported twice")).related(&first.span, "first here"));
    }
}
