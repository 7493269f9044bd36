//! What can go wrong with the store: always an operation on a file, always with its path.

use std::io;
use std::path::{Path, PathBuf};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {source}", path.display())]
pub struct CacheError {
    /// What was tried: `write`.
    pub doing: &'static str,
    /// With which file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl CacheError {
    /// For `map_err`.
    pub(crate) fn at<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> CacheError + 'a {
        move |source| CacheError { doing, path: path.to_owned(), source }
    }
}
