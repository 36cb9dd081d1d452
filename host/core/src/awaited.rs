//! Attachments that wait for another program's chain. Such a chain comes and goes as its owner likes, and the jump to it is
//! put in and taken out with it: that is no drift. What else differs is.
//!
//! So the measure of drift is what had to be shown before the change: with the chains that there were when all was last in
//! sync ([`Awaited`]), and without the attachments whose chain has come or gone since ([`Turn`]).

use std::collections::BTreeSet;
use std::fmt;

use crate::drift::{self, Drift};
use crate::expected::{Expected, ExpectedAttachment, ExpectedHook};
use crate::names::{ChainName, Family, Hook, PolicyName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::plan::{Plan, plan};
use crate::quote;

/// The awaited chains that there were when the attachments that wait for them were last in sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Awaited(BTreeSet<(Family, Table, ChainName)>);

/// An attachment that begins or ends to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Where the attachment belongs.
    pub family: Family,
    /// Where the attachment belongs.
    pub table: Table,
    /// Where the attachment belongs.
    pub hook: Hook,
    /// Whose it is.
    pub policy: PolicyName,
    /// What it waits for.
    pub chain: ChainName,
    /// Whether that chain has come; else it has gone.
    pub appeared: bool,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, hook, policy, chain, appeared } = self;
        if *appeared {
            write!(f, "{family} {table} {hook}: chain {chain} appeared, the jump of {policy} is in place")
        } else {
            write!(f, "{family} {table} {hook}: chain {chain} is gone, the jump of {policy} waits for it")
        }
    }
}

impl Awaited {
    /// All that `observed` covers is in sync, but for what is `deferred`.
    pub fn renew(&mut self, expected: &Expected, observed: &Observed, deferred: impl Fn(Family, Table, Hook) -> bool) {
        each(expected, observed, |family, table, hook, _, chain, exists| {
            let place = (family, table, chain.clone());
            match (deferred(family, table, hook), exists) {
                (true, _) => {}
                (false, true) => drop(self.0.insert(place)),
                (false, false) => drop(self.0.remove(&place)),
            }
        });
    }

    /// What has begun or ended to wait, as far as `observed` covers it.
    pub fn turns(&self, expected: &Expected, observed: &Observed) -> Vec<Turn> {
        let mut turns = Vec::new();
        each(expected, observed, |family, table, hook, one, chain, appeared| {
            if self.0.contains(&(family, table, chain.clone())) != appeared {
                let (policy, chain) = (one.policy.clone(), chain.clone());
                turns.push(Turn { family, table, hook, policy, chain, appeared });
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

/// Each attachment that waits for a chain, in a built-in chain that `observed` covers, and whether that chain exists.
fn each(
    expected: &Expected,
    observed: &Observed,
    mut take: impl FnMut(Family, Table, Hook, &ExpectedAttachment, &ChainName, bool),
) {
    let absent = ObservedTable::default();
    for ((family, table), wanted) in &expected.tables {
        let has = match observed.tables.get(&(*family, *table)) {
            None if observed.partial => continue,
            has => has.unwrap_or(&absent),
        };
        for (hook, attachments) in wanted.hooks.iter().filter(|(hook, _)| has.covers(hook.as_str())) {
            for one in attachments.first.iter().chain(&attachments.last) {
                if let Some(chain) = &one.awaits {
                    take(*family, *table, *hook, one, chain, has.has(chain.as_str()));
                }
            }
        }
    }
}

/// Both without the attachments of `turns`: nothing is asked of them, and nothing is shown of them. The owner of a chain may
/// have put the same jump in.
fn without(turns: &[Turn], expected: &Expected, observed: &Observed) -> (Expected, Observed) {
    let (mut expected, mut observed) = (expected.clone(), observed.clone());
    for turn in turns {
        let place = (turn.family, turn.table);
        let hook = expected.tables.get_mut(&place).and_then(|table| table.hooks.get_mut(&turn.hook));
        let Some(ExpectedHook { first, last, .. }) = hook else { continue };
        let mut taken = Vec::new();
        for list in [first, last] {
            taken.extend(list.extract_if(.., |one| one.awaits.as_ref() == Some(&turn.chain)));
        }
        let Some(has) = observed.tables.get_mut(&place) else { continue };
        for one in taken {
            let rule = one.rule.show().unwrap_or(one.rule.write());
            let wanted = quote::marks(rule);
            let comments = wanted.comments.clone();
            has.leave_out(turn.hook.as_str(), |shown| {
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
