//! Who may name what: the one place where visibility is judged.

use ouro_rules::{Diagnostic, Label, Span, Target};

use crate::load::Loaded;

/// The finding for a label at `span` by which `from` names a target that `package` may not see. It is `from`'s own package, or the one
/// whose rule names the target for it.
pub(crate) fn hidden(loaded: &Loaded, from: &Label, package: &str, to: &Target, span: &Span) -> Option<Diagnostic> {
    if loaded.allows(&to.visibility, &to.label.package, package) {
        return None;
    }
    let finding = Diagnostic::error(span, format!("`{}` is not visible to `{}`", to.label, from));
    let help = format!("add `visibility = [\"//{}:__pkg__\"]` to `{}`", package, to.label);
    Some(finding.related(&to.span, "declared here").help(help))
}
