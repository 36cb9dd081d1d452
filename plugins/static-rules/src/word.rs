//! Splits a rule into words as iptables-restore does: at blanks, with double quotes around words that hold blanks, and
//! a backslash inside quotes before a quote or a backslash. Single quotes and backslashes outside quotes are ordinary
//! characters there. What iptables-restore would quietly read otherwise than it looks is refused: an open quote, a
//! quote that ends in the middle of a word, control characters.

use std::borrow::Cow;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// What it says, without quotes.
    pub text: Cow<'a, str>,
    /// It was quoted, so that it is a value and not an option.
    pub quoted: bool,
}

/// The words of a rule, one after the other.
#[derive(Debug)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Begins.
    ///
    /// # Errors
    /// When the rule holds control characters.
    pub fn of(rule: &'a str) -> Result<Self, String> {
        let plain = rule.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        match if plain { None } else { rule.chars().find(|c| c.is_control() && *c != '\t') } {
            None => Ok(Self { rest: rule }),
            Some(found) => Err(format!("contains the control character {found:?}; a rule is one line of visible text")),
        }
    }

    /// The next word, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self) -> Result<Option<Word<'a>>, String> {
        let text = self.rest.trim_ascii_start();
        let stop = text.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'"')).unwrap_or(text.len());
        if text.as_bytes().get(stop) == Some(&b'"') {
            return self.quoted(text, stop).map(Some);
        }
        let (word, rest) = text.split_at(stop);
        self.rest = rest;
        Ok((!word.is_empty()).then_some(Word { text: Cow::Borrowed(word), quoted: false }))
    }

    /// A word with a quote at `open`; what stands before the quote belongs to the word.
    fn quoted(&mut self, text: &'a str, open: usize) -> Result<Word<'a>, String> {
        let (before, inside) = (&text[..open], &text[open + 1..]);
        let mut word = Cow::Borrowed(before);
        let mut from = 0;
        loop {
            let Some(found) = inside[from..].bytes().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return Err("a double quote is not closed".into());
            };
            let stop = from + found;
            append(&mut word, &inside[from..stop]);
            if inside.as_bytes()[stop] == b'"' {
                self.rest = &inside[stop + 1..];
                break;
            }
            let escaped = stop + 1;
            let Some(length) = inside[escaped..].chars().next().map(char::len_utf8) else {
                return Err("a double quote is not closed".into());
            };
            from = escaped + length;
            append(&mut word, &inside[escaped..from]);
        }
        if !self.rest.is_empty() && !self.rest.starts_with([' ', '\t']) {
            return Err(format!("a blank must follow the closing quote of {word:?}"));
        }
        if word.is_empty() {
            return Err("a word is empty (\"\"); leave it out, with the option that it belongs to".into());
        }
        Ok(Word { text: word, quoted: true })
    }
}

/// Borrows as long as there is only one piece.
fn append<'a>(word: &mut Cow<'a, str>, piece: &'a str) {
    if word.is_empty() {
        *word = Cow::Borrowed(piece);
    } else if !piece.is_empty() {
        word.to_mut().push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rule: &str) -> Result<Vec<String>, String> {
        let mut words = Words::of(rule)?;
        let mut all = Vec::new();
        while let Some(word) = words.next()? {
            all.push(if word.quoted { format!("<{}>", word.text) } else { word.text.into_owned() });
        }
        Ok(all)
    }

    #[test]
    fn words_are_split_as_by_iptables_restore() {
        for (rule, expected) in [
            ("", vec![]),
            ("  -j \t ACCEPT ", vec!["-j", "ACCEPT"]),
            (r#"--comment "a b" -j X"#, vec!["--comment", "<a b>", "-j", "X"]),
            (r#"--comment "a\"b\\c""#, vec!["--comment", r#"<a"b\c>"#]),
            (r#"--comment 'x y'"#, vec!["--comment", "'x", "y'"]),
            (r"--comment a\b", vec!["--comment", r"a\b"]),
            (r#"--comment a"b c" -j X"#, vec!["--comment", "<ab c>", "-j", "X"]),
            (r#"--comment=say"#, vec!["--comment=say"]),
            (r#""-j" "é\é""#, vec!["<-j>", "<éé>"]),
        ] {
            assert_eq!(words(rule).unwrap(), expected, "{rule}");
        }
    }

    #[test]
    fn what_looks_otherwise_than_it_is_read_is_refused() {
        for (rule, reason) in [
            (r#"--comment "a b"#, "not closed"),
            (r#"--comment "a\"#, "not closed"),
            (r#"--comment "a"b"#, "must follow the closing quote"),
            (r#"--comment """#, "empty"),
            ("-j ACCEPT\n-A INPUT -j DROP", "control character '\\n'"),
            ("-j\u{0}ACCEPT", "control character"),
            ("--comment \"a\nCOMMIT\"", "control character"),
            ("--comment \"a\\\nCOMMIT\"", "control character"),
            ("-j\u{85}ACCEPT", "control character"),
        ] {
            let error = words(rule).unwrap_err();
            assert!(error.contains(reason), "{rule:?}: {error}");
        }
    }
}
