//! Sends traces by OpenTelemetry's crates: the SDK's batch processor gathers spans and has the
//! thread, opentelemetry-otlp makes the requests. Ours is what they leave open: the connection
//! ([`client`]) and what a failure means ([`exporter`]).
//!
//! No check waits for any of it. A check that is traced leaves its spans in a bounded queue.
//! Whatever the collector does (hang, refuse, be away, talk nonsense) ends in a counter, a note in
//! `status` and a log line now and then. Where no collector is named there is neither queue nor
//! thread.

mod client;
mod exporter;
mod spans;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor};
use ruleward_reconcile::trace::Trace;
use tokio::sync::Notify;

use super::Endpoint;
use crate::metrics::Fate;
use crate::status_store::StatusStore;
use exporter::{Destination, Exporter};

/// How much waits for the collector, in spans and events: some megabytes at most, and hundreds of
/// repairs.
const MOST_WAITING: usize = 4096;
/// Most spans of one request.
const MOST_SENT: usize = 512;
/// How long spans are gathered, so that several traces go in one request.
const GATHER: Duration = Duration::from_millis(500);
/// The topic of the note in `status`.
const NOTE: &str = "traces";

/// Where traces are left; clones leave them in the same place.
#[derive(Debug, Clone)]
pub struct Traces {
    shared: Option<Arc<Shared>>,
    /// Made for the first collector.
    processor: Arc<OnceLock<BatchSpanProcessor>>,
}

#[derive(Debug)]
struct Shared {
    store: StatusStore,
    on: AtomicBool,
    state: Mutex<State>,
    /// For the exporter: the collector is another one, or this is the end.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The collector, and who we are to it.
    to: Option<Arc<Destination>>,
    /// Spans that wait or are being sent.
    spans: usize,
    /// The same with their events.
    weight: usize,
    /// Since when it is to end.
    closing: Option<Instant>,
}

impl Traces {
    /// None are wanted, now or later.
    pub fn none() -> Self {
        Self { shared: None, processor: Arc::default() }
    }

    /// None are wanted until [`Traces::configure`] says so. What becomes of them is counted and
    /// noted on `store`.
    pub fn new(store: StatusStore) -> Self {
        let shared = Shared { store, on: AtomicBool::new(false), state: Mutex::default(), news: Notify::new() };
        Self { shared: Some(Arc::new(shared)), processor: Arc::default() }
    }

    /// They go there from now on; nowhere without an endpoint. `node_name` is the configured one.
    pub fn configure(&self, endpoint: Option<&Endpoint>, node_name: Option<&str>) {
        let Some(shared) = &self.shared else { return };
        let same = |to: &Arc<Destination>| endpoint.is_some_and(|endpoint| to.is(endpoint, node_name));
        if shared.state().to.as_ref().map_or(endpoint.is_none(), same) {
            return;
        }
        let to = endpoint.map(|endpoint| {
            self.start(shared)?;
            Destination::new(endpoint.clone(), node_name).map(Arc::new).map_err(|error| error.to_string())
        });
        let to = to.transpose().unwrap_or_else(|problem| {
            tracing::warn!("no traces are sent: {problem}");
            shared.store.note(NOTE, Some(format!("no traces are sent: {problem}")));
            None // the next configuration tries again
        });
        if endpoint.is_none() {
            shared.store.note(NOTE, None);
        }
        shared.on.store(to.is_some(), Ordering::Release);
        shared.state().to = to;
        shared.news.notify_one();
    }

    /// Starts the thread, unless it runs.
    fn start(&self, shared: &Arc<Shared>) -> Result<(), String> {
        if self.processor.get().is_some() {
            return Ok(());
        }
        let exporter = Exporter::new(Arc::clone(shared)).map_err(|error| error.to_string())?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(MOST_WAITING)
            .with_max_export_batch_size(MOST_SENT)
            .with_scheduled_delay(GATHER)
            .build();
        // The SDK panics where the system has no thread to give.
        let processor = catch_unwind(AssertUnwindSafe(|| BatchSpanProcessor::new(exporter, config)));
        let _ = self.processor.set(processor.map_err(|_| "the thread for them can't be started")?);
        Ok(())
    }

    /// Whether any are wanted.
    pub fn are_wanted(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.on.load(Ordering::Acquire))
    }

    /// Leaves one. One for which there is no room is dropped.
    pub fn leave(&self, trace: Trace) {
        let (Some(shared), Some(processor)) = (&self.shared, self.processor.get()) else { return };
        let mut state = shared.state();
        if state.to.is_none() {
            return; // turned off a moment ago
        }
        if state.weight + trace.weight() > MOST_WAITING {
            return shared.count(Fate::Dropped, trace.count());
        }
        state.spans += trace.count();
        state.weight += trace.weight();
        drop(state);
        spans::of(trace).into_iter().for_each(|span| processor.on_end(span));
    }

    /// Has what is waiting sent, once, from now on.
    pub fn end(&self) {
        let Some(shared) = &self.shared else { return };
        shared.state().closing.get_or_insert_with(Instant::now);
        shared.news.notify_one();
    }

    /// Ends, and waits for it; no longer than `limit` from the moment when it was told to end. What
    /// is left then is lost.
    pub fn close(&self, limit: Duration) {
        self.end();
        let (Some(shared), Some(processor)) = (&self.shared, self.processor.get()) else { return };
        let left = limit.saturating_sub(shared.state().closing.map_or(Duration::ZERO, |since| since.elapsed()));
        let _ = processor.shutdown_with_timeout(left); // what it says is counted below
        let lost = shared.state().spans;
        if lost > 0 {
            tracing::warn!("{lost} spans of traces are lost: the collector did not take them in time");
        }
    }
}

impl Shared {
    /// Plain data that is whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fate: Fate, spans: usize) {
        self.store.metrics().traces().ended(fate, spans as u64);
    }
}
