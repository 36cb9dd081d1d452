//! Bytes that a tool or the kernel prints, as text that loses nothing. A comment of a rule or of a set's member, the name
//! of an interface or of a process may hold any byte: text that can hold only UTF-8 would make a foreign rule unreadable.
//!
//! Each byte that is not part of valid UTF-8 becomes one character of U+10FF80 to U+10FFFF, which no one may use for
//! anything else: where the text itself has such a character, its bytes are turned into these as well. So
//! [`encode`] gives back exactly what [`decode`] took, and different bytes are always different text.

use std::borrow::Cow;

/// What stands for byte 0.
const BASE: u32 = 0x10_FF00;

/// The byte that a character stands for, if it stands for one.
pub fn byte_of(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(BASE)?).ok().filter(|byte| *byte >= 0x80)
}

fn stands_for(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Bytes as text.
pub fn decode(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if text.chars().all(|character| byte_of(character).is_none()) => return text,
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte_of(character) {
                None => text.push(character),
                Some(_) => {
                    let mut own = [0; 4];
                    text.extend(character.encode_utf8(&mut own).bytes().map(stands_for));
                }
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stands_for));
    }
    text
}

/// The bytes that [`decode`] made `text` of.
pub fn encode(text: &str) -> Cow<'_, [u8]> {
    // The first byte of all characters that stand for one.
    if !text.as_bytes().contains(&0xf4) || text.chars().all(|character| byte_of(character).is_none()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_what_it_is() {
        for text in ["", "-A INPUT -j ACCEPT", "ünï¢ödé \u{10ff7f}"] {
            assert_eq!(decode(text.into()), text);
            assert_eq!(encode(text), text.as_bytes());
        }
    }

    #[test]
    fn a_character_that_stands_for_a_byte_is_not_mistaken_for_it() {
        let (byte, character) = (decode(vec![0xff]), decode("\u{10ffff}".into()));
        assert_eq!(byte, "\u{10ffff}");
        assert_ne!(byte, character);
        assert_eq!(encode(&character).as_ref(), "\u{10ffff}".as_bytes());
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,9}") {
            let all = [bytes, text.into_bytes(), "\u{10ff80}".into()].concat();
            let decoded = decode(all.clone());
            prop_assert_eq!(encode(&decoded).into_owned(), all);
        }
    }
}
