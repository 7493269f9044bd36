//! `ouro add`

use std::path::Path;

use ouro_rules::Label;

use crate::cli::Add;
use crate::error::{CliError, Kind};
use crate::scaffold::add::{Request, add};
use crate::session::{self, Session};

/// Adds a program to a package.
pub fn run(session: &Session, args: &Add) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, &args.name)?;
    // A bare name means a neighbour of the new program, wherever one stands.
    let neighbour =
        |text: &str| Label::parse(text, "", &label.package).map_err(|error| CliError::new(Kind::Usage, error.to_string()));
    let after = args.after.as_deref().map(neighbour).transpose()?;
    let added = add(&Request { root: &workspace.root, label: &label, ty: &args.ty, after: after.as_ref() })?;
    let shown = |path: &Path| path.strip_prefix(&workspace.root).unwrap_or(path).display().to_string();
    added.written.iter().for_each(|path| session.output.status(&format!("wrote {}\n", shown(path))));
    for todo in &added.todo {
        session.output.status(&format!("by hand, in {}: {}\n{}\n", shown(&todo.file), todo.what, todo.text));
    }
    Ok(())
}
