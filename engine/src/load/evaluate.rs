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
use super::limits::{Limits, named};
use super::modules::Imports;
use super::parse::{Language, Parsed, reparse};
use super::values::Unknown;

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
        let limits = Limits::new(context.cancelled);
        match named(&file, || once(tree, language, globals, imports, context, (&unknown, &limits))) {
            Ok(module) => {
                context.check_assigned();
                return module.filter(|_| !context.is_broken());
            }
            Err(error) => match errors::unknown_name(&error) {
                Some(at) if unknown.insert(at.source_span().to_owned()) => {
                    // One that a `load()` misspells was told there.
                    if !imports.mean(at.source_span()) {
                        context.report(not_defined(at, globals));
                    }
                    ast = reparse(&file, at.file.source(), language);
                }
                _ => context.report(limits.word(errors::runtime(&error, &file))),
            },
        }
    }
    None
}

fn not_defined(at: &FileSpan, globals: &Globals) -> Diagnostic {
    let name = at.source_span();
    let finding = Diagnostic::error(&errors::span(at), format!("`{name}` is not defined")).help(near_global(name, globals));
    Diagnostic { about: Some(name.into()), ..finding }
}

fn once(
    ast: AstModule,
    language: Language,
    globals: &Globals,
    imports: &Imports,
    context: &Context<'_>,
    (unknown, limits): (&BTreeSet<String>, &Limits<'_>),
) -> starlark::Result<Option<FrozenModule>> {
    Module::with_temp_heap(|module| {
        unknown.iter().for_each(|name| module.set(name, module.heap().alloc(Unknown)));
        {
            let mut eval = Evaluator::new(&module);
            eval.set_loader(imports);
            eval.extra = Some(context);
            limits.set(&mut eval)?;
            eval.eval_module(ast, globals)?;
        }
        match language {
            Language::Build => Ok(None),
            Language::Star => Ok(Some(module.freeze().map_err(starlark::Error::from)?)),
        }
    })
}
