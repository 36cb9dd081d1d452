//! Time and threads, as far as the reconciler needs them. They come in from outside, so that tests
//! move the clock themselves and run what would be another thread's work at once.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A clock, and other threads.
pub trait Runtime: Send + Sync {
    /// Never goes back.
    fn now(&self) -> Instant;

    /// The clock on the wall, which may be set.
    fn wall_clock(&self) -> SystemTime;

    /// What the calling thread has used of a processor.
    fn processor_time(&self) -> Duration;

    /// Has another thread do this.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> Box<dyn Job>;

    /// Waits until one of these is readable, but no longer than this; for ever without a time.
    /// Whether one is.
    fn wait(&self, readable: &[BorrowedFd<'_>], longest: Option<Duration>) -> bool;

    /// Freed memory goes back to the kernel. It takes milliseconds.
    fn give_back_memory(&self);
}

/// Work of another thread.
pub trait Job: Send {
    /// Whether it has ended.
    fn is_finished(&self) -> bool;

    /// Readable when it has.
    fn end(&self) -> Option<BorrowedFd<'_>>;

    /// Waits for its end. A panic in it goes on in the caller.
    fn join(self: Box<Self>);
}

/// Work of another thread that gives a result.
pub(crate) struct Task<T> {
    job: Box<dyn Job>,
    result: Arc<Mutex<Option<T>>>,
}

impl<T: Send + 'static> Task<T> {
    /// Has another thread do this.
    pub fn spawn(runtime: &dyn Runtime, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let result = Arc::new(Mutex::new(None));
        let place = Arc::clone(&result);
        let job = runtime.spawn(Box::new(move || {
            let done = work();
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }));
        Self { job, result }
    }

    pub fn is_finished(&self) -> bool {
        self.job.is_finished()
    }

    /// Readable when it has ended.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        self.job.end()
    }

    /// Waits for its end. `None` only where a runtime lost the work.
    pub fn finish(self) -> Option<T> {
        self.job.join();
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
