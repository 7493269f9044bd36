//! Labels and target patterns: how things in a workspace are named.
//!
//! Knows nothing of which names exist.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of one target or file: `//package:name`, or `@repo//package:name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Label {
    /// The repository, empty for the workspace itself. `ouro` is the standard library.
    pub repo: Arc<str>,
    /// The package: a folder's path from the workspace root, with `/`, empty for the root.
    pub package: Arc<str>,
    /// The name inside the package; may contain `/` when it names a file.
    pub name: Arc<str>,
}

/// Why a text is no label or no pattern; displays as a lowercase fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LabelError(pub String);

impl Label {
    /// A label in the workspace itself.
    pub fn new(package: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Label {
        Label { repo: "".into(), package: package.into(), name: name.into() }
    }

    /// Reads `//pkg:name`, `//pkg` (= `//pkg:last_component`), `:name`, `name` or `@repo//pkg:name`, as seen from `package`
    /// of `repo`.
    pub fn parse(text: &str, repo: &str, package: &str) -> Result<Label, LabelError> {
        let (repo, rest) = match text.strip_prefix('@') {
            Some(external) => external.split_once("//").map(|(repo, rest)| (repo, Some(rest))).ok_or_else(|| {
                LabelError(format!("label `{text}` names a repository but no package; write `@repo//package:name`"))
            })?,
            None => (repo, text.strip_prefix("//")),
        };
        let (package, name) = match rest {
            Some(absolute) => match absolute.split_once(':') {
                Some((package, name)) => (package, name),
                None => (absolute, absolute.rsplit('/').next().unwrap_or(absolute)),
            },
            None => (package, text.strip_prefix(':').unwrap_or(text)),
        };
        check_package(text, package)?;
        check_name(text, name)?;
        Ok(Label { repo: repo.into(), package: package.into(), name: name.into() })
    }

    /// The label of something else in the same package.
    pub fn sibling(&self, name: &str) -> Label {
        Label { repo: self.repo.clone(), package: self.package.clone(), name: name.into() }
    }

    /// The path from the workspace root when the label names a file.
    pub fn path(&self) -> String {
        join(&self.package, &self.name)
    }
}

/// Joins a package and a name to a path from the workspace root.
pub fn join(package: &str, name: &str) -> String {
    if package.is_empty() { name.to_owned() } else { [package, "/", name].concat() }
}

fn check_package(text: &str, package: &str) -> Result<(), LabelError> {
    if package.is_empty() {
        return Ok(());
    }
    match package.split('/').find(|part| part.is_empty() || *part == "." || *part == "..") {
        Some(part) => Err(LabelError(format!(
            "label `{text}` has the path component `{part}`; a package is a plain path from the workspace root"
        ))),
        None => check_chars(text, package, "package"),
    }
}

fn check_name(text: &str, name: &str) -> Result<(), LabelError> {
    if name.is_empty() {
        return Err(LabelError(format!("label `{text}` has an empty name")));
    }
    let plain = || name.split('/').filter(|part| *part != ".").collect::<Vec<_>>().join("/");
    if name != "." && name.split('/').any(|part| part == ".") {
        return Err(LabelError(format!("label `{text}` has the path component `.`; write `{}`", plain())));
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(LabelError(format!("label `{text}` leaves its package; name the file by the package that owns it")));
    }
    check_chars(text, name, "name")
}

fn check_chars(text: &str, part: &str, what: &str) -> Result<(), LabelError> {
    match part.chars().find(|c| c.is_control() || c.is_whitespace() || "\"'`:\\*?[]{}$;&|<>#".contains(*c)) {
        Some(bad) => Err(LabelError(format!("label `{text}` has {bad:?} in its {what}"))),
        None => Ok(()),
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.repo.is_empty() {
            write!(f, "@{}", self.repo)?;
        }
        write!(f, "//{}:{}", self.package, self.name)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.to_string()
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Label, LabelError> {
        Label::parse(&text, "", "")
    }
}

/// What a user asks for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// `-//x` takes away from what the patterns before it selected.
    pub negative: bool,
    /// What it selects.
    pub scope: Scope,
}

/// The three breadths of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// `//pkg:name`
    Target(Label),
    /// `//pkg:all`: every target of the package.
    Package(Arc<str>),
    /// `//pkg/...`: every target of the package and of those below it.
    Subtree(Arc<str>),
}

