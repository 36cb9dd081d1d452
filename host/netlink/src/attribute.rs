//! Attributes: a type, a length and the content, padded to four bytes. Some hold attributes.

use netlink_packet_core::{NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK};

use super::ALIGNMENT;

/// The attributes in some bytes: type, without the flags for nesting and byte order, and content.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let [l0, l1, k0, k1] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let content = self.0.get(NLA_HEADER_SIZE..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, content))
    }
}

/// Adds an attribute, padded. Content of more than 64 KiB can't be said; none here comes near.
pub fn push_attribute(bytes: &mut Vec<u8>, kind: u16, content: &[u8]) {
    let length = u16::try_from(NLA_HEADER_SIZE + content.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// Adds a text with its closing zero byte.
pub fn push_text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    push_attribute(bytes, kind, &[text.as_bytes(), &[0]].concat());
}

/// Adds an attribute that holds attributes.
pub fn push_nested(bytes: &mut Vec<u8>, kind: u16, content: &[u8]) {
    push_attribute(bytes, kind | NLA_F_NESTED, content);
}

/// A number, most significant byte first, as netfilter sends them.
pub fn number(content: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(content.try_into().ok()?))
}

/// A string with or without its closing zero byte.
pub fn text(content: &[u8]) -> String {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    String::from_utf8_lossy(&content[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_a_length_is_wrong() {
        let good = [8, 0, 1, 0, 0, 0, 0, 7];
        let cut = [8, 0, 2, 0, 0];
        let bytes: Vec<u8> = good.into_iter().chain(cut).collect();
        let found: Vec<(u16, Option<u32>)> =
            Attributes(&bytes).map(|(kind, content)| (kind, number(content))).collect();
        assert_eq!(found, [(1, Some(7))]);
        assert_eq!(Attributes(&[1, 0, 1, 0]).count(), 0);
    }
}
