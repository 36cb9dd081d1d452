//! Chains, attachments, sets, and the answer that they make up.

use crate::{
    AddressSet, Attachment, Chain, ChainPolicy, Contribution, Failure, Families, Family, Hook, IpAddress, IpNetwork,
    Placement, Problem, Rule, SetMember, SetType, Table, Verdict,
};

impl Default for Contribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Contribution {
    /// Nothing.
    pub fn new() -> Self {
        Self { chains: Vec::new(), attachments: Vec::new(), sets: Vec::new(), policies: Vec::new() }
    }

    /// Adds a chain.
    #[must_use]
    pub fn chain(mut self, chain: Chain) -> Self {
        self.chains.push(chain);
        self
    }

    /// Adds a rule in a built-in chain.
    #[must_use]
    pub fn attachment(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// Adds a set.
    #[must_use]
    pub fn set(mut self, set: AddressSet) -> Self {
        self.sets.push(set);
        self
    }

    /// Adds the policy of a built-in chain, for both families.
    #[must_use]
    pub fn policy(mut self, table: Table, hook: Hook, policy: Verdict) -> Self {
        self.policies.push(ChainPolicy { table, hook, families: Families::all(), policy });
        self
    }
}

impl Chain {
    /// An empty chain for both families.
    pub fn new(table: Table, name: impl Into<String>) -> Self {
        Self { table, families: Families::all(), name: name.into(), rules: Vec::new() }
    }

    /// Sets the families.
    #[must_use]
    pub fn families(mut self, families: impl Into<Families>) -> Self {
        self.families = families.into();
        self
    }

    /// Adds a rule at the end.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds rules at the end.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }
}

impl Attachment {
    /// A rule in a built-in chain, for both families, with order 0.
    pub fn new(table: Table, hook: Hook, placement: Placement, rule: Rule) -> Self {
        Self { table, hook, families: Families::all(), placement, order: 0, rule }
    }

    /// Sets the families.
    #[must_use]
    pub fn families(mut self, families: impl Into<Families>) -> Self {
        self.families = families.into();
        self
    }

    /// Sets the order; lower comes first.
    #[must_use]
    pub fn order(mut self, order: i32) -> Self {
        self.order = order;
        self
    }
}

impl AddressSet {
    /// An empty set.
    pub fn new(name: impl Into<String>, family: Family, kind: SetType) -> Self {
        let name = name.into();
        Self {
            name,
            family,
            kind,
            members: Vec::new(),
            max_elements: None,
            dynamic: false,
            timeout: None,
            options: Vec::new(),
        }
    }

    /// A set of networks.
    pub fn networks<N: Into<IpNetwork>>(
        name: impl Into<String>,
        family: Family,
        members: impl IntoIterator<Item = N>,
    ) -> Self {
        let mut set = Self::new(name, family, SetType::HashNet);
        set.members = members.into_iter().map(|member| SetMember::Network(member.into())).collect();
        set
    }

    /// A set of single addresses.
    pub fn addresses<A: Into<IpAddress>>(
        name: impl Into<String>,
        family: Family,
        members: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut set = Self::new(name, family, SetType::HashIp);
        set.members = members.into_iter().map(|member| SetMember::Network(member.into().into())).collect();
        set
    }

    /// A set that rules fill (`SET --add-set`); members vanish after so many seconds, if given.
    pub fn filled_by_rules(name: impl Into<String>, family: Family, kind: SetType, timeout: Option<u32>) -> Self {
        Self { dynamic: true, timeout, ..Self::new(name, family, kind) }
    }

    /// Sets how many members it can hold.
    #[must_use]
    pub fn max_elements(mut self, most: u32) -> Self {
        self.max_elements = Some(most);
        self
    }

    /// Adds further words of `ipset create`: `["range", "0-1023"]`.
    #[must_use]
    pub fn options<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.options.extend(words.into_iter().map(Into::into));
        self
    }

    /// Excepts networks from a set of networks.
    #[must_use]
    pub fn except<N: Into<IpNetwork>>(mut self, networks: impl IntoIterator<Item = N>) -> Self {
        self.members.extend(networks.into_iter().map(|network| SetMember::Nomatch(network.into())));
        self
    }
}

impl Failure {
    /// A setting that the policy can't use; `at` is a JSON pointer: `/natPortRange`.
    pub fn in_settings(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Settings(Problem { where_: at.into(), message: message.into() })
    }

    /// A resource that the policy can't use; `at` is its kind, name and field: `IPPool/pool4 spec.cidr`.
    pub fn in_resource(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Resource(Problem { where_: at.into(), message: message.into() })
    }
}
