//! Incidents that wait for the disk, and when each of them is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;
use ruleward_report::Incident;

use super::{FIRST_PAUSE, LONGEST_PAUSE, MOST_BYTES, QUIET};

/// How many incidents are kept in mind for their pauses.
const MOST_PACES: usize = 8192;

/// What waits, by number, and the numbers themselves.
#[derive(Debug, Default)]
pub struct Queue {
    last_id: u64,
    /// Whether anybody writes.
    written: bool,
    pub(super) waiting: Batch,
    /// Size of all that waits.
    pub(super) bytes: usize,
    /// How many went unwritten for want of space.
    pub(super) lost: u64,
    paces: BTreeMap<u64, Pace>,
}

/// Incidents by number.
pub type Batch = BTreeMap<u64, Waiting>;

#[derive(Debug, Clone)]
pub struct Waiting {
    pub(super) incident: Arc<Incident>,
    pub(super) due: Instant,
    pub(super) bytes: usize,
}

/// When an incident was written, and how long to wait before it is again.
#[derive(Debug, Clone, Copy)]
struct Pace {
    written: Instant,
    pause: Duration,
}

impl Queue {
    /// One that is written, and goes on after this number.
    pub fn after(last_id: u64) -> Self {
        Self { written: true, ..Self::only_numbers(last_id) }
    }

    /// One that nobody writes.
    pub fn only_numbers(last_id: u64) -> Self {
        Self { last_id, ..Self::default() }
    }

    /// The highest number that an incident has.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// This number is taken, too.
    pub fn knows(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// Takes an incident, or what it has become. Whether there is something to write.
    pub fn record(&mut self, incident: &Incident) -> bool {
        self.knows(incident.id);
        if !self.written {
            return false;
        }
        let now = Instant::now();
        let due = self.paces.get(&incident.id).map_or(now, |pace| (pace.written + pace.pause).min(now + QUIET));
        self.put(incident.id, Waiting { incident: Arc::new(incident.clone()), due, bytes: weight(incident) });
        true
    }

    pub(super) fn put(&mut self, id: u64, waiting: Waiting) {
        self.bytes += waiting.bytes;
        if let Some(before) = self.waiting.insert(id, waiting) {
            self.bytes -= before.bytes;
        }
        while self.bytes > MOST_BYTES
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.bytes -= oldest.bytes;
            self.lost += 1;
        }
    }

    /// Takes back what could not be written. What has changed meanwhile is newer.
    pub fn put_back(&mut self, batch: Batch) {
        for (id, waiting) in batch {
            if !self.waiting.contains_key(&id) {
                self.put(id, waiting);
            }
        }
    }

    /// When the first is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    /// Those that are due.
    pub fn take_due(&mut self, now: Instant) -> Batch {
        let due: Batch = self.waiting.extract_if(.., |_, waiting| waiting.due <= now).collect();
        self.bytes -= due.values().map(|waiting| waiting.bytes).sum::<usize>();
        due
    }

    /// All of them.
    pub fn take_all(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// These are on the disk: what they become is written after a pause.
    pub fn wrote(&mut self, batch: &Batch) {
        let now = Instant::now();
        for id in batch.keys() {
            let pause = self.paces.get(id).map_or(FIRST_PAUSE, |pace| (pace.pause * 2).min(LONGEST_PAUSE));
            self.paces.insert(*id, Pace { written: now, pause });
        }
        self.paces.retain(|_, pace| now.saturating_duration_since(pace.written) < LONGEST_PAUSE * 2);
        while self.paces.len() > MOST_PACES {
            self.paces.pop_first();
        }
    }
}

/// About as many bytes as it takes.
pub(super) fn weight(incident: &Incident) -> usize {
    let lines = incident.added.iter().chain(&incident.removed).map(|line| line.len() + 32);
    let words = |actor: &Actor| -> usize {
        let own = [&actor.executable, &actor.command_line, &actor.cgroup].into_iter().flatten().map(String::len);
        let parents = actor.parents().map(|parent| 80 + parent.command_line.as_ref().map_or(0, String::len));
        150 + own.chain(parents).sum::<usize>()
    };
    let actors = incident.actors.iter().map(|one| &one.actor).chain(&incident.latest).map(words);
    600 + incident.detail.len() + incident.how.len() + lines.chain(actors).sum::<usize>()
}
