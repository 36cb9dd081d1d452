//! Judges the words of an `extension` match or target. They end up on a line that iptables-restore reads as root, so
//! what is let through must stay what it claims to be: words of that extension. Options of iptables itself would
//! change the chain, the table or the target, and `--modprobe` would even run a program.

use thiserror::Error;

use crate::quote;
use crate::rule::Extension;

/// The long options of iptables and ip6tables themselves (1.8). getopt accepts every unambiguous beginning of them.
const GENERIC: [&str; 40] = [
    "append",
    "check",
    "delete",
    "delete-chain",
    "destination",
    "dst",
    "exact",
    "flush",
    "fragment",
    "fragments",
    "goto",
    "help",
    "in-interface",
    "insert",
    "ipv4",
    "ipv6",
    "jump",
    "line-numbers",
    "list",
    "list-rules",
    "list-numeric",
    "match",
    "modprobe",
    "new",
    "new-chain",
    "numeric",
    "out-interface",
    "policy",
    "protocol",
    "proto",
    "rename-chain",
    "replace",
    "set-counters",
    "source",
    "src",
    "table",
    "verbose",
    "version",
    "wait",
    "zero",
];

/// Options of extensions that are also the beginning of one of iptables' own; getopt prefers the exact name, which
/// the extension registers.
const EXACT: [(&str, &str); 3] = [("recent", "set"), ("policy", "pol"), ("policy", "proto")];

/// Why an extension is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtensionError {
    /// The name.
    #[error("extension name {0:?}: must be 1 to 28 letters, digits and underscores, as after -m or -j")]
    Name(String),
    /// A word without characters.
    #[error("extension {name}: argument {number} is empty; leave it out")]
    Empty {
        /// The extension.
        name: String,
        /// Of the argument, from 1.
        number: usize,
    },
    /// A word that iptables-restore can't hold.
    #[error("extension {name}: argument {number} is {length} bytes long; iptables-restore reads at most 1023")]
    Long {
        /// The extension.
        name: String,
        /// Of the argument, from 1.
        number: usize,
        /// Bytes.
        length: usize,
    },
    /// Line breaks and the like.
    #[error("extension {name}: argument {number} contains the control character {found:?}; remove it")]
    Control {
        /// The extension.
        name: String,
        /// Of the argument, from 1.
        number: usize,
        /// The character.
        found: char,
    },
    /// An option of iptables itself.
    #[error(
        "extension {name}: argument {number} ({word:?}) is an option of iptables itself; an extension may hold only \
         its own options. Write a value that begins with a hyphen as --option=value"
    )]
    Generic {
        /// The extension.
        name: String,
        /// Of the argument, from 1.
        number: usize,
        /// The word.
        word: String,
    },
}

/// Appends the extension to a line of iptables-restore, after `-m` or `-j` as given.
///
/// # Errors
/// When a word is not one that an extension may have.
pub fn push(line: &mut String, flag: &str, extension: &Extension) -> Result<(), ExtensionError> {
    let name = &extension.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 28 || !name.chars().all(fits) {
        return Err(ExtensionError::Name(name.chars().take(80).collect()));
    }
    quote::push_word(line, flag);
    quote::push_word(line, name);
    for (at, word) in extension.arguments.iter().enumerate() {
        judge(name, at + 1, word)?;
        quote::push_word(line, word);
    }
    Ok(())
}

fn judge(name: &str, number: usize, word: &str) -> Result<(), ExtensionError> {
    let name = name.to_owned();
    if word.is_empty() {
        return Err(ExtensionError::Empty { name, number });
    }
    if word.len() > 1023 {
        return Err(ExtensionError::Long { name, number, length: word.len() });
    }
    if let Some(found) = word.chars().find(|c| c.is_control()) {
        return Err(ExtensionError::Control { name, number, found });
    }
    let generic = match word.strip_prefix("--") {
        Some(option) => {
            let option = option.split('=').next().unwrap_or(option);
            !EXACT.contains(&(name.as_str(), option)) && GENERIC.iter().any(|known| known.starts_with(option))
        }
        // -1 is a number; -4 and -6 are options.
        None => word.strip_prefix('-').is_some_and(|rest| {
            rest.bytes().next().is_none_or(|first| !first.is_ascii_digit()) || matches!(rest, "4" | "6")
        }),
    };
    if generic {
        return Err(ExtensionError::Generic { name, number, word: word.chars().take(80).collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, arguments: &[&str]) -> Result<String, ExtensionError> {
        let mut line = String::new();
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        push(&mut line, "-m", &Extension { name: name.into(), arguments })?;
        Ok(line)
    }

    #[test]
    fn words_are_quoted_never_pasted() {
        assert_eq!(line("recent", &["--set", "--name", "a b"]).unwrap(), "-m recent --set --name \"a b\"");
        assert_eq!(line("string", &["--string", "x\" -j DROP"]).unwrap(), r#"-m string --string "x\" -j DROP""#);
        assert_eq!(line("tcp", &["!", "--dport", "22"]).unwrap(), "-m tcp ! --dport 22");
        assert_eq!(line("SET", &["--timeout", "-1"]).unwrap(), "-m SET --timeout -1");
    }

    #[test]
    fn options_of_iptables_are_refused_in_every_spelling() {
        for word in [
            "-j",
            "-4",
            "-jACCEPT",
            "-A",
            "-t",
            "--jump",
            "--jump=DROP",
            "--ju",
            "--table",
            "--modprobe=/bin/sh",
            "--mo",
            "--",
            "-",
            "--set",
        ] {
            let error = line("comment", &[word]).unwrap_err();
            assert!(matches!(error, ExtensionError::Generic { .. }), "{word}: {error}");
        }
    }

    #[test]
    fn line_breaks_and_odd_names_are_refused() {
        assert!(matches!(line("string", &["a\nb"]), Err(ExtensionError::Control { .. })));
        assert!(matches!(line("tcp\n-j", &[]), Err(ExtensionError::Name(_))));
        assert!(matches!(line("../x", &[]), Err(ExtensionError::Name(_))));
        assert!(matches!(line("tcp", &[""]), Err(ExtensionError::Empty { .. })));
    }
}
