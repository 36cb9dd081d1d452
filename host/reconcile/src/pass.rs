//! What is known of a running step until its report is made.

use std::sync::Arc;
use std::time::Instant;

use crate::found::Found;
use crate::runtime::Runtime;
use crate::trace::Recorder;
use ruleward_report::{ErrorClass, Intent, Report};

/// What becomes of a repair that is undone again before it is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRevert {
    /// It counts as drift that is seen anew, and waits where that is a fight.
    Backoff,
    /// It is made again at once, as often as there are tries: whoever asked for it waits for the answer.
    Retry,
}

/// What a check met before it came to the kernel. A repair between two checks changes nothing of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub(crate) class: ErrorClass,
    pub(crate) problems: Vec<String>,
    /// It did not come to the kernel.
    pub(crate) ended: bool,
}

/// What is said while our rules wait to be moved back.
pub(crate) const MOVED: &str =
    "another program puts rules before ours; ours are moved back when it pauses, within a second or two";

/// Ends a pass early. The report says why.
pub(crate) struct Stop;

/// What is known of the outcome of a pass, besides the report.
pub(crate) struct Pass {
    pub(crate) report: Report,
    pub(crate) started: Instant,
    pub(crate) intent: Intent,
    /// When the last write took effect.
    pub(crate) committed_at: Option<Instant>,
    /// Writing was begun.
    pub(crate) committing: bool,
    /// Nothing had to be read: all is as it was when it was right.
    pub(crate) settled: bool,
    /// What becomes of a repair that is undone before it is read back.
    pub(crate) on_revert: OnRevert,
    /// The drift that was found.
    pub(crate) found: Found,
    /// What is done when, for a trace.
    pub(crate) recorder: Recorder,
    /// Why it runs, in a trace.
    pub(crate) cause: &'static str,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl Before {
    pub(crate) fn keep(&mut self, pass: &Pass) {
        (self.class, self.problems) = (pass.report.class, pass.report.problems.clone());
    }
}

impl Pass {
    pub(crate) fn stop(&mut self, class: ErrorClass, problem: impl Into<String>) -> Stop {
        let Report { outcome, .. } = Report::failure(class, "");
        self.report.outcome = outcome;
        self.report.in_sync = false; // an earlier part of the same check may have claimed it
        self.report.class = class;
        self.report.problems.push(problem.into());
        Stop
    }
}
