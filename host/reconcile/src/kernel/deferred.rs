//! What waits because another program keeps undoing it: which chains, what was heard of them, and until when.

use std::collections::BTreeSet;
use std::time::Duration;

use ruleward_core::base_chain::Structure;
use ruleward_core::drift::{Drift, Kind};
use ruleward_core::fight::{Place, Seen};
use ruleward_core::names::{Family, Table};
use ruleward_core::plan::{ChainPlan, Plan};

use crate::kernel::sync_state::{Contended, SyncState};
use crate::kernel::{Chains, Kernel};
use ruleward_kernel::activity::{Activity, Touch};
use ruleward_kernel::observe::Scope;

/// Without a time of its own, what waits is looked at after this one; so it is when a try has failed.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Kernel {
    fn new_contention(&self) -> Contended {
        Contended { deferred: Deferred::default(), pending: Activity::default(), due: self.runtime.now() }
    }

    /// Decides what of the drift in `scope` waits, because it is a fight. The places that wait.
    /// Sets never do: nobody tells of their changes, so they are looked at rarely enough.
    pub fn defer(&mut self, drifts: &[Drift], heard: &Activity, scope: &Scope, todo: &Plan) -> BTreeSet<Place> {
        self.defer_but(Some(scope), drifts, heard, todo)
    }

    /// The same of what was undone before its repair was read back. Who did that is heard of later.
    pub fn defer_again(&mut self, drifts: &[Drift], todo: &mut Plan) {
        self.defer_but(None, drifts, &Activity::default(), todo);
        self.without_deferred(todo);
    }

    fn defer_but(
        &mut self,
        released: Option<&Scope>,
        drifts: &[Drift],
        heard: &Activity,
        todo: &Plan,
    ) -> BTreeSet<Place> {
        let now = self.elapsed();
        let (mut contended, before) = match std::mem::take(&mut self.sync) {
            SyncState::Contended(contended) => (*contended, SyncState::default()),
            other => (self.new_contention(), other),
        };
        let Contended { deferred, pending, .. } = &mut contended;
        if let Some(scope) = released {
            deferred.release(scope);
        }
        let sets = drifts.iter().filter(|drift| drift.table.is_none());
        let sets: Vec<Seen> = sets.map(|drift| seen(heard, drift)).collect();
        if !sets.is_empty() {
            self.fights.repaired(now, &sets);
        }
        let rules = drifts.iter().filter(|drift| drift.table.is_some());
        let seen: Vec<Seen> = rules.map(|drift| seen(heard, drift)).collect();
        self.fights.wait_still(&deferred.places);
        let decision = self.fights.seen(now, &seen);
        let mut wait: BTreeSet<Place> =
            seen.into_iter().map(|seen| seen.place).filter(|place| !decision.repair.contains(place)).collect();
        for place in &wait {
            let (family, table, chains): (_, _, Vec<Box<str>>) = match place {
                Place::Chain(family, table, chain) => (*family, *table, vec![chain.as_str().into()]),
                Place::Table(family, table) => {
                    let of_table = todo.tables.iter().filter(|plan| (plan.family, plan.table) == (*family, *table));
                    let chains = of_table.flat_map(|plan| {
                        let rebuilt = plan.structure.iter().filter_map(Structure::chain);
                        plan.chains.iter().map(|chain| chain.chain.as_str()).chain(rebuilt).map(Box::from)
                    });
                    (*family, *table, chains.collect())
                }
                Place::Set(_) => continue,
            };
            for chain in &chains {
                let touch = heard.touch(family, table, chain);
                if touch.events > 0 {
                    let chains = [((family, table, chain.clone()), touch)].into();
                    pending.extend(Activity { chains, ..Activity::default() });
                }
            }
            deferred.places.insert(place.clone());
            deferred.chains.entry((family, table)).or_default().extend(chains);
        }
        // A chain that is to go may be referred to by a rule that waits: it waits with it.
        for drift in drifts.iter().filter(|drift| drift.kind == Kind::ChainAdded) {
            let Some(place) = drift.family.zip(drift.table) else { continue };
            if let Some(chains) = deferred.chains.get_mut(&place) {
                chains.insert(drift.chain.as_str().into());
                wait.insert(Place::from(drift));
                let key = (place.0, place.1, drift.chain.as_str().into());
                let chains = [(key, touch(heard, drift))].into();
                pending.extend(Activity { chains, ..Activity::default() });
            }
        }
        let due = decision.wait_until.map(|at| self.started + at);
        contended.due = due.unwrap_or_else(|| self.runtime.now() + AFTER_FAILURE);
        self.sync = if contended.deferred.is_empty() { before } else { SyncState::Contended(Box::new(contended)) };
        wait
    }

    /// What waits in a fight is not written.
    pub fn without_deferred(&self, todo: &mut Plan) {
        let Some(Contended { deferred, .. }) = self.sync.contended() else { return };
        if let Some(first) = &mut todo.first {
            // But what keeps a set from its type goes with the set, which never waits.
            let Plan { tables, stand_ins, .. } = &mut **first;
            for table in tables.iter_mut() {
                let Some(held) = deferred.chains.get(&(table.family, table.table)) else { continue };
                let concerned = |chain: &ChainPlan| chain.removed.iter().any(|rule| stand_ins.concern(rule));
                table.chains.retain(|chain| concerned(chain) || !held.contains(chain.chain.as_str()));
                table.remove.retain(|chain| !held.contains(chain.as_str()));
            }
        }
        for table in &mut todo.tables {
            let Some(held) = deferred.chains.get(&(table.family, table.table)) else { continue };
            table.chains.retain(|chain| !held.contains(chain.chain.as_str()));
            table.remove.retain(|chain| !held.contains(chain.as_str()));
            let whole = deferred.places.contains(&Place::Table(table.family, table.table));
            table.structure.retain(|step| step.chain().map_or(!whole, |chain| !held.contains(chain)));
        }
        todo.tables.retain(|table| !table.is_empty());
    }
}

