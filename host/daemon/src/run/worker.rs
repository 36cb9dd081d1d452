//! The thread that runs the checks, so that nothing a check waits for holds up sockets and signals. Between two checks it
//! waits for orders and for the watch alike: what the kernel tells is looked at on this very thread, without a detour.
//!
//! A panic in a check is a fault of the program and no reason to leave the node alone: it is caught and counted as a
//! failed check, and the next check begins with everything opened anew.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use ruleward_core::schedule::Reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::mailbox::{Mailbox, MessageSender, mailbox};
use crate::status_store::StatusStore;
use ruleward_report::{Checks, ErrorClass, Intent, Report};

/// Opens what checks need. Called again after a failure, so a node that lacks something at start is served later.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Checks>, Box<Report>> + Send>;

/// After a fault while the watch was attended to, it is left alone for so long.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug)]
enum Order {
    Check(Reason),
    Stop,
}

/// What the thread has to say.
#[derive(Debug)]
pub enum Done {
    /// The check that was ordered.
    Check(Arc<Report>),
    /// Drift that the watch told of was undone, or not.
    Repair(Arc<Report>),
}

/// A running worker thread.
#[derive(Debug)]
pub struct Worker {
    orders: MessageSender<Order>,
    store: StatusStore,
    /// One [`Done::Check`] for each order, and repairs between them.
    pub reports: tokio::sync::mpsc::UnboundedReceiver<Done>,
}

impl Worker {
    /// Starts the thread. What it does is shown by the pulse of `store`.
    ///
    /// # Errors
    /// If the system has no thread or descriptor to give.
    pub fn start(open: Open, store: StatusStore) -> io::Result<Self> {
        let (orders, inbox) = mailbox()?;
        let (outbox, reports) = tokio::sync::mpsc::unbounded_channel();
        let mut work = Work { open, checks: None, store: store.clone() };
        std::thread::Builder::new().name("checks".to_owned()).spawn(move || {
            loop {
                let done = match inbox.try_receive() {
                    Ok(Order::Check(reason)) => Some(Done::Check(work.check(reason))),
                    Err(TryRecvError::Empty) => {
                        work.wait_and_attend(&inbox).map(|report| Done::Repair(Arc::new(report)))
                    }
                    Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return,
                };
                if done.is_some_and(|done| outbox.send(done).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Self { orders, store, reports })
    }

    /// Has a check run. False if the thread is gone, which nothing should bring about.
    #[must_use]
    pub fn order(&self, reason: Reason) -> bool {
        self.store.heartbeat().ordered(Instant::now());
        self.orders.send(Order::Check(reason))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders.send(Order::Stop);
    }
}

struct Work {
    open: Open,
    checks: Option<Box<dyn Checks>>,
    store: StatusStore,
}

impl Work {
    fn check(&mut self, reason: Reason) -> Arc<Report> {
        self.store.heartbeat().begins(Instant::now(), "opening what checks need", true);
        // After a panic nothing of what took part in it is used again.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut checks = match self.checks.take() {
                Some(checks) => checks,
                None => match (self.open)() {
                    Ok(checks) => checks,
                    Err(report) => return Arc::from(report),
                },
            };
            let report = checks.check(Intent::Write, reason);
            self.checks = Some(checks);
            report
        }));
        self.store.heartbeat().rests(Instant::now());
        result.unwrap_or_else(|panic| Arc::new(fault(&*panic)))
    }

    /// Waits until there is an order, or something for the watch; attends to the latter.
    fn wait_and_attend(&mut self, inbox: &Mailbox<Order>) -> Option<Report> {
        let checks = self.checks.as_deref();
        let mut fds = vec![PollFd::from_borrowed_fd(inbox.fd(), PollFlags::IN)];
        let signals = checks.map(|checks| checks.signals()).unwrap_or_default();
        fds.extend(signals.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let rest = checks.and_then(|checks| checks.rest());
        let timeout = rest.and_then(|rest| Timespec::try_from(rest).ok());
        let ready = poll(&mut fds, timeout.as_ref());
        let ordered = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        if ordered {
            inbox.clear();
        }
        let signed = fds.iter().skip(1).any(|fd| !fd.revents().is_empty());
        if !signed && (ordered || !matches!(ready, Ok(0))) {
            return None;
        }
        self.attend()
    }

    fn attend(&mut self) -> Option<Report> {
        let mut checks = self.checks.take()?;
        self.store.heartbeat().begins(Instant::now(), "a repair", false);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let report = checks.attend();
            self.checks = Some(checks);
            report
        }));
        self.store.heartbeat().rests(Instant::now());
        result.unwrap_or_else(|panic| {
            std::thread::sleep(AFTER_FAULT);
            Some(fault(&*panic))
        })
    }
}

fn fault(panic: &(dyn Any + Send)) -> Report {
    let message = message(panic);
    Report::failure(
        ErrorClass::Internal,
        format!("a fault in ruleward ended the check: {message}; it is tried again; please report it with the log"),
    )
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
