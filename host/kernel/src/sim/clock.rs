//! Time that only tests move.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time that only tests move. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock {
    began: Instant,
    passed: Arc<Mutex<Duration>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now(), passed: Arc::default() }
    }
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Instant {
        self.began + self.passed()
    }

    /// Since the beginning.
    pub fn passed(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much time passes.
    pub fn advance(&self, time: Duration) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}
