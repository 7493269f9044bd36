//! What `package_group` targets say: packages, some taken away again.
//!
//! Knows nothing of the groups that a group includes; who has all targets follows them.

use crate::diagnostic::Diagnostic;
use crate::label::{Label, is_below};
use crate::repository::Repositories;
use crate::target::{PackageScope, Target};

/// The packages of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageGroup {
    /// What belongs to it.
    pub with: Vec<PackageScope>,
    /// What does not, although `with` says so.
    pub without: Vec<PackageScope>,
}

impl PackageGroup {
    /// What a `package_group` says, without what it includes.
    pub fn of(target: &Target, repositories: &Repositories) -> Result<PackageGroup, Vec<Diagnostic>> {
        let (mut group, mut findings) = (PackageGroup::default(), Vec::new());
        for item in target.get("packages").items() {
            let text = item.value.as_str().unwrap_or_default();
            let (side, body) = match text.strip_prefix('-') {
                Some(body) => (&mut group.without, body),
                None => (&mut group.with, text),
            };
            match scope(body, repositories, &target.label.package) {
                Some(scope) => side.push(scope),
                None => findings.push(
                    Diagnostic::error(&item.span, format!("`{text}` names no packages"))
                        .help("use `//package`, `//package/...` or `//...`, with `-` in front to take away"),
                ),
            }
        }
        if findings.is_empty() { Ok(group) } else { Err(findings) }
    }

    /// Whether `package` belongs to it.
    pub fn contains(&self, package: &str) -> bool {
        let holds = |scopes: &[PackageScope]| scopes.iter().any(|scope| scope.contains(package));
        holds(&self.with) && !holds(&self.without)
    }
}

impl PackageScope {
    /// Whether it holds `package`.
    pub fn contains(&self, package: &str) -> bool {
        if self.below { is_below(package, &self.package) } else { *package == *self.package }
    }
}

fn scope(text: &str, repositories: &Repositories, package: &str) -> Option<PackageScope> {
    let (_, path) = text.split_once("//").filter(|(repository, _)| repository.is_empty() || repository.starts_with('@'))?;
    let (path, below) = match path.strip_suffix("...") {
        Some(above) if above.is_empty() || above.ends_with('/') => (above.trim_end_matches('/'), true),
        Some(_) => return None,
        None => (path, false),
    };
    let start = &text[..text.find("//")? + 2];
    let label: Label = repositories.label(&format!("{start}{path}:x"), "", package).ok()?;
    (&*label.name == "x").then_some(PackageScope { package: label.package, below })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, bool)> {
        scope(text, &Repositories::default(), "here").map(|scope| (scope.package.to_string(), scope.below))
    }

    #[test]
    fn packages_are_whole_or_subtrees() {
        assert_eq!(read("//fw"), Some(("fw".to_owned(), false)));
        assert_eq!(read("//net/..."), Some(("net".to_owned(), true)));
        assert_eq!(read("//..."), Some((String::new(), true)));
        assert_eq!(read("//"), Some((String::new(), false)));
        for bad in ["fw", ":x", "//fw:x", "//fw/../x", "//fw...", "/fw", "x//fw", "@nobody//fw"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_taken_away_does_not_belong() {
        let scope = |text: &str| scope(text, &Repositories::default(), "").unwrap();
        let group = PackageGroup { with: vec![scope("//net/..."), scope("//fw")], without: vec![scope("//net/x/...")] };
        assert!(group.contains("net/a") && group.contains("fw") && !group.contains("net/x/y") && !group.contains("fw/sub"));
    }
}
