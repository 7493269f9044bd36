//! `ouro bundle`

use std::fs;
use std::path::PathBuf;

use ouro_rules::bundle::Bundle;

use crate::cli::{self, BuildFlags};
use crate::commands::build::build;
use crate::commands::graph::{not_a_chain, only};
use crate::configurations;
use crate::error::{CliError, Kind, io};
use crate::files;
use crate::session::{self, Session};

/// Builds a chain and writes its bundle.
pub fn run(session: &Session, args: &cli::Bundle) -> Result<(), CliError> {
    let bytes = built(session, &args.chain, &args.how)?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => PathBuf::from(format!("{}.bundle", read(&bytes, &args.chain)?.manifest.name)),
    };
    files::replace(&output, &bytes)?;
    session.output.status(&format!("wrote {}\n", output.display()));
    Ok(())
}

/// The bytes of a chain's bundle, built if need be.
pub fn built(session: &Session, chain: &str, how: &BuildFlags) -> Result<Vec<u8>, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, chain)?;
    configurations::one(&workspace, &how.config, "a chain that is bundled or deployed")?;
    let built = build(session, &workspace, &[only(&label)], how)?;
    let files: Vec<&String> = built.targets.iter().flat_map(|target| &target.files).collect();
    // A chain makes its bundle and nothing else; several files are a group's.
    let [file] = files.as_slice() else { return Err(not_a_chain(&label)) };
    if !file.ends_with(".bundle") {
        return Err(not_a_chain(&label));
    }
    let path = workspace.root.join(file);
    fs::read(&path).map_err(io(format!("cannot read `{}`", path.display())))
}

/// Reads a bundle; `name` is where it came from.
pub fn read(bytes: &[u8], name: &str) -> Result<Bundle, CliError> {
    Bundle::read(bytes).map_err(|error| CliError::new(Kind::Failed, format!("`{name}`: {error}")))
}
