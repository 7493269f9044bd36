//! Records that prove themselves: a checksum that also stands for the record's kind and version, then the bytes.
//!
//! Knows nothing of what is inside.

const SUM: usize = 32;

/// The bytes with a checksum in front. `kind` names what they are, with a version: `ouro action result v1`.
pub fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SUM + body.len());
    sealed.extend(blake3::derive_key(kind, body));
    sealed.extend(body);
    sealed
}

/// The checksum that [`seal`] puts in front, of a body that lies in parts.
pub fn sum_of(kind: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key(kind);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().as_bytes().to_vec()
}

/// The bytes inside, if they are whole and of this very kind and version.
pub fn unseal<'a>(kind: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, body) = sealed.split_at_checked(SUM)?;
    (sum == blake3::derive_key(kind, body)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_of_the_same_kind_open() {
        let sealed = seal("a v1", b"body");
        assert_eq!(unseal("a v1", &sealed), Some(&b"body"[..]));
        assert_eq!(unseal("a v2", &sealed), None);
        assert_eq!(sum_of("a v1", &[b"bo".to_vec(), b"dy".to_vec()]), sealed[..SUM]);
        for length in 0..sealed.len() {
            assert_eq!(unseal("a v1", &sealed[..length]), None, "cut to {length} bytes");
        }
        for place in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[place] ^= 1;
            assert_eq!(unseal("a v1", &bad), None, "byte {place} flipped");
        }
    }
}
