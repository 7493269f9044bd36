//! Whose bundles are deployed: the keys that are configured, and what they say of a bundle's bytes.
//!
//! Knows files and flags; how signatures are made and checked is `rules::signature`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ouro_rules::signature::{KeyError, PrivateKey, PublicKey, public_keys};

use crate::cli::Trust as Flags;
use crate::error::{CliError, Kind, named};
use crate::session::Session;

/// A machine's own keys: a file of them, or a folder of such files.
const OF_MACHINE: &str = "/etc/ouro/trusted_keys";

/// Whom to trust.
#[derive(Debug, PartialEq, Eq)]
pub struct Trust {
    /// The keys; none if none are configured.
    pub keys: BTreeSet<PublicKey>,
    /// Those of them that the command line or the workspace names: a machine elsewhere does not know them.
    pub named: BTreeSet<PublicKey>,
    allow_unsigned: bool,
}

impl Trust {
    /// For a file from elsewhere: the keys of the command line and of the machine. Whoever sends the file could send an `ouro.toml`
    /// along with it.
    pub fn of_files(flags: &Flags) -> Result<Trust, CliError> {
        let mut named = BTreeSet::new();
        for text in &flags.trusted_key {
            named.extend(keys_of(text, Path::new(""))?);
        }
        let keys = &of_machine(Path::new(OF_MACHINE))? | &named;
        Ok(Trust { keys, named, allow_unsigned: flags.allow_unsigned })
    }

    /// For a deploy: of what is built here the workspace's keys count, too. Of a file they can but forbid what otherwise everybody
    /// might deploy.
    pub fn configured(session: &Session, flags: &Flags, is_built: bool) -> Result<Trust, CliError> {
        let mut trust = Trust::of_files(flags)?;
        if is_built || trust.keys.is_empty() {
            let keys = of_workspace(session)?;
            trust.named.extend(&keys);
            trust.keys.extend(keys);
        }
        Ok(trust)
    }

    /// Whether it matters who signed a bundle.
    pub fn asks(&self) -> bool {
        !self.keys.is_empty() && !self.allow_unsigned
    }

    /// Fails unless one of the signers is trusted, or nobody need be; `name` is where the bundle came from.
    pub fn require(&self, signers: &[PublicKey], name: &str) -> Result<(), CliError> {
        if !self.asks() || signers.iter().any(|signer| self.keys.contains(signer)) {
            return Ok(());
        }
        let why = match signers {
            [] => format!("`{name}` is not signed, and only bundles signed by a trusted key are deployed here"),
            _ => format!("`{name}` is signed by no key that is trusted here, but by {}", list(signers)),
        };
        Err(CliError::new(Kind::Refused, why).help(
            "sign it with `--sign KEY`; or trust its key with `--trusted-key KEY` (the keys of `ouro.toml` count for what is built \
             there); or deploy it all the same with `--allow-unsigned`",
        ))
    }
}

/// Keys as people see them.
pub fn list(keys: &[PublicKey]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// A line with a key, or the keys of a file.
fn keys_of(text: &str, root: &Path) -> Result<BTreeSet<PublicKey>, CliError> {
    if text.contains(' ') {
        let bad = |error: KeyError| CliError::new(Kind::Usage, format!("`{text}` is no public key: {error}")).help(error.help());
        return Ok([text.parse().map_err(bad)?].into());
    }
    let file = root.join(text);
    match fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CliError { kind: Kind::Usage, ..unreadable(&file, &error) }),
        _ => of_file(&file),
    }
}

fn of_workspace(session: &Session) -> Result<BTreeSet<PublicKey>, CliError> {
    let mut keys = BTreeSet::new();
    if let Some(workspace) = session.workspace_if_any()? {
        for text in &workspace.settings.deploy.trusted_keys {
            keys.extend(keys_of(text, &workspace.root)?);
        }
    }
    Ok(keys)
}

fn of_machine(place: &Path) -> Result<BTreeSet<PublicKey>, CliError> {
    match fs::metadata(place) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(BTreeSet::new()),
        Err(error) => Err(unreadable(place, &error)),
        Ok(found) if found.is_dir() => of_folder(place),
        Ok(_) => of_file(place),
    }
}

