//! Texts from outside on a terminal or in a log: what is shown is one line, and nothing in it moves the cursor, changes
//! colours, forges lines or turns the reading direction.

use std::fmt::Write;

use ruleward_core::bytes;

/// `text` with control characters and invisible ones that change how the rest is read shown escaped, and bytes that are not
/// UTF-8 as `\xff`.
pub fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if let Some(byte) = bytes::byte_of(c) {
            let _ = write!(line, "\\x{byte:02x}");
        } else if c.is_control() || deceives(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

/// Zero width, direction and line separating characters of Unicode.
fn deceives(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_shown_by_their_number() {
        assert_eq!(plain(&bytes::decode(b"a\xff\xc3b".to_vec())), "a\\xff\\xc3b");
    }

    #[test]
    fn nothing_leaves_its_line() {
        assert_eq!(
            plain("a\n\r\t\x1b[2J\u{9b}31m\u{7f}\u{202e}\u{2028}ü`\\"),
            "a\\n\\r\\t\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{202e}\\u{2028}ü`\\"
        );
    }
}
