//! What a look finds that is no difference to write: the policy of a built-in chain changed and no policy asks for another,
//! or a table or chain can't be put right. Each is recorded once, when it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use ruleward_core::contribution::Verdict;
use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Hook, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, Stuck};

use super::hold::touch;
use super::{Pass, Pipeline};
use crate::incidents::{Cause, Repair};
use crate::kernel::activity::Activity;
use crate::kernel::observe::Scope;
use crate::report::ONLY_RECORDED;

/// What was seen before.
#[derive(Debug, Default)]
pub(super) struct Seen {
    policies: BTreeMap<(Family, Table, Hook), Verdict>,
    stuck: BTreeSet<Stuck>,
}

/// What is to be recorded.
#[derive(Debug, Default)]
pub(super) struct Noted {
    policies: Vec<Drift>,
    stuck: Vec<Stuck>,
}

impl Noted {
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.stuck.is_empty()
    }

    /// All of it.
    pub fn drifts(&self) -> Vec<Drift> {
        self.policies.iter().chain(self.stuck.iter().map(|stuck| &stuck.drift)).cloned().collect()
    }
}

impl Seen {
    /// Takes note of what a look has found; gives what was otherwise before. What was never looked at before is not news.
    pub fn look(&mut self, expected: &Expected, observed: &Observed, todo: &Plan, scope: &Scope) -> Noted {
        Noted { policies: self.policies(expected, observed), stuck: self.stuck(todo, scope) }
    }

    fn policies(&mut self, expected: &Expected, observed: &Observed) -> Vec<Drift> {
        let mut changed = Vec::new();
        for ((family, table), has) in &observed.tables {
            let asked = |hook: &Hook| {
                expected
                    .tables
                    .get(&(*family, *table))
                    .is_some_and(|wanted| wanted.hooks.get(hook).is_some_and(|hook| hook.policy.is_some()))
            };
            for hook in table.hooks().iter().filter(|hook| has.covers(hook.as_str())) {
                // A chain that is not there lets all packets pass.
                let now = has.policy(hook.as_str()).unwrap_or(Verdict::Accept);
                let before = self.policies.insert((*family, *table, *hook), now);
                if let Some(before) = before.filter(|before| *before != now && !asked(hook)) {
                    let (kind, added, removed) = drift::policy_change(*hook, Some(now), Some(before));
                    let (family, table) = (Some(*family), Some(*table));
                    changed.push(Drift { family, table, chain: hook.to_string(), kind, added, removed });
                }
            }
        }
        changed
    }

    fn stuck(&mut self, todo: &Plan, scope: &Scope) -> Vec<Stuck> {
        let new: Vec<Stuck> = todo.stuck.iter().filter(|stuck| !self.stuck.contains(stuck)).cloned().collect();
        if *scope == Scope::All {
            self.stuck.clear();
        }
        self.stuck.extend(todo.stuck.iter().cloned());
        new
    }
}

impl Pipeline {
    /// Records what was noted, as incidents that no repair belongs to.
    pub(super) fn record_noted(&mut self, pass: &mut Pass, noted: &Noted, heard: &Activity) {
        let cause = |drift: &Drift| {
            let touch = touch(heard, drift);
            Cause { actors: touch.actors_of(drift.kind), events: touch.events, ..Cause::default() }
        };
        let mut record = |drift: &Drift, how: &str| {
            let repair = Repair { how: how.to_owned(), ..Repair::default() };
            let recorded = self.incidents.record(std::slice::from_ref(drift), cause, &repair, SystemTime::now());
            pass.report.incidents.extend(recorded);
        };
        noted.policies.iter().for_each(|drift| record(drift, ONLY_RECORDED));
        noted.stuck.iter().for_each(|stuck| record(&stuck.drift, &stuck.problem));
    }
}