impl Pattern {
    /// Reads a pattern as seen from the folder `cwd` (a path from the workspace root, empty for the root): `//a:b`, `//a:all`,
    /// `//a/...`, `//...`, `:b`, `b`, `a/b:c`, `...`, each with `-` in front to exclude.
    pub fn parse(text: &str, cwd: &str) -> Result<Pattern, LabelError> {
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, text),
        };
        if body.is_empty() {
            return Err(LabelError("empty target pattern".to_owned()));
        }
        Ok(Pattern { negative, scope: scope(body, cwd)? })
    }

    /// Whether the pattern, taken as positive, selects `label`.
    pub fn matches(&self, label: &Label) -> bool {
        if !label.repo.is_empty() {
            return matches!(&self.scope, Scope::Target(target) if target == label);
        }
        match &self.scope {
            Scope::Target(target) => target == label,
            Scope::Package(package) => *package == label.package,
            Scope::Subtree(root) => is_below(&label.package, root),
        }
    }
}

/// Whether `package` is `root` or lies below it.
pub fn is_below(package: &str, root: &str) -> bool {
    root.is_empty() || package == root || package.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

fn scope(body: &str, cwd: &str) -> Result<Scope, LabelError> {
    if body.starts_with('@') {
        return Label::parse(body, "", "").map(Scope::Target);
    }
    let absolute = match body.strip_prefix("//") {
        Some(absolute) => absolute.to_owned(),
        None if body.starts_with(':') => format!("{cwd}{body}"),
        // `b` in a package means the target `b` there, as `:b` does; `sub/b` or `sub:b` is a package below.
        None if body == "..." || body.contains('/') || body.contains(':') => join(cwd, body),
        None => format!("{cwd}:{body}"),
    };
    if absolute == "..." {
        return Ok(Scope::Subtree("".into()));
    }
    if let Some(root) = absolute.strip_suffix("/...") {
        check_package(body, root)?;
        return Ok(Scope::Subtree(root.into()));
    }
    match absolute.split_once(':') {
        Some((package, "all" | "*")) => check_package(body, package).map(|()| Scope::Package(package.into())),
        _ => Label::parse(&format!("//{absolute}"), "", "").map(Scope::Target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> String {
        Label::parse(text, "", "fw").map_or_else(|e| e.to_string(), |l| l.to_string())
    }

    #[test]
    fn labels_are_read_from_their_package() {
        assert_eq!(label("//a/b:c"), "//a/b:c");
        assert_eq!(label("//a/b"), "//a/b:b");
        assert_eq!(label(":c"), "//fw:c");
        assert_eq!(label("c.h"), "//fw:c.h");
        assert_eq!(label("sub/c.h"), "//fw:sub/c.h");
        assert_eq!(label("//:c"), "//:c");
        assert_eq!(label("@ouro//xdp:defs.star"), "@ouro//xdp:defs.star");
    }

    #[test]
    fn bad_labels_are_refused_with_a_reason() {
        assert!(label("//a//b:c").contains("path component ``"));
        assert!(label("//../x:c").contains("path component `..`"));
        assert!(label("//a:").contains("empty name"));
        assert!(label("../c.h").contains("leaves its package"));
        assert!(label("@ouro").contains("no package"));
        assert!(label("./c.h").ends_with("has the path component `.`; write `c.h`"));
        assert!(label(":sub/./c.h").ends_with("write `sub/c.h`"));
        assert!(label(".").contains("leaves its package"));
        assert!(label("//a:b c").contains("' '"));
        assert!(label("//").contains("empty name"));
    }

    fn selects(pattern: &str, cwd: &str, label: &str) -> bool {
        Pattern::parse(pattern, cwd).unwrap().matches(&Label::parse(label, "", "").unwrap())
    }

    #[test]
    fn patterns_select_targets_packages_and_subtrees() {
        assert!(selects("//fw:parse", "", "//fw:parse"));
        assert!(!selects("//fw:parse", "", "//fw:other"));
        assert!(selects("//fw:all", "", "//fw:x") && !selects("//fw:all", "", "//fw/sub:x"));
        assert!(selects("//fw/...", "", "//fw/sub:x") && !selects("//fw/...", "", "//fwx:x"));
        assert!(selects("//...", "", "//:x") && selects("//...", "fw", "//other:x"));
    }

    #[test]
    fn relative_patterns_start_at_the_folder() {
        assert!(selects(":x", "fw", "//fw:x"));
        assert!(selects("x", "fw", "//fw:x"));
        assert!(selects("sub:x", "fw", "//fw/sub:x"));
        assert!(selects("...", "fw", "//fw/sub:x") && !selects("...", "fw", "//other:x"));
        assert!(selects("sub/...", "fw", "//fw/sub/deep:x"));
        assert!(selects(":all", "fw", "//fw:x"));
        assert!(Pattern::parse("-//fw:x", "").unwrap().negative);
    }
}
