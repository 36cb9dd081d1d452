//! What is ours, read from the kernel alone: no state file, no memory of earlier commits.
//!
//! A chain or set is ours when its name fits a pattern that a policy was granted, or the host's scratch prefix. A rule
//! in a built-in chain is ours when one of its comments begins with a granted prefix or is one of the host's own
//! (`rw:POLICY:ID`), or when it goes to a chain of a policy whose jumps are exclusive. (The plan adds: when it is one of
//! our attachments but for the comment.) Everything else is foreign and never touched.

use std::collections::BTreeSet;

use crate::grants::{Grants, HOST_PREFIX, Jumps};
use crate::names::{Hook, PolicyName, Table};
use crate::quote;

/// Beginning of the comments that the host writes itself: `rw:POLICY:ID`.
pub const HOST_COMMENT: &str = "rw:";

/// Digits of `ID` in the comments that the host writes.
pub const HOST_COMMENT_DIGITS: usize = 12;

/// The policy of a comment that the host writes: `rw:POLICY:ID`, and nothing before or behind it.
fn host_comment_of(comment: &str) -> Option<&str> {
    let (policy, id) = comment.strip_prefix(HOST_COMMENT)?.rsplit_once(':')?;
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let exact = id.len() == HOST_COMMENT_DIGITS && id.bytes().all(digit) && PolicyName::new(policy).is_ok();
    exact.then_some(policy)
}

/// The grants of all policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Sorted by name.
    policies: Vec<(PolicyName, Grants)>,
    /// Grants that end with the next state. What only they own is removed.
    leaving: Vec<(PolicyName, Grants)>,
    /// Policies that have never answered. What only they may own stays as it is.
    unanswered: Vec<(PolicyName, Grants)>,
}

impl Ownership {
    /// Of these policies. Their grants must not overlap ([`Grants::overlap`]).
    pub fn new(mut policies: Vec<(PolicyName, Grants)>) -> Self {
        policies.sort_by(|a, b| a.0.cmp(&b.0));
        Self { policies, ..Self::default() }
    }

    /// The same with grants that end when the next state is in force: of policies that go, or that are granted less from
    /// then on. What they own is still ours until it has been removed. They may overlap with the others, which come first.
    #[must_use]
    pub fn with_leaving(mut self, mut leaving: Vec<(PolicyName, Grants)>) -> Self {
        leaving.sort_by(|a, b| a.0.cmp(&b.0));
        self.leaving.extend(leaving);
        self
    }

    /// The same with policies of which nothing is known yet. What they would want of their names is not known either, so
    /// whatever carries these names is left as it is, like a foreign rule. Grants of policies that have answered come
    /// first; grants that leave come after these.
    #[must_use]
    pub fn with_unanswered(mut self, mut unanswered: Vec<(PolicyName, Grants)>) -> Self {
        unanswered.sort_by(|a, b| a.0.cmp(&b.0));
        self.unanswered.extend(unanswered);
        self
    }

    fn all(&self) -> impl Iterator<Item = &(PolicyName, Grants)> {
        self.policies.iter().chain(&self.leaving)
    }

    /// Tables in which anything can be ours.
    pub fn tables(&self) -> BTreeSet<Table> {
        self.all().flat_map(|(_, grants)| grants.tables.iter().copied()).collect()
    }

    /// What a policy was granted.
    pub fn grants(&self, policy: &PolicyName) -> Option<&Grants> {
        self.policies.iter().find(|(name, _)| name == policy).map(|(_, grants)| grants)
    }

    /// Whether any policy may own sets.
    pub fn any_sets(&self) -> bool {
        self.all().any(|(_, grants)| !grants.sets.is_empty())
    }

    /// Who owns what `owns` says of grants; none if that is nobody, or only a policy that has not answered.
    fn owner(&self, owns: impl Fn(&Grants) -> bool) -> Option<&PolicyName> {
        let find = |list: &'_ [(PolicyName, Grants)]| list.iter().position(|(_, grants)| owns(grants));
        if let Some(at) = find(&self.policies) {
            return Some(&self.policies[at].0);
        }
        if find(&self.unanswered).is_some() {
            return None;
        }
        find(&self.leaving).map(|at| &self.leaving[at].0)
    }

    /// The policy that owns chains of this name in this table.
    pub fn chain_owner(&self, table: Table, chain: &str) -> Option<&PolicyName> {
        self.owner(|grants| grants.tables.contains(&table) && grants.owns_chain(chain))
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
        self.owner(|grants| grants.owns_set(set))
    }

    /// Whether a rule in a built-in chain of `table` is ours. `rule` is in the form of iptables-save.
    pub fn owns_rule(&self, table: Table, rule: &str) -> bool {
        let marks = quote::marks(rule);
        let mut by_comment = false;
        for comment in &marks.comments {
            if let Some(policy) = host_comment_of(comment) {
                if !self.may_touch(policy) {
                    return false;
                }
                by_comment = true;
            }
            by_comment |= self.owner(|grants| grants.tables.contains(&table) && grants.owns_comment(comment)).is_some();
        }
        by_comment || marks.target.is_some_and(|target| self.has_all_jumps(table, &target))
    }

