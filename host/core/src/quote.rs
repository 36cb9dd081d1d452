//! The quoting that iptables-restore reads and iptables-save writes: words are separated by blanks; a word in double
//! quotes may hold blanks, and a backslash inside quotes takes the next character as it is. Nothing else is special.
//! (iptables 1.8, `add_param_to_argv` and `xtables_save_string`.)

use std::borrow::Cow;

/// Appends `word` to `line`, separated by a blank and quoted if it needs to be. The word must not hold a line break: callers
/// have checked that.
pub fn push_word(line: &mut String, word: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/,+=!*~%@[]{}^|#&$?;<>()".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        line.push_str(word);
        return;
    }
    line.push('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('"');
}

/// Splits a line of iptables-save into its words.
pub fn words(line: &str) -> Words<'_> {
    Words { rest: line }
}

/// Iterator of [`words`].
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        if !self.rest[..end].contains('"') {
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(Cow::Borrowed(word));
        }
        let mut word = String::new();
        let (mut quoted, mut escaped) = (false, false);
        let mut end = self.rest.len();
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => {
                    word.push(c);
                    escaped = false;
                }
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ' ' | '\t' if !quoted => {
                    end = at;
                    break;
                }
                _ => word.push(c),
            }
        }
        self.rest = &self.rest[end..];
        Some(Cow::Owned(word))
    }
}

/// What marks a rule in a built-in chain: its first comment and the chain or target that it goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks<'a> {
    /// The words after `--comment`, one for each.
    pub comments: Vec<Cow<'a, str>>,
    /// The word after `-j` or `-g`.
    pub target: Option<Cow<'a, str>>,
}

/// The rule without its comments: what it does.
pub fn without_comments(rule: &str) -> String {
    let mut kept = String::with_capacity(rule.len());
    let mut words = words(rule).peekable();
    while let Some(word) = words.next() {
        match word.as_ref() {
            "-m" if words.peek().is_some_and(|next| next == "comment") => drop(words.next()),
            "--comment" => drop(words.next()),
            "" => kept.push_str(" \"\""),
            word => push_word(&mut kept, word),
        }
    }
    kept
}

/// The word after the last `-j` or `-g` of a rule's words.
pub fn target<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut target = None;
    let mut words = words;
    while let Some(word) = words.next() {
        if matches!(word, "-j" | "-g" | "--jump" | "--goto") {
            target = words.next();
        }
    }
    target
}

/// Reads the marks of a rule in the form of iptables-save.
pub fn marks(rule: &str) -> Marks<'_> {
    let mut marks = Marks::default();
    let mut words = words(rule);
    while let Some(word) = words.next() {
        match word.as_ref() {
            "--comment" => marks.comments.extend(words.next()),
            "-j" | "-g" | "--jump" | "--goto" => marks.target = words.next(),
            _ => {}
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_iptables_save_writes() {
        let rule = r#"-m comment --comment "a \"b\" -j c" -j cali-POSTROUTING"#;
        assert_eq!(
            words(rule).collect::<Vec<_>>(),
            ["-m", "comment", "--comment", r#"a "b" -j c"#, "-j", "cali-POSTROUTING"]
        );
        let marks = marks(rule);
        assert_eq!(marks.comments, [r#"a "b" -j c"#]);
        assert_eq!(marks.target.as_deref(), Some("cali-POSTROUTING"));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(list in proptest::collection::vec("[^\\p{Cc}]{0,20}", 1..6)) {
            let mut line = String::new();
            for word in &list {
                push_word(&mut line, word);
            }
            let back: Vec<String> = words(&line).map(Cow::into_owned).collect();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn any_line_can_be_read(line in "\\PC*") {
            let _ = marks(&line);
        }
    }
}
