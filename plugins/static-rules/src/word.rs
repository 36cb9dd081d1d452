//! Splits a rule into words exactly as iptables-restore does (1.8, `add_param_to_argv`): at blanks; a double quote begins a
//! quoted part, in which a backslash takes the next character as it is; the quote at its end ends the word. Single quotes,
//! and backslashes outside quotes, are ordinary characters. What iptables-restore would take otherwise than it looks is
//! refused: a quote that is not closed takes the line break into the word.

/// The words of a rule.
///
/// # Errors
/// What is wrong with it.
pub fn split(rule: &str) -> Result<Vec<String>, String> {
    if let Some(found) = rule.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(format!("contains the control character {found:?}; a rule is one line of visible text"));
    }
    let mut words = Vec::new();
    let mut rest = rule;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let Some((word, after)) = first(rest)? else { return Ok(words) };
        if word.contains('\t') {
            return Err(format!("the word {word:?} contains a tab; write a blank"));
        }
        words.push(word);
        rest = after;
    }
}

/// The first word, and what follows it.
fn first(text: &str) -> Result<Option<(String, &str)>, String> {
    let stop = text.find([' ', '\t', '"']).unwrap_or(text.len());
    let (before, rest) = text.split_at(stop);
    let Some(inside) = rest.strip_prefix('"') else {
        return Ok((!before.is_empty()).then(|| (before.to_owned(), rest)));
    };
    let mut word = before.to_owned();
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => (escaped, _) = (false, word.push(c)),
            '\\' => escaped = true,
            '"' => return Ok(Some((word, &inside[at + 1..]))),
            _ => word.push(c),
        }
    }
    Err("a double quote is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_by_iptables_restore() {
        for (rule, expected) in [
            ("", vec![]),
            ("  -j \t ACCEPT ", vec!["-j", "ACCEPT"]),
            (r#"--comment "a b" -j X"#, vec!["--comment", "a b", "-j", "X"]),
            (r#"--comment "a\"b\\c\d""#, vec!["--comment", r#"a"b\cd"#]),
            (r#"--comment 'x y'"#, vec!["--comment", "'x", "y'"]),
            (r"--comment a\b", vec!["--comment", r"a\b"]),
            (r#"--comment a"b c" -j X"#, vec!["--comment", "ab c", "-j", "X"]),
            (r#"--comment "a"b"c""#, vec!["--comment", "a", "bc"]),
            (r#"--comment "" -j X"#, vec!["--comment", "", "-j", "X"]),
            (r#""-j" "é\é""#, vec!["-j", "éé"]),
        ] {
            assert_eq!(split(rule).unwrap(), expected, "{rule}");
        }
    }

    #[test]
    fn what_looks_otherwise_than_it_is_read_is_refused() {
        for (rule, reason) in [
            (r#"--comment "a b"#, "not closed"),
            (r#"--comment "a\"#, "not closed"),
            ("--comment \"a\tb\"", "tab"),
            ("-j ACCEPT\n-A INPUT -j DROP", "control character '\\n'"),
            ("-j\u{0}ACCEPT", "control character"),
            ("--comment \"a\\\nCOMMIT\"", "control character"),
            ("-j\u{85}ACCEPT", "control character"),
        ] {
            let error = split(rule).unwrap_err();
            assert!(error.contains(reason), "{rule:?}: {error}");
        }
    }
}
