//! What the attributes of a user's rule demand of the targets in them.
//!
//! Checked before the implementation runs, for all attributes at once.

use std::sync::Arc;

use ouro_rules::builtin::info;
use ouro_rules::diagnostic::{Diagnostic, Span};
use ouro_rules::label::Label;
use ouro_rules::provider::Providers;
use ouro_rules::rule::Context;

use crate::load::attr_function::{Files, UserAttr};
use crate::load::provider_function::Provider;
use crate::load::rule_function::Definition;

/// Everything that is wrong with what the attributes name.
pub(super) fn findings(definition: &Definition, ctx: &Context<'_>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for attr in &definition.attrs {
        let Some(value) = ctx.target.attrs.get(attr.spec.name.as_str()) else { continue };
        value.value.each_label(&value.span, &mut |label, span| {
            // What jumps lead to is known later; the program's own check looks at it.
            if let Some(providers) = (ctx.deps)(label).filter(|_| attr.spec.edge.is_some_and(waits)) {
                findings.extend(Demand { definition, ctx, attr, label, span }.finding(providers));
            }
        });
    }
    findings
}

fn waits(edge: ouro_rules::EdgeKind) -> bool {
    edge != ouro_rules::EdgeKind::Jump
}

/// What one attribute demands of one target.
struct Demand<'a, 'c> {
    definition: &'a Definition,
    ctx: &'a Context<'c>,
    attr: &'a UserAttr,
    label: &'a Label,
    span: &'a Span,
}

impl Demand<'_, '_> {
    fn finding(&self, providers: &Providers) -> Option<Diagnostic> {
        let offers = |all: &Vec<Arc<Provider>>| all.iter().all(|provider| info::has(providers, &provider.id()));
        let requires = &self.attr.requires;
        if !requires.is_empty() && requires.iter().any(offers) {
            return None;
        }
        match &self.attr.files {
            Files::OfTargets if requires.is_empty() => None,
            Files::OfTargets => Some(self.lacks_providers()),
            // A target that has what is required may do so instead of having the right files.
            _ if !requires.is_empty() && (self.ctx.kind)(self.label).is_some() => Some(self.lacks_providers()),
            files => self.wrong_file(files, providers).or_else(|| self.not_single(providers)),
        }
    }

    fn lacks_providers(&self) -> Diagnostic {
        let one = |all: &Vec<Arc<Provider>>| {
            all.iter().map(|provider| format!("`{}`", provider.name())).collect::<Vec<_>>().join(" and ")
        };
        let wanted = self.attr.requires.iter().map(one).collect::<Vec<_>>().join(", or ");
        let kind = match (self.ctx.kind)(self.label) {
            Some(kind) => format!("{} `{kind}`", if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }),
            None => "a file".to_owned(),
        };
        let finding = Diagnostic::error(self.span, format!("`{}` ({kind}) does not provide {wanted}", self.label));
        let help = format!("`{}` of `{}` takes targets that provide {wanted}", self.attr.spec.name, self.definition.name());
        finding.help(help)
    }

    fn wrong_file(&self, files: &Files, providers: &Providers) -> Option<Diagnostic> {
        let Files::Ending(endings) = files else { return None };
        let wrong = providers.files.iter().find(|file| !endings.iter().any(|ending| file.path().ends_with(ending)))?;
        let message = format!("`{}` in `{}` does not end in {}", wrong.path(), self.attr.spec.name, endings.join(" or "));
        Some(Diagnostic::error(self.span, message))
    }

    fn not_single(&self, providers: &Providers) -> Option<Diagnostic> {
        let count = providers.files.len();
        if !self.attr.single || count == 1 {
            return None;
        }
        let name = &self.attr.spec.name;
        let message = format!("`{}` has {count} files, and `{name}` of `{}` takes one", self.label, self.definition.name());
        Some(Diagnostic::error(self.span, message).help("name one file"))
    }
}
