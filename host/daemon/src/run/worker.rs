//! The thread that runs the checks, so that nothing a check waits for holds up sockets and signals.
//!
//! A panic in a check is a fault of the program and no reason to leave the node alone: it is caught and counted as a
//! failed check, and the next check begins with everything opened anew.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use ruleward_core::schedule::Reason;

use crate::report::{Checks, ErrorClass, Intent, Report};

/// Opens what checks need. Called again after a failure, so a node that lacks something at start is served later.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Checks>, Box<Report>> + Send>;

/// A running worker thread.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::Sender<Reason>,
    /// One report for each order.
    pub reports: tokio::sync::mpsc::UnboundedReceiver<Report>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(open: Open) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let (outbox, reports) = tokio::sync::mpsc::unbounded_channel();
        let mut work = Work { open, checks: None };
        std::thread::Builder::new().name("checks".to_owned()).spawn(move || {
            for reason in inbox {
                if outbox.send(work.check(reason)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders, reports })
    }

    /// Has a check run. False if the thread is gone, which nothing should bring about.
    #[must_use]
    pub fn order(&self, reason: Reason) -> bool {
        self.orders.send(reason).is_ok()
    }
}

struct Work {
    open: Open,
    checks: Option<Box<dyn Checks>>,
}

impl Work {
    fn check(&mut self, reason: Reason) -> Report {
        // After a panic nothing of what took part in it is used again.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut checks = match self.checks.take() {
                Some(checks) => checks,
                None => match (self.open)() {
                    Ok(checks) => checks,
                    Err(report) => return *report,
                },
            };
            let report = checks.check(Intent::Write, reason);
            self.checks = Some(checks);
            report
        }));
        match result {
            Ok(report) => report,
            Err(panic) => Report::failure(
                ErrorClass::Internal,
                format!(
                    "a fault in ruleward ended the check: {}; it is tried again; please report it with the log",
                    message(&*panic)
                ),
            ),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