fn of_folder(folder: &Path) -> Result<BTreeSet<PublicKey>, CliError> {
    let failed = |error| unreadable(folder, &error);
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let files: BTreeSet<PathBuf> =
        entries.iter().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).map(fs::DirEntry::path).collect();
    let mut keys = BTreeSet::new();
    for file in files {
        keys.extend(of_file(&file)?);
    }
    if keys.is_empty() { Err(empty(folder)) } else { Ok(keys) }
}

fn of_file(file: &Path) -> Result<BTreeSet<PublicKey>, CliError> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let bad = |(line, error): (usize, KeyError)| {
        CliError::new(Kind::Refused, format!("{}:{line}: {error}", file.display())).help(error.help())
    };
    let keys: BTreeSet<PublicKey> = public_keys(&text).map_err(bad)?.into_iter().collect();
    // Whoever made it meant to trust somebody; without a key everybody would be.
    if keys.is_empty() { Err(empty(file)) } else { Ok(keys) }
}

fn empty(place: &Path) -> CliError {
    CliError::new(Kind::Refused, format!("`{}` names no key", place.display()))
        .help("write a line `ssh-ed25519 AAAA...` into it, or remove it if bundles of anybody may be deployed here")
}

fn unreadable(place: &Path, error: &io::Error) -> CliError {
    CliError::new(Kind::Refused, format!("cannot read the trusted keys in `{}`: {error}", place.display()))
}

/// The keys to sign with.
pub fn signing_keys(files: &[PathBuf]) -> Result<Vec<PrivateKey>, CliError> {
    files.iter().map(|file| signing_key(file)).collect()
}

/// A private key from its file.
pub fn signing_key(file: &Path) -> Result<PrivateKey, CliError> {
    let bytes = fs::read(file).map_err(named(format!("cannot read the key `{}`", file.display())))?;
    let text = String::from_utf8(bytes).map_err(|_| KeyError::NotPrivate);
    let bad = |error: KeyError| CliError::new(Kind::Failed, format!("`{}`: {error}", file.display())).help(error.help());
    text.and_then(|text| text.parse()).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PrivateKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn a_machine_has_a_file_of_keys_or_a_folder_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("trusted_keys");
        assert_eq!(of_machine(&place).unwrap(), BTreeSet::new());
        fs::write(&place, format!("# ci\n{} ci\n{}\n", key(1), key(2))).unwrap();
        assert_eq!(of_machine(&place).unwrap(), [key(1), key(2)].into());
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(place.join("a.pub"), key(3).to_string()).unwrap();
        fs::write(place.join(".a.pub.swp"), "garbage").unwrap();
        assert_eq!(of_machine(&place).unwrap(), [key(3)].into());
    }

    /// A key file cut to nothing by a full disk would let everybody in.
    #[test]
    fn what_names_no_key_trusts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let said = |place: &Path| of_machine(place).unwrap_err().findings[0].message.clone();
        assert!(said(folder.path()).ends_with("names no key"));
        let file = folder.path().join("a.pub");
        fs::write(&file, "# nothing yet\n").unwrap();
        assert!(said(folder.path()).ends_with("a.pub` names no key"));
        fs::write(&file, format!("{}\nssh-rsa AAAA\n", key(1))).unwrap();
        assert!(said(folder.path()).ends_with("a.pub:2: it is no line `ssh-ed25519 AAAA...`"));
    }

    #[test]
    fn one_trusted_signer_is_enough_and_without_keys_nobody_is_asked() {
        let trust = |keys: &[PublicKey], allow_unsigned| {
            let keys: BTreeSet<PublicKey> = keys.iter().copied().collect();
            Trust { named: keys.clone(), keys, allow_unsigned }
        };
        let one = trust(&[key(1)], false);
        assert!(one.require(&[key(1)], "x").is_ok() && one.require(&[key(1), key(2)], "x").is_ok());
        assert!(one.require(&[], "x").unwrap_err().findings[0].message.contains("`x` is not signed"));
        assert!(one.require(&[key(2)], "x").unwrap_err().findings[0].message.contains(&key(2).to_string()));
        assert!(trust(&[key(1)], true).require(&[key(2)], "x").is_ok() && trust(&[], false).require(&[], "x").is_ok());
    }
}
