//! What git knows of the workspace: which files are not as in a revision.
//!
//! Runs `git`; knows nothing of targets.

use std::path::Path;
use std::process::{Command, Stdio};

use ouro_engine::query::Change;
use ouro_rules::Diagnostic;

use crate::error::{CliError, Kind};

/// The files below `root` that are not as in the revision: changed, come, gone; committed or not. A file that was renamed went
/// under one name and came under another. Files that git ignores are left out.
pub fn changes(root: &Path, revision: &str) -> Result<Vec<Change>, CliError> {
    let commit = commit(root, revision)?;
    // Renames told as such would hide the old name; a configured program for differences would be asked in vain.
    let how = ["diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=none", "--relative"];
    let differ = git(root, &[&how[..], &[&commit, "--"]].concat())?;
    let untracked = git(root, &["ls-files", "--others", "--exclude-standard", "-z"])?;
    let mut changes = with_status(&differ);
    changes.extend(fields(&untracked).map(|path| Change { path: path.to_owned(), stays: false }));
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes.dedup();
    Ok(changes)
}

fn commit(root: &Path, revision: &str) -> Result<String, CliError> {
    git(root, &["rev-parse", "--is-inside-work-tree"])?;
    let commit = format!("{revision}^{{commit}}");
    let found = git(root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]);
    found.map(|text| text.trim().to_owned()).map_err(|_| {
        CliError::new(Kind::Usage, format!("git knows no revision `{revision}`"))
            .help("name a commit, a branch or a tag; in a shallow clone, fetch it first")
    })
}

/// What git prints when run in `root`.
fn git(root: &Path, arguments: &[&str]) -> Result<String, CliError> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| CliError::new(Kind::Refused, format!("cannot run `git`: {error}")).help("install git"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("it said nothing").trim_start_matches("fatal: ");
    let finding = Diagnostic::bare(format!("git cannot tell what changed in `{}`: {reason}", root.display()));
    Err(CliError { kind: Kind::Usage, findings: vec![finding] })
}

/// Pairs of a letter and a path: `M`, `fw/parse.c`.
fn with_status(text: &str) -> Vec<Change> {
    let mut fields = fields(text);
    let mut changes = Vec::new();
    while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
        changes.push(Change { path: path.to_owned(), stays: !matches!(status, "A" | "D") });
    }
    changes
}

fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        let changes = with_status("M\0fw/a b\n.c\0D\0ä.c\0T\0link\0");
        let change = |path: &str, stays| Change { path: path.to_owned(), stays };
        assert_eq!(changes, [change("fw/a b\n.c", true), change("ä.c", false), change("link", true)]);
        assert!(with_status("").is_empty());
    }
}
