//! What the kernel must show: the desired state beside the exact text that iptables-save gives for each rule.
//!
//! That text is learned, never guessed: from a rehearsal in a private namespace, or, where none can be made, from the
//! read-back right after a commit. Until either has happened it is unknown, and whatever is unknown is written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::base_chain::BaseChain;
use crate::check::{CheckedRule, CheckedSet};
use crate::contribution::Verdict;
use crate::foreign_object::Foreign;
use crate::members::Members;
use crate::merge::{Desired, DesiredAttachment, DesiredHook};
use crate::names::{ChainName, Family, Hook, PolicyName, SetName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::ownership::Ownership;
use crate::quote;
use crate::rule_encodings::RuleEncodings;
use crate::set_use;
use crate::sets::ObservedSet;

/// Where the expected text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// From a rehearsal in a private namespace.
    Rehearsed,
    /// From the read-back after a commit.
    Learned,
    /// Not known yet.
    Unproven,
}

/// The desired state with the text that the kernel must show.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where the text comes from.
    pub basis: Basis,
    /// By family and table; every table in scope is here.
    pub tables: BTreeMap<(Family, Table), ExpectedTable>,
    /// By name.
    pub sets: BTreeMap<SetName, ExpectedSet>,
    /// Who owns what.
    pub ownership: Ownership,
    /// Rules in built-in chains that carry a granted comment but jump to a stranger's chain that exists are left
    /// alone: that chain's owner wants them as well. For `cleanup`.
    pub spare_shared: bool,
    /// Built-in chains whose policy was asked for and is not any more: to accept again, as iptables makes them. Where a
    /// policy drops and the rules that let packets in are gone, nobody could reach the node.
    pub released: BTreeSet<(Family, Table, Hook)>,
    /// The byte forms of its rules, if a rehearsal has learned them.
    pub forms: Option<Arc<RuleEncodings>>,
}

/// One table.
#[derive(Debug, Clone, Default)]
pub struct ExpectedTable {
    /// Chains with the policy that wants them.
    pub chains: BTreeMap<ChainName, (PolicyName, Vec<ExpectedRule>)>,
    /// Rules in built-in chains.
    pub hooks: BTreeMap<Hook, ExpectedHook>,
    /// How the built-in chains are made, as far as a rehearsal has shown it.
    pub bases: BTreeMap<Hook, BaseChain>,
    /// What other programs make and rules wait for, each with the chains in which such rules belong.
    pub awaits: BTreeMap<Foreign, BTreeSet<Box<str>>>,
}

/// Rules in one built-in chain.
#[derive(Debug, Clone, Default)]
pub struct ExpectedHook {
    /// Before strangers' rules.
    pub first: Vec<ExpectedAttachment>,
    /// After them.
    pub last: Vec<ExpectedAttachment>,
    /// The chain's policy, if one is asked for, and by whom.
    pub policy: Option<(PolicyName, Verdict)>,
}

/// A rule in a built-in chain.
#[derive(Debug, Clone)]
pub struct ExpectedAttachment {
    /// Whose.
    pub policy: PolicyName,
    /// The rule.
    pub rule: ExpectedRule,
}

/// A rule as it is written and as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedRule {
    write: Arc<str>,
    show: Show,
    awaits: Option<Arc<[Foreign]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Show {
    Unknown,
    AsWritten,
    Text(Box<str>),
}

impl ExpectedRule {
    fn unproven(rule: CheckedRule) -> Self {
        Self { write: rule.text, show: Show::Unknown, awaits: rule.awaits }
    }

    /// The same rule in words that are shown as they are written.
    pub(crate) fn in_words(&self, text: Arc<str>) -> Self {
        Self { write: text, show: Show::AsWritten, awaits: self.awaits.clone() }
    }

    /// What other programs make and it waits for.
    pub fn awaits(&self) -> &[Foreign] {
        self.awaits.as_deref().unwrap_or_default()
    }

