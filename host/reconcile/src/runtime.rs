//! Time and threads, as far as the reconciler needs them. They come in from outside, so that tests
//! move the clock themselves and run what would be another thread's work at once.

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
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

    /// Waits for its end. A runtime that lost the work is a fault, as a panic in it is: whoever catches that begins with
    /// everything opened anew, and what the work had taken along is not missed.
    pub fn finish(self) -> T {
        self.job.join();
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.unwrap_or_else(|| resume_unwind(Box::new("the work of another thread was lost")))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::sim::SimRuntime;

    /// Takes work and does none of it.
    struct Loses(SimRuntime);

    impl Runtime for Loses {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn wall_clock(&self) -> SystemTime {
            self.0.wall_clock()
        }
        fn processor_time(&self) -> Duration {
            self.0.processor_time()
        }
        fn spawn(&self, _: Box<dyn FnOnce() + Send>) -> Box<dyn Job> {
            self.0.spawn(Box::new(|| {}))
        }
        fn wait(&self, readable: &[BorrowedFd<'_>], longest: Option<Duration>) -> bool {
            self.0.wait(readable, longest)
        }
        fn give_back_memory(&self) {}
    }

    #[test]
    fn work_that_is_lost_is_a_fault_and_no_empty_result() {
        assert_eq!(Task::spawn(&SimRuntime::default(), || 7).finish(), 7);
        let lost = Task::spawn(&Loses(SimRuntime::default()), || 7);
        assert!(catch_unwind(AssertUnwindSafe(|| lost.finish())).is_err());
    }
}
