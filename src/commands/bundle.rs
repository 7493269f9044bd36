//! `ouro bundle`

use std::fs;
use std::path::{Path, PathBuf};

use ouro_engine::workspace::Workspace;
use ouro_rules::bundle::{Bundle, BundleError};
use ouro_rules::label::Label;
use ouro_rules::signature::{self, PublicKey};

use crate::cli::{self, BuildFlags};
use crate::commands::build::build;
use crate::commands::graph::{not_a_chain, only};
use crate::commands::output;
use crate::configurations;
use crate::error::{CliError, Kind, io, named};
use crate::files;
use crate::session::{self, Session};
use crate::trust::{Trust, list, signing_keys};

/// Builds a chain and writes its bundle; or signs one that is there, or says what is to be said of it.
pub fn run(session: &Session, args: &cli::Bundle) -> Result<(), CliError> {
    match (&args.verify, &args.bundle, &args.chain) {
        (Some(file), _, _) => verify(session, file, args),
        (None, Some(file), _) => {
            let bytes = signed(from_file(file)?, &file.display().to_string(), &args.sign)?;
            write(session, args.output.as_ref().unwrap_or(file), &bytes)
        }
        (None, None, Some(chain)) => {
            let bytes = signed(built(session, chain, &args.how)?, chain, &args.sign)?;
            let output = match &args.output {
                Some(output) => output.clone(),
                None => PathBuf::from(format!("{}.bundle", read(&bytes, chain)?.manifest.name)),
            };
            write(session, &output, &bytes)
        }
        (None, None, None) => Err(CliError::new(Kind::Usage, "name a chain, or a bundle with `--bundle` or `--verify`")),
    }
}

/// Writes a bundle, and says so.
pub fn write(session: &Session, output: &Path, bytes: &[u8]) -> Result<(), CliError> {
    files::replace(output, bytes)?;
    session.output.status(&format!("wrote {}\n", output.display()));
    Ok(())
}

/// Says what a bundle is and who signed it; fails unless somebody who is trusted did.
fn verify(session: &Session, file: &Path, args: &cli::Bundle) -> Result<(), CliError> {
    let (bytes, name) = (from_file(file)?, file.display().to_string());
    let bundle = read(&bytes, &name)?;
    let signers = signers(&bytes, &name)?;
    let flags = cli::Trust { trusted_key: args.trusted_key.clone(), allow_unsigned: false };
    let trust = Trust::of_files(&flags)?;
    if trust.keys.is_empty() {
        let signed = if signers.is_empty() { "nobody".to_owned() } else { list(&signers) };
        let message = format!("no key is trusted here, and `{name}` is signed by {signed}");
        return Err(CliError::new(Kind::Refused, message).help("name whom you trust with `--trusted-key KEY`"));
    }
    trust.require(&signers, &name)?;
    let signers = signers.iter().map(|key| {
        let trusted = if trust.keys.contains(key) { "" } else { " (not trusted)" };
        format!("signed by {key}{trusted}\n")
    });
    let Bundle { manifest, digest, .. } = bundle;
    session.fact(&format!("`{}` as `{}`\ndigest {digest}\n{}", manifest.chain, manifest.name, signers.collect::<String>()))
}

/// A bundle's bytes, read once: what is verified is what is deployed.
pub fn from_file(file: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(file).map_err(named(format!("cannot read `{}`", file.display())))
}

/// The bytes with the signatures of these keys; `name` is where they came from.
pub fn signed(bytes: Vec<u8>, name: &str, keys: &[PathBuf]) -> Result<Vec<u8>, CliError> {
    match signing_keys(keys)?.as_slice() {
        [] => Ok(bytes),
        keys => signature::sign(&bytes, keys).map_err(bad_bundle(name)),
    }
}

/// Whose signatures the bytes have, all of which are right.
pub fn signers(bytes: &[u8], name: &str) -> Result<Vec<PublicKey>, CliError> {
    signature::open(bytes).map(|opened| opened.signers).map_err(bad_bundle(name))
}

fn bad_bundle(name: &str) -> impl FnOnce(BundleError) -> CliError {
    move |error| CliError::new(Kind::Failed, format!("`{name}`: {error}"))
}

/// The bytes of a chain's bundle, built if need be.
pub fn built(session: &Session, chain: &str, how: &BuildFlags) -> Result<Vec<u8>, CliError> {
    let workspace = session.workspace()?;
    let label = session::label(&workspace, chain)?;
    configurations::one(&workspace, &how.config, "a chain that is bundled or deployed")?;
    let built = build(session, &workspace, &[only(&label)], how).map_err(|error| meant(&workspace, &label, error))?;
    let files: Vec<&String> = built.targets.iter().flat_map(|target| &target.files).collect();
    // A chain makes its bundle and nothing else; several files are a group's.
    let [file] = files.as_slice() else { return Err(not_a_chain(&label)) };
    if !file.ends_with(".bundle") {
        return Err(not_a_chain(&label));
    }
    let path = workspace.root.join(file);
    fs::read(&path).map_err(io(format!("cannot read `{}`", path.display())))
}

/// What is deployed has a name, and many a chain that of its package: who writes it where no package is means the chain.
fn meant(workspace: &Workspace, label: &Label, error: CliError) -> CliError {
    let is_package = |folder: &str| output::is_package(workspace, folder);
    let (path, name) = (label.path(), label.name.rsplit('/').next().unwrap_or_default());
    match is_package(&path) && !is_package(&label.package) {
        true => error.help(format!("name a chain of the package `//{path}` by its label: `//{path}:{name}`")),
        false => error,
    }
}

/// Reads a bundle; `name` is where it came from.
pub fn read(bytes: &[u8], name: &str) -> Result<Bundle, CliError> {
    Bundle::read(bytes).map_err(bad_bundle(name))
}