    /// The first of these that does not exist: in `table` where it belongs, or as a set.
    pub fn missing(&self, table: &ObservedTable, absent_sets: &BTreeSet<SetName>) -> Option<&Foreign> {
        self.awaits().iter().find(|awaited| match awaited {
            Foreign::Chain(chain) => !table.has(chain.as_str()),
            Foreign::Set(set) => absent_sets.contains(set),
        })
    }

    fn prove(&mut self, shown: &str) {
        self.show = if *self.write == *shown { Show::AsWritten } else { Show::Text(shown.into()) };
    }

    /// For iptables-restore.
    pub fn write(&self) -> &str {
        &self.write
    }

    /// By iptables-save; `None` while it is not known.
    pub fn show(&self) -> Option<&str> {
        match &self.show {
            Show::Unknown => None,
            Show::AsWritten => Some(&self.write),
            Show::Text(text) => Some(text),
        }
    }
}

/// A set as it is written and as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedSet {
    /// Type and options for `ipset create`.
    pub create: String,
    /// Members for `ipset add`.
    pub members: Members,
    /// Members are left alone.
    pub dynamic: bool,
    /// As `ipset list` must show it; `None` while it is not known.
    pub show: Option<ObservedSet>,
}

/// The tools made something else of the desired state than one rule of each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{family} {table} {chain}: {wanted} rules were written and {shown} are shown")]
pub struct Mismatch {
    /// Where.
    pub family: Family,
    /// Where.
    pub table: Table,
    /// Where.
    pub chain: String,
    /// Rules that were written.
    pub wanted: usize,
    /// Rules that are there now.
    pub shown: usize,
}

impl Expected {
    /// The desired state while nothing is known about its text.
    pub fn unproven(desired: Desired) -> Self {
        let mut tables: BTreeMap<(Family, Table), ExpectedTable> = BTreeMap::new();
        for family in &desired.families {
            for table in desired.ownership.tables() {
                tables.insert((*family, table), ExpectedTable::default());
            }
        }
        for (place, table) in desired.tables {
            let chains = table.chains.into_iter().map(|(name, (policy, rules))| {
                (name, (policy, rules.into_iter().map(ExpectedRule::unproven).collect()))
            });
            let hooks = table.hooks.into_iter().map(|(hook, rules)| (hook, ExpectedHook::unproven(rules)));
            let mut table =
                ExpectedTable { chains: chains.collect(), hooks: hooks.collect(), ..ExpectedTable::default() };
            table.note_awaited();
            tables.insert(place, table);
        }
        let sets = desired.sets.into_iter().map(|(name, set)| {
            let set = ExpectedSet { create: set.create, members: set.members, dynamic: set.dynamic, show: None };
            (name, set)
        });
        Self {
            basis: Basis::Unproven,
            tables,
            sets: sets.collect(),
            ownership: desired.ownership,
            spare_shared: false,
            released: BTreeSet::new(),
            forms: None,
        }
    }

    /// Nothing at all, where `ownership` reaches, and these policies of built-in chains released: what `cleanup` brings
    /// about.
    pub fn nothing(ownership: Ownership, families: Vec<Family>, mut released: BTreeSet<(Family, Table, Hook)>) -> Self {
        released.retain(|(family, table, hook)| families.contains(family) && ownership.owns_policy(*table, *hook));
        let desired = Desired { ownership, families, ..Desired::default() };
        Self { basis: Basis::Rehearsed, spare_shared: true, released, ..Self::unproven(desired) }
    }

    /// Sets of other programs that rules wait for, or that are members of sets of sets.
    pub fn foreign_sets(&self) -> BTreeSet<&str> {
        let awaited = self.tables.values().flat_map(|table| table.awaits.keys());
        let rules = awaited.filter_map(Foreign::set).map(SetName::as_str);
        let lists = self.sets.values().filter(|set| set.create.starts_with(set_use::LIST));
        let members = lists.flat_map(|set| set_use::listed(&set.members));
        rules.chain(members).filter(|name| !self.sets.contains_key(*name)).collect()
    }

