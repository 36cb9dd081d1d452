//! The lines of a text of iptables-save, where a line break may be part of a rule: a comment can hold one, and the tools
//! print it as it is. A rule goes on as long as its quotes are open, and over lines that can begin nothing in a save.

/// A line, with the break inside it if a rule holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveLine<'a> {
    /// The number of its first line, from 1.
    pub number: usize,
    /// Where it begins in the text, bytes.
    pub start: usize,
    /// Without the line break at its end.
    pub text: &'a str,
}

/// No rule is longer, bytes: a quote that is not closed by then belongs to a name with a quote in it, which the tools
/// print as it is.
const LONGEST: usize = 64 << 10;

/// Cuts `text`.
pub fn save_lines(text: &str) -> SaveLines<'_> {
    SaveLines { text, at: 0, number: 1 }
}

/// Iterator of [`save_lines`].
#[derive(Debug, Clone)]
pub struct SaveLines<'a> {
    text: &'a str,
    at: usize,
    number: usize,
}

impl<'a> Iterator for SaveLines<'a> {
    type Item = SaveLine<'a>;

    fn next(&mut self) -> Option<SaveLine<'a>> {
        let (start, rest) = (self.at, self.text.get(self.at..)?);
        let first = line_length(rest)?;
        let length = if is_rule(&rest[..first]) { rule_length(rest, first) } else { first };
        let whole = &rest[..length];
        let line = SaveLine { number: self.number, start, text: whole.strip_suffix('\n').unwrap_or(whole) };
        self.at += length;
        self.number += whole.bytes().filter(|byte| *byte == b'\n').count();
        Some(line)
    }
}

/// Of the first line of `text`, with its break; `None` at the end.
fn line_length(text: &str) -> Option<usize> {
    (!text.is_empty()).then(|| text.find('\n').map_or(text.len(), |at| at + 1))
}

fn is_rule(line: &str) -> bool {
    line.starts_with("-A ") || (line.starts_with('[') && line.contains("] -A "))
}

/// Of the rule that `text` begins with, whose first line has `first` bytes.
fn rule_length(text: &str, first: usize) -> usize {
    let mut quotes = Quotes::default();
    quotes.read(&text[..first]);
    let mut length = first;
    while let Some(next) = line_length(&text[length..]) {
        let line = &text[length..length + next];
        if !quotes.open && can_begin(line) {
            return length;
        }
        if length + next > LONGEST {
            break;
        }
        quotes.read(line);
        length += next;
    }
    if quotes.open { first } else { length }
}

/// Whether a save can have such a line after a rule.
fn can_begin(line: &str) -> bool {
    is_rule(line) || line == "COMMIT\n" || line == "COMMIT" || line.starts_with([':', '#', '*', '\n'])
}

/// The quoting of iptables-save ([`crate::quote`]).
#[derive(Debug, Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.open => self.escaped = true,
                b'"' => self.open = !self.open,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<(usize, &str)> {
        save_lines(text).map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn a_rule_goes_on_while_its_quotes_are_open() {
        let rule = "-A INPUT -m comment --comment \"a\n-A INPUT -j DROP\nCOMMIT\n\\\" b\" -j ACCEPT";
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{rule}\n-A INPUT -j DROP\nCOMMIT\n");
        assert_eq!(
            cut(&text),
            [(1, "*filter"), (2, ":INPUT ACCEPT [0:0]"), (3, rule), (7, "-A INPUT -j DROP"), (8, "COMMIT")]
        );
        assert!(save_lines(&text).all(|line| text[line.start..].starts_with(line.text)));
    }

    #[test]
    fn a_rule_goes_on_over_what_can_begin_nothing() {
        let text = "-A INPUT -i a\nb -j ACCEPT\n[1:2] -A INPUT -i a\nb\nCOMMIT\n";
        assert_eq!(cut(text), [(1, "-A INPUT -i a\nb -j ACCEPT"), (3, "[1:2] -A INPUT -i a\nb"), (5, "COMMIT")]);
    }

    #[test]
    fn a_quote_in_a_name_does_not_swallow_the_rest() {
        let text = "-A a -m recent --set --name x\"y\n-A a -j DROP\nCOMMIT\n";
        assert_eq!(cut(text)[1], (2, "-A a -j DROP"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "(\\PC|\n|-A a |\"|\\\\|COMMIT\n){0,40}") {
            let whole: String = save_lines(&text).map(|line| format!("{}\n", line.text)).collect();
            prop_assert_eq!(whole.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
