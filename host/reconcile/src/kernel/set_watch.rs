//! What is known of sets. No event tells of them. Their outlines (types, options, numbers of
//! members) take microseconds to look at, whatever they hold; all members take a walk, and to list
//! them takes longer still. So many members are read by a thread of their own and compared when
//! that has ended: rules never wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::expected::Expected;
use ruleward_core::names::SetName;
use ruleward_core::observed::Observed;
use ruleward_core::script;
use ruleward_core::sets::ObservedSet;

use ruleward_kernel::observe::{ObserveError, list_sets};
use ruleward_kernel::port::{Depth, Port, SetsDigest};

use crate::kernel::Kernel;
use crate::runtime::Task;

/// So many members are read at once; it takes a few milliseconds.
const FEW: u64 = 20_000;
/// After a reading that nothing calls for there is none for so many times as long as it took.
const REST: u32 = 20;
/// How often a set of another program is looked for that rules wait for.
const SEEK: Duration = Duration::from_secs(1);
/// How often a reading is looked after.
const LOOK: Duration = Duration::from_millis(10);
/// How often sets are listed anew because another program changed them meanwhile.
const TRIES: usize = 3;

/// Sets as they were read.
#[derive(Clone)]
pub(crate) struct Reading {
    outlines: Option<SetsDigest>,
    /// `None`: not known, or another program changed them all the time.
    members: Option<SetsDigest>,
    listed: BTreeMap<String, ObservedSet>,
}

/// What is known of the sets.
#[derive(Default)]
pub(crate) struct SetWatch {
    known: Option<Reading>,
    /// It was read for the look that comes next.
    fresh: bool,
    running: Option<(Task<Result<Reading, ObserveError>>, Instant)>,
    /// Members may have been changed.
    wanted: bool,
    /// They were changed: they are read when the rules are repaired.
    to_read: bool,
    /// They have changed since they were compared last: the node is not in sync before they are compared again.
    pub uncompared: bool,
    not_before: Option<Instant>,
    /// Whoever looks next can't go on without them.
    pub at_once: bool,
}

impl SetWatch {
    /// They were read for the look that comes next.
    pub fn note(&mut self, reading: Reading) {
        (self.known, self.fresh, self.wanted, self.to_read) = (Some(reading), true, false, false);
    }

    /// They were changed by us: nothing is known of them any more.
    pub fn forget(&mut self) {
        (self.known, self.fresh, self.running, self.to_read) = (None, false, None, true);
        self.uncompared = true;
    }
}

/// What is looked at: all that can be ours, but for what stands ready under a scratch name.
struct Sight {
    expected: Arc<Expected>,
    ready: BTreeSet<String>,
}

impl Sight {
    fn has(&self, name: &str) -> bool {
        self.expected.ownership.owns_set(name) && !self.ready.contains(name)
    }

    fn digest(&self, port: &dyn Port, most: Depth) -> Option<SetsDigest> {
        if !self.expected.ownership.any_sets() {
            return Some(SetsDigest { hash: 0, members: 0 });
        }
        // What rules add and take away is no program's change.
        let wanted = |name: &str| SetName::new(name).ok().and_then(|name| self.expected.sets.get(&name));
        let depth = |name: &str| if wanted(name).is_some_and(|set| set.dynamic) { Depth::Outline } else { most };
        port.sets_digest(&|name| self.has(name).then(|| depth(name)))
    }

    fn are_many(&self, outlines: Option<SetsDigest>) -> bool {
        let wanted = self.expected.sets.values().map(|set| set.members.len() as u64).sum::<u64>();
        wanted.max(outlines.map_or(0, |outlines| outlines.members)) > FEW
    }

    /// `known` again, if it is the same still.
    fn read(&self, port: &dyn Port, known: Option<Reading>) -> Result<Reading, ObserveError> {
        let mut tries = 1..=TRIES;
        loop {
            let outlines = self.digest(port, Depth::Count);
            let mut members = self.digest(port, Depth::Members);
            if let Some(known) = known.as_ref().filter(|known| members.is_some() && known.members == members) {
                return Ok(Reading { outlines, ..known.clone() });
            }
            let mut listed = list_sets(port, &|name| self.has(name))?;
            for (name, set) in &self.expected.sets {
                if let (Some(found), Some(show)) = (listed.get_mut(name.as_str()), &set.show) {
                    found.members.share_with(&show.members);
                }
            }
            let same = members.is_none() || members == self.digest(port, Depth::Members);
            let last = tries.next().is_none();
            if same || last {
                members = members.filter(|_| same);
                return Ok(Reading { outlines, members, listed });
            }
        }
    }
}

impl Kernel {
    /// Whether the sets hold so many members that another thread reads them.
    pub fn sets_are_many(&self, port: &dyn Port, expected: &Arc<Expected>) -> bool {
        let sight = self.sight(expected);
        sight.are_many(sight.digest(port, Depth::Count))
    }

    fn sight(&self, expected: &Arc<Expected>) -> Sight {
        let ready = self.filled.keys().map(|name| script::scratch_set(name)).collect();
        Sight { expected: Arc::clone(expected), ready }
    }

    /// Whether the sets hold many members, and whether they are as they were when they were last
    /// compared: surely where they hold few, by their outlines where they hold many, which are read
    /// a moment later.
    fn compare_sets(&mut self, port: &dyn Port, expected: &Arc<Expected>) -> (bool, bool) {
        let sight = self.sight(expected);
        let outlines = sight.digest(port, Depth::Count);
        let known = self.sets.known.as_ref();
        if sight.are_many(outlines) {
            self.sets.wanted = true;
            return (true, known.is_some_and(|known| outlines.is_some() && known.outlines == outlines));
        }
        let same = |known: &Reading| known.members.is_some() && known.members == sight.digest(port, Depth::Members);
        (false, known.is_some_and(same))
    }

