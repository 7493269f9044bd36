//! Repositories inside the workspace: folders whose BUILD files take them for the root.
//!
//! A label that names one becomes the label of the same target as seen from the workspace root, so that nothing else knows
//! of repositories. Knows nothing of which folders are there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::label::{Label, LabelError, Pattern, is_below, join};

/// The repository of what comes with ouro: its files are loaded and never built.
pub const STANDARD: &str = "ouro";

/// The repositories of a workspace: folders, from the root, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Repositories(pub BTreeMap<String, String>);

impl Repositories {
    /// The folder of the repository that a package lies in, the innermost of several; empty for the workspace itself.
    pub fn root_of(&self, package: &str) -> &str {
        let around = self.0.values().filter(|folder| is_below(package, folder));
        around.max_by_key(|folder| folder.len()).map_or("", String::as_str)
    }

    /// Whether a folder is a repository.
    pub fn contains(&self, folder: &str) -> bool {
        self.0.values().any(|root| root == folder)
    }

    /// Reads a label as seen from `package` of `repo`, as [`Label::parse`] does. `//` is the root of the repository around
    /// `package`, `@name//` that of another, `@//` that of the workspace.
    pub fn label(&self, text: &str, repo: &str, package: &str) -> Result<Label, Diagnostic> {
        let (root, absolute) = match text.strip_prefix('@').and_then(|rest| rest.split_once("//")) {
            Some((STANDARD, _)) => return Label::parse(text, repo, package).map_err(bad),
            Some(("", rest)) => ("", format!("//{rest}")),
            Some((name, rest)) => (self.folder(name)?, format!("//{rest}")),
            None if text.starts_with("//") && repo.is_empty() => (self.root_of(package), text.to_owned()),
            None => return Label::parse(text, repo, package).map_err(bad),
        };
        let label = Label::parse(&absolute, "", package).map_err(bad)?;
        Ok(if root.is_empty() { label } else { Label::new(below(root, &label.package), label.name) })
    }

    /// Reads a pattern as seen from the folder `cwd`, as [`Pattern::parse`] does; here `//` is always the workspace's root.
    pub fn pattern(&self, text: &str, cwd: &str) -> Result<Pattern, Diagnostic> {
        let (minus, body) = text.strip_prefix('-').map_or(("", text), |body| ("-", body));
        match body.strip_prefix('@').and_then(|rest| rest.split_once("//")) {
            None | Some((STANDARD, _)) => Pattern::parse(text, cwd).map_err(bad),
            Some(("", rest)) => Pattern::parse(&format!("{minus}//{rest}"), cwd).map_err(bad),
            Some((name, rest)) => Pattern::parse(&format!("{minus}//{}", inside(self.folder(name)?, rest)), cwd).map_err(bad),
        }
    }

    fn folder(&self, name: &str) -> Result<&str, Diagnostic> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            let near = did_you_mean(name, self.0.keys().map(String::as_str).chain([STANDARD]));
            let declare = || format!("declare it in `ouro.toml`: `[repositories] {name} = \"third_party/{name}\"`");
            Diagnostic::bare(format!("unknown repository `@{name}`")).help(near.unwrap_or_else(declare))
        })
    }
}

fn bad(error: LabelError) -> Diagnostic {
    Diagnostic::bare(error.0)
}

/// The package `package` of the repository in `root`.
fn below(root: &str, package: &str) -> String {
    if package.is_empty() { root.to_owned() } else { join(root, package) }
}

/// The rest of a pattern behind `//`, seen from outside.
fn inside(root: &str, rest: &str) -> String {
    if rest.is_empty() || rest.starts_with(':') { format!("{root}{rest}") } else { join(root, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repositories() -> Repositories {
        let folders = [("foo", "third_party/foo"), ("inner", "third_party/foo/inner")];
        Repositories(folders.map(|(name, folder)| (name.to_owned(), folder.to_owned())).into())
    }

    fn label(text: &str, package: &str) -> String {
        repositories().label(text, "", package).map_or_else(|finding| finding.message, |label| label.to_string())
    }

    #[test]
    fn labels_are_seen_from_the_repository_around_them() {
        assert_eq!(label("@foo//pkg:x", "fw"), "//third_party/foo/pkg:x");
        assert_eq!(label("@foo//pkg", "fw"), "//third_party/foo/pkg:pkg");
        assert_eq!(label("@foo//:x", "fw"), "//third_party/foo:x");
        assert_eq!(label("//pkg:x", "third_party/foo/other"), "//third_party/foo/pkg:x");
        assert_eq!(label("//pkg:x", "third_party/foo/inner"), "//third_party/foo/inner/pkg:x");
        assert_eq!(label("//pkg:x", "third_party/foobar"), "//pkg:x");
        assert_eq!(label("@//pkg:x", "third_party/foo"), "//pkg:x");
        assert_eq!(label(":x", "third_party/foo"), "//third_party/foo:x");
        assert_eq!(label("@ouro//xdp:defs.star", "fw"), "@ouro//xdp:defs.star");
        assert!(label("@foo//../pkg:x", "fw").contains("path component `..`"));
    }

    #[test]
    fn unknown_repositories_have_a_near_name_or_a_remedy() {
        let help = |text: &str| repositories().label(text, "", "").unwrap_err().help.unwrap();
        assert_eq!(help("@fooo//x:y"), "did you mean `foo`?");
        assert_eq!(help("@other//x:y"), "declare it in `ouro.toml`: `[repositories] other = \"third_party/other\"`");
    }

    #[test]
    fn patterns_name_repositories() {
        let selects = |pattern: &str, label: &str| {
            let label = Label::parse(label, "", "").unwrap();
            repositories().pattern(pattern, "fw").unwrap().matches(&label)
        };
        assert!(selects("@foo//...", "//third_party/foo/pkg:x") && selects("@foo//:x", "//third_party/foo:x"));
        assert!(selects("@foo//pkg:all", "//third_party/foo/pkg:x") && selects("@//...", "//a:x"));
        assert!(selects("@foo//pkg", "//third_party/foo/pkg:pkg") && !selects("@foo//...", "//fw:x"));
        assert!(repositories().pattern("-@foo//...", "").unwrap().negative);
        assert!(repositories().pattern("@bar//...", "").is_err());
    }
}
