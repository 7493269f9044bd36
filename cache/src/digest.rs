//! Content addresses: blake3 of bytes, of files, and of structured keys.
//!
//! Knows nothing of where content is kept.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Files up to this size are read at once.
const SMALL: u64 = 4 << 20;

/// The blake3 of some bytes. Displays as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no digest; a digest is 64 hex digits")]
pub struct ParseDigestError(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(blake3::hash(bytes).into())
    }

    /// Of a file's bytes.
    pub fn of_file(path: &Path) -> io::Result<Digest> {
        Digest::of_open(&mut File::open(path)?)
    }

    /// Of the bytes of a file from where it stands: most are small and read at once, others in pieces.
    pub fn of_open(file: &mut File) -> io::Result<Digest> {
        let size = file.metadata()?.len();
        if size > SMALL {
            return Digest::of_reader(file);
        }
        Ok(Digest::of(&read_all(file, size)?))
    }

    /// Of everything a reader still gives.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        each_piece(reader, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(Digest(hasher.finalize().into()))
    }

    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// All that a file still gives, which should be so many bytes: the standard library would ask the kernel for that again.
pub fn read_all(file: &File, size: u64) -> io::Result<Vec<u8>> {
    // It tries whether more comes with so much room to spare.
    const PROBE: usize = 32;
    let mut bytes = Vec::with_capacity(size as usize + PROBE);
    file.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Calls `f` with the reader's bytes, 256 KiB at a time at most: big enough that blake3 works on many lanes at once.
pub(crate) fn each_piece(reader: &mut impl Read, mut f: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => f(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the digest of a key out of fields, each with its length, so that no two lists of fields give the same bytes.
#[derive(Debug, Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// `context` says what the key is for, with a version: keys of other contexts can never be equal to it.
    pub fn new(context: &str) -> Hasher {
        Hasher(blake3::Hasher::new_derive_key(context))
    }

    /// Adds one field.
    pub fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest of all fields.
    pub fn finish(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Digest, ParseDigestError> {
        blake3::Hash::from_hex(text).map(|hash| Digest(hash.into())).map_err(|_| ParseDigestError(text.to_owned()))
    }
}

/// Hex in formats for people, 32 bytes in others.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Digest);
        }
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways_and_anything_else_is_refused() {
        let digest = Digest::of(b"ouro");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().len(), 64);
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(65)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reading_in_pieces_gives_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|n| n as u8).collect();
        assert_eq!(Digest::of_reader(&mut &bytes[..]).unwrap(), Digest::of(&bytes));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |fields: &[&[u8]]| {
            let mut hasher = Hasher::new("test");
            fields.iter().for_each(|field| hasher.field(field));
            hasher.finish()
        };
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"ab"]), key(&[b"ab", b""]));
    }
}
