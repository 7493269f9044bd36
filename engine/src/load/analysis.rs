//! Rules of users at work: runs the implementation of a rule on a target and makes plain data of what it did.
//!
//! Behind the trait of all rules, so that nobody else can tell them from built-in ones. Knows nothing of what the providers that
//! come with ouro mean.

#[expect(clippy::too_many_arguments, reason = "each is a parameter that rules give by its name")]
mod actions;
#[expect(clippy::too_many_arguments, reason = "each is a parameter that rules give by its name")]
mod args;
mod ctx;
mod inputs;
mod native;
mod requirements;
mod returned;
mod run;
mod target;

use std::sync::Arc;

use ouro_rules::attr::{AttrSpec, EdgeKind};
use ouro_rules::builtin::info::{self, Edges};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::rule::{Analysis, Context, Rule};
use starlark::environment::{FrozenModule, Module};
use starlark::eval::Evaluator;
use starlark::values::{OwnedFrozenValue, ValueLike};

use self::run::Run;
use super::errors;
use super::limits::{Limits, named};
use super::rule_function::{Definition, FrozenUserRule};

/// Says something to the user while an implementation runs; whether one does.
pub(super) fn print(eval: &Evaluator<'_, '_, '_>, words: &[String]) -> bool {
    let run = Run::of(eval).ok();
    run.map(|run| run.print(&words.join(" "), eval)).is_some()
}

/// A rule of a user.
struct UserRule {
    name: String,
    attrs: Vec<AttrSpec>,
    definition: Arc<Definition>,
    /// The frozen function; keeps alive what it uses.
    implementation: OwnedFrozenValue,
}

/// The rule that a module assigns to this name, with its key in the rule table.
pub(super) fn rule(module: &FrozenModule, name: &str) -> Option<(Arc<str>, Arc<dyn Rule>)> {
    let (value, _) = module.get_any_visibility(name).ok()?;
    let definition = value.value().downcast_ref::<FrozenUserRule>()?.definition.clone();
    let implementation = value.map(|rule| rule.downcast_ref::<FrozenUserRule>().map_or(rule, |rule| rule.implementation));
    let (name, key) = (definition.name().to_string(), definition.key());
    Some((key.into(), Arc::new(UserRule { name, attrs: definition.specs(), definition, implementation })))
}

impl Rule for UserRule {
    fn name(&self) -> &str {
        &self.name
    }

    fn doc(&self) -> &str {
        &self.definition.doc
    }

    fn attrs(&self) -> &[AttrSpec] {
        &self.attrs
    }

    fn analyse(&self, ctx: &Context<'_>) -> Result<Analysis, Vec<Diagnostic>> {
        let findings = requirements::findings(&self.definition, ctx);
        if !findings.is_empty() {
            return Err(findings);
        }
        let (jumps, programs) = (self.named(EdgeKind::Jump), self.named(EdgeKind::Program));
        let edges = Edges { jumps: &jumps, programs: &programs };
        let call = |function: &info::FunctionSpec, args: &_| (function.call)(ctx, args, edges);
        let run = Run::new(ctx.target, ctx.config, &self.definition, &call);
        let limits = Limits::new(ctx.cancelled);
        match named(self.definition.file(), || self.evaluate(ctx, &run, &limits)) {
            Ok(infos) => run.finish(ctx, &infos, edges),
            Err(error) => Err(run.give_up(limits.word(errors::analysis(&error, ctx.target, self.definition.span())))),
        }
    }

    fn is_test(&self) -> bool {
        self.definition.test
    }

    fn check(&self, ctx: &Context<'_>) -> Vec<Diagnostic> {
        info::check(ctx)
    }
}

impl UserRule {
    fn named(&self, kind: EdgeKind) -> Vec<&str> {
        self.attrs.iter().filter(|attr| attr.edge == Some(kind)).map(|attr| attr.name.as_str()).collect()
    }

    /// Runs the implementation; nothing of the heap it works on survives.
    fn evaluate(&self, ctx: &Context<'_>, run: &Run<'_>, limits: &Limits<'_>) -> starlark::Result<Vec<Arc<ouro_rules::Info>>> {
        Module::with_temp_heap(|module| {
            let heap = module.heap();
            let value = ctx::value(&self.definition, ctx, heap);
            let mut eval = Evaluator::new(&module);
            eval.extra = Some(run);
            limits.set(&mut eval)?;
            let implementation = heap.access_owned_frozen_value(&self.implementation);
            let returned = eval.eval_function(implementation, &[value], &[])?;
            returned::infos(returned, &self.definition)
        })
    }
}
