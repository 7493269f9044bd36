//! `ouro bundle`

use std::fs;
use std::path::PathBuf;

use ouro_rules::chain::deployment_name;

use crate::cli::{BuildFlags, Bundle};
use crate::commands::build::build;
use crate::commands::graph::{not_a_chain, only};
use crate::error::{CliError, io};
use crate::session::{self, Session};

/// Builds a chain and writes its bundle.
pub fn run(session: &Session, args: &Bundle) -> Result<(), CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, &args.chain)?;
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.bundle", deployment_name(&label))));
    let bytes = built(session, &args.chain, &args.how)?;
    fs::write(&output, bytes).map_err(io(format!("cannot write `{}`", output.display())))?;
    session.output.status(&format!("wrote {}\n", output.display()));
    Ok(())
}

/// The bytes of a chain's bundle, built if need be.
pub fn built(session: &Session, chain: &str, how: &BuildFlags) -> Result<Vec<u8>, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, chain)?;
    let built = build(session, &workspace, &[only(&label)], how)?;
    let file = built
        .targets
        .iter()
        .flat_map(|target| &target.files)
        .find(|file| file.ends_with(".bundle"))
        .ok_or_else(|| not_a_chain(&label))?;
    let path = workspace.root.join(file);
    fs::read(&path).map_err(io(format!("cannot read `{}`", path.display())))
}
