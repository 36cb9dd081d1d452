//! A node of plain data: a kernel, a clock, facts and policies that follow a script, and the daemon's
//! loop around the reconciler. What takes minutes on a node takes microseconds here.

mod tests;
mod world;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

use ruleward_kernel::sim::Clock;

use crate::runtime::{Job, Runtime};

/// A clock that only tests move, and no other threads: their work is done at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimRuntime(pub Clock);

impl Runtime for SimRuntime {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + self.0.passed()
    }

    fn processor_time(&self) -> Duration {
        Duration::ZERO
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> Box<dyn Job> {
        work();
        Box::new(Done)
    }

    fn wait(&self, _: &[BorrowedFd<'_>], longest: Option<Duration>) -> bool {
        self.0.advance(longest.unwrap_or_default());
        false
    }

    fn give_back_memory(&self) {}
}

struct Done;

impl Job for Done {
    fn is_finished(&self) -> bool {
        true
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn join(self: Box<Self>) {}
}
