//! Interrupts policies that run too long. One thread sleeps until the earliest deadline of a running call, then
//! advances the engine's epoch; the call whose deadline it was stops, others go on. While nothing runs, the thread
//! sleeps without a timeout: an idle daemon wakes nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How often a call that is over its deadline is told again, in case that it was between two checks.
const INSISTENCE: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct State {
    /// Deadlines of running calls, with how many calls share each.
    deadlines: BTreeMap<Instant, usize>,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement that holds the lock, so a panic elsewhere can't have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread; it ends with this value.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A running call; dropping it takes the deadline back.
#[derive(Debug)]
pub struct Watched {
    shared: Arc<Shared>,
    deadline: Instant,
}

impl Watchdog {
    /// Starts the thread for `engine`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let engine = engine.weak();
        let thread = std::thread::Builder::new().name("policy-watchdog".to_owned()).spawn(move || {
            watch(&theirs, || {
                if let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                }
            });
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has the epoch advanced at `deadline`, unless the answer is dropped before.
    pub fn watch(&self, deadline: Instant) -> Watched {
        *self.shared.lock().deadlines.entry(deadline).or_insert(0) += 1;
        self.shared.changed.notify_one();
        Watched { shared: Arc::clone(&self.shared), deadline }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can't have panicked; and if it had, there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(count) = state.deadlines.get_mut(&self.deadline) {
            *count -= 1;
            if *count == 0 {
                state.deadlines.remove(&self.deadline);
            }
        }
    }
}

fn watch(shared: &Shared, interrupt: impl Fn()) {
    let mut state = shared.lock();
    while !state.stopping {
        let Some((earliest, _)) = state.deadlines.first_key_value() else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let remaining = earliest.saturating_duration_since(Instant::now());
        let pause = if remaining.is_zero() {
            interrupt();
            INSISTENCE
        } else {
            remaining
        };
        state = shared.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
}
