//! Visibility lists: who may depend on a target, as written in BUILD files.

use ouro_rules::attr::Spanned;
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;
use ouro_rules::target::{PackageScope, Visibility};

use super::context::Context;

const FORMS: &str = "use `//visibility:public`, `//visibility:private`, `//package:__pkg__` or `//package:__subpackages__`";

/// Reads a list of strings; wrong entries are reported and left out.
pub(super) fn read(context: &Context<'_>, list: &Spanned) -> Visibility {
    let mut scopes = Vec::new();
    let mut whole = None;
    for item in list.value.items() {
        match entry(context, item) {
            Ok(Entry::Scope(scope)) => scopes.push(scope),
            Ok(Entry::Whole(visibility)) => whole = Some((item, visibility)),
            Err(finding) => context.report(finding),
        }
    }
    match whole {
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
}

fn entry(context: &Context<'_>, item: &Spanned) -> Result<Entry, Diagnostic> {
    let text = item.value.as_str().unwrap_or_default();
    let bad = || Diagnostic::error(&item.span, format!("`{text}` is no visibility")).help(FORMS);
    let label = Label::parse(text, context.repo, context.package).map_err(|_| bad())?;
    match (&*label.package, &*label.name) {
        ("visibility", "public") => Ok(Entry::Whole(Visibility::Public)),
        ("visibility", "private") => Ok(Entry::Whole(Visibility::Private)),
        (_, "__pkg__") => Ok(Entry::Scope(PackageScope { package: label.package, below: false })),
        (_, "__subpackages__") => Ok(Entry::Scope(PackageScope { package: label.package, below: true })),
        _ => Err(bad()),
    }
}
