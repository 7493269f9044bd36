//! Files that are there and have nearly the name of one that is not.
//!
//! Only after a failure: lists folders, and knows nothing of targets.

use std::fs;
use std::path::Path;

use ouro_rules::Diagnostic;
use ouro_rules::diagnostic::nearest;
use ouro_rules::label::join;

/// Completes findings about files that are not there.
pub fn complete(root: &Path, mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for finding in &mut findings {
        let near = finding.about.as_deref().and_then(|path| near(root, path));
        finding.help = near.or(finding.help.take());
    }
    findings
}

fn near(root: &Path, path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let entries = fs::read_dir(root.join(folder)).ok()?.flatten();
    let files = entries.filter(|entry| entry.path().is_file()).filter_map(|entry| entry.file_name().into_string().ok());
    let files: Vec<String> = files.collect();
    nearest(name, files.iter().map(String::as_str)).map(|near| format!("did you mean the file `{}`?", join(folder, near)))
}
