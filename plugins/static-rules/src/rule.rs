//! Reads one rule in iptables' own syntax, as far as it has to be read: its words go on as they are, and the installed
//! iptables says what they mean. No option is interpreted here. What is refused is refused by name, to say what to write
//! instead; the tools would not take it as a part of a rule either, or would take it for no rule.

use ruleward_sdk::{Families, Rule};

use crate::word;

/// A rule as read.
#[derive(Debug)]
pub struct ReadRule {
    /// The families that it is for.
    pub families: Families,
    /// Its words.
    pub rule: Rule,
}

impl ReadRule {
    /// Reads `text`, a rule of a chain of these families.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str, families: Families) -> Result<Self, String> {
        let mut words = word::split(text)?;
        let only = words.first().and_then(|word| only_family(word));
        if only.is_some() {
            words.remove(0);
        }
        // After an option a word may be its value: only the tools know. What follows something else is an option.
        for (at, word) in words.iter().enumerate() {
            let surely_option = at == 0 || !words[at - 1].starts_with('-');
            if let Some(reason) = refusal(word, at).filter(|_| surely_option) {
                return Err(format!("{word}: {reason}"));
            }
        }
        // A rule without words counts packets.
        let rule = if words.is_empty() { Rule::new() } else { Rule::verbatim(words) };
        Ok(Self { families: only.map_or(families, |only| families & only), rule })
    }
}

fn only_family(word: &str) -> Option<Families> {
    match word {
        "-4" | "--ipv4" => Some(Families::IPV4),
        "-6" | "--ipv6" => Some(Families::IPV6),
        _ => None,
    }
}

/// Why an option has no place in a rule; nothing if it may have one.
fn refusal(word: &str, at: usize) -> Option<&'static str> {
    if at == 0 && word.starts_with('[') {
        return Some("leave the counters out: the kernel counts");
    }
    let option = word.split_once('=').map_or(word, |(option, _)| option);
    let option = if option.len() > 3 && "--modprobe".starts_with(option) { "--modprobe" } else { option };
    Some(match option {
        "-4" | "--ipv4" | "-6" | "--ipv6" => "write it as the first word of the rule, or say families beside the rule",
        "-A" | "--append" | "-I" | "--insert" | "-R" | "--replace" | "-D" | "--delete" | "-C" | "--check" | "-N"
        | "--new-chain" => {
            "leave it out together with the chain's name: the entry's `name` or `hook` says which chain, and the place in \
             the list which rule"
        }
        "-F" | "--flush" | "-X" | "--delete-chain" | "-E" | "--rename-chain" | "-P" | "--policy" | "-L" | "--list"
        | "-S" | "--list-rules" | "-Z" | "--zero" => "leave it out: it is another command, and no part of a rule",
        "-t" | "--table" => "leave it out: the entry's `table` says which table",
        "-c" | "--set-counters" => "leave it out together with the counters: the kernel counts",
        "-M" | "--modprobe" | "-v" | "--verbose" | "-h" | "--help" | "-V" | "--version" => {
            "leave it out: it says how iptables works, not what the rule is"
        }
        _ => return None,
    })
}
