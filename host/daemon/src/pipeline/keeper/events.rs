//! What the kernel tells of changes: which of them are our own, and whether those who made the others are done.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use ruleward_core::names::{Family, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::Plan;
use ruleward_core::settle::{Extent, Verdict, Writer};

use super::Keeper;
use crate::kernel::activity::Activity;

/// How many generations of ours are kept until they are heard of: where nobody tells of them they would add up.
const MOST_OWN: usize = 64;

impl Keeper {
    /// A transaction of ours is tied to the generation that was read, and makes exactly the next one.
    pub(super) fn count_own_commit(&mut self, observed: &Observed, todo: &Plan) {
        let Some(generation) = observed.generation.filter(|_| !todo.tables.is_empty()) else { return };
        let next = generation.wrapping_add(1);
        if self.verified == Some(generation) {
            self.verified = Some(next);
        }
        if self.own.len() >= MOST_OWN {
            self.own.pop_front();
        }
        self.own.push_back(next);
    }

    /// What others did since the last time, in chains that concern us. `by_text`: so they are read.
    pub fn listen(&mut self, by_text: bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        let Self { watch, verified, own, .. } = self;
        let heard = watch.take(&|generation| is_known(generation, own, *verified, by_text), concerns);
        if let Some(last) = heard.generation {
            self.own.retain(|generation| comes_before(last, *generation));
        }
        self.note_writes(&heard);
        heard
    }

    /// Takes note of who has to be done before a repair begins.
    fn note_writes(&mut self, heard: &Activity) {
        let now = self.started.elapsed();
        for write in &heard.writes {
            self.settling.changed(now, self.writers.watch(&write.actor), write.extent);
        }
        if heard.lost {
            self.settling.changed(now, Writer::Stays, Extent::Mass);
        }
        if heard.elsewhere {
            self.settling.wrote_elsewhere(now);
        }
    }

    /// Whether other programs are done with what was heard, or the longest wait is over; else when to look again. From here on
    /// it is looked at.
    pub fn wait_for_writers(&mut self) -> Option<Instant> {
        let now = self.started.elapsed();
        for pid in self.writers.take_ended() {
            self.settling.ended(now, pid);
        }
        if let Verdict::Wait(at) = self.settling.verdict(now) {
            return Some(self.started + at);
        }
        self.settling.clear();
        self.writers.clear();
        None
    }

    /// When [`Keeper::wait_for_writers`] should be asked again, if no process ends before.
    pub fn settled_at(&self) -> Instant {
        match self.settling.verdict(self.started.elapsed()) {
            Verdict::Wait(at) => self.started + at,
            Verdict::Begin => Instant::now(),
        }
    }

    /// Readable when something was heard, or a process that is waited for has ended.
    pub fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.fd().into_iter().chain(self.writers.fds()).collect()
    }
}

/// Whether nobody need hear of what made a generation: we did, or everything was right then or later.
///
/// The kernel tells a new generation a moment before its rules are there. Who reads at once may have read the number, and the
/// rules of the one before: so the very one at which everything was right is heard of. iptables-save is slower than that.
pub(super) fn is_known(generation: u32, own: &VecDeque<u32>, verified: Option<u32>, by_text: bool) -> bool {
    let right = |verified| comes_before(generation, verified) || (by_text && generation == verified);
    own.contains(&generation) || verified.is_some_and(right)
}

/// Generations begin anew when they are used up.
fn comes_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}
