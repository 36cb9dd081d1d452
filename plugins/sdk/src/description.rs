//! What a policy says about itself, and what it may own.

use crate::{Description, Ownership, Table};

impl Default for Ownership {
    /// Nothing.
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            chains: Vec::new(),
            sets: Vec::new(),
            comments: Vec::new(),
            policies: Vec::new(),
            uses_sets: Vec::new(),
            uses_chains: Vec::new(),
            exclusive_jumps: false,
        }
    }
}

impl Ownership {
    /// Chains and rules in these tables.
    pub fn in_tables(tables: impl IntoIterator<Item = Table>) -> Self {
        Self { tables: tables.into_iter().collect(), ..Self::default() }
    }

    /// Sets the patterns for names of chains: a name, or a prefix followed by `*`.
    #[must_use]
    pub fn chains<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.chains = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the patterns for names of sets.
    #[must_use]
    pub fn sets<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.sets = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the prefixes of comments that mark rules in built-in chains.
    #[must_use]
    pub fn comments<P: Into<String>>(mut self, prefixes: impl IntoIterator<Item = P>) -> Self {
        self.comments = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the built-in chains whose policy it may set: `filter/INPUT`.
    #[must_use]
    pub fn policies<P: Into<String>>(mut self, chains: impl IntoIterator<Item = P>) -> Self {
        self.policies = chains.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the patterns for names of other programs' sets that its rules may hold.
    #[must_use]
    pub fn using_sets<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.uses_sets = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the patterns for names of other programs' chains that its rules may jump to.
    #[must_use]
    pub fn using_chains<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.uses_chains = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Every jump from a built-in chain to one of its chains is its own.
    #[must_use]
    pub fn with_exclusive_jumps(mut self) -> Self {
        self.exclusive_jumps = true;
        self
    }

    /// Whether a pattern covers chains of this name. A pattern is a name, or a prefix followed by `*`.
    pub fn covers_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        })
    }
}

impl Description {
    /// A policy without settings that reads nothing.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            settings_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
            reads_resources: Vec::new(),
            reads_interfaces: false,
            reads_nft_tables: false,
            wants: Ownership::default(),
        }
    }

    /// Sets the JSON Schema of the settings.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.settings_schema = schema.into();
        self
    }

    /// Sets the kinds of resources that it reads.
    #[must_use]
    pub fn reading<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.reads_resources = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// It wants to see network interfaces and their addresses.
    #[must_use]
    pub fn reading_interfaces(mut self) -> Self {
        self.reads_interfaces = true;
        self
    }

    /// It wants to see which tables nf_tables has.
    #[must_use]
    pub fn reading_nft_tables(mut self) -> Self {
        self.reads_nft_tables = true;
        self
    }

    /// Sets what it would like to own.
    #[must_use]
    pub fn wanting(mut self, wants: Ownership) -> Self {
        self.wants = wants;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_names() {
        let owned = |pattern: &str| Ownership { chains: vec![pattern.into()], ..Ownership::default() };
        assert!(owned("cali-*").covers_chain("cali-POSTROUTING"));
        assert!(owned("cali-POSTROUTING").covers_chain("cali-POSTROUTING"));
        assert!(!owned("cali-fip-*").covers_chain("cali-POSTROUTING"));
        assert!(!Ownership::default().covers_chain("cali-POSTROUTING"));
    }
}
