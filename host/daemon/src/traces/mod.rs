//! Traces of checks, sent to an OpenTelemetry collector if the configuration names one: OTLP over HTTP, as JSON.
//!
//! No check waits for any of it. A check that is traced leaves plain data in a bounded queue; a thread of its own
//! ([`exporter`]), at low priority, makes requests of it. Whatever the collector does (hang, refuse, be away, talk nonsense)
//! ends in a counter, a note in `status` and a log line now and then. When the queue is full the oldest traces go: of an outage
//! the end tells more. Where no collector is named there is neither queue nor thread.

mod endpoint;
mod exporter;
mod otlp;
mod post;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::metrics::Fate;
use crate::status_store::StatusStore;
use exporter::Exporter;

pub use endpoint::{Endpoint, Target};
pub use ruleward_reconcile::trace::{Attributes, Event, MOST_EVENTS, Span, Trace, Value};

/// How long a daemon that ends waits for its last traces to be taken.
pub const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How much waits for the collector, in spans and events: some megabytes at most, and hundreds of repairs.
const MOST_WAITING: usize = 4096;
/// How much goes into one request.
const MOST_SENT: usize = 512;

/// Where traces are left; clones leave them in the same place.
#[derive(Debug, Clone)]
pub struct Traces {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    board: StatusStore,
    on: AtomicBool,
    queue: Mutex<Queue>,
    /// For the exporter: there is something to do.
    news: Notify,
    /// For who closes: the exporter has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The collector, and who we are to it.
    to: Option<Arc<Destination>>,
    waiting: VecDeque<Trace>,
    weight: usize,
    /// Spans that are being sent.
    sending: usize,
    running: bool,
    /// Since when it is to end.
    closing: Option<Instant>,
}

#[derive(Debug, PartialEq)]
struct Destination {
    endpoint: Endpoint,
    resource: Attributes,
}

impl Traces {
    /// None are wanted, now or later.
    pub fn none() -> Self {
        Self { shared: None }
    }

    /// None are wanted until [`Traces::configure`] says so. What becomes of them is counted and noted on `board`.
    pub fn new(board: StatusStore) -> Self {
        let shared = Shared {
            board,
            on: AtomicBool::new(false),
            queue: Mutex::default(),
            news: Notify::new(),
            ended: Condvar::new(),
        };
        Self { shared: Some(Arc::new(shared)) }
    }

    /// They go there from now on; nowhere without an endpoint. `node_name` is the configured one.
    pub fn configure(&self, endpoint: Option<&Endpoint>, node_name: Option<&str>) {
        let Some(shared) = &self.shared else { return };
        let to = endpoint.map(|endpoint| Destination { endpoint: endpoint.clone(), resource: resource(node_name) });
        let mut queue = shared.queue();
        if queue.to.as_deref() == to.as_ref() {
            return;
        }
        queue.to = to.map(Arc::new);
        shared.on.store(queue.to.is_some(), Ordering::Release);
        if queue.to.is_none() {
            queue.make_room(MOST_WAITING, shared);
            shared.board.note(NOTE, None);
        } else if !queue.running {
            queue.running = true;
            drop(queue);
            if let Err(error) = Exporter::start(Arc::clone(shared)) {
                tracing::warn!("no traces are sent: the thread for them can't be started: {error}");
                shared
                    .board
                    .note(NOTE, Some(format!("no traces are sent: the thread for them can't be started: {error}")));
                shared.on.store(false, Ordering::Release);
                *shared.queue() = Queue::default(); // the next configuration tries again
            }
        }
        shared.news.notify_one();
    }

    /// Whether any are wanted.
    pub fn are_wanted(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.on.load(Ordering::Acquire))
    }

    /// Leaves one.
    pub fn leave(&self, trace: Trace) {
        let Some(shared) = self.shared.as_ref().filter(|_| self.are_wanted()) else { return };
        let mut queue = shared.queue();
        if queue.to.is_none() {
            return; // turned off a moment ago
        }
        queue.make_room(trace.weight(), shared);
        queue.weight += trace.weight();
        queue.waiting.push_back(trace);
        drop(queue);
        shared.news.notify_one();
    }

    /// Has what is waiting sent, once, and ends.
    pub fn end(&self) {
        let Some(shared) = &self.shared else { return };
        shared.queue().closing.get_or_insert_with(Instant::now);
        shared.news.notify_one();
    }

    /// Ends, and waits for it; no longer than `limit` from the moment when it was told to end. What is left then is lost.
    pub fn close(&self, limit: Duration) {
        self.end();
        let Some(shared) = &self.shared else { return };
        let queue = shared.queue();
        let left = limit.saturating_sub(queue.closing.map_or(Duration::ZERO, |since| since.elapsed()));
        let ended = shared.ended.wait_timeout_while(queue, left, |queue| queue.running);
        let (queue, _) = ended.unwrap_or_else(PoisonError::into_inner);
        let lost = queue.sending + queue.waiting.iter().map(Trace::count).sum::<usize>();
        if lost > 0 {
            tracing::warn!("{lost} spans of traces are lost: the collector did not take them in time");
        }
    }
}

/// The topic of the note in `status`.
const NOTE: &str = "traces";

/// Who we are, in OpenTelemetry's words.
fn resource(node_name: Option<&str>) -> Attributes {
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut resource = vec![
        ("service.name", env!("CARGO_PKG_NAME").into()),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        ("process.pid", std::process::id().into()),
        ("host.name", host_name.as_str().into()),
    ];
    resource.extend(node_name.map(|name| ("k8s.node.name", name.into())));
    resource
}

impl Shared {
    /// Plain data that is whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fate: Fate, spans: usize) {
        self.board.metrics().traces().ended(fate, spans as u64);
    }
}

impl Queue {
    /// Drops the oldest until there is room for this.
    fn make_room(&mut self, weight: usize, shared: &Shared) {
        while self.weight + weight > MOST_WAITING {
            let Some(oldest) = self.waiting.pop_front() else { return };
            self.weight -= oldest.weight();
            shared.count(Fate::Dropped, oldest.count());
        }
    }

    /// What fits into one request; at least one trace.
    fn take(&mut self) -> Vec<Trace> {
        let (mut batch, mut weight) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front().map(Trace::weight) {
            if !batch.is_empty() && weight + next > MOST_SENT {
                break;
            }
            weight += next;
            batch.extend(self.waiting.pop_front());
        }
        self.weight -= weight;
        self.sending = batch.iter().map(Trace::count).sum();
        batch
    }

    /// It could not be sent. It is older than all others: if there is no room for it, it goes.
    fn put_back(&mut self, batch: Vec<Trace>, shared: &Shared) {
        self.sending = 0;
        for trace in batch.into_iter().rev() {
            if self.to.is_none() || self.weight + trace.weight() > MOST_WAITING {
                shared.count(Fate::Dropped, trace.count());
            } else {
                self.weight += trace.weight();
                self.waiting.push_front(trace);
            }
        }
    }
}
