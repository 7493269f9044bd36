//! `ouro key`

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ouro_rules::signature::PrivateKey;

use crate::cli::{Key, KeyCommand};
use crate::error::{CliError, Kind};
use crate::session::Session;
use crate::trust::signing_key;

/// Makes keys, and shows them.
pub fn run(session: &Session, args: &Key) -> Result<(), CliError> {
    match &args.command {
        KeyCommand::New { file } => new(session, file),
        KeyCommand::Public { file } => session.fact(&format!("{}\n", signing_key(file)?.public())),
    }
}

/// Writes a new key and, beside it, its public half. Never over another key: what that one signed could not be signed again.
fn new(session: &Session, file: &Path) -> Result<(), CliError> {
    let key = random()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let public = beside(file);
    let line = format!("{} {}\n", key.public(), name.replace(char::is_whitespace, "_"));
    write_new(file, 0o600, &key.to_pem())?;
    write_new(&public, 0o644, &line).inspect_err(|_| drop(fs::remove_file(file)))?;
    session.output.status(&format!("wrote {} (keep it secret) and {}\n", file.display(), public.display()));
    session.fact(&line)
}

/// `FILE.pub`
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn random() -> Result<PrivateKey, CliError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| CliError::new(Kind::Failed, format!("the kernel gives no random bytes: {error}")))?;
    Ok(PrivateKey::from_seed(&seed))
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), CliError> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let finding = CliError::new(Kind::Failed, format!("cannot write `{}`: {error}", path.display()));
        if error.kind() == io::ErrorKind::AlreadyExists {
            finding.help("choose another name; keys are not overwritten")
        } else {
            finding
        }
    })
}
