//! What a rule names, found in its words.

use crate::quote;

/// Options that name a set.
const SETS: [&str; 4] = ["--match-set", "--add-set", "--del-set", "--map-set"];
/// Options that name an object of the kernel, with the extension that has them.
const OBJECTS: [(&str, &str); 10] = [
    ("--name", "recent"),
    ("--hashlimit-name", "hashlimit"),
    ("--nfacct-name", "nfacct"),
    ("--timeout", "CT"),
    ("--rateest", "rateest"),
    ("--rateest1", "rateest"),
    ("--rateest2", "rateest"),
    ("--rateest-name", "RATEEST"),
    ("--label", "IDLETIMER"),
    ("--led-trigger-id", "LED"),
];

/// What a rule names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Set(String),
    Target(String),
    Object(&'static str, String),
    /// A file of the node.
    Pinned(String),
}

/// The sets that a rule names, by its own words.
pub fn set_names(text: &str) -> impl Iterator<Item = String> {
    names(text, false).into_iter().filter_map(|named| match named {
        Named::Set(name) => Some(name),
        Named::Target(_) | Named::Object(..) | Named::Pinned(_) => None,
    })
}

/// What a rule names; `exact`: its words are those of `iptables-save`.
///
/// No value is skipped, also not that of a comment: a word that looks like such an option counts as one, wherever it stands.
pub(crate) fn names(text: &str, exact: bool) -> Vec<Named> {
    let is = |word: &str, option: &str| word == option || (!exact && word.len() > 3 && option.starts_with(word));
    let words: Vec<_> = quote::words(text).collect();
    let mut found = Vec::new();
    let mut inside: Vec<&str> = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (word, joined) = match word.split_once('=') {
            Some((option, value)) if !exact && option.starts_with("--") => (option, Some(value)),
            _ => (word.as_ref(), None),
        };
        let value = || joined.map(str::to_owned).or_else(|| rest.clone().next().map(|word| word.to_string()));
        if matches!(word, "-m" | "-j" | "-g" | "--match" | "--jump" | "--goto") {
            let Some(name) = rest.next() else { break };
            if matches!(word, "-m" | "--match") {
                inside.push(name.as_ref());
            } else {
                found.push(Named::Target(name.to_string()));
                inside.push(name.as_ref());
            }
        } else if SETS.iter().any(|option| is(word, option)) || (!exact && word == "--set" && inside.contains(&"set")) {
            found.extend(value().map(Named::Set));
        } else if is(word, "--object-pinned") {
            found.extend(value().map(Named::Pinned));
        } else if let Some((_, kind)) = OBJECTS.iter().find(|(option, kind)| is(word, option) && inside.contains(kind))
        {
            found.extend(value().map(|name| Named::Object(kind, name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let set = |name: &str| Named::Set(name.into());
        let target = |name: &str| Named::Target(name.into());
        assert_eq!(
            names("-m set ! --match-set a src -j SET --add-set b src --exist --timeout 5", true),
            [set("a"), target("SET"), set("b")]
        );
        assert_eq!(
            names("-m recent --update --seconds 60 --name ssh --mask 255.255.255.255 --rsource -j DROP", true),
            [Named::Object("recent", "ssh".into()), target("DROP")]
        );
        assert_eq!(names("-j CT --timeout t1", true), [target("CT"), Named::Object("CT", "t1".into())]);
        assert_eq!(names("-m comment --comment --match-set -m set --match-set a src", true).last(), Some(&set("a")));
        assert_eq!(names("-m set --match-s a src", false), [set("a")]);
        assert_eq!(names("-m set --set a src", false), [set("a")]);
        assert_eq!(names("-m bpf --object-pinned=/x", false), [Named::Pinned("/x".into())]);
        assert_eq!(names("-m comment --comment \"--match-set a\" -g x", true), [target("x")]);
    }
}
