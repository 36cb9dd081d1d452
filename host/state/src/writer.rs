//! The thread that writes to the state directory while the daemon works, and what is handed to it.
//!
//! Whoever records something leaves it in a bounded queue and goes on; the thread takes what is due
//! and writes it. If the disk is full, read-only or too slow, what is recorded waits in memory, as
//! far as the bounds allow, the status says so and the log once, and it is written when the disk
//! takes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruleward_reconcile::record::Event;
use ruleward_report::Incident;

use crate::history::store::Bounds;
use crate::history::{self, KeptComponents};
use crate::journal;

/// How long stopping waits for the disk.
pub const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Which of the two there is something to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Incidents.
    Journal,
    /// Records of policies.
    History,
}

/// Says that something can't be written, and why; `None` when it can again.
pub(crate) type Note = Arc<dyn Fn(Kept, Option<String>) + Send + Sync>;

/// What is written.
pub struct Settings {
    /// Incidents: the largest size of one file in bytes; none if they are not written.
    pub journal: Option<u64>,
    /// Records of policies: how much is kept, and the components that are; none if they are not written.
    pub history: Option<(Bounds, KeptComponents)>,
}

/// Where incidents and records are handed in; clones share one thread.
#[derive(Debug, Clone)]
pub struct StateWriter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

/// What waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub journal: journal::Queue,
    pub history: history::Queue,
    /// Whether the thread runs.
    running: bool,
    closing: bool,
}

impl StateWriter {
    /// One that writes nothing, and only numbers incidents: for commands that run once.
    pub fn none() -> Self {
        Self { shared: Arc::default() }
    }

    /// Writes to this state directory. It always starts; if something can't be written now, `note` gets the reason,
    /// and `None` when it is over.
    pub fn start(
        state_directory: &Path,
        settings: Settings,
        note: impl Fn(Kept, Option<String>) + Send + Sync + 'static,
    ) -> Self {
        let note: Note = Arc::new(note);
        let mut inbox = Inbox { running: true, ..Inbox::default() };
        let shared = Arc::new(Shared::default());
        let journal = settings.journal.map(|size| {
            inbox.journal = journal::Queue::after(journal::read::last_id(state_directory));
            journal::Writer::new(state_directory, size, Arc::clone(&shared), Arc::clone(&note))
        });
        let history = settings.history.map(|(bounds, components)| {
            inbox.history = history::Queue::started();
            history::Writer::new(state_directory, (bounds, components), Arc::clone(&shared), Arc::clone(&note))
        });
        *shared.inbox() = inbox;
        let thread = Thread { shared: Arc::clone(&shared), journal, history };
        if let Err(error) = std::thread::Builder::new().name("state".to_owned()).spawn(move || thread.run()) {
            let text =
                format!("nothing is written to {}: the thread can't be started: {error}", state_directory.display());
            tracing::error!("{text}");
            note(Kept::Journal, Some(text));
            let last_id = shared.inbox().journal.last_id();
            *shared.inbox() = Inbox { journal: journal::Queue::only_numbers(last_id), ..Inbox::default() };
        }
        Self { shared }
    }

    /// The highest number that an incident has.
    pub fn last_incident(&self) -> u64 {
        self.shared.inbox().journal.last_id()
    }

    /// Takes an incident, or what it has become. Never waits for the disk.
    pub fn record_incident(&self, incident: &Incident) {
        if self.shared.inbox().journal.record(incident) {
            self.shared.changed.notify_all();
        }
    }

    /// Takes what a policy answered. Never waits for the disk.
    pub fn record_version(&self, event: Event) {
        if self.shared.inbox().history.record(event) {
            self.shared.changed.notify_all();
        }
    }

    /// Components that records name: they must stay. `None` while that is not known; then none may go.
    pub fn named_components(&self) -> Option<BTreeSet<String>> {
        self.shared.inbox().history.named.clone()
    }

    /// Writes all that waits, and ends the writing; gives up after `patience`.
    pub fn close(&self, patience: Duration) {
        let mut inbox = self.shared.inbox();
        inbox.closing = true;
        self.shared.changed.notify_all();
        let until = Instant::now() + patience;
        while inbox.running {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("not all incidents and records of policies are written: the disk takes too long");
                return;
            }
            inbox = self.shared.changed.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[cfg(test)]
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.shared.inbox()
    }
}

impl Shared {
    /// Whole after every statement, so a panic elsewhere leaves nothing to fear.
    pub fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    shared: Arc<Shared>,
    journal: Option<journal::Writer>,
    history: Option<history::Writer>,
}

/// What is due. Incidents come first: there are few, and they are what an operator looks for.
#[derive(Debug, Default)]
struct Due {
    incidents: Option<journal::Batch>,
    events: Option<history::Batch>,
}

impl Thread {
    /// The file of incidents is made at once, so that a reader sees that there is a daemon.
    fn run(mut self) {
        if let Some(journal) = &mut self.journal {
            journal.write(journal::Batch::new());
        }
        if let Some(history) = &mut self.history {
            history.recall();
        }
        loop {
            let (due, closing) = self.wait();
            if let (Some(journal), Some(incidents)) = (&mut self.journal, due.incidents) {
                journal.write(incidents);
            }
            if let (Some(history), Some(events)) = (&mut self.history, due.events) {
                history.write(events);
            }
            if closing {
                let mut inbox = self.shared.inbox();
                inbox.running = false;
                self.shared.changed.notify_all();
                return;
            }
        }
    }

    /// Waits for what is due, or for the end: then all of it is.
    fn wait(&self) -> (Due, bool) {
        let mut inbox = self.shared.inbox();
        loop {
            if inbox.closing {
                let incidents = Some(inbox.journal.take_all());
                return (Due { incidents, events: Some(inbox.history.take()) }, true);
            }
            let now = Instant::now();
            let incidents = self.journal.as_ref().and_then(|journal| journal.due(&inbox.journal));
            let events = self.history.as_ref().and_then(|history| history.due(&inbox.history, now));
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            let due = Due {
                incidents: match &self.journal {
                    // After a failure all of it: it shows best whether the disk is well again.
                    Some(journal) if is_due(incidents) && journal.in_trouble() => Some(inbox.journal.take_all()),
                    Some(_) if is_due(incidents) => Some(inbox.journal.take_due(now)),
                    _ => None,
                },
                events: is_due(events).then(|| inbox.history.take()),
            };
            if due.incidents.is_some() || due.events.is_some() {
                return (due, false);
            }
            inbox = match incidents.into_iter().chain(events).min() {
                Some(at) => {
                    let left = at.saturating_duration_since(now);
                    self.shared.changed.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
