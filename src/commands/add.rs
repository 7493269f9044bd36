//! `ouro add`

use crate::cli::Add;
use crate::error::CliError;
use crate::scaffold::add::{Request, add};
use crate::session::{self, Session};

/// Adds a program to a package.
pub fn run(session: &Session, args: &Add) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, &args.name)?;
    let after = args.after.as_deref().map(|after| session::label(&workspace, after)).transpose()?;
    let added = add(&Request { root: &workspace.root, label: &label, ty: &args.ty, after: after.as_ref() })?;
    added.written.iter().for_each(|path| session.output.status(&format!("wrote {}\n", path.display())));
    for todo in &added.todo {
        session.output.status(&format!("by hand, in {}: {}\n{}\n", todo.file.display(), todo.what, todo.text));
    }
    Ok(())
}
