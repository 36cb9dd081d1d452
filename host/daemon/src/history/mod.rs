//! What each policy answered, when, to what, and what became of it: records on disk, so that any answer can be looked
//! at, compared, given again and put in force again.
//!
//! Nothing here is needed to keep the node right. A thread of its own writes, so that no check waits for the disk; what
//! can't be written waits in memory, as far as it is bounded, and `status` says so.

pub mod changes;
pub mod format;
pub mod record;
pub mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use ruleward_reconcile::record::Event;

use store::Bounds;
use writer::Writer;

/// How many events wait for the disk; then the newest go.
const MOST_WAITING: usize = 64;
/// How long the end waits for the disk.
pub const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Gives the kept components with their lengths in bytes.
pub type KeptComponents = Box<dyn Fn() -> BTreeMap<String, u64> + Send>;

/// Where events are handed in; clones share one history.
#[derive(Debug, Clone)]
pub struct History {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// None if nobody writes (any more).
    events: Mutex<Option<SyncSender<Event>>>,
    ended: Mutex<Option<Receiver<()>>>,
    /// Components that records name, or will name; none while that is not known.
    named: Arc<Mutex<Option<BTreeSet<String>>>>,
    lost: Arc<AtomicU64>,
}

impl History {
    /// One that keeps nothing: for commands that change nothing.
    pub fn none() -> Self {
        Self::with(None, None, Arc::default())
    }

    fn with(
        events: Option<SyncSender<Event>>,
        ended: Option<Receiver<()>>,
        named: Arc<Mutex<Option<BTreeSet<String>>>>,
    ) -> Self {
        let shared = Shared { events: Mutex::new(events), ended: Mutex::new(ended), named, lost: Arc::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The history in this state directory. It always starts; if it can't be written now, `note` gets the reason, and
    /// `None` when it is over.
    pub fn start(
        state_directory: &Path,
        bounds: Bounds,
        components: KeptComponents,
        note: impl Fn(Option<String>) + Send + 'static,
    ) -> Self {
        let (events, inbox) = sync_channel(MOST_WAITING);
        let (end, ended) = sync_channel(1);
        let named = Arc::new(Mutex::new(None));
        let history = Self::with(Some(events), Some(ended), Arc::clone(&named));
        let lost = Arc::clone(&history.shared.lost);
        let writer = Writer::new(state_directory, bounds, components, Box::new(note), named, lost);
        let run = move || {
            writer.run(&inbox);
            drop(end);
        };
        match std::thread::Builder::new().name("history".to_owned()).spawn(run) {
            Ok(_) => history,
            Err(error) => {
                tracing::error!("the history of policies is not written: the thread for it can't be started: {error}");
                Self::none()
            }
        }
    }

    /// Takes an event. Never waits for the disk.
    pub fn record(&self, event: Event) {
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(events) = &*events else { return };
        if let Some(named) = &mut *lock(&self.shared.named) {
            named.insert(event.component.clone());
        }
        if events.try_send(event).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Components that records name: they must stay. `None` while that is not known; then none may go.
    pub fn components(&self) -> Option<BTreeSet<String>> {
        lock(&self.shared.named).clone()
    }

    /// Writes all that waits, and ends the writing; gives up after `patience`.
    pub fn close(&self, patience: Duration) {
        drop(self.shared.events.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if ended.is_some_and(|ended| ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("the history of policies is not all written: the disk takes too long");
        }
    }
}

/// Whole after every statement, so a panic elsewhere leaves nothing to fear.
fn lock(named: &Mutex<Option<BTreeSet<String>>>) -> std::sync::MutexGuard<'_, Option<BTreeSet<String>>> {
    named.lock().unwrap_or_else(PoisonError::into_inner)
}
