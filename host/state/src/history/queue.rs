//! Answers of policies that wait for the disk.

use std::collections::{BTreeSet, VecDeque};

use super::Event;

/// How many wait; then the newest go.
pub(super) const MOST_WAITING: usize = 64;

/// Oldest first.
pub type Batch = VecDeque<Event>;

/// What waits.
#[derive(Debug, Default)]
pub struct Queue {
    /// Whether anybody writes.
    written: bool,
    waiting: Batch,
    /// How many are in no record for want of space.
    pub(super) lost: u64,
    /// Components that records name, or will name; none while that is not known.
    pub named: Option<BTreeSet<String>>,
}

impl Queue {
    /// One that is written.
    pub fn started() -> Self {
        Self { written: true, ..Self::default() }
    }

    /// Takes an event. Whether there is something to write.
    pub fn record(&mut self, event: Event) -> bool {
        if !self.written {
            return false;
        }
        if let Some(named) = &mut self.named {
            named.insert(event.component.clone());
        }
        self.waiting.push_back(event);
        self.bound();
        true
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, mut batch: Batch) {
        batch.append(&mut self.waiting);
        self.waiting = batch;
        self.bound();
    }

    fn bound(&mut self) {
        let surplus = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.truncate(MOST_WAITING);
        self.lost += surplus as u64;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that waits.
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.waiting)
    }

    /// Records on the disk name these; what waits will name more.
    pub fn names(&mut self, mut components: BTreeSet<String>) {
        components.extend(self.waiting.iter().map(|event| event.component.clone()));
        self.named = Some(components);
    }
}
