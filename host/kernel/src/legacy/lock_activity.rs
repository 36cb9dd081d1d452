//! What happened to the xtables lock, kept from when it was seen until somebody asks.
//!
//! A flood of writers costs no more memory than [`WRITERS`] of them: who comes later is counted as overflow.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ruleward_core::actor::Actor;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// As many are remembered between two questions.
const WRITERS: usize = 64;

/// What happened since the last time it was asked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LockActivity {
    /// Who opened the lock file, each once, in that order. Also tools that only list take the lock. Who opened it may
    /// be told before it has changed anything, and its [`LockActivity::closed`] the next time.
    pub writers: Vec<Actor>,
    /// The ids of processes that closed it, where that is told.
    pub closers: Vec<u32>,
    /// Another program closed it, or it may be so: look at the tables now.
    pub closed: bool,
    /// More happened than is told here: writers are missing.
    pub overflowed: bool,
}

/// Where the watching thread leaves what it sees.
#[derive(Debug)]
pub(super) struct Mailbox {
    ready: OwnedFd,
    pending: Mutex<LockActivity>,
}

impl Mailbox {
    pub(super) fn open() -> Result<Self, Errno> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { ready, pending: Mutex::default() })
    }

    /// Readable while something is in it.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Empties it.
    pub(super) fn take(&self) -> LockActivity {
        // First the signal, then the content: what comes in between signals again.
        let _ = rustix::io::read(&self.ready, &mut [0; 8][..]);
        std::mem::take(&mut *self.pending())
    }

    /// Another program opened the file. `identify` is called only where the answer is of use, and with nothing locked.
    pub(super) fn opened(&self, pid: Option<u32>, identify: impl FnOnce() -> Actor) {
        let writers = self.pending().writers.iter().map(|writer| writer.pid).collect::<Vec<_>>();
        if writers.contains(&pid) {
            return;
        }
        if writers.len() >= WRITERS {
            return self.note(|pending| pending.overflowed = true);
        }
        let actor = identify();
        self.note(|pending| pending.writers.push(actor));
    }

    /// It was closed, by this process if that is told.
    pub(super) fn closed(&self, pid: Option<u32>) {
        self.note(|pending| {
            pending.closed = true;
            if pending.closers.len() < WRITERS {
                pending.closers.extend(pid);
            }
        });
    }

    /// Something happened that was not seen.
    pub(super) fn missed(&self) {
        self.note(|pending| (pending.closed, pending.overflowed) = (true, true));
    }

    fn note(&self, change: impl FnOnce(&mut LockActivity)) {
        change(&mut self.pending());
        // Full only when it is readable anyway.
        let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
    }

    fn pending(&self) -> MutexGuard<'_, LockActivity> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(pid: u32) -> Actor {
        Actor { pid: Some(pid), ..Actor::unknown() }
    }

    fn is_readable(mailbox: &Mailbox) -> bool {
        let mut polled = [rustix::event::PollFd::new(&mailbox.ready, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&rustix::time::Timespec::default())).unwrap() == 1
    }

    #[test]
    fn it_signals_while_something_is_in_it() {
        let mailbox = Mailbox::open().unwrap();
        assert!(!is_readable(&mailbox));
        mailbox.opened(Some(7), || actor(7));
        mailbox.opened(Some(7), || panic!("asked twice who 7 is"));
        mailbox.closed(Some(7));
        assert!(is_readable(&mailbox));
        let expected = LockActivity { writers: vec![actor(7)], closers: vec![7], closed: true, overflowed: false };
        assert_eq!(mailbox.take(), expected);
        assert!(!is_readable(&mailbox));
        assert_eq!(mailbox.take(), LockActivity::default());
    }

    #[test]
    fn a_flood_is_bounded_and_said() {
        let mailbox = Mailbox::open().unwrap();
        for pid in 1..=100_000 {
            mailbox.opened(Some(pid), || actor(pid));
        }
        let activity = mailbox.take();
        assert_eq!((activity.writers.len(), activity.closed, activity.overflowed), (WRITERS, false, true));
        assert_eq!(activity.writers[0], actor(1));
    }
}