    /// Whether nothing tells that sets have changed since they were last compared.
    pub fn sets_unchanged(&mut self, port: &dyn Port, expected: &Arc<Expected>) -> bool {
        self.compare_sets(port, expected).1
    }

    /// Whether a repair of rules has to look at the sets as well. Where that takes long it is done later.
    pub fn sets_concern_now(&mut self, port: &dyn Port, expected: &Arc<Expected>) -> bool {
        if self.filling {
            return false;
        }
        let (many, unchanged) = self.compare_sets(port, expected);
        self.sets.to_read |= many && !unchanged;
        self.sets.uncompared |= many && !unchanged;
        !many && !unchanged
    }

    /// Goes on reading sets that may have changed. True: they have, and the next look compares them.
    pub fn sets_were_changed(&mut self, port: &Arc<dyn Port>, expected: &Arc<Expected>) -> bool {
        let now = self.runtime.now();
        if let Some((reading, began)) = self.sets.running.take_if(|(reading, _)| reading.is_finished()) {
            self.sets.not_before = Some(now + now.saturating_duration_since(began) * REST);
            match reading.finish() {
                Ok(reading) => {
                    let known = self.sets.known.as_ref().and_then(|known| known.members);
                    self.sets.fresh = known.is_none() || known != reading.members;
                    self.sets.known = Some(reading);
                }
                Err(error) => {
                    tracing::warn!("the sets can't be read: {error}; it is tried again");
                    self.sets.wanted = true;
                }
            }
            return self.sets.fresh;
        }
        let due = self.sets.wanted && self.sets.not_before.is_none_or(|at| at <= now);
        if self.sets.running.is_none() && (due || self.sets.to_read) {
            (self.sets.wanted, self.sets.to_read) = (false, false);
            let read = self.reading(port, expected);
            self.sets.running = Some((Task::spawn(&*self.runtime, read), now));
        }
        false
    }

    /// What reads them, for another thread.
    pub fn reading(
        &mut self,
        port: &Arc<dyn Port>,
        expected: &Arc<Expected>,
    ) -> impl FnOnce() -> Result<Reading, ObserveError> + Send + use<> {
        let (port, sight, known) = (Arc::clone(port), self.sight(expected), self.sets.known.clone());
        let (earlier, runtime) = (self.sets.running.take(), Arc::clone(&self.runtime));
        move || {
            // Not two at a time: each takes its memory.
            drop(earlier.map(|(earlier, _)| earlier.finish()));
            let read = sight.read(&*port, known);
            runtime.give_back_memory();
            read
        }
    }

    /// Whether a set of another program that rules wait for has come.
    pub fn awaited_sets_came(&self, port: &dyn Port) -> bool {
        self.absent_sets.iter().any(|set| port.set_references(set.as_str()).is_some())
    }

    /// The same, as far as it is time to look.
    pub fn seek_sets(&mut self, port: &dyn Port, now: Instant) -> bool {
        if self.absent_sets.is_empty() {
            self.seek_sets = None;
            return false;
        }
        if !self.unsettled.is_empty() || self.seek_sets.is_some_and(|at| at > now) {
            return false; // while a table is left alone, what waits in it would be
        }
        self.seek_sets = Some(now + SEEK);
        self.awaited_sets_came(port)
    }

    /// When to look for them again.
    pub fn seek_due(&self) -> Option<Instant> {
        (!self.absent_sets.is_empty()).then(|| self.seek_sets.unwrap_or_else(|| self.runtime.now()))
    }

    /// When to look again.
    pub fn sets_due(&self) -> Option<Instant> {
        if self.filling {
            return None;
        }
        if self.sets.running.is_some() {
            return Some(self.runtime.now() + LOOK);
        }
        if self.sets.to_read {
            return Some(self.runtime.now());
        }
        self.sets.wanted.then(|| self.sets.not_before.unwrap_or_else(|| self.runtime.now()))
    }

    /// Whether sets have to be read before all is known to be right.
    pub fn sets_are_unread(&self) -> bool {
        self.sets.to_read
    }

    /// Reads the sets into `observed`. Where they hold many members, and were not read since they
    /// changed, nothing is said of them: they are read later.
    pub fn look_at_sets(
        &mut self,
        port: &dyn Port,
        expected: &Arc<Expected>,
        observed: &mut Observed,
    ) -> Result<(), ObserveError> {
        let sight = self.sight(expected);
        let outlines = sight.digest(port, Depth::Count);
        if !std::mem::take(&mut self.sets.fresh) {
            let many = sight.are_many(outlines) && !self.sets.at_once;
            if many
                && self.sets.known.as_ref().is_none_or(|known| known.outlines.is_none() || known.outlines != outlines)
            {
                (self.sets.to_read, self.sets.uncompared) = (true, true);
                return Ok(());
            }
            if !many {
                let known = self.sets.known.take();
                self.sets.known = Some(sight.read(port, known)?);
                (self.sets.wanted, self.sets.to_read) = (false, false);
            }
        }
        let Some(Reading { listed, .. }) = &mut self.sets.known else { return Ok(()) };
        self.sets.uncompared = false;
        for (name, set) in &mut *listed {
            set.references = port.set_references(name).unwrap_or(set.references);
        }
        observed.sets = expected.ownership.any_sets().then(|| listed.clone());
        Ok(())
    }
}
