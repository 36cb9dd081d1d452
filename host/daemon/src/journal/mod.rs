//! The journal of incidents: durable, bounded, safe against crashes, in the state directory.
//!
//! - `incidents.jsonl` holds one incident a line, as JSON. One that changes is appended again under its id; the last
//!   line wins. At a size ([`crate::config::Config::incident_journal_size`]) it becomes `incidents.1.jsonl`, in place of
//!   the one before, and a new one begins. So the disk holds two of them at most.
//! - A thread of its own writes ([`writer`]), so the repair path never waits for a disk. Each batch is on the disk
//!   (`fdatasync`) before the next one begins. An incident that repeats is written at growing pauses, the first a second,
//!   the longest [`LONGEST_PAUSE`], and once more when it has been quiet for [`QUIET`] or the daemon stops.
//! - If the disk is full, read-only or too slow, incidents wait in memory, the status says so and the log once, and they
//!   are written when the disk allows. What waits is bounded ([`MOST_BYTES`]); beyond that the oldest go, and are counted.
//! - A line that a crash has cut is left out by readers ([`read`]), and what is appended begins on a line of its own.
//! - Ids go on across restarts. Two incidents with one id (from a time when the old ones could not be read) are told apart
//!   by the time when they were seen first.

pub mod file;
pub mod follow;
pub mod read;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;

use file::JournalFile;
use ruleward_report::Incident;
use writer::{Note, Writer};

/// The file that grows.
pub const CURRENT: &str = "incidents.jsonl";
/// The one before.
pub const PREVIOUS: &str = "incidents.1.jsonl";

/// First pause between two lines of the same incident.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two lines of the same incident.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After this time without a repeat the count of an incident is final.
pub const QUIET: Duration = Duration::from_secs(60);
/// How much may wait for the disk, in bytes.
pub const MOST_BYTES: usize = 16 << 20;
/// How long stopping waits for the disk.
pub const CLOSE_TIME: Duration = Duration::from_secs(5);
/// How many incidents are kept in mind for their pauses.
const MOST_PACES: usize = 8192;

/// Where incidents are handed in; clones share one journal.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    last_id: u64,
    /// Whether anybody writes.
    written: bool,
    waiting: BTreeMap<u64, Waiting>,
    /// Size of all that waits.
    bytes: usize,
    /// How many went unwritten for want of space.
    lost: u64,
    paces: BTreeMap<u64, Pace>,
    closing: bool,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Waiting {
    incident: Arc<Incident>,
    due: Instant,
    bytes: usize,
}

/// When an incident was written, and how long to wait before it is again.
#[derive(Debug, Clone, Copy)]
struct Pace {
    written: Instant,
    pause: Duration,
}

impl Journal {
    /// One that only gives numbers: for commands that run once.
    pub fn none() -> Self {
        Self::with(Queue::default())
    }

    fn with(queue: Queue) -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() }) }
    }

    /// The journal in `directory`, of two files of `size` bytes at most. It always starts; if it can't be written now,
    /// `note` gets the reason, and `None` when it is over.
    pub fn start(directory: &Path, size: u64, note: impl Fn(Option<String>) + Send + 'static) -> Self {
        let last_id = read::last_id(directory);
        let journal = Self::with(Queue { last_id, written: true, ..Queue::default() });
        let note: Note = Box::new(note);
        let writer = Writer::new(directory.to_owned(), size, journal.clone(), note);
        match std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run()) {
            Ok(_) => journal,
            Err(error) => {
                tracing::error!(
                    "incidents are not written to {}: the thread for it can't be started: {error}",
                    directory.display()
                );
                Self::with(Queue { last_id, ..Queue::default() })
            }
        }
    }

    /// The highest number that an incident has.
    pub fn last_id(&self) -> u64 {
        self.queue().last_id
    }

    /// Takes an incident, or what it has become. Never waits for the disk.
    pub fn record(&self, incident: &Incident) {
        let queue = &mut *self.queue();
        queue.last_id = queue.last_id.max(incident.id);
        if !queue.written || queue.closed {
            return;
        }
        let now = Instant::now();
        let due = queue.paces.get(&incident.id).map_or(now, |pace| (pace.written + pace.pause).min(now + QUIET));
        let waiting = Waiting { incident: Arc::new(incident.clone()), due, bytes: weight(incident) };
        queue.put(incident.id, waiting);
        self.shared.changed.notify_all();
    }

    /// Writes all that waits, and ends the writing; gives up after `patience`.
    pub fn close(&self, patience: Duration) {
        let mut queue = self.queue();
        queue.closing = true;
        self.shared.changed.notify_all();
        let until = Instant::now() + patience;
        while queue.written && !queue.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("{} incidents are not written: the disk takes too long", queue.waiting.len());
                return;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn put(&mut self, id: u64, waiting: Waiting) {
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
}

/// About as many bytes as it takes.
fn weight(incident: &Incident) -> usize {
    let lines = incident.added.iter().chain(&incident.removed).map(|line| line.len() + 32);
    let words = |actor: &Actor| -> usize {
        let own = [&actor.executable, &actor.command_line, &actor.cgroup].into_iter().flatten().map(String::len);
        let parents = actor.parents().map(|parent| 80 + parent.command_line.as_ref().map_or(0, String::len));
        150 + own.chain(parents).sum::<usize>()
    };
    let actors = incident.actors.iter().map(|one| &one.actor).chain(&incident.latest).map(words);
    600 + incident.detail.len() + incident.how.len() + lines.chain(actors).sum::<usize>()
}
