//! What the kernel tells of changes: which of them are our own, and whether those who made the others are done.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::Plan;
use ruleward_core::settle::{Extent, Verdict, Writer};

use super::Kernel;
use ruleward_kernel::activity::Activity;

/// How many generations of ours are kept until they are heard of: where nobody tells of them they would add up.
const MOST_OWN: usize = 64;

impl Kernel {
    /// A transaction of ours is tied to the generation that was read, and makes exactly the next one.
    pub(crate) fn count_own_commit(&mut self, observed: &Observed, todo: &Plan) {
        let Some(generation) = observed.generation.filter(|_| !todo.tables.is_empty()) else { return };
        let next = generation.wrapping_add(1);
        if self.sync.generation() == Some(generation) {
            self.sync.set_generation(Some(next));
        }
        if self.own.len() >= MOST_OWN {
            self.own.pop_front();
        }
        self.own.push_back(next);
    }

    /// What others did since the last time, in chains that concern us.
    pub fn poll_events(&mut self, expected: &Expected, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        let by_text = expected.forms.is_none();
        let Self { events, own, .. } = self;
        let compared = self.sync.generation();
        let heard = events.take(&|generation| is_known(generation, own, compared, by_text), concerns);
        if let Some(last) = heard.generation {
            self.own.retain(|generation| comes_before(last, *generation));
        }
        self.note_writes(&heard, expected.tables.keys().copied());
        heard
    }

    /// Takes note of who has to be done before a repair begins.
    fn note_writes(&mut self, heard: &Activity, places: impl Iterator<Item = (Family, Table)>) {
        let now = self.elapsed();
        for write in &heard.writes {
            self.settling.changed(now, write.place, self.writers.watch(&write.actor), write.extent);
        }
        if heard.lost {
            places.for_each(|place| self.settling.changed(now, place, Writer::Stays, Extent::Mass));
        }
        if heard.elsewhere {
            self.settling.wrote_elsewhere(now);
        }
    }

    /// Takes what was heard of the tables that other programs are done with, or whose longest wait is over; all other tables
    /// are left alone until the next time. `None`: there is nothing but these.
    pub fn take_settled(&mut self, expected: &Expected) -> Option<Activity> {
        self.note_ends();
        let waited = !self.settling.is_empty();
        let settled = self.settling.take_settled(self.elapsed());
        self.unsettled = self.settling.unsettled().collect();
        self.end_given_way();
        if waited && settled.is_empty() {
            return None;
        }
        self.writers.keep(&self.settling.running().collect());
        let mut heard = self.pending.take_all_but(&self.unsettled);
        if self.pending.lost || self.pending.anywhere.is_some() {
            for place in settled.into_iter().filter(|place| expected.tables.contains_key(place)) {
                heard.tables.entry(place).or_default();
            }
        }
        Some(heard)
    }

    /// The tables with which other programs are not done, as far as it was heard by now.
    pub fn unfinished(&mut self) -> BTreeSet<(Family, Table)> {
        self.note_ends();
        self.settling.unsettled_again(self.elapsed())
    }

    /// Whether other programs are done with all that was heard, or it is `latest`; else when to look again. From here on all of
    /// it is looked at.
    pub fn wait_for_writers(&mut self, latest: Instant) -> Option<Instant> {
        self.note_ends();
        if let Verdict::Wait(at) = self.settling.verdict_of_all(self.elapsed())
            && self.runtime.now() < latest
        {
            return Some((self.started + at).min(latest));
        }
        self.look_at_all();
        None
    }

    /// No table is left alone.
    pub fn look_at_all(&mut self) {
        self.settling.clear();
        self.writers.keep(&BTreeSet::new());
        self.unsettled.clear();
        self.given_way.clear();
    }

    fn note_ends(&mut self) {
        let now = self.elapsed();
        for pid in self.writers.take_ended() {
            self.settling.ended(now, pid);
        }
    }

    /// When [`Kernel::take_settled`] should be asked again, if no process ends before.
    pub fn settled_at(&self) -> Instant {
        match self.settling.verdict(self.elapsed()) {
            Verdict::Wait(at) => self.started + at,
            Verdict::Begin => self.runtime.now(),
        }
    }

    /// Readable when something was heard, or a process that is waited for has ended.
    pub fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.events.fds().into_iter().chain(self.writers.fds()).collect()
    }
}

/// Whether nobody need hear of what made a generation: we did, or everything was right then or later.
///
/// The kernel tells a new generation a moment before its rules are there. Who reads at once may have read the number, and the
/// rules of the one before: so the very one at which everything was right is heard of. iptables-save is slower than that.
pub(crate) fn is_known(generation: u32, own: &VecDeque<u32>, compared: Option<u32>, by_text: bool) -> bool {
    let looked_at = |compared| comes_before(generation, compared) || (by_text && generation == compared);
    own.contains(&generation) || compared.is_some_and(looked_at)
}

/// Generations begin anew when they are used up.
fn comes_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}
