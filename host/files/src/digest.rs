//! SHA-256 as this program writes it everywhere: `sha256:` and 64 lower-case hexadecimal digits.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Begins every digest.
pub const PREFIX: &str = "sha256:";

/// The digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", hex_of(bytes))
}

/// The digits alone, where a name has no place for more.
pub fn hex_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of a value's JSON. For values that JSON has words for: names, numbers, lists.
pub fn of_json(value: &impl Serialize) -> String {
    measure_json(value).map_or_else(|_| sha256(b""), |(digest, _)| digest)
}

/// The same with the length of the JSON, which is never held as a whole.
///
/// # Errors
/// When JSON has no words for the value.
pub fn measure_json(value: &impl Serialize) -> serde_json::Result<(String, u64)> {
    let mut measured = BufWriter::new(Measured { hash: Sha256::new(), length: 0 });
    serde_json::to_writer(&mut measured, value)?;
    let Measured { hash, length } = measured.into_inner().map_err(|error| serde_json::Error::io(error.into_error()))?;
    Ok((format!("{PREFIX}{}", hex(&hash.finalize())), length))
}

/// Takes down what is written, and keeps nothing of it.
struct Measured {
    hash: Sha256,
    length: u64,
}

impl Write for Measured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The hexadecimal digits of a digest; `None` for text that is none.
pub fn digits(digest: &str) -> Option<&str> {
    let digits = digest.strip_prefix(PREFIX)?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 64 && digits.bytes().all(is_digit)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_known_by_its_form() {
        let empty = sha256(b"");
        assert_eq!(empty, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digits(&empty).map(str::len), Some(64));
        for bad in ["", "sha256:", &empty[7..], &empty[..70], &empty.to_uppercase(), "sha256:../../../etc/passwd"] {
            assert!(digits(bad).is_none(), "{bad:?} was taken for a digest");
        }
    }
}
