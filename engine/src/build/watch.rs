//! Which names a snapshot must watch, so that it is not taken for true any more when a file appears that a compiler would have found
//! before what it read.
//!
//! Most need no look of their own: they lie in a folder whose entries are watched, where they would be new. What appears among outputs
//! is as if it were not there for all who do not declare it, and who does has another action.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ouro_cache::Absent;

use crate::fast::FastSet;
use crate::load::is_hidden;
use crate::workspace::is_output;

/// The names in these rows that nothing else watches, each once.
pub(super) fn unwatched<'a>(
    root: &Path,
    rows: impl IntoIterator<Item = &'a Absent>,
    is_listed: &dyn Fn(&str) -> bool,
) -> FastSet<Arc<str>> {
    let (mut seen, mut found) = (FastSet::default(), FastSet::default());
    for row in rows.into_iter().filter(|row| !is_output(&row.folder)) {
        if seen.insert(row) {
            let names = row.names.lines().filter(|name| !is_watched(root, &row.folder, name, is_listed));
            found.extend(names.map(|name| join(&row.folder, name)).filter(|path| !is_output(path)).map(Arc::from));
        }
    }
    found
}

/// Whether its coming would show in a folder that is listed.
fn is_watched(root: &Path, folder: &str, name: &str, is_listed: &dyn Fn(&str) -> bool) -> bool {
    let mut at = folder.to_owned();
    for part in name.split('/') {
        if part.is_empty() || is_hidden(part) || !is_listed(&at) {
            return false;
        }
        at = join(&at, part);
        match fs::symlink_metadata(root.join(&at)) {
            // What a link leads to may come without the folder.
            Ok(found) if found.is_symlink() => return false,
            Ok(found) if found.is_dir() => {}
            Ok(_) => return true,
            Err(error) => return error.kind() == io::ErrorKind::NotFound,
        }
    }
    true
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_nowhere_else_is_watched() {
        let dir = tempfile::TempDir::new().unwrap();
        for folder in ["fw/listed", "fw/hidden"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink("hidden", dir.path().join("fw/link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("fw/lost")).unwrap();
        std::fs::write(dir.path().join("fw/file"), "").unwrap();
        let row = |folder: &str, names: &str| Absent { folder: folder.into(), names: names.into() };
        let rows = [
            row("", "a.h\nouro-out/x86/a.h\n"),
            row("fw", "a.h\nnone/a.h\nlisted/a.h\nhidden/a.h\nlink/a.h\nlost\nlost/a.h\nfile\nfile/a.h\n../a.h\n"),
            row("fw", "a.h\n"),
            row("ouro-out/x86/fw", "a.h\n"),
            row("ouro-outside", "a.h\n"),
            row("/usr/local/include", "a.h\n"),
        ];
        let is_listed = |folder: &str| ["", "fw", "fw/listed"].contains(&folder);
        let mut found: Vec<Arc<str>> = unwatched(dir.path(), &rows, &is_listed).into_iter().collect();
        found.sort();
        let found: Vec<&str> = found.iter().map(|path| &**path).collect();
        assert_eq!(
            found,
            ["/usr/local/include/a.h", "fw/../a.h", "fw/hidden/a.h", "fw/link/a.h", "fw/lost", "fw/lost/a.h", "ouro-outside/a.h"]
        );
    }
}
