//! Rules that wait for what another program makes: a chain or a set. Such a thing comes and goes as
//! its owner likes, and the rule is put in and taken out with it: that is no drift. What else
//! differs is.
//!
//! So the measure of drift is what had to be shown before the change: with what there was when all was last in sync
//! ([`Awaited`]), and without the rules whose chain or set has come or gone since ([`Turn`]).

use std::collections::BTreeSet;
use std::fmt;

use crate::awaiting::Foreign;
use crate::drift::{self, Drift};
use crate::expected::{Expected, ExpectedRule};
use crate::names::{Family, Hook, PolicyName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::plan::{Plan, plan};
use crate::quote;

/// What there was of the awaited when the rules that wait for it were last in sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Awaited(BTreeSet<(Family, Table, Foreign)>);

/// A rule that begins or ends to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Where the rule belongs.
    pub family: Family,
    /// Where the rule belongs.
    pub table: Table,
    /// Where the rule belongs.
    pub chain: Box<str>,
    /// Whose it is.
    pub policy: PolicyName,
    /// What it waits for.
    pub awaited: Foreign,
    /// Whether that has come; else it has gone.
    pub appeared: bool,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, chain, policy, awaited, appeared } = self;
        let rule = if Hook::from_name(chain).is_some() { "jump" } else { "rule" };
        if *appeared {
            write!(f, "{family} {table} {chain}: {awaited} appeared, the {rule} of {policy} is in place")
        } else {
            write!(f, "{family} {table} {chain}: {awaited} is gone, the {rule} of {policy} waits for it")
        }
    }
}

impl Awaited {
    /// All that `observed` covers is in sync, but for what is `deferred`: chains in which rules wait.
    pub fn renew(&mut self, expected: &Expected, observed: &Observed, deferred: impl Fn(Family, Table, &str) -> bool) {
        each(expected, observed, |family, table, chain, awaited, exists| {
            let place = (family, table, awaited.clone());
            match (deferred(family, table, chain), exists) {
                (true, _) => {}
                (false, true) => drop(self.0.insert(place)),
                (false, false) => drop(self.0.remove(&place)),
            }
        });
    }

    /// The rules that wait for this are out.
    pub fn forget(&mut self, family: Family, table: Table, awaited: Foreign) {
        self.0.remove(&(family, table, awaited));
    }

    /// What has begun or ended to wait, as far as `observed` covers it.
    pub fn turns(&self, expected: &Expected, observed: &Observed) -> Vec<Turn> {
        let mut turns = Vec::new();
        each(expected, observed, |family, table, chain, awaited, appeared| {
            if self.0.contains(&(family, table, awaited.clone())) != appeared {
                let rules = expected.tables.get(&(family, table)).into_iter().flat_map(|table| table.rules_of(chain));
                let waiting = rules.filter(|(_, rule)| rule.awaits().contains(awaited));
                turns.extend(waiting.map(|(policy, _)| Turn {
                    family,
                    table,
                    chain: chain.into(),
                    policy: policy.clone(),
                    awaited: awaited.clone(),
                    appeared,
                }));
            }
        });
        turns
    }

    /// Names what of `todo`, which brings `observed` to `expected`, is drift.
    pub fn drifts(&self, expected: &Expected, observed: &Observed, todo: &Plan) -> Vec<Drift> {
        let turns = self.turns(expected, observed);
        if turns.is_empty() {
            return drift::name(todo, expected, observed);
        }
        let (expected, observed) = without(&turns, expected, observed);
        drift::name(&plan(&expected, &observed), &expected, &observed)
    }
}

/// Each thing that is awaited, in each chain that `observed` covers and that holds rules that wait
/// for it, and whether it exists.
fn each(expected: &Expected, observed: &Observed, mut take: impl FnMut(Family, Table, &str, &Foreign, bool)) {
    let absent = ObservedTable::default();
    for ((family, table), wanted) in &expected.tables {
        let has = match observed.tables.get(&(*family, *table)) {
            None if observed.partial => continue,
            has => has.unwrap_or(&absent),
        };
        for (awaited, chains) in &wanted.awaits {
            let exists = match awaited {
                Foreign::Chain(chain) => has.has(chain.as_str()),
                Foreign::Set(set) => !observed.absent_sets.contains(set),
            };
            for chain in chains.iter().filter(|chain| has.covers(chain)) {
                take(*family, *table, chain, awaited, exists);
            }
        }
    }
}

/// Both without the rules of `turns`: nothing is asked of them, and nothing is shown of them. The owner of a chain may
/// have put the same jump in.
fn without(turns: &[Turn], expected: &Expected, observed: &Observed) -> (Expected, Observed) {
    let (mut expected, mut observed) = (expected.clone(), observed.clone());
    for turn in turns {
        let place = (turn.family, turn.table);
        let Some(wanted) = expected.tables.get_mut(&place) else { continue };
        let waits = |rule: &ExpectedRule| rule.awaits().contains(&turn.awaited);
        let mut taken: Vec<ExpectedRule> = Vec::new();
        if let Some((_, rules)) = wanted.chains.get_mut(&*turn.chain) {
            taken.extend(rules.extract_if(.., |rule| waits(rule)));
        }
        if let Some(hook) = Hook::from_name(&turn.chain).and_then(|hook| wanted.hooks.get_mut(&hook)) {
            for list in [&mut hook.first, &mut hook.last] {
                taken.extend(list.extract_if(.., |one| waits(&one.rule)).map(|one| one.rule));
            }
        }
        let Some(has) = observed.tables.get_mut(&place) else { continue };
        for rule in taken {
            let rule = rule.show().unwrap_or(rule.write());
            let wanted = quote::marks(rule);
            let comments = wanted.comments.clone();
            has.leave_out(&turn.chain, |shown| {
                let marks = quote::marks(shown);
                shown == rule || (marks.target == wanted.target && marks.comments == comments && !comments.is_empty())
            });
        }
    }
    (expected, observed)
}

#[cfg(test)]
#[path = "awaited_tests.rs"]
mod tests;