    /// The policies of built-in chains that are asked for.
    pub fn policies(&self) -> impl Iterator<Item = (Family, Table, Hook)> + '_ {
        self.tables.iter().flat_map(|((family, table), wanted)| {
            let asked = wanted.hooks.iter().filter(|(_, rules)| rules.policy.is_some());
            asked.map(|(hook, _)| (*family, *table, *hook))
        })
    }

    /// What was asked for `before` and is not any more.
    pub fn no_longer_asked(&self, mut before: BTreeSet<(Family, Table, Hook)>) -> BTreeSet<(Family, Table, Hook)> {
        let asked: BTreeSet<_> = self.policies().collect();
        before.retain(|place| !asked.contains(place));
        before
    }

    /// The same rules where others are owned: nothing of them may be owned by nobody then. Tables in which nothing can be
    /// ours any more are left out, those in which something can be come in.
    #[must_use]
    pub fn with_ownership(&self, ownership: Ownership, families: &[Family]) -> Self {
        let tables = ownership.tables();
        let mut renewed = Self { ownership, ..self.clone() };
        renewed.tables.retain(|(_, table), _| tables.contains(table));
        for family in families {
            for table in &tables {
                renewed.tables.entry((*family, *table)).or_default();
            }
        }
        renewed
    }

    /// Takes the text from what a private namespace shows after it was loaded with the desired state alone, or from
    /// what the live one shows right after a commit (`basis` says which).
    ///
    /// # Errors
    /// When the number of rules differs: then nothing may be concluded from the text.
    pub fn prove(mut self, basis: Basis, observed: &Observed) -> Result<Self, Mismatch> {
        let (absent, absent_sets) = (ObservedTable::default(), &observed.absent_sets);
        let ownership = &self.ownership;
        for ((family, table), expected) in &mut self.tables {
            let observed = observed.tables.get(&(*family, *table)).unwrap_or(&absent);
            let mismatch = |chain: &str, wanted, shown| Mismatch {
                family: *family,
                table: *table,
                chain: chain.to_owned(),
                wanted,
                shown,
            };
            for (name, (_, rules)) in &mut expected.chains {
                let shown = observed.rules(name.as_str());
                let held: Vec<_> =
                    rules.iter_mut().filter(|rule| rule.missing(observed, absent_sets).is_none()).collect();
                if shown.len() != held.len() {
                    return Err(mismatch(name.as_str(), held.len(), shown.len()));
                }
                held.into_iter().zip(shown).for_each(|(rule, shown)| rule.prove(shown));
            }
            let base = |hook: &Hook| Some((*hook, observed.state(hook.as_str())?.base.clone()?));
            expected.bases = table.hooks().iter().filter_map(base).collect();
            for (hook, rules) in &mut expected.hooks {
                let shown = observed.rules(hook.as_str());
                let held = |one: &&mut ExpectedAttachment| one.rule.missing(observed, absent_sets).is_none();
                let first: Vec<_> = rules.first.iter_mut().filter(held).collect();
                let last: Vec<_> = rules.last.iter_mut().filter(held).collect();
                let wanted = first.len() + last.len();
                if shown.len() < wanted || (basis == Basis::Rehearsed && shown.len() != wanted) {
                    return Err(mismatch(hook.as_str(), wanted, shown.len()));
                }
                let tail = shown.len() - last.len();
                let ours = |rule: &&str| ownership.owns_rule(*table, rule);
                if !shown[..first.len()].iter().chain(&shown[tail..]).all(ours) {
                    // A stranger was faster: its rule must not be learned as ours.
                    return Err(mismatch(hook.as_str(), wanted, shown.iter().filter(|rule| ours(rule)).count()));
                }
                first.into_iter().zip(&shown).for_each(|(one, shown)| one.rule.prove(shown));
                last.into_iter().zip(&shown[tail..]).for_each(|(one, shown)| one.rule.prove(shown));
            }
        }
        for (name, set) in &mut self.sets {
            set.show = observed.set(name.as_str()).cloned();
            if let Some(show) = &mut set.show {
                show.members.share_with(&set.members);
            }
        }
        self.basis = basis;
        Ok(self)
    }

    /// How sets of `desired` are shown that are the same here.
    pub fn known_sets(&self, desired: &Desired) -> BTreeMap<SetName, ObservedSet> {
        let known = |(name, set): (&SetName, &CheckedSet)| {
            let own = self.sets.get(name)?;
            let same = own.create == set.create && own.dynamic == set.dynamic && own.members == set.members;
            Some((name.clone(), own.show.clone().filter(|_| same)?))
        };
        desired.sets.iter().filter_map(known).collect()
    }

    /// Whether a rule of a built-in chain, of which only its marks are known, goes where one of ours does: it may be ours
    /// but for the comment.
    pub fn may_be_ours(&self, place: (Family, Table), hook: Hook, marks: &str) -> bool {
        let hook = self.tables.get(&place).and_then(|table| table.hooks.get(&hook));
        let (Some(hook), Some(target)) = (hook, quote::marks(marks).target) else { return false };
        let chain = self.ownership.owns_chain(place.1, &target);
        let there = |one: &ExpectedAttachment| {
            let awaited =
                one.rule.awaits().iter().any(|one| matches!(one, Foreign::Chain(chain) if chain.as_str() == target));
            (chain || awaited)
                && one.rule.show().is_some_and(|show| quote::marks(show).target.as_deref() == Some(target.as_ref()))
        };
        hook.first.iter().chain(&hook.last).any(there)
    }

    /// Number of rules, those in built-in chains included.
    pub fn rule_count(&self) -> usize {
        let in_hook = |hook: &ExpectedHook| hook.first.len() + hook.last.len();
        let in_table = |table: &ExpectedTable| {
            table.chains.values().map(|(_, rules)| rules.len()).sum::<usize>()
                + table.hooks.values().map(in_hook).sum::<usize>()
        };
        self.tables.values().map(in_table).sum()
    }
}

