//! Joins the checked contributions of all policies into the desired state. Cannot fail: grants never overlap, so two
//! policies never have the same chain or set, and attachments at one place have a total order.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::{Checked, CheckedRule, CheckedSet};
use crate::contribution::Verdict;
use crate::foreign_object::Foreign;
use crate::names::{ChainName, Family, Hook, Placement, PolicyName, SetName, Table};
use crate::ownership::Ownership;
use crate::set_use;
use crate::sets::ObservedSet;

/// What the node should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// By family and table. A table is here if a policy wants something in it.
    pub tables: BTreeMap<(Family, Table), DesiredTable>,
    /// By name.
    pub sets: BTreeMap<SetName, CheckedSet>,
    /// Who owns what, wanted or not.
    pub ownership: Ownership,
    /// Families that are read and written, also where nothing is wanted.
    pub families: Vec<Family>,
    /// How sets of this type with these members are shown, as far as it is known from an earlier rehearsal.
    pub known_sets: BTreeMap<SetName, ObservedSet>,
}

impl Desired {
    /// Sets of other programs that rules wait for, or that are members of sets of sets.
    pub fn foreign_sets(&self) -> BTreeSet<&str> {
        let rules = self.tables.values().flat_map(DesiredTable::rules);
        let lists = self.sets.values().filter(|set| set.create.starts_with(set_use::LIST));
        let members = lists.flat_map(|set| set_use::listed(&set.members));
        let sets = rules.flat_map(CheckedRule::awaits).filter_map(Foreign::set);
        let named = sets.map(SetName::as_str).chain(members);
        named.filter(|name| !self.sets.contains_key(*name)).collect()
    }
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredTable {
    /// Chains with the policy that wants them.
    pub chains: BTreeMap<ChainName, (PolicyName, Vec<CheckedRule>)>,
    /// Rules in built-in chains.
    pub hooks: BTreeMap<Hook, DesiredHook>,
}

impl DesiredTable {
    /// Chains of other programs that its rules wait for.
    pub fn awaited_chains(&self) -> BTreeSet<&ChainName> {
        self.rules().flat_map(CheckedRule::awaits).filter_map(Foreign::chain).collect()
    }

    /// Puts several rules in the place of each that iptables makes several of (`-s 192.0.2.1,192.0.2.2`): `several` gives
    /// them by chain and text.
    pub fn expand(&mut self, several: &BTreeMap<(String, Arc<str>), Vec<Arc<str>>>) {
        let of = |chain: &str, rule: &CheckedRule| {
            let several = several.get(&(chain.to_owned(), Arc::clone(&rule.text)));
            let one = std::slice::from_ref(&rule.text);
            let texts = several.map_or(one, Vec::as_slice);
            texts.iter().map(|text| CheckedRule { text: Arc::clone(text), ..rule.clone() }).collect::<Vec<_>>()
        };
        for (name, (_, rules)) in &mut self.chains {
            *rules = rules.iter().flat_map(|rule| of(name.as_str(), rule)).collect();
        }
        for (hook, rules) in &mut self.hooks {
            for list in [&mut rules.first, &mut rules.last] {
                let each = |one: &DesiredAttachment| {
                    let one = one.clone();
                    of(hook.as_str(), &one.rule.clone())
                        .into_iter()
                        .map(move |rule| DesiredAttachment { rule, ..one.clone() })
                };
                *list = list.iter().flat_map(each).collect();
            }
        }
    }

    /// All rules, in no order that means anything.
    pub fn rules(&self) -> impl Iterator<Item = &CheckedRule> {
        let in_hooks = self.hooks.values().flat_map(|hook| hook.first.iter().chain(&hook.last)).map(|one| &one.rule);
        self.chains.values().flat_map(|(_, rules)| rules).chain(in_hooks)
    }
}

/// Rules in one built-in chain, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredHook {
    /// Before strangers' rules.
    pub first: Vec<DesiredAttachment>,
    /// After them.
    pub last: Vec<DesiredAttachment>,
    /// The chain's policy, if one is asked for, and by whom.
    pub policy: Option<(PolicyName, Verdict)>,
}

/// An attachment with the policy that wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAttachment {
    /// Whose.
    pub policy: PolicyName,
    /// The rule.
    pub rule: CheckedRule,
}

/// Merges. The result does not depend on the order of `contributions`.
pub fn merge<C: Borrow<Checked>>(contributions: &[C], ownership: Ownership, families: Vec<Family>) -> Desired {
    let mut desired = Desired { ownership, families, ..Desired::default() };
    let mut sites: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut sorted: Vec<&Checked> = contributions.iter().map(Borrow::borrow).collect();
    sorted.sort_by(|a, b| a.policy.cmp(&b.policy));
    for checked in sorted {
        for (place, chains) in &checked.chains {
            let table = desired.tables.entry(*place).or_default();
            for (name, rules) in chains {
                table.chains.insert(name.clone(), (checked.policy.clone(), rules.clone()));
            }
        }
        for (site, attachments) in &checked.attachments {
            sites.entry(*site).or_default().extend(attachments.iter().map(|one| (&checked.policy, one)));
        }
        for ((family, table, hook), policy) in &checked.policies {
            let hooks = &mut desired.tables.entry((*family, *table)).or_default().hooks;
            hooks.entry(*hook).or_default().policy = Some((checked.policy.clone(), *policy));
        }
        desired.sets.extend(checked.sets.iter().map(|(name, set)| (name.clone(), set.clone())));
    }
    for ((family, table, hook, placement), mut attachments) in sites {
        attachments.sort_by_key(|(_, one)| one.order); // stable: then by policy, then as listed
        let hook = desired.tables.entry((family, table)).or_default().hooks.entry(hook).or_default();
        let list = match placement {
            Placement::First => &mut hook.first,
            Placement::Last => &mut hook.last,
        };
        list.extend(
            attachments
                .into_iter()
                .map(|(policy, one)| DesiredAttachment { policy: policy.clone(), rule: one.rule.clone() }),
        );
    }
    desired
}
