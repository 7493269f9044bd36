//! Which `.star` files define a name that another file uses and does not load.
//!
//! Only after a failure. Reads texts and evaluates nothing: whoever is told looks at the file anyhow.

use std::collections::BTreeSet;

use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::label::Label;

use super::folder::{self, Entry};
use super::{parse, stdlib};
use crate::workspace::Workspace;

/// Says of findings about names that nobody defines there which file does, if one of those does that were met, lie near, or come with
/// ouro. Of several the first is told.
pub(super) fn complete(workspace: &Workspace, met: &[&Label], findings: &mut [Diagnostic]) {
    for finding in findings.iter_mut() {
        let (Some(name), Some(user)) = (&finding.about, finding.span.as_ref().map(|span| &*span.file)) else { continue };
        let met = met.iter().map(|label| (*label).clone());
        let is_other = |label: &Label| label.path() != user;
        let mut all = met.chain(near(workspace, user)).chain(own()).filter(is_other);
        if let Some(definer) = all.find(|label| text(workspace, label).is_some_and(|text| defines(&text, name))) {
            finding.help = Some(format!("write `load(\"{definer}\", \"{name}\")` at the top of the file"));
        }
    }
}

/// The files beside `user`, in folders above it, and in those below the root: where macros mostly are.
fn near(workspace: &Workspace, user: &str) -> BTreeSet<Label> {
    let above = user.rmatch_indices('/').map(|(at, _)| user[..at].to_owned());
    let below = folder::list(&workspace.root).unwrap_or_default();
    let below = below.folders().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let folders: BTreeSet<String> = above.chain(below).chain([String::new()]).collect();
    folders.iter().filter(|path| !workspace.ignores(path)).flat_map(|path| modules(workspace, path)).collect()
}

/// The `.star` files of a folder.
fn modules(workspace: &Workspace, path: &str) -> Vec<Label> {
    let listing = folder::list(&workspace.root.join(path)).unwrap_or_default();
    let is_module = |(name, entry): &&(String, Entry)| *entry == Entry::File && name.ends_with(".star");
    // A folder that is no package has modules all the same: `load()` asks for none.
    listing.entries.iter().filter(is_module).map(|(name, _)| Label::new(path, name.as_str())).collect()
}

/// The standard library.
fn own() -> impl Iterator<Item = Label> {
    let label = |path: &str| {
        let (package, name) = path.rsplit_once('/').unwrap_or(("", path));
        Label { repo: stdlib::REPO.into(), package: package.into(), name: name.into() }
    };
    stdlib::paths().map(label)
}

fn text(workspace: &Workspace, label: &Label) -> Option<String> {
    let path = label.path();
    if &*label.repo == stdlib::REPO {
        return stdlib::text(&path).map(str::to_owned);
    }
    parse::read(&workspace.root.join(&path), &path.as_str().into()).ok().flatten()
}

/// Whether a text has a function or a variable of this name.
fn defines(text: &str, name: &str) -> bool {
    let follows = |rest: &str, sign: char| rest.trim_start().strip_prefix(sign).is_some_and(|rest| !rest.starts_with('='));
    let is_definition = |line: &str| match line.strip_prefix("def ") {
        Some(function) => function.trim_start().strip_prefix(name).is_some_and(|rest| follows(rest, '(')),
        None => line.strip_prefix(name).is_some_and(|rest| follows(rest, '=')),
    };
    text.lines().any(is_definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_variables_are_definitions() {
        for yes in ["def table(name):", "x = 1\ntable = rule(", "def  table (", "table=[]"] {
            assert!(defines(yes, "table"), "{yes}");
        }
        for no in ["table()", "def tables(name):", "tables = 1", "table == 1", "    table = 1", "# def table(", "def f(table):"] {
            assert!(!defines(no, "table"), "{no}");
        }
    }
}
