//! New workspaces and new programs: `ouro init` and `ouro add`.
//!
//! Writes text that the build reads later; does not load BUILD files and knows no Starlark beyond brackets, strings and comments.

pub mod add;
pub mod init;

mod build_file;
mod change;
mod scan;
mod source;
