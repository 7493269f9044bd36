//! `ctx.actions.args()`: a command line that is put together step by step.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use allocative::Allocative;
use ouro_rules::data::Data;
use ouro_rules::diagnostic::Diagnostic;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::starlark_simple_value;
use starlark::values::{NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::inputs::items;
use super::target::TargetView;
use crate::load::errors::refuse;
use crate::load::plain;
use crate::load::views::{DepsetView, FileView, LabelView};

/// Arguments. Only one evaluation ever holds it; the lock is what the interpreter asks of its values.
#[derive(Default, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct Args(#[allocative(skip)] Mutex<Vec<String>>);

starlark_simple_value!(Args);

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<args {}>", self.list().join(" "))
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Args {
    fn list(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[starlark_value(type = "Args")]
impl<'v> StarlarkValue<'v> for Args {
    fn get_methods() -> Option<&'static Methods> {
        Some(ARGS.methods())
    }
}

/// The arguments a parameter was given: strings, files, `args()`, lists of these.
pub(super) fn arguments(value: Value<'_>) -> starlark::Result<Vec<String>> {
    match items(value) {
        Some(items) => Ok(items.into_iter().map(argument).collect::<starlark::Result<Vec<_>>>()?.concat()),
        None => argument(value),
    }
}

fn argument(value: Value<'_>) -> starlark::Result<Vec<String>> {
    match value.downcast_ref::<Args>() {
        Some(args) => Ok(args.list().clone()),
        None => Ok(vec![text(value)?]),
    }
}

/// One argument: files are their paths.
fn text(value: Value<'_>) -> starlark::Result<String> {
    if let Some(text) = value.unpack_str() {
        return Ok(text.to_owned());
    }
    if let Some(file) = value.downcast_ref::<FileView>() {
        return Ok(file.0.path().to_string());
    }
    if value.downcast_ref::<LabelView>().is_some() || value.get_type() == "int" {
        return Ok(value.to_str());
    }
    let finding = Diagnostic::bare(format!("an argument is a string, a number or a file, not a {}", value.get_type()));
    Err(refuse(finding.maybe_help(items(value).map(|_| "add lists by `add_all()` or `add_joined()`".to_owned()))))
}

/// `-I%s` with the argument in it.
fn formatted(format: Option<&str>, argument: String) -> starlark::Result<String> {
    match format {
        None => Ok(argument),
        Some(format) if format.matches("%s").count() == 1 => Ok(format.replacen("%s", &argument, 1)),
        Some(format) => {
            let finding = Diagnostic::bare(format!("`{format}` does not say where the argument goes"));
            Err(refuse(finding.help("write `%s` once: `-I%s`")))
        }
    }
}

/// Many values as arguments, each by `map_each` if there is one, which may leave some out or make several of one.
fn each<'v>(
    values: Value<'v>,
    map_each: Option<Value<'v>>,
    format_each: Option<&str>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Vec<String>> {
    let mut list = Vec::new();
    for value in members(values, eval)? {
        let mapped = map_each.map_or(Ok(value), |function| eval.eval_function(function, &[value], &[]))?;
        let texts = match items(mapped) {
            _ if mapped.is_none() => Vec::new(),
            Some(several) => several.into_iter().map(text).collect::<starlark::Result<Vec<_>>>()?,
            None => vec![text(mapped)?],
        };
        for text in texts {
            list.push(formatted(format_each, text)?);
        }
    }
    Ok(list)
}

fn members<'v>(values: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Vec<Value<'v>>> {
    if let Some(items) = items(values) {
        return Ok(items);
    }
    let plain = |data: &Data| plain::value(data, eval.heap());
    if let Some(set) = values.downcast_ref::<DepsetView>() {
        return Ok(set.0.list().iter().map(plain).collect());
    }
    if let Some(target) = values.downcast_ref::<TargetView>() {
        return Ok(target.providers.files.iter().map(|file| plain(&Data::File(file.clone()))).collect());
    }
    let finding = Diagnostic::bare(format!("expected a list or a depset, got a {}", values.get_type()));
    Err(refuse(finding.help("add single values by `add()`")))
}

/// `add_all(values)` and `add_all("-flag", values)`.
fn flag_and_values<'v>(first: Value<'v>, second: Option<Value<'v>>) -> starlark::Result<(Option<String>, Value<'v>)> {
    match second {
        Some(values) => Ok((Some(text(first)?), values)),
        None => Ok((None, first)),
    }
}

starlark::methods_static!(ARGS = args_methods);

#[starlark_module]
fn args_methods(builder: &mut MethodsBuilder) {
    /// Adds one argument, or a flag and its argument.
    fn add<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] first: Value<'v>,
        #[starlark(require = pos)] second: Option<Value<'v>>,
        #[starlark(require = named)] format: Option<&str>,
    ) -> starlark::Result<Value<'v>> {
        let (flag, value) = flag_and_values(first, second)?;
        let argument = formatted(format, text(value)?)?;
        args(this)?.list().extend(flag.into_iter().chain([argument]));
        Ok(this)
    }

    /// Adds every value of a list or depset; nothing, not even the flag, when there is none.
    fn add_all<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] first: Value<'v>,
        #[starlark(require = pos)] second: Option<Value<'v>>,
        #[starlark(require = named)] before_each: Option<&str>,
        #[starlark(require = named)] format_each: Option<&str>,
        #[starlark(require = named)] map_each: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let (flag, values) = flag_and_values(first, second)?;
        let list = each(values, map_each, format_each, eval)?;
        let flag = flag.filter(|_| !list.is_empty());
        let list = list.into_iter().flat_map(|argument| before_each.map(str::to_owned).into_iter().chain([argument]));
        args(this)?.list().extend(flag.into_iter().chain(list));
        Ok(this)
    }

    /// Adds the values of a list or depset as one argument; nothing when there is none.
    fn add_joined<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] first: Value<'v>,
        #[starlark(require = pos)] second: Option<Value<'v>>,
        #[starlark(require = named)] join_with: &str,
        #[starlark(require = named)] format_each: Option<&str>,
        #[starlark(require = named)] format_joined: Option<&str>,
        #[starlark(require = named)] map_each: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let (flag, values) = flag_and_values(first, second)?;
        let list = each(values, map_each, format_each, eval)?;
        if !list.is_empty() {
            let joined = formatted(format_joined, list.join(join_with))?;
            args(this)?.list().extend(flag.into_iter().chain([joined]));
        }
        Ok(this)
    }
}

fn args<'v>(this: Value<'v>) -> starlark::Result<&'v Args> {
    this.downcast_ref::<Args>().ok_or_else(|| refuse(Diagnostic::bare("expected `ctx.actions.args()`")))
}
