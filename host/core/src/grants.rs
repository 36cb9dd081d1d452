//! What the operator lets a policy own. A pattern is a name, or a prefix followed by `*`: enough for every naming
//! scheme in use, and simple enough that two patterns can be proven not to overlap.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::{Hook, Table};

/// Chains and sets with this prefix are the host's own scratch names; no policy can be granted them.
pub const HOST_PREFIX: &str = "ruleward-tmp-";

/// A name, or a prefix followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    wildcard: bool,
}

/// Why text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("pattern {text:?} {reason}")]
pub struct PatternError {
    text: String,
    reason: &'static str,
}

impl Pattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, a lone `*`, has `*` elsewhere than at its end, or holds characters that no name can have.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let error = |reason| PatternError { text: text.to_owned(), reason };
        let (prefix, wildcard) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if prefix.is_empty() {
            return Err(error("would own every name; write a prefix before the *"));
        }
        if prefix.contains('*') {
            return Err(error("has a * before its end; only a trailing * is possible"));
        }
        if prefix.len() > 31 || !prefix.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | ',')) {
            return Err(error("can't match any name; use at most 31 visible ASCII characters"));
        }
        if prefix.starts_with(HOST_PREFIX) || (wildcard && HOST_PREFIX.starts_with(prefix)) {
            return Err(error("overlaps ruleward-tmp-*, which is reserved for the host"));
        }
        Ok(Self { text: prefix.to_owned(), wildcard })
    }

    /// Whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        if self.wildcard { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether some name fits both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.wildcard, other.wildcard) {
            (true, true) => self.text.starts_with(&other.text) || other.text.starts_with(&self.text),
            (true, false) => self.matches(&other.text),
            (false, true) => other.matches(&self.text),
            (false, false) => self.text == other.text,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.wildcard { "*" } else { "" })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// A built-in chain of a table, as grants name it: `filter/INPUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuiltInChain {
    /// Its table.
    pub table: Table,
    /// Its hook.
    pub hook: Hook,
}

/// Why text names no built-in chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no built-in chain; write its table and its name, such as filter/INPUT")]
pub struct BuiltInChainError(String);

impl fmt::Display for BuiltInChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.hook)
    }
}

impl TryFrom<String> for BuiltInChain {
    type Error = BuiltInChainError;
    fn try_from(text: String) -> Result<Self, BuiltInChainError> {
        let parts =
            text.split_once('/').and_then(|(table, hook)| Some((Table::from_name(table)?, Hook::from_name(hook)?)));
        match parts {
            Some((table, hook)) if table.hooks().contains(&hook) => Ok(Self { table, hook }),
            _ => Err(BuiltInChainError(text)),
        }
    }
}

impl From<BuiltInChain> for String {
    fn from(chain: BuiltInChain) -> Self {
        chain.to_string()
    }
}

/// What a policy's rules may name although it is another program's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Uses {
    /// Address sets.
    pub sets: Vec<Pattern>,
    /// Chains to jump to.
    pub chains: Vec<Pattern>,
}

/// Whose a jump from a built-in chain to a chain of the policy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jumps {
    /// Other programs may jump there as well: their rules stay.
    #[default]
    Shared,
    /// Every such jump is the policy's: those that it does not want are removed.
    Exclusive,
}

/// What one policy may own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Tables in which it may have chains and attachments.
    pub tables: Vec<Table>,
    /// Chains.
    pub chains: Vec<Pattern>,
    /// Address sets.
    pub sets: Vec<Pattern>,
    /// Beginnings of comments that mark its rules in built-in chains.
    pub comments: Vec<String>,
    /// Kinds of resources that it may read.
    #[serde(rename = "resources")]
    pub resources: Vec<String>,
    /// Built-in chains whose policy it may set.
    pub policies: Vec<BuiltInChain>,
    /// Other programs' names that its rules may hold.
    pub uses: Uses,
    /// Whose the jumps to its chains are.
    pub jumps: Jumps,
}

impl Grants {
    /// Whether it owns chains of this name in its tables.
    pub fn owns_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it owns sets of this name.
    pub fn owns_set(&self, name: &str) -> bool {
        self.sets.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether its rules may jump to chains of this name that another program owns.
    pub fn uses_chain(&self, name: &str) -> bool {
        self.uses.chains.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether its rules may name sets of this name that another program owns.
    pub fn uses_set(&self, name: &str) -> bool {
        self.uses.sets.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it may set the policy of this built-in chain.
    pub fn sets_policy(&self, table: Table, hook: Hook) -> bool {
        self.policies.contains(&BuiltInChain { table, hook })
    }

    /// Whether a rule with this comment in a built-in chain of its tables is its own.
    pub fn owns_comment(&self, comment: &str) -> bool {
        self.comments.iter().any(|prefix| comment.starts_with(prefix.as_str()))
    }

    /// What it shares with `other`, as text for the refusal: names of chains, sets and comments have one owner.
    /// Chains and comments only collide where both have a table in common.
    pub fn overlap(&self, other: &Self) -> Option<String> {
        fn patterns(what: &str, mine: &[Pattern], theirs: &[Pattern]) -> Option<String> {
            let pair = mine.iter().find_map(|a| Some((a, theirs.iter().find(|b| a.overlaps(b))?)));
            pair.map(|(a, b)| format!("{what} {a} and {b}"))
        }
        let common_table = self.tables.iter().any(|table| other.tables.contains(table));
        let chains = || patterns("chains", &self.chains, &other.chains);
        let comments = || {
            let pair = self.comments.iter().find_map(|a| {
                let b = other.comments.iter().find(|b| a.starts_with(b.as_str()) || b.starts_with(a.as_str()))?;
                Some((a, b))
            });
            pair.map(|(a, b)| format!("comments {a:?} and {b:?}"))
        };
        let in_tables = if common_table { chains().or_else(comments) } else { None };
        let policies = || {
            let both = self.policies.iter().find(|one| other.policies.contains(one));
            both.map(|one| format!("the policy of {one}"))
        };
        in_tables.or_else(|| patterns("sets", &self.sets, &other.sets)).or_else(policies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix() {
        assert!(pattern("cali-*").matches("cali-POSTROUTING"));
        assert!(pattern("cali-*").matches("cali-"));
        assert!(!pattern("cali-*").matches("cal"));
        assert!(pattern("web").matches("web"));
        assert!(!pattern("web").matches("web2"));
        for bad in ["", "*", "a*b", "a b", "ruleward-tmp-x", "ruleward-*", "r*"] {
            assert!(Pattern::new(bad).is_err(), "{bad:?} was taken for a pattern");
        }
    }

    #[test]
    fn overlap_is_symmetric() {
        for (a, b, overlap) in [
            ("cali-*", "cali-fip-*", true),
            ("cali-*", "cali4*", false),
            ("web", "web*", true),
            ("web", "web", true),
            ("web", "webs", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b)), overlap, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), overlap, "{b} {a}");
        }
    }

    #[test]
    fn chains_collide_only_in_a_common_table() {
        let grants =
            |tables: &[Table]| Grants { tables: tables.to_vec(), chains: vec![pattern("x-*")], ..Grants::default() };
        assert!(grants(&[Table::Nat]).overlap(&grants(&[Table::Filter])).is_none());
        assert_eq!(
            grants(&[Table::Nat]).overlap(&grants(&[Table::Nat, Table::Raw])).as_deref(),
            Some("chains x-* and x-*")
        );
    }
}
