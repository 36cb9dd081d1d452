//! The words of netfilter as types. A value of one of these types is always well formed: text is judged once, where
//! it enters, and trusted from then on. Limits are those of the kernel and of iptables 1.8 (`XT_EXTENSION_MAXNAMELEN`,
//! `IPSET_MAXNAMELEN`, `IFNAMSIZ`, `XT_MAX_COMMENT_LEN`).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a piece of text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {text:?} {reason}")]
pub struct NameError {
    /// What it was meant to be: "chain name", "comment".
    pub what: &'static str,
    /// The text, cut to its first 80 characters.
    pub text: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl NameError {
    fn new(what: &'static str, text: &str, reason: impl Into<String>) -> Self {
        Self { what, text: text.chars().take(80).collect(), reason: reason.into() }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4, programmed by `iptables`.
    Ipv4,
    /// IPv6, programmed by `ip6tables`.
    Ipv6,
}

impl Family {
    /// Both, in their fixed order.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Which implementation of iptables a node uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// iptables-nft: rules live in nf_tables.
    Nft,
    /// iptables-legacy: rules live in x_tables.
    Legacy,
}

impl Backend {
    /// The infix in tool names: `iptables-nft-save`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Before connection tracking.
    Raw,
    /// Packet alteration.
    Mangle,
    /// Address translation.
    Nat,
    /// The default table.
    Filter,
    /// Mandatory access control.
    Security,
}

impl Table {
    /// All five, in the order in which packets meet them.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter, Self::Security];

    /// The name that `-t` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Security => "security",
        }
    }

    /// The built-in chains that this table has.
    pub fn hooks(self) -> &'static [Hook] {
        use Hook::{Forward, Input, Output, Postrouting, Prerouting};
        match self {
            Self::Raw => &[Prerouting, Output],
            Self::Mangle => &[Prerouting, Input, Forward, Output, Postrouting],
            Self::Nat => &[Prerouting, Input, Output, Postrouting],
            Self::Filter | Self::Security => &[Input, Forward, Output],
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A built-in chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Hook {
    /// Packets as they arrive.
    Prerouting,
    /// Packets for this machine.
    Input,
    /// Packets passing through.
    Forward,
    /// Packets from this machine.
    Output,
    /// Packets as they leave.
    Postrouting,
}

impl Hook {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    /// The chain's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }

    /// The hook of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in a built-in chain an attachment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Before every stranger's rule.
    First,
    /// After every stranger's rule.
    Last,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
        })
    }
}

/// Declares a checked text type: construction by `new`, ordered and hashed as its text, serialised as a string.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }
    };
}

text_type!(
    /// The name of a chain that is not built in: 1 to 28 bytes of visible ASCII without quotes, backslash or
    /// comma, not beginning with `-` or `!`, not a built-in chain or a standard target.
    ChainName,
    check_chain_name
);
text_type!(
    /// The name of an ipset: 1 to 31 bytes of visible ASCII without quotes, backslash or comma, not beginning
    /// with `-` or `!`.
    SetName,
    check_set_name
);
text_type!(
    /// An interface name: 1 to 15 bytes of visible ASCII without `/`, quotes or backslash; a trailing `+` stands
    /// for any ending.
    InterfaceName,
    check_interface_name
);
text_type!(
    /// A comment: 1 to 255 bytes without control characters.
    Comment,
    check_comment
);
text_type!(
    /// The name of a policy: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit.
    PolicyName,
    check_policy_name
);

