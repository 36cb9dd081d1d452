//! Watches the xtables lock, which every writer of iptables-legacy opens before it writes and closes when it is done.
//!
//! A thread of its own, above ordinary ones, reads the news at once: a short-lived writer is still in `/proc` when it is
//! asked who it is. It waits without cost, and ends when the [`LockWatch`] is dropped. Writers that take no lock are not seen here, nor is one
//! that had the file open before the watch began. A file that another program removes or replaces is followed; one that
//! another file system was mounted over is found by [`LockWatch::rearm`].

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;
use rustix::event::{EventfdFlags, eventfd};

use super::lock_activity::{LockActivity, Mailbox};
use super::lock_source::{LockSource, LockWatchError, LockWatchMethod, News};
use super::urgency::raise_this_thread;
use crate::identify::identify;

/// Errors one after the other, none of which should ever be, after which the thread gives up.
const PATIENCE: u32 = 1_000;

/// Tells who opens the xtables lock, and when it is closed.
#[derive(Debug)]
pub struct LockWatch {
    source: Arc<LockSource>,
    mailbox: Arc<Mailbox>,
    refusal: Option<String>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl LockWatch {
    /// Watches the lock at `path`, with fanotify if this process may; the file is created, as iptables does, if there is none.
    ///
    /// # Errors
    /// [`LockWatchError`]
    pub fn open(path: &Path) -> Result<Self, LockWatchError> {
        Self::open_with(path, LockWatchMethod::Fanotify)
    }

    /// The same with nothing better than `best`.
    ///
    /// # Errors
    /// [`LockWatchError`]
    pub fn open_with(path: &Path, best: LockWatchMethod) -> Result<Self, LockWatchError> {
        let (source, refusal) = LockSource::open(path, best)?;
        let source = Arc::new(source);
        let mailbox = Arc::new(Mailbox::open().map_err(LockWatchError::system("eventfd"))?);
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(LockWatchError::system("eventfd"))?);
        let thread = {
            let (source, mailbox, stop) = (Arc::clone(&source), Arc::clone(&mailbox), Arc::clone(&stop));
            std::thread::Builder::new().name("ruleward-lock".to_owned()).spawn(move || watch(&source, &mailbox, &stop))
        };
        let thread = thread.map_err(|error| {
            let source = error.raw_os_error().map_or(rustix::io::Errno::AGAIN, rustix::io::Errno::from_raw_os_error);
            LockWatchError::System { what: "starting a thread", source }
        })?;
        Ok(Self { source, mailbox, refusal, stop, thread: Some(thread) })
    }

    /// How it is done.
    pub fn method(&self) -> LockWatchMethod {
        self.source.method()
    }

    /// Why it is not done with fanotify; none if it is.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Readable when [`LockWatch::take`] has something to tell.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mailbox.fd()
    }

    /// What happened since the last call.
    pub fn take(&mut self) -> LockActivity {
        self.mailbox.take()
    }

    /// Makes sure that the file which is at the path now is the one that is watched, and creates it if there is none.
    /// True, and [`LockActivity::closed`] and [`LockActivity::overflowed`] the next time, if it was not.
    ///
    /// # Errors
    /// [`LockWatchError`]; nothing is watched then until this succeeds.
    pub fn rearm(&mut self) -> Result<bool, LockWatchError> {
        let other = self.source.arm()?;
        if other {
            self.mailbox.missed();
        }
        Ok(other)
    }
}

impl Drop for LockWatch {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// So many opens and closes in a second are heard one by one.
const QUICK: u32 = 150;
/// Then the thread hears what came in this time at once, so that a flood costs it little.
const FLOOD_PAUSE: Duration = Duration::from_millis(20);

fn watch(source: &LockSource, mailbox: &Mailbox, stop: &OwnedFd) {
    if source.method() == LockWatchMethod::Fanotify
        && let Err(error) = raise_this_thread().or_else(|_| rustix::process::setpriority_process(None, -20))
    {
        tracing::info!(%error, "writers of iptables-legacy may stay unknown on a busy machine: CAP_SYS_NICE is missing");
    }
    let ours = std::process::id();
    let (mut failures, mut second, mut heard) = (0, Instant::now(), 0);
    while failures < PATIENCE {
        let mut count = |news| {
            heard += 1;
            tell(news, ours, source, mailbox);
        };
        match source.wait(stop, &mut count) {
            Ok(true) => {
                failures = 0;
                if second.elapsed() >= SECOND {
                    (second, heard) = (Instant::now(), 0);
                } else if heard > QUICK {
                    // Many take the lock all the time. They are heard together from here on, and few of them are named.
                    std::thread::sleep(FLOOD_PAUSE);
                }
            }
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, "an event of the xtables lock could not be read");
                failures += 1;
                mailbox.missed();
            }
        }
    }
    tracing::error!("the xtables lock is not watched any more: its events can't be read; polls still see changes");
}

fn tell(news: News, ours: u32, source: &LockSource, mailbox: &Mailbox) {
    match news {
        News::Opened(Some(pid)) | News::Closed(Some(pid)) if pid == ours => {}
        News::Opened(Some(0)) => mailbox.opened(None, Actor::unknown),
        News::Opened(Some(pid)) => mailbox.opened(Some(pid), || identify(pid, None)),
        // Of whom nothing is known there is nothing to tell; that it closes is what counts.
        News::Opened(None) => {}
        News::Closed(pid) => mailbox.closed(pid.filter(|pid| *pid != 0)),
        News::Lost => mailbox.missed(),
        News::Replaced => match source.arm() {
            Ok(false) => {}
            Ok(true) => mailbox.missed(),
            Err(error) => {
                tracing::warn!(%error, "the xtables lock was replaced and is not watched until it can be; polls still see changes");
                mailbox.missed();
            }
        },
    }
}
