//! Refreshes of a node on which nothing happens. A check whose every input is as it was for the last one would find the same
//! and say the same, so it gives that report again. What would end this is asked in microseconds; whatever else a check
//! does is left to the next one that reads everything.

use std::sync::Arc;

use ruleward_report::Report;

/// What a check came to that had nothing to read, nothing to try again and nothing to wait for.
pub(crate) struct CachedReport {
    pub report: Arc<Report>,
    /// What was heard of changes to facts until then.
    pub heard: u64,
}
