//! Visibility lists: who may depend on a target, as written in BUILD files.

use ouro_rules::attr::Spanned;
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use ouro_rules::target::{PackageScope, Visibility};

use super::context::Context;

const FORMS: &str =
    "use `//visibility:public`, `//visibility:private`, `//package:__pkg__`, `//package:__subpackages__`, or a `package_group`";

/// Reads a list of strings; wrong entries are reported and left out.
pub(super) fn read(context: &Context<'_>, list: &Spanned) -> Visibility {
    let (mut scopes, mut groups, mut whole) = (Vec::new(), Vec::new(), None);
    for item in list.value.items() {
        match entry(context, item) {
            Ok(Entry::Scope(scope)) => scopes.push(scope),
            Ok(Entry::Group(label)) => groups.push((label, item.span.clone())),
            Ok(Entry::Whole(visibility)) => whole = Some((item, visibility)),
            Err(finding) => context.report(finding),
        }
    }
    match whole {
        None if !groups.is_empty() => Visibility::Groups(scopes, groups),
        None if scopes.is_empty() => Visibility::Private,
        None => Visibility::Packages(scopes),
        Some((item, _)) if list.value.items().len() > 1 => {
            let text = item.value.as_str().unwrap_or_default();
            context.report(Diagnostic::error(&item.span, format!("`{text}` stands alone in a visibility list")));
            Visibility::Private
        }
        Some((_, visibility)) => visibility,
    }
}

enum Entry {
    Whole(Visibility),
    Scope(PackageScope),
    Group(Label),
}

fn entry(context: &Context<'_>, item: &Spanned) -> Result<Entry, Diagnostic> {
    let text = item.value.as_str().unwrap_or_default();
    let bad = || Diagnostic::error(&item.span, format!("`{text}` is no visibility")).help(FORMS);
    // Not a package, whatever repository this is.
    match text.strip_prefix("//visibility:") {
        Some("public") => return Ok(Entry::Whole(Visibility::Public)),
        Some("private") => return Ok(Entry::Whole(Visibility::Private)),
        Some(_) => return Err(bad()),
        None => {}
    }
    let label = match context.label(text) {
        Err(finding) if text.starts_with('@') => return Err(Diagnostic { span: Some(item.span.clone()), ..finding }),
        // A bare word is no group: whoever writes `public` means something else.
        Ok(label) if text.contains(':') => label,
        _ => return Err(bad()),
    };
    match &*label.name {
        "__pkg__" => Ok(Entry::Scope(PackageScope { package: label.package, below: false })),
        "__subpackages__" => Ok(Entry::Scope(PackageScope { package: label.package, below: true })),
        _ => Ok(Entry::Group(label)),
    }
}