impl ExpectedTable {
    /// The rules that belong in a chain, in their order, each with the policy that wants it.
    pub fn rules_of(&self, chain: &str) -> impl Iterator<Item = (&PolicyName, &ExpectedRule)> {
        let own = self.chains.get(chain).into_iter();
        let own = own.flat_map(|(policy, rules)| rules.iter().map(move |rule| (policy, rule)));
        let hook = Hook::from_name(chain).and_then(|hook| self.hooks.get(&hook));
        let hooked = hook.into_iter().flat_map(|hook| hook.first.iter().chain(&hook.last));
        own.chain(hooked.map(|one| (&one.policy, &one.rule)))
    }

    /// The chains in which rules wait for a chain of another program.
    pub fn waiting_for(&self, chain: &str) -> impl Iterator<Item = &str> {
        // Most tables wait for nothing.
        let name = if self.awaits.is_empty() { None } else { ChainName::new(chain).ok() };
        let awaited = name.and_then(|name| self.awaits.get(&Foreign::Chain(name)));
        awaited.into_iter().flatten().map(|chain| &**chain)
    }

    fn note_awaited(&mut self) {
        let own = self.chains.iter().flat_map(|(name, (_, rules))| rules.iter().map(move |rule| (name.as_str(), rule)));
        let hooked = self
            .hooks
            .iter()
            .flat_map(|(hook, rules)| rules.first.iter().chain(&rules.last).map(move |one| (hook.as_str(), &one.rule)));
        for (chain, rule) in own.chain(hooked) {
            for awaited in rule.awaits() {
                self.awaits.entry(awaited.clone()).or_default().insert(chain.into());
            }
        }
    }
}

impl ExpectedHook {
    fn unproven(hook: DesiredHook) -> Self {
        let list = |attachments: Vec<DesiredAttachment>| {
            let one = |one: DesiredAttachment| ExpectedAttachment {
                policy: one.policy,
                rule: ExpectedRule::unproven(one.rule),
            };
            attachments.into_iter().map(one).collect()
        };
        Self { first: list(hook.first), last: list(hook.last), policy: hook.policy }
    }
}
