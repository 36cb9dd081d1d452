//! Gives the last report again where the check that is due can come to nothing else.

use std::sync::Arc;

use ruleward_core::schedule::Reason;
use ruleward_report::Report;

use crate::cached_report::CachedReport;
use crate::reconciler::Reconciler;

impl Reconciler {
    /// The last report, if the check that is due can come to nothing else.
    pub(crate) fn cached_report(&mut self, reason: Reason) -> Option<Arc<Report>> {
        let CachedReport { report, heard } = self.cached.as_ref()?;
        if !matches!(reason, Reason::Refresh | Reason::Recheck) || self.source.changes() != Some(*heard) {
            return None;
        }
        let (report, expected) = (Arc::clone(report), self.target.expected.clone()?);
        if !self.is_settled(reason, &expected) {
            return None;
        }
        self.kernel.skipped += 1;
        Some(report)
    }

    /// What the next check begins with, after one that was settled and reported this.
    pub(crate) fn report_to_cache(&self, report: &Arc<Report>) -> Option<CachedReport> {
        let now = self.kernel.elapsed();
        let nothing_to_say = report.in_sync && report.problems.is_empty();
        let nothing_to_try = self.roster.is_at_rest() && self.offered.shadows.is_empty() && !self.handed_on.any_shadows;
        let nothing_to_wait_for = self.kernel.sync.contended().is_none() && self.kernel.fights.fights(now).is_empty();
        let heard = self.facts_cache.heard.filter(|_| nothing_to_say && nothing_to_try && nothing_to_wait_for)?;
        Some(CachedReport { report: Arc::clone(report), heard })
    }
}
