//! The node's clock and threads, for the reconciler.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ruleward_reconcile::{Job, Runtime};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::memory;

/// The node's clock and threads.
#[derive(Debug, Clone, Copy)]
pub struct NodeRuntime;

impl Runtime for NodeRuntime {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    fn processor_time(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> Box<dyn Job> {
        // Without a descriptor the end is found by asking.
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok().map(Arc::new);
        let signal = Signal(end.clone());
        let thread = std::thread::spawn(move || {
            let _signal = signal;
            work();
        });
        Box::new(Thread { thread, end })
    }

    fn wait(&self, readable: &[BorrowedFd<'_>], longest: Option<Duration>) -> bool {
        let mut fds: Vec<_> = readable.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let longest = longest.and_then(|longest| Timespec::try_from(longest).ok());
        let _ = poll(&mut fds, longest.as_ref()); // a signal of the system ends the wait early
        fds.iter().any(|fd| !fd.revents().is_empty())
    }

    fn give_back_memory(&self) {
        memory::give_back();
    }
}

/// Tells that the work has ended, whatever came of it.
struct Signal(Option<Arc<OwnedFd>>);

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(end) = &self.0 {
            let _ = rustix::io::write(&**end, &1_u64.to_ne_bytes());
        }
    }
}

struct Thread {
    thread: JoinHandle<()>,
    end: Option<Arc<OwnedFd>>,
}

impl Job for Thread {
    fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(|end| end.as_fd())
    }

    fn join(self: Box<Self>) {
        if let Err(panic) = self.thread.join() {
            resume_unwind(panic);
        }
    }
}