    /// Whether every jump to this chain is ours.
    fn has_all_jumps(&self, table: Table, chain: &str) -> bool {
        let leads_there = |grants: &Grants| grants.owns_chain(chain) || grants.uses_chain(chain);
        let exclusive = |grants: &Grants| grants.tables.contains(&table) && grants.jumps == Jumps::Exclusive;
        self.owner(|grants| exclusive(grants) && leads_there(grants)).is_some()
    }

    /// Whether rules with the host's own comment for this policy may be changed and removed. A policy that is not known
    /// has left the configuration: like everything that is removed, its rules wait until every policy has answered.
    fn may_touch(&self, policy: &str) -> bool {
        self.unanswered.is_empty() || self.all().any(|(name, _)| name.as_str() == policy)
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
            jumps: Jumps::Exclusive,
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
    fn what_only_an_unanswered_policy_may_own_is_not_touched() {
        let name = |name: &str| PolicyName::new(name).unwrap();
        let grants = |chain: &str| Grants {
            tables: vec![Table::Nat],
            chains: vec![Pattern::new(chain).unwrap()],
            sets: vec![Pattern::new(chain).unwrap()],
            comments: vec![format!("{chain}:")],
            jumps: Jumps::Exclusive,
            ..Grants::default()
        };
        let answered = Ownership::new(vec![(name("web"), grants("w-*"))]);
        let leaving = vec![(name("old"), grants("a-*")), (name("gone"), grants("g-*"))];
        let both = answered.with_leaving(leaving).with_unanswered(vec![(name("app"), grants("a-*"))]);
        let (may, may_not) = (["w-1", "g-1"], ["a-1", "x-1"]);
        for (names, ours) in [(may, true), (may_not, false)] {
            for one in names {
                assert_eq!(both.owns_chain(Table::Nat, one), ours, "chain {one}");
                assert_eq!(both.owns_set(one), ours, "set {one}");
                assert_eq!(both.owns_rule(Table::Nat, &format!("-j {one}")), ours, "jump to {one}");
            }
        }
        for (comment, ours) in [
            ("rw:web:0123456789ab", true),
            ("rw:gone:0123456789ab", true),
            ("rw:app:0123456789ab", false),
            ("rw:unknown:0123456789ab", false),
            ("a-*:x", false),
        ] {
            let rule = format!("-m comment --comment {comment} -j ACCEPT");
            assert_eq!(both.owns_rule(Table::Nat, &rule), ours, "{comment}");
        }
        let jump = "-m comment --comment rw:app:0123456789ab -j w-1";
        assert!(!both.owns_rule(Table::Nat, jump), "the comment says whose it is");
    }

    #[test]
    fn a_rule_is_ours_by_comment_or_by_jump() {
        let ours = calico();
        assert!(ours.owns_rule(Table::Nat, "-m comment --comment \"cali:0i8pjzKKPyA34aQD\" -j ACCEPT"));
        assert!(ours.owns_rule(Table::Nat, "-j cali-POSTROUTING"));
        assert!(ours.owns_rule(Table::Nat, "-s 10.0.0.0/8 -g cali-POSTROUTING"));
        assert!(ours.owns_rule(Table::Nat, "-m comment --comment rw:web:0123456789ab -j ACCEPT"));
        assert!(!ours.owns_rule(Table::Nat, "-m comment --comment \"not cali: ours\" -j KUBE-POSTROUTING"));
        assert!(!ours.owns_rule(Table::Nat, "-m comment --comment \"-j cali-x\" -j ACCEPT"));
        assert!(!ours.owns_rule(Table::Filter, "-j cali-POSTROUTING"));
    }

    #[test]
    fn only_the_exact_comment_of_the_host_is_ours() {
        assert_eq!(host_comment_of("rw:web:0123456789ab"), Some("web"));
        assert_eq!(host_comment_of("rw:a-1:ffffffffffff"), Some("a-1"));
        for foreign in [
            "rw: nfs clients",
            "rw:foo",
            "rw:web:12",
            "rw:web:0123456789AB",
            "rw:web:0123456789abc",
            "rw:web: 123456789ab",
            " rw:web:0123456789ab",
            "rw:web:0123456789ab x",
            "rw:Web:0123456789ab",
            "rw::0123456789ab",
            "rw:a:b:0123456789ab",
        ] {
            assert_eq!(host_comment_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_jump_to_a_chain_is_ours_only_where_its_jumps_are_exclusive() {
        let grants = |jumps| Grants {
            tables: vec![Table::Filter],
            chains: vec![Pattern::new("DOCKER-USER").unwrap()],
            jumps,
            ..Grants::default()
        };
        let owner = |jumps| Ownership::new(vec![(PolicyName::new("web").unwrap(), grants(jumps))]);
        assert!(!owner(Jumps::Shared).owns_rule(Table::Filter, "-j DOCKER-USER"));
        assert!(owner(Jumps::Exclusive).owns_rule(Table::Filter, "-j DOCKER-USER"));
    }
}
