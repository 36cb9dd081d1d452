//! Turns typed rules into the words of iptables-restore, for one family. The only place that knows how iptables spells
//! a match or a target. What comes out is one line without a line break; every free text in it is quoted.

use std::net::IpAddr;

use thiserror::Error;

use crate::extension::ExtensionError;
use crate::names::{Comment, Family};
use crate::quote::push_word;
use crate::rule::{Match, Rule};

use matches::push_match;
use targets::push_target;

mod matches;
mod ports;
mod targets;

/// Why a rule has no form in iptables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// An address of the other family.
    #[error("{what} {address} is not {family}; give the rule to the other family only, or leave the address out")]
    Family {
        /// The match or target.
        what: &'static str,
        /// The address.
        address: String,
        /// The family of the chain.
        family: Family,
    },
    /// A match or target that one family lacks.
    #[error("{what} does not exist in {family}")]
    OnlyOther {
        /// The match or target.
        what: &'static str,
        /// The family of the chain.
        family: Family,
    },
    /// Ports without a protocol that has them.
    #[error("{what} needs a protocol match that has ports: TCP (6), UDP (17), DCCP (33), SCTP (132) or UDP-Lite (136)")]
    NoPorts {
        /// The match or target.
        what: &'static str,
    },
    /// A match that goes with one protocol.
    #[error("{what} needs the protocol match {needed}")]
    Protocol {
        /// The match or target.
        what: &'static str,
        /// The protocol.
        needed: &'static str,
    },
    /// A number or text outside its range.
    #[error("{what}: {reason}")]
    Value {
        /// The match or target.
        what: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A whole rule is the only match, and has its own target.
    #[error(
        "has a whole rule (verbatim) beside {0}; a rule in the words of iptables holds all its matches and its target \
         itself"
    )]
    VerbatimBeside(&'static str),
    /// A word of a whole rule.
    #[error("word {number} {reason}")]
    VerbatimWord {
        /// From 1.
        number: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Two protocol matches.
    #[error("has two protocol matches; a rule can have one")]
    TwoProtocols,
    /// Extension.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

type Result<T> = std::result::Result<T, RenderError>;

/// Renders a rule for `family`. `identity`, if any, becomes the first comment; the rule's own comment follows.
///
/// # Errors
/// When iptables has no form for it.
pub fn rule(rule: &Rule, family: Family, identity: Option<&Comment>) -> Result<String> {
    let mut line = String::with_capacity(96);
    let protocol = push_protocol(&mut line, rule)?;
    for comment in identity.into_iter().chain(rule.comment.as_ref()) {
        for word in ["-m", "comment", "--comment", comment.as_str()] {
            push_word(&mut line, word);
        }
    }
    if let Some(words) = verbatim(rule)? {
        words.iter().for_each(|word| push_word(&mut line, word));
        return Ok(line);
    }
    for found in &rule.matches {
        push_match(&mut line, found, family, protocol)?;
    }
    if let Some(target) = &rule.target {
        push_target(&mut line, target, family, protocol)?;
    }
    Ok(line)
}

/// The words of a whole rule, if it is one. What they mean is for iptables to say.
fn verbatim(rule: &Rule) -> Result<Option<&[String]>> {
    let Some(words) = rule.matches.iter().find_map(|found| match found {
        Match::Verbatim(words) => Some(words.as_slice()),
        _ => None,
    }) else {
        return Ok(None);
    };
    if rule.matches.len() > 1 {
        return Err(RenderError::VerbatimBeside("another match"));
    }
    if rule.target.is_some() {
        return Err(RenderError::VerbatimBeside("a target"));
    }
    for (at, word) in words.iter().enumerate() {
        let reason = if word.len() > 1023 {
            format!("is {} bytes long; iptables-restore reads at most 1023", word.len())
        } else if let Some(found) = word.chars().find(|c| c.is_control()) {
            format!("contains the control character {found:?}; remove it")
        } else {
            continue;
        };
        return Err(RenderError::VerbatimWord { number: at + 1, reason });
    }
    Ok(Some(words))
}

/// Appends the protocol match, which iptables wants first, and gives the protocol if the rule is of just one.
fn push_protocol(line: &mut String, rule: &Rule) -> Result<Option<u8>> {
    let mut protocols = rule.matches.iter().filter_map(|found| match found {
        Match::Protocol { number, negated } => Some((*number, *negated)),
        _ => None,
    });
    let Some((number, negated)) = protocols.next() else { return Ok(None) };
    if protocols.next().is_some() {
        return Err(RenderError::TwoProtocols);
    }
    option(line, negated, "-p", &number.to_string());
    Ok((!negated).then_some(number))
}

/// Appends `[!] flag value`.
fn option(line: &mut String, negated: bool, flag: &str, value: &str) {
    if negated {
        push_word(line, "!");
    }
    push_word(line, flag);
    push_word(line, value);
}

fn module(line: &mut String, name: &str) {
    push_word(line, "-m");
    push_word(line, name);
}

fn same_family(what: &'static str, address: IpAddr, family: Family) -> Result<()> {
    if address.is_ipv4() == (family == Family::Ipv4) {
        return Ok(());
    }
    Err(RenderError::Family { what, address: address.to_string(), family })
}

fn masked(value: u32, mask: u32) -> String {
    format!("{value:#x}/{mask:#x}")
}
