//! Runs one parsed file in the interpreter.
//!
//! Findings stay in the context; nothing of the interpreter survives, but for what a `.star` file offers to others.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use ouro_rules::diagnostic::Diagnostic;
use starlark::codemap::FileSpan;
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::Evaluator;
use starlark::syntax::AstModule;

use super::builtins::near_global;
use super::context::Context;
use super::errors;
use super::modules::Imports;
use super::parse::{Language, Parsed, reparse};
use super::values::Unknown;

/// Bounds for files that never end or eat everything; far above what a workspace of 10,000 targets needs.
const MAX_CALLS: usize = 256;
const MAX_HEAP: usize = 1 << 30;
/// Function calls and loop rounds of one file; about a second.
const MAX_TICKS: u64 = 10_000_000;

/// Evaluates a file; its functions and values are returned when it is a `.star` file and nothing was wrong with it.
pub(super) fn evaluate(parsed: Parsed, globals: &Globals, imports: &Imports, context: &Context<'_>) -> Option<FrozenModule> {
    if context.cancelled.load(Ordering::Relaxed) {
        return None;
    }
    let Parsed { file, language, ast, .. } = parsed;
    let mut ast = Some(ast);
    // Names nobody defines; each ends the evaluation before it begins, so it is begun again with the name known.
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    while let Some(tree) = ast.take() {
        match once(tree, language, globals, imports, context, &unknown) {
            Ok(module) => {
                context.check_exports();
                return module.filter(|_| !context.is_broken());
            }
            Err(error) => match errors::unknown_name(&error) {
                Some(at) if unknown.insert(at.source_span().to_owned()) => {
                    context.report(not_defined(at, globals));
                    ast = reparse(&file, at.file.source(), language);
                }
                // The bounds of the whole evaluation are not exceeded at a place.
                _ => context.report(errors::runtime(&error, &file)),
            },
        }
    }
    None
}

/// Bounds what an evaluation may use.
pub(super) fn set_limits(eval: &mut Evaluator<'_, '_, '_>) -> starlark::Result<()> {
    eval.set_max_callstack_size(MAX_CALLS)?;
    eval.set_max_heap_size(MAX_HEAP)?;
    eval.set_max_tick_count(MAX_TICKS)?;
    Ok(())
}

fn not_defined(at: &FileSpan, globals: &Globals) -> Diagnostic {
    let name = at.source_span();
    Diagnostic::error(&errors::span(at), format!("`{name}` is not defined")).help(near_global(name, globals))
}

fn once(
    ast: AstModule,
    language: Language,
    globals: &Globals,
    imports: &Imports,
    context: &Context<'_>,
    unknown: &BTreeSet<String>,
) -> starlark::Result<Option<FrozenModule>> {
    Module::with_temp_heap(|module| {
        unknown.iter().for_each(|name| module.set(name, module.heap().alloc(Unknown)));
        {
            let mut eval = Evaluator::new(&module);
            eval.set_loader(imports);
            eval.extra = Some(context);
            set_limits(&mut eval)?;
            eval.set_check_cancelled(Box::new(|| context.cancelled.load(Ordering::Relaxed)));
            eval.eval_module(ast, globals)?;
        }
        match language {
            Language::Build => Ok(None),
            Language::Star => Ok(Some(module.freeze().map_err(starlark::Error::from)?)),
        }
    })
}
