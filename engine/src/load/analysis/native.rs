//! `ctx.bpf`: what built-in rules do, as functions for implementations.
//!
//! Which functions there are and what they do is none of the interpreter's business: they take plain data and give plain data.

use allocative::Allocative;
use ouro_rules::builtin::info::{FUNCTIONS, FunctionSpec};
use ouro_rules::diagnostic::{Diagnostic, did_you_mean};
use starlark::any::ProvidesStaticType;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, starlark_value};

use super::run::Run;
use crate::load::errors::refuse;
use crate::load::plain;
use crate::load::provider_function::{arguments, typed};
use crate::load::values::shown_as;

#[derive(Clone, Copy, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
struct NativeFunction(#[allocative(skip)] &'static FunctionSpec);

starlark_simple_value!(NativeFunction);
shown_as!(NativeFunction, this => "<function ctx.bpf.{}>", this.0.name);

/// All functions.
pub(super) fn value(heap: Heap<'_>) -> Value<'_> {
    heap.alloc(AllocStruct(FUNCTIONS.iter().map(|function| (function.name, NativeFunction(function)))))
}

#[starlark_value(type = "function")]
impl<'v> StarlarkValue<'v> for NativeFunction {
    fn invoke(&self, _me: Value<'v>, args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let run = Run::of(eval)?;
        let name = format!("ctx.bpf.{}", self.0.name);
        let mut given = arguments(&name, args, eval)?;
        let known = || self.0.params.iter().map(|param| param.name);
        if let Some(unknown) = given.keys().find(|given| !known().any(|name| *name == ***given)) {
            let finding = Diagnostic::bare(format!("`{name}` has no parameter `{unknown}`"));
            return Err(refuse(finding.maybe_help(did_you_mean(unknown, known()))));
        }
        typed(&name, self.0.params, &mut given).map_err(refuse)?;
        match run.native(self.0, &given, &run.place(eval)) {
            Ok(made) => Ok(plain::value(&made, eval.heap())),
            Err(findings) => Err(run.refuse_all(findings)),
        }
    }
}
