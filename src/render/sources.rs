//! The text of source files, for drawing findings; each is read once.
//!
//! Does not know what the text means.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The files of a workspace as they are now.
#[derive(Debug, Default)]
pub struct Sources {
    root: PathBuf,
    texts: Mutex<BTreeMap<String, Option<Arc<str>>>>,
}

impl Sources {
    /// The files below `root`, which paths of spans start from.
    pub fn new(root: impl Into<PathBuf>) -> Sources {
        Sources { root: root.into(), texts: Mutex::default() }
    }

    /// Makes a text known that is in no file, under a name that places can use.
    pub fn add(&self, name: &str, text: &str) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Some(text.into()));
    }

    /// The text of a file; none when it is gone, or no UTF-8.
    pub fn text(&self, file: &str) -> Option<Arc<str>> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || fs::read_to_string(self.root.join(file)).ok().map(Arc::from);
        texts.entry(file.to_owned()).or_insert_with(read).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("BUILD"), "x = 1\n").unwrap();
        let sources = Sources::new(folder.path());
        assert_eq!(sources.text("BUILD").as_deref(), Some("x = 1\n"));
        fs::remove_file(folder.path().join("BUILD")).unwrap();
        assert_eq!(sources.text("BUILD").as_deref(), Some("x = 1\n"));
        assert_eq!(sources.text("gone"), None);
    }
}
