//! The functions of the BUILD language that are neither rules nor constructors, and the table of all of them.

use ouro_rules::attr::{AttrSpec, AttrType};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use ouro_rules::rule::RuleTable;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::list_or_tuple::UnpackListOrTuple;
use starlark::values::none::NoneType;
use starlark::values::tuple::UnpackTuple;

use super::coerce::Slot;
use super::context::{Build, Context};
use super::errors::refuse;
use super::glob;
use super::values::{RecordFunction, RuleFunction};
use super::{exports, select, visibility};

/// Everything a BUILD or `.star` file can call without loading it.
pub(super) fn globals(table: &RuleTable) -> Globals {
    use LibraryExtension::{Json, SetType, StructType, Typing};
    let mut builder = GlobalsBuilder::extended_by(&[StructType, SetType, Json, Typing])
        .with(functions)
        .with(select::functions)
        .with(exports::functions);
    table.rules().for_each(|rule| builder.set(rule.name(), RuleFunction::new(&**rule)));
    table.records().for_each(|record| builder.set(&record.name, RecordFunction::new(record)));
    builder.build()
}

/// The hint for a name nobody defines.
pub(super) fn near_global(name: &str, globals: &Globals) -> String {
    let names: Vec<&str> = globals.names().map(|name| name.as_str()).collect();
    did_you_mean(name, names).unwrap_or_else(|| format!("`load()` it from a `.star` file, or assign `{name}` before it is used"))
}

pub(super) fn build_of<'b>(context: &'b Context<'b>, function: &str) -> starlark::Result<&'b Build<'b>> {
    context.build.as_ref().ok_or_else(|| {
        refuse(
            Diagnostic::bare(format!("`{function}()` is called while a `.star` file loads"))
                .help("call it from a BUILD file, or inside a function that a BUILD file calls"),
        )
    })
}

#[starlark_module]
fn functions(builder: &mut GlobalsBuilder) {
    /// The files of the package that match, sorted. `*` stays inside a folder, `**` crosses folders; folders with a BUILD
    /// file of their own, and names that begin with a dot, are left out.
    fn glob<'v>(
        include: UnpackListOrTuple<String>,
        #[starlark(require = named)] exclude: Option<UnpackListOrTuple<String>>,
        #[starlark(require = named, default = false)] allow_empty: bool,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Vec<String>> {
        let context = Context::of(eval)?;
        let build = build_of(context, "glob")?;
        let patterns = glob::Patterns { include: include.items, exclude: exclude.map(|list| list.items).unwrap_or_default() };
        Ok(glob::call(context, build, &context.site(eval), &patterns, allow_empty))
    }

    /// Settings of the whole package; at most one call, before or after the targets.
    fn package<'v>(
        #[starlark(require = named)] default_visibility: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let context = Context::of(eval)?;
        let build = build_of(context, "package")?;
        let site = context.site(eval);
        if let Some(first) = build.package_call.replace(Some(site.span.clone())) {
            context.report(Diagnostic::error(&site.span, "`package()` is called twice").related(&first, "first called here"));
        }
        let attr = AttrSpec::new("default_visibility", AttrType::String.list(), "");
        let list = Slot { context, attr: &attr }.coerce(default_visibility, site.argument("default_visibility"));
        if let Some(list) = list {
            *build.default_visibility.borrow_mut() = visibility::read(context, &list);
        }
        Ok(NoneType)
    }

    /// The package's path from the workspace root; empty for the root.
    fn package_name(eval: &mut Evaluator) -> starlark::Result<String> {
        let context = Context::of(eval)?;
        build_of(context, "package_name")?;
        Ok(context.package.to_string())
    }

    /// Says something to the user, at the place of the call.
    fn print<'v>(#[starlark(args)] args: UnpackTuple<Value<'v>>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<NoneType> {
        let context = Context::of(eval)?;
        let words: Vec<String> = args.items.iter().map(|value| value.to_str()).collect();
        let site = context.site(eval);
        let finding = Diagnostic::error(&site.span, words.join(" ")).warning();
        context.report(site.trace.iter().fold(finding, |finding, place| finding.related(place, "printed from here")));
        Ok(NoneType)
    }
}
