//! Ed25519 keys as text: private ones as `openssl genpkey -algorithm ed25519` writes them, public ones as a line that ssh knows.
//!
//! Knows no files. Where a key's seed comes from is the caller's business.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

/// A private key in PKCS #8 (RFC 8410) up to its seed: version 0, the algorithm 1.3.101.112, two octet strings around 32 bytes.
const PKCS8: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// How lines with public keys begin, and what their base64 says once more (RFC 8709), each length before what it counts.
const ALGORITHM: &str = "ssh-ed25519";
const SSH: &[u8; 19] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// What signs.
pub struct PrivateKey(SigningKey);

/// What signatures are checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key as they are stored in files.
    #[error("it is no Ed25519 private key in PEM (`{BEGIN}`)")]
    NotPrivate,
    /// One that takes a password.
    #[error("it is encrypted, and there is nobody to ask for the password")]
    Encrypted,
    /// A key of ssh's own format.
    #[error("it is a private key in OpenSSH's own format, which ouro does not read")]
    OpenSsh,
    /// Not a line with a public key.
    #[error("it is no line `{ALGORITHM} AAAA...`")]
    NotPublic,
    /// A private key where a public one belongs.
    #[error("it is a private key; the public one is in the file beside it that ends in `.pub`")]
    Private,
}

impl KeyError {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            KeyError::NotPrivate | KeyError::OpenSsh => {
                "make one with `ouro key new FILE`, or `openssl genpkey -algorithm ed25519`"
            }
            KeyError::Encrypted => "decrypt it into a place that only its user can read: `openssl pkey -in FILE`",
            KeyError::NotPublic => "`ouro key new FILE` writes it to `FILE.pub`; `ouro key public FILE` shows it again",
            KeyError::Private => "name that file, or copy its line",
        }
    }
}

impl PrivateKey {
    /// The key that grows from a seed, which must be random.
    pub fn from_seed(seed: &[u8; 32]) -> PrivateKey {
        PrivateKey(SigningKey::from_bytes(seed))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// As it is stored in a file.
    pub fn to_pem(&self) -> String {
        let bytes = [PKCS8.as_slice(), self.0.as_bytes()].concat();
        format!("{BEGIN}\n{}\n{END}\n", Base64::encode_string(&bytes))
    }

    /// Signs; the same bytes get the same signature every time.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<PrivateKey, KeyError> {
        match text {
            _ if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => return Err(KeyError::Encrypted),
            _ if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") => return Err(KeyError::OpenSsh),
            _ => {}
        }
        let inner = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).ok_or(KeyError::NotPrivate)?.0;
        let packed: String = inner.split_ascii_whitespace().collect();
        let bytes = Base64::decode_vec(&packed).map_err(|_| KeyError::NotPrivate)?;
        let seed = bytes.strip_prefix(&PKCS8).and_then(|seed| seed.try_into().ok()).ok_or(KeyError::NotPrivate)?;
        Ok(PrivateKey::from_seed(seed))
    }
}

impl PublicKey {
    /// Whether this key made the signature of the message. Signatures that several keys could have made are none (`verify_strict`).
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM} {}", Base64::encode_string(&[SSH.as_slice(), &self.0].concat()))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// The line of a file as ssh has them; behind the key stands whose it is.
    fn from_str(line: &str) -> Result<PublicKey, KeyError> {
        if line.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let mut words = line.split_ascii_whitespace();
        let (algorithm, text) = (words.next(), words.next().unwrap_or_default());
        let bytes = Base64::decode_vec(text).map_err(|_| KeyError::NotPublic)?;
        let key: [u8; 32] = bytes.strip_prefix(SSH).and_then(|key| key.try_into().ok()).ok_or(KeyError::NotPublic)?;
        let usable = VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
        if algorithm == Some(ALGORITHM) && usable { Ok(PublicKey(key)) } else { Err(KeyError::NotPublic) }
    }
}

/// The keys of a text with one on each line; empty lines and those with `#` before them say nothing. The number of a line that is
/// no key comes with what is wrong with it.
pub fn public_keys(text: &str) -> Result<Vec<PublicKey>, (usize, KeyError)> {
    if text.contains("PRIVATE KEY-----") {
        return Err((1, KeyError::Private));
    }
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    let keys = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    keys.map(|(line, number)| line.parse().map_err(|error| (number, error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test of RFC 8032, section 7.1.
    const SEED: [u8; 32] = [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f,
        0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
    ];
    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID1AF8PoQ4lakrcKp00bfrycmCzPLsSWjMDNVfEq9GYM";
    /// What openssl says of that seed.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n-----END PRIVATE KEY-----\n";

    #[test]
    fn keys_are_as_others_write_them() {
        let key = PrivateKey::from_seed(&SEED);
        assert_eq!(key.to_pem(), PEM);
        assert_eq!(key.public().to_string(), PUBLIC);
        assert_eq!(PEM.parse::<PrivateKey>().unwrap().public(), key.public());
        assert_eq!(format!("{PUBLIC} somebody@somewhere").parse(), Ok(key.public()));
        assert_eq!(key.sign(b"\x72")[..4], [0x92, 0xa0, 0x09, 0xa9]);
    }

    #[test]
    fn what_is_no_key_is_told() {
        let private = |text: &str| text.parse::<PrivateKey>().err().unwrap();
        assert_eq!(private("garbage"), KeyError::NotPrivate);
        assert_eq!(private(PUBLIC), KeyError::NotPrivate);
        assert_eq!(private(&PEM.replace("MC4CAQAw", "MC4CAQEw")), KeyError::NotPrivate);
        assert_eq!(private("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), KeyError::Encrypted);
        assert_eq!(private("-----BEGIN OPENSSH PRIVATE KEY-----\n"), KeyError::OpenSsh);
        let public = |text: &str| text.parse::<PublicKey>().err().unwrap();
        assert_eq!(public(PEM), KeyError::Private);
        for text in ["", "ssh-ed25519", "ssh-rsa AAAAC3NzaC1lZDI1NTE5", &PUBLIC[..60], &PUBLIC.replace("ssh-ed25519", "ed25519")]
        {
            assert_eq!(public(text), KeyError::NotPublic, "{text}");
        }
        // The point of order one: everybody's signature would do.
        let weak = PublicKey([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(public(&weak.to_string()), KeyError::NotPublic);
    }

    #[test]
    fn files_of_keys_have_one_on_each_line() {
        let text = format!("# whom we trust\n\n{PUBLIC} ci\n  {PUBLIC}\n");
        assert_eq!(public_keys(&text).unwrap().len(), 2);
        assert_eq!(public_keys(&format!("{PUBLIC}\nnonsense\n")), Err((2, KeyError::NotPublic)));
        assert_eq!(public_keys(PEM), Err((1, KeyError::Private)));
    }
}
