//! What a look finds that is no difference to write: the policy of a built-in chain changed and no policy asks for another,
//! or a table or chain can't be put right. Each is recorded once, when it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ruleward_core::contribution::Verdict;
use ruleward_core::drift::{self, Drift, Kind};
use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Hook, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, Stuck};

use ruleward_kernel::observe::Scope;
use ruleward_kernel::port::{Port, Wanted};

/// How often it is looked whether a table has lost its owner.
const OWNER_INTERVAL: Duration = Duration::from_secs(1);

/// What was seen before.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    policies: BTreeMap<(Family, Table, Hook), Verdict>,
    stuck: BTreeSet<Stuck>,
    /// When owners of tables are looked for again.
    owners_due: Option<Instant>,
}

/// What is to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub policies: Vec<Drift>,
    pub stuck: Vec<Stuck>,
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
    pub fn look(
        &mut self,
        expected: &Expected,
        observed: &Observed,
        todo: &Plan,
        scope: &Scope,
        now: Instant,
    ) -> Noted {
        Noted { policies: self.policies(expected, observed), stuck: self.stuck(todo, scope, now) }
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

    fn stuck(&mut self, todo: &Plan, scope: &Scope, now: Instant) -> Vec<Stuck> {
        self.owners_due.get_or_insert(now);
        let new: Vec<Stuck> = todo.stuck.iter().filter(|stuck| !self.stuck.contains(stuck)).cloned().collect();
        if *scope == Scope::All {
            self.stuck.clear();
        }
        self.stuck.extend(todo.stuck.iter().cloned());
        new
    }
}

impl Seen {
    /// When [`Seen::disowned`] has to be asked, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.owners_due.filter(|_| self.owned().next().is_some())
    }

    fn owned(&self) -> impl Iterator<Item = (Family, Table)> + '_ {
        let owned = self.stuck.iter().filter(|stuck| stuck.drift.kind == Kind::TableOwned);
        owned.filter_map(|stuck| stuck.drift.family.zip(stuck.drift.table))
    }

    /// The tables that had an owner and have none any more: the kernel sends no event when they go with it.
    pub fn disowned(&mut self, port: &dyn Port, now: Instant) -> Vec<(Family, Table)> {
        if self.owners_due.is_some_and(|due| due > now) {
            return Vec::new();
        }
        self.owners_due = Some(now + OWNER_INTERVAL);
        let chains = BTreeSet::new();
        let is_free = |(family, table): &(Family, Table)| {
            port.raw(*family, *table, Wanted::Only(&chains)).is_ok_and(|raw| raw.state.owner.is_none())
        };
        self.owned().filter(is_free).collect()
    }
}