/// What is not repaired yet.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    chains: Chains,
    /// Why these chains are: what [`Fights`](ruleward_core::fight::Fights) said of these places.
    places: BTreeSet<Place>,
}

impl Deferred {
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// The chains.
    pub fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Whether a chain is held.
    pub fn has(&self, place: (Family, Table), chain: &str) -> bool {
        self.chains.get(&place).is_some_and(|held| held.contains(chain))
    }

    /// What was looked at is not held any more, whatever comes of it.
    fn release(&mut self, scope: &Scope) {
        let Scope::Part { tables, .. } = scope else { return *self = Self::default() };
        for (place, looked_at) in tables {
            match (self.chains.get_mut(place), looked_at) {
                (Some(held), Some(chains)) => held.retain(|chain| !chains.contains(chain)),
                (Some(held), None) => held.clear(),
                (None, _) => {}
            }
        }
        self.chains.retain(|_, held| !held.is_empty());
        let Self { chains, places } = self;
        places.retain(|place| match place {
            Place::Chain(family, table, chain) => {
                chains.get(&(*family, *table)).is_some_and(|held| held.contains(chain.as_str()))
            }
            // As long as any chain of it is.
            Place::Table(family, table) => chains.contains_key(&(*family, *table)),
            Place::Set(_) => false,
        });
    }
}

/// A drift for [`Fights`](ruleward_core::fight::Fights), with who may have brought it about.
pub(crate) fn seen(heard: &Activity, drift: &Drift) -> Seen {
    let touch = touch(heard, drift);
    // All our rules are there, and where the kernel tells, no rule was taken away.
    let pushed = drift.kind == Kind::RuleMoved && touch.removers.is_empty();
    Seen { place: Place::from(drift), actors: touch.actors_of(drift.kind), pushed }
}

/// What was heard of the place of a drift.
pub(crate) fn touch(heard: &Activity, drift: &Drift) -> Touch {
    match (drift.family, drift.table) {
        (Some(family), Some(table)) if drift.kind == Kind::TableFlushed => heard.touch_of_table(family, table),
        // Who changed a rule has not changed what the table itself is.
        (Some(family), Some(table)) if drift.chain.is_empty() => heard.touch_itself(family, table),
        (Some(family), Some(table)) => {
            let exact = heard.touch(family, table, &drift.chain);
            // A chain that went without an event of its own was given another name: the event has that one.
            let renamed = drift.kind == Kind::ChainDeleted && exact.events == 0;
            if renamed { heard.touch_of_table(family, table) } else { exact }
        }
        _ => Touch::default(), // nobody tells of sets
    }
}
