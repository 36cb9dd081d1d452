//! What is ours, read from the kernel alone: no state file, no memory of earlier commits.
//!
//! A chain or set is ours when its name fits a pattern that a policy was granted, or the host's scratch prefix. A rule
//! in a built-in chain is ours when one of its comments begins with a granted prefix or with the host's own (`rw:`), or
//! when it goes to a chain that is ours. Everything else is a stranger's and is never touched.

use std::collections::BTreeSet;

use crate::grants::{Grants, HOST_PREFIX};
use crate::names::{Hook, PolicyName, Table};
use crate::quote;

/// Beginning of the comments that the host writes itself: `rw:POLICY:ID`.
pub const HOST_COMMENT: &str = "rw:";

/// The grants of all policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Sorted by name; behind them those that are leaving.
    policies: Vec<(PolicyName, Grants)>,
}

impl Ownership {
    /// Of these policies. Their grants must not overlap ([`Grants::overlap`]).
    pub fn new(mut policies: Vec<(PolicyName, Grants)>) -> Self {
        policies.sort_by(|a, b| a.0.cmp(&b.0));
        Self { policies }
    }

    /// The same with grants that end when the next state is in force: of policies that go, or that are granted less from
    /// then on. What they own is still ours until it has been removed. They may overlap with the others, which come first.
    #[must_use]
    pub fn with_leaving(mut self, mut leaving: Vec<(PolicyName, Grants)>) -> Self {
        leaving.sort_by(|a, b| a.0.cmp(&b.0));
        self.policies.extend(leaving);
        self
    }

    /// Tables in which anything can be ours.
    pub fn tables(&self) -> BTreeSet<Table> {
        self.policies.iter().flat_map(|(_, grants)| grants.tables.iter().copied()).collect()
    }

    /// Whether any policy may own sets.
    pub fn any_sets(&self) -> bool {
        self.policies.iter().any(|(_, grants)| !grants.sets.is_empty())
    }

    fn in_table(&self, table: Table) -> impl Iterator<Item = &(PolicyName, Grants)> {
        self.policies.iter().filter(move |(_, grants)| grants.tables.contains(&table))
    }

    /// The policy that owns chains of this name in this table.
    pub fn chain_owner(&self, table: Table, chain: &str) -> Option<&PolicyName> {
        self.in_table(table).find(|(_, grants)| grants.owns_chain(chain)).map(|(name, _)| name)
    }

    /// Whether a chain of this name in this table is ours.
    pub fn owns_chain(&self, table: Table, chain: &str) -> bool {
        self.chain_owner(table, chain).is_some()
    }

    /// Whether a policy may set the policy of this built-in chain.
    pub fn owns_policy(&self, table: Table, hook: Hook) -> bool {
        self.policies.iter().any(|(_, grants)| grants.sets_policy(table, hook))
    }

    /// Whether a set of this name is ours.
    pub fn owns_set(&self, set: &str) -> bool {
        set.starts_with(HOST_PREFIX) || self.set_owner(set).is_some()
    }

    /// The policy that owns sets of this name.
    pub fn set_owner(&self, set: &str) -> Option<&PolicyName> {
        self.policies.iter().find(|(_, grants)| grants.owns_set(set)).map(|(name, _)| name)
    }

    /// Whether a rule in a built-in chain of `table` is ours. `rule` is in the form of iptables-save.
    pub fn owns_rule(&self, table: Table, rule: &str) -> bool {
        let marks = quote::marks(rule);
        let by_comment = marks.comments.iter().any(|comment| {
            comment.starts_with(HOST_COMMENT) || self.in_table(table).any(|(_, grants)| grants.owns_comment(comment))
        });
        by_comment || marks.target.is_some_and(|target| self.owns_chain(table, &target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Pattern;

    fn calico() -> Ownership {
        let grants = Grants {
            tables: vec![Table::Nat],
            chains: vec![Pattern::new("cali-*").unwrap()],
            comments: vec!["cali:".into()],
            ..Grants::default()
        };
        Ownership::new(vec![(PolicyName::new("calico").unwrap(), grants)])
    }

    #[test]
    fn what_leaves_is_ours_until_it_has_left_and_others_come_first() {
        let name = |name: &str| PolicyName::new(name).unwrap();
        let grants = |table, chain: &str| Grants {
            tables: vec![table],
            chains: vec![Pattern::new(chain).unwrap()],
            ..Grants::default()
        };
        let staying = Ownership::new(vec![(name("web"), grants(Table::Nat, "x-*"))]);
        let both = staying.clone().with_leaving(vec![(name("app"), grants(Table::Raw, "x-*"))]);
        assert_eq!(both.tables(), [Table::Raw, Table::Nat].into());
        assert!(both.owns_chain(Table::Raw, "x-1") && !staying.owns_chain(Table::Raw, "x-1"));
        let taken_over = staying.with_leaving(vec![(name("app"), grants(Table::Nat, "x-*"))]);
        assert_eq!(taken_over.chain_owner(Table::Nat, "x-1"), Some(&name("web")));
    }

    #[test]
    fn a_rule_is_ours_by_comment_or_by_jump() {
        let ours = calico();
        assert!(ours.owns_rule(Table::Nat, "-m comment --comment \"cali:0i8pjzKKPyA34aQD\" -j ACCEPT"));
        assert!(ours.owns_rule(Table::Nat, "-j cali-POSTROUTING"));
        assert!(ours.owns_rule(Table::Nat, "-s 10.0.0.0/8 -g cali-POSTROUTING"));
        assert!(ours.owns_rule(Table::Nat, "-m comment --comment rw:web:12 -j ACCEPT"));
        assert!(!ours.owns_rule(Table::Nat, "-m comment --comment \"not cali: ours\" -j KUBE-POSTROUTING"));
        assert!(!ours.owns_rule(Table::Nat, "-m comment --comment \"-j cali-x\" -j ACCEPT"));
        assert!(!ours.owns_rule(Table::Filter, "-j cali-POSTROUTING"));
    }
}
