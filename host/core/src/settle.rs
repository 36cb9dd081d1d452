//! When a repair may begin, so that it makes no write of another program fail: a pure function of what was heard, of which
//! processes still run, and of what time it is.
//!
//! Programs write in several steps. `iptables-restore` commits table by table, `iptables -F && iptables -X` is two
//! processes, and iptables-nft reads the rules first and commits to what it has read: a commit of ours to the same table
//! between two of these steps undoes the first and makes the second fail. So the repair of a table waits:
//! - until the process that wrote to it has ended, if it is a tool that ends by itself ([`Writer::Ends`]);
//! - until a program that goes on running has not written to it for a tenth of [`Bounds::single`];
//! - after a change of more than one rule also until nothing was written to any table for a tenth of [`Bounds::mass`]: the
//!   next process of a script is not there yet when the one before it has ended, and it may flush all tables before it
//!   deletes the chains of the first;
//! - and never longer than [`Bounds::single`] from the first change of this table, or [`Bounds::mass`] if it was more than
//!   one rule.
//!
//! One rule that was changed by a process that has ended is repaired at once. Each table settles apart: a script that goes
//! from table to table for longer than the bound is not met between two steps in its last table, and a commit to another
//! table than that of a process in between does it no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::names::{Family, Table};

/// Which part of a bound is quiet enough.
const QUIET: u32 = 10;
/// Of more processes than this the ends are not waited for: then there is quiet, or the bound.
pub const MOST_WRITERS: usize = 64;

/// A table of one family.
pub type Place = (Family, Table);

/// The longest waits, each counted from the first change of a table that is not repaired yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For one rule.
    pub single: Duration,
    /// For more than that: a flush, a reload.
    pub mass: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { single: Duration::from_millis(250), mass: Duration::from_secs(2) }
    }
}

/// How much was changed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// One rule.
    Single,
    /// More: several rules, a chain, a table.
    Mass,
}

/// Who changed something, as far as it tells when that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A process that has ended.
    Ended,
    /// A tool that ends when it is done, and still runs.
    Ends(u32),
    /// A program that goes on running, or one whose end can't be waited for.
    Stays,
}

/// Whether a repair may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Begin,
    /// Not before this time, unless a process ends ([`Settling::ended`]).
    Wait(Duration),
}

/// What was heard and is not repaired yet, by table.
#[derive(Debug, Clone)]
pub struct Settling {
    bounds: Bounds,
    tables: BTreeMap<Place, Changes>,
    /// Since when the tables had waited that were taken last.
    taken: BTreeMap<Place, Duration>,
    /// When anything was last written while changes settle, to whichever table.
    last: Duration,
}

#[derive(Debug, Clone)]
struct Changes {
    since: Duration,
    extent: Extent,
    /// Tools that still run.
    running: BTreeSet<u32>,
    /// When something was last written of which it is not known whether it is complete.
    open: Option<Duration>,
}

impl Settling {
    /// Nothing was heard.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, tables: BTreeMap::new(), taken: BTreeMap::new(), last: Duration::ZERO }
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Other bounds from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Another program has changed something in a table that may concern us.
    pub fn changed(&mut self, now: Duration, place: Place, writer: Writer, extent: Extent) {
        self.last = self.last.max(now);
        let new = || Changes { since: now, extent, running: BTreeSet::new(), open: None };
        let changes = self.tables.entry(place).or_insert_with(new);
        changes.extent = changes.extent.max(extent);
        match writer {
            Writer::Ended => {}
            Writer::Ends(pid) if changes.running.len() < MOST_WRITERS => {
                changes.running.insert(pid);
            }
            Writer::Ends(_) | Writer::Stays => changes.open = Some(now),
        }
    }

    /// Another program has written something that does not concern us: while changes settle, it is no quiet either.
    pub fn wrote_elsewhere(&mut self, now: Duration) {
        self.last = self.last.max(now);
    }

    /// A process has ended.
    pub fn ended(&mut self, now: Duration, pid: u32) {
        for changes in self.tables.values_mut() {
            if changes.running.remove(&pid) {
                self.last = self.last.max(now);
            }
        }
    }

    /// The tools whose end is waited for.
    pub fn running(&self) -> impl Iterator<Item = u32> {
        self.tables.values().flat_map(|changes| changes.running.iter().copied())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The tables that wait.
    pub fn unsettled(&self) -> impl Iterator<Item = Place> {
        self.tables.keys().copied()
    }

    /// What was heard is looked at now, wherever it was.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.taken.clear();
    }

    /// The tables whose repair may begin; they are looked at now, and do not wait any more.
    pub fn take_settled(&mut self, now: Duration) -> BTreeSet<Place> {
        let is_settled = |changes: &Changes| self.settled_at(changes) <= now;
        let tables = self.tables.iter().filter(|(_, changes)| is_settled(changes));
        self.taken = tables.map(|(place, changes)| (*place, changes.since)).collect();
        self.tables.retain(|place, _| !self.taken.contains_key(place));
        self.taken.keys().copied().collect()
    }

    /// The tables whose repair may not begin, though some were taken just now: they were written to again. Such a table
    /// goes on waiting from its first change, so that no program can put its repair off by writing all the time.
    pub fn unsettled_again(&mut self, now: Duration) -> BTreeSet<Place> {
        for (place, since) in &self.taken {
            if let Some(changes) = self.tables.get_mut(place) {
                changes.since = changes.since.min(*since);
            }
        }
        let waits = self.tables.iter().filter(|(_, changes)| self.settled_at(changes) > now);
        waits.map(|(place, _)| *place).collect()
    }

    /// Whether the repair of any table may begin, or nothing waits.
    #[must_use]
    pub fn verdict(&self, now: Duration) -> Verdict {
        Self::at(now, self.tables.values().map(|changes| self.settled_at(changes)).min())
    }

    /// Whether the repair of every table may begin.
    #[must_use]
    pub fn verdict_of_all(&self, now: Duration) -> Verdict {
        Self::at(now, self.tables.values().map(|changes| self.settled_at(changes)).max())
    }

    fn at(now: Duration, settled: Option<Duration>) -> Verdict {
        settled.filter(|at| *at > now).map_or(Verdict::Begin, Verdict::Wait)
    }

    /// When the repair of a table may begin, if nothing else is heard.
    fn settled_at(&self, changes: &Changes) -> Duration {
        let Bounds { single, mass } = self.bounds;
        let bound = changes.since + if changes.extent == Extent::Mass { mass } else { single };
        let quiet_after_mass = (changes.extent == Extent::Mass).then(|| self.last + mass / QUIET);
        let quiet_after_open = changes.open.map(|open| open + single / QUIET);
        let end = (!changes.running.is_empty()).then_some(bound);
        let settled = [quiet_after_mass, quiet_after_open, end].into_iter().flatten().max();
        settled.map_or(changes.since, |settled| settled.min(bound))
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
