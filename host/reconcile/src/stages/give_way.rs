//! A jump of ours to another program's chain keeps the kernel from deleting that chain. Whoever is
//! about to delete one empties it first (`iptables -F f2b-sshd`, then `-X f2b-sshd`): so when such
//! a chain was emptied, our jump to it is taken out at once, without waiting for the writer. To
//! packets a jump to an empty chain is none. When the writer is done and the chain is there still,
//! the jump comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use ruleward_core::awaiting::Foreign;
use ruleward_core::expected::Expected;
use ruleward_core::names::{Backend, ChainName, Family, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::plan;

use crate::kernel::Kernel;
use crate::pass::Stop;
use crate::reconciler::Reconciler;
use ruleward_kernel::activity::Activity;
use ruleward_kernel::observe::Scope;
use ruleward_kernel::port::{Port, Wanted};
use ruleward_report::Intent;
use ruleward_report::plain::plain;

/// A chain of another program.
type Place = (Family, Table, Box<str>);

impl Reconciler {
    /// Takes out our jumps to chains that were emptied.
    pub(crate) fn give_way(&mut self, expected: &Arc<Expected>) {
        let touched: Vec<Place> = awaited(expected).filter(|place| self.is_touched(place)).collect();
        for place in touched {
            // The table is left alone until the writer is done, but for this.
            let unsettled = std::mem::take(&mut self.kernel.unsettled);
            if let Err(Stop) = self.give_way_to(Arc::clone(expected), &place) {
                tracing::debug!("{} {} {}: no way was given to its owner", place.0, place.1, place.2);
            }
            self.kernel.unsettled = unsettled;
        }
    }

    /// Whether rules may have been taken out of the chain. On legacy it is told of tables alone:
    /// there the chain had some.
    fn is_touched(&self, place: &Place) -> bool {
        let Kernel { pending, given_way, filled_chains, .. } = &self.kernel;
        let in_table = || pending.tables.contains_key(&(place.0, place.1)) && filled_chains.contains(place);
        !given_way.contains(place) && (pending.chains.contains_key(place) || in_table())
    }

    fn give_way_to(&mut self, mut expected: Arc<Expected>, place: &Place) -> Result<(), Stop> {
        let (family, table, chain) = place;
        let waiting = expected.tables.get(&(*family, *table)).into_iter().flat_map(|wanted| wanted.waiting_for(chain));
        let chains: BTreeSet<Box<str>> = waiting.map(Box::from).collect();
        let scope = Scope::Part { tables: [((*family, *table), Some(chains))].into(), sets: false };
        let by = Kernel::by(&expected);
        let look = self.kernel.look(&*self.port, &mut expected, &scope, by, false);
        let Ok(mut observed) = look else { return Err(Stop) };
        if !is_empty(&observed, place) {
            return Ok(());
        }
        self.kernel.given_way.insert(place.clone());
        self.kernel.leave_out_given_way(&mut observed);
        let mut todo = plan(&expected, &observed);
        todo.tables.iter_mut().for_each(|table| table.chains.retain(|chain| !chain.removed.is_empty()));
        todo.tables.retain(|table| !table.is_empty());
        if todo.tables.is_empty() {
            return Ok(());
        }
        let (mut pass, seen) = (self.begin(Intent::Write), self.runtime.now());
        pass.found.measure = Some(Arc::clone(&expected));
        let written = self.kernel.write(&*self.port, &mut pass, &mut expected, &mut observed, &mut todo, &scope);
        // What else was found there meanwhile was repaired with it.
        self.record(&mut pass, &Activity::default(), &written, seen);
        written?;
        self.target.expected = Some(expected);
        if let Ok(name) = ChainName::new(chain) {
            self.kernel.awaited.forget(*family, *table, Foreign::Chain(name));
        }
        let text =
            format!("{family} {table}: another program emptied chain {chain}; our jump to it is removed, so it can go");
        tracing::info!("{}", plain(&text));
        Ok(())
    }
}

/// The chains of other programs that rules wait for.
fn awaited(expected: &Expected) -> impl Iterator<Item = Place> {
    expected.tables.iter().flat_map(|((family, table), wanted)| {
        wanted.awaits.keys().filter_map(|awaited| match awaited {
            Foreign::Chain(chain) => Some((*family, *table, chain.as_str().into())),
            Foreign::Set(_) => None,
        })
    })
}

/// Whether the chain exists, without a rule.
fn is_empty(observed: &Observed, (family, table, chain): &Place) -> bool {
    let has = observed.tables.get(&(*family, *table));
    has.is_some_and(|has| has.has(chain) && has.rules(chain).is_empty())
}

impl Kernel {
    /// What way was given to is as if it were not there.
    pub(crate) fn leave_out_given_way(&self, observed: &mut Observed) {
        for (family, table, chain) in &self.given_way {
            if let Some(has) = observed.tables.get_mut(&(*family, *table)) {
                has.leave_out_chain(chain);
            }
        }
    }

    /// Takes note of which of them have rules, where it is not told of each chain what happens to it.
    pub(crate) fn note_filled_chains(&mut self, port: &dyn Port, expected: &Expected) {
        if port.backend() == Backend::Nft {
            return;
        }
        self.filled_chains.clear();
        for (family, table) in expected.tables.iter().filter(|(_, wanted)| !wanted.awaits.is_empty()).map(|(at, _)| *at)
        {
            let Ok(raw) = port.raw(family, table, Wanted::Which(&|_| true)) else { continue };
            let filled = raw.chains.into_iter().filter(|chain| !chain.rules.is_empty());
            self.filled_chains.extend(filled.map(|chain| (family, table, chain.name)));
        }
    }

    /// Where writers are done, no way is given any more.
    pub(crate) fn end_given_way(&mut self) {
        let Self { given_way, unsettled, .. } = self;
        given_way.retain(|(family, table, _)| unsettled.contains(&(*family, *table)));
    }
}