/// Names that `-j` already gives a meaning to; a chain can't have them.
const RESERVED_CHAINS: [&str; 10] =
    ["ACCEPT", "DROP", "RETURN", "QUEUE", "CONTINUE", "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Targets of iptables 1.4 to 1.8 and of xtables-addons. A chain of such a name would be taken for the target in every
/// rule of its table that has it.
const TARGETS: [&str; 66] = [
    "ACCOUNT",
    "AUDIT",
    "BALANCE",
    "CHAOS",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DELUDE",
    "DHCPMAC",
    "DNAT",
    "DNETMAP",
    "DNPT",
    "DSCP",
    "ECHO",
    "ECN",
    "FTOS",
    "HL",
    "HMARK",
    "IDLETIMER",
    "IPMARK",
    "IPV4OPTSSTRIP",
    "LED",
    "LOG",
    "LOGMARK",
    "MARK",
    "MASQUERADE",
    "MIRROR",
    "NAT",
    "NETFLOW",
    "NETLINK",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "NOTRACK",
    "PROTO",
    "RATEEST",
    "RAWDNAT",
    "RAWSNAT",
    "REDIRECT",
    "REJECT",
    "ROUTE",
    "RTPENGINE",
    "SAME",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "STEAL",
    "SYNPROXY",
    "SYSRQ",
    "TARPIT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
    "VMARK",
    "WOLEN",
    "XOR",
    "standard",
];

fn check_word(what: &'static str, text: &str, longest: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::new(what, text, "is empty"));
    }
    if text.len() > longest {
        let reason = format!("is {} bytes long; at most {longest} are possible", text.len());
        return Err(NameError::new(what, text, reason));
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'`' | b',');
    // Every character before the first byte that doesn't fit is one byte long.
    if let Some(at) = text.bytes().position(|byte| !fits(byte)) {
        let bad = text[at..].chars().next().unwrap_or_default();
        let reason = format!("contains {bad:?}; use visible ASCII characters without quotes, backslash and comma");
        return Err(NameError::new(what, text, reason));
    }
    if text.starts_with(['-', '!', '#', ':', '*']) {
        return Err(NameError::new(what, text, "begins with a character that iptables reads as syntax"));
    }
    Ok(())
}

fn check_chain_name(text: &str) -> Result<(), NameError> {
    check_word("chain name", text, 28)?;
    if RESERVED_CHAINS.contains(&text) {
        return Err(NameError::new("chain name", text, "is a built-in chain or target; choose another name"));
    }
    if TARGETS.contains(&text) {
        let reason = "is a target of iptables: other rules' -j would lead to the chain; choose another name";
        return Err(NameError::new("chain name", text, reason));
    }
    Ok(())
}

fn check_set_name(text: &str) -> Result<(), NameError> {
    check_word("set name", text, 31)
}

fn check_interface_name(text: &str) -> Result<(), NameError> {
    check_word("interface name", text, 15)?;
    if text.contains('/') {
        return Err(NameError::new("interface name", text, "contains '/'"));
    }
    Ok(())
}

fn check_comment(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::new("comment", text, "is empty; leave it out instead"));
    }
    if text.len() > 255 {
        let reason = format!("is {} bytes long; at most 255 are possible", text.len());
        return Err(NameError::new("comment", text, reason));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(NameError::new("comment", text, format!("contains the control character {bad:?}; remove it")));
    }
    Ok(())
}

fn check_policy_name(text: &str) -> Result<(), NameError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 || text.starts_with('-') || !text.chars().all(fits) {
        let reason = "must be 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit";
        return Err(NameError::new("policy name", text, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_have_the_limits_of_iptables() {
        assert!(ChainName::new("cali-POSTROUTING").is_ok());
        assert!(ChainName::new(&"c".repeat(28)).is_ok());
        for bad in [
            "",
            "a b",
            "-A",
            "!x",
            "a\nb",
            "POSTROUTING",
            "ACCEPT",
            "REJECT",
            "LOG",
            "TCPOPTSTRIP",
            "a\"b",
            "\u{e9}",
            &"c".repeat(29),
        ] {
            assert!(ChainName::new(bad).is_err(), "{bad:?} was taken for a chain name");
        }
    }

    #[test]
    fn a_refusal_names_the_text_and_the_limit() {
        let error = SetName::new(&"s".repeat(32)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("set name {:?} is 32 bytes long; at most 31 are possible", "s".repeat(32))
        );
    }

    #[test]
    fn text_that_is_taken_over_is_judged_the_same() {
        for text in ["web", "caf\u{e9}", "a b", ""] {
            assert_eq!(SetName::try_from(text.to_owned()), SetName::new(text));
        }
        let error = SetName::try_from("caf\u{e9}".to_owned()).unwrap_err();
        assert!(error.reason.starts_with("contains 'é'"), "{error}");
    }

    #[test]
    fn comments_refuse_line_breaks() {
        assert!(Comment::new("cali:x y \"quoted\"").is_ok());
        assert!(Comment::new("x\n-A INPUT -j DROP").is_err());
    }

    #[test]
    fn every_hook_belongs_to_a_table() {
        let pairs: usize = Table::ALL.iter().map(|table| table.hooks().len()).sum();
        assert_eq!(pairs, 17);
    }
}
