//! When a repair may begin, so that it makes no write of another program fail: a pure function of what was heard, of which
//! processes still run, and of what time it is.
//!
//! Programs write in several steps. `iptables-restore` commits table by table, `iptables -F && iptables -X` is two
//! processes, and iptables-nft reads the rules first and commits to what it has read: a commit of ours between two of these
//! steps undoes the first and makes the second fail. So a repair waits:
//! - until the process that wrote has ended, if it is a tool that ends by itself ([`Writer::Ends`]);
//! - until a program that goes on running has written nothing for a tenth of [`Bounds::single`];
//! - after a change of more than one rule also until nothing was written for a tenth of [`Bounds::mass`]: the next process of
//!   a script is not there yet when the one before it has ended;
//! - and never longer than [`Bounds::single`] from the first change, or [`Bounds::mass`] if it was more than one rule.
//!
//! One rule that was changed by a process that has ended is repaired at once.

use std::collections::BTreeSet;
use std::time::Duration;

/// Which part of a bound is quiet enough.
const QUIET: u32 = 10;
/// Of more processes than this the ends are not waited for: then there is quiet, or the bound.
pub const MOST_WRITERS: usize = 64;

/// The longest waits, each counted from the first change that is not repaired yet.
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

/// What was heard and is not repaired yet.
#[derive(Debug, Clone)]
pub struct Settling {
    bounds: Bounds,
    changes: Option<Changes>,
}

#[derive(Debug, Clone)]
struct Changes {
    since: Duration,
    last: Duration,
    extent: Extent,
    /// Tools that still run.
    running: BTreeSet<u32>,
    /// When something was last written of which it is not known whether it is complete.
    open: Option<Duration>,
}

impl Settling {
    /// Nothing was heard.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, changes: None }
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Other bounds from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Another program has changed something that may concern us.
    pub fn changed(&mut self, now: Duration, writer: Writer, extent: Extent) {
        let changes = self.changes.get_or_insert_with(|| Changes {
            since: now,
            last: now,
            extent,
            running: BTreeSet::new(),
            open: None,
        });
        changes.last = changes.last.max(now);
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
        if let Some(changes) = &mut self.changes {
            changes.last = changes.last.max(now);
        }
    }

    /// A process has ended.
    pub fn ended(&mut self, now: Duration, pid: u32) {
        if let Some(changes) = &mut self.changes
            && changes.running.remove(&pid)
        {
            changes.last = changes.last.max(now);
        }
    }

    /// The tools whose end is waited for.
    pub fn running(&self) -> impl Iterator<Item = u32> {
        self.changes.iter().flat_map(|changes| changes.running.iter().copied())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.changes.is_none()
    }

    /// What was heard is looked at now.
    pub fn clear(&mut self) {
        self.changes = None;
    }

    /// Whether a repair may begin.
    #[must_use]
    pub fn verdict(&self, now: Duration) -> Verdict {
        let Some(changes) = &self.changes else { return Verdict::Begin };
        let Bounds { single, mass } = self.bounds;
        let bound = changes.since + if changes.extent == Extent::Mass { mass } else { single };
        let quiet_after_mass = (changes.extent == Extent::Mass).then(|| changes.last + mass / QUIET);
        let quiet_after_open = changes.open.map(|open| open + single / QUIET);
        let end = (!changes.running.is_empty()).then_some(bound);
        let settled = [quiet_after_mass, quiet_after_open, end].into_iter().flatten().max();
        match settled.map(|settled| settled.min(bound)) {
            Some(at) if at > now => Verdict::Wait(at),
            _ => Verdict::Begin,
        }
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
