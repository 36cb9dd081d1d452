//! What the daemon loop and the commands need of the straight path: one check, or taking everything away.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::schedule::Reason;

use super::Report;

/// Whether a check may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Brings the kernel to the desired state.
    Write,
    /// Finds the difference and writes nothing.
    PlanOnly,
}

/// Runs checks. Whatever happens is in the report: no panic, no exit.
pub trait Checks: Send {
    /// One pass from facts to report. The very same report as the last time: nothing has happened since.
    fn check(&mut self, intent: Intent, reason: Reason) -> Arc<Report>;

    /// Looks at what was heard since the last time, and undoes drift. No report: there was nothing to do.
    fn attend(&mut self) -> Option<Report> {
        None
    }

    /// One of them is readable when [`Checks::attend`] should be called.
    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// After this time [`Checks::attend`] should be called without a sign.
    fn rest(&self) -> Option<Duration> {
        None
    }

    /// Removes everything that is ours by the configuration's grants.
    fn cleanup(&mut self) -> Report;
}
