//! Who may name what: the one place where visibility is judged.

use ouro_rules::{Diagnostic, Span, Target};

use crate::load::Loaded;

/// The finding for a label at `span` by which `from` names a target it may not see.
pub(crate) fn hidden(loaded: &Loaded, from: &Target, to: &Target, span: &Span) -> Option<Diagnostic> {
    if loaded.allows(&to.visibility, &to.label.package, &from.label.package) {
        return None;
    }
    let finding = Diagnostic::error(span, format!("`{}` is not visible to `{}`", to.label, from.label));
    let help = format!("add `visibility = [\"//{}:__pkg__\"]` to `{}`", from.label.package, to.label);
    Some(finding.related(&to.span, "declared here").help(help))
}
