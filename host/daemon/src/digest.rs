//! SHA-256 as this program writes it everywhere: `sha256:` and 64 lower-case hexadecimal digits.

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
    sha256(&serde_json::to_vec(value).unwrap_or_default())
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
