//! Work that takes long and needs nothing of the rules in force is done by another thread, while
//! this one goes on repairing them: policies are asked, a change is rehearsed, large sets are read.

use std::time::Duration;

use crate::pass::Pass;
use crate::policies::Roster;
use crate::reconciler::Reconciler;
use crate::runtime::Task;

/// What is due is looked at after this time, and not more often.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

impl Reconciler {
    /// What `work` gives. Rules that are damaged meanwhile are repaired; sets are left alone.
    pub(crate) fn beside<T: Send + 'static>(
        &mut self,
        pass: &mut Pass,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if !self.target.committed {
            return work();
        }
        let task = Task::spawn(&*self.runtime, work);
        let filling = std::mem::replace(&mut self.kernel.filling, true);
        while !task.is_finished() {
            let rest = self.rest_now().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
            let began = self.runtime.now();
            let signals: Vec<_> = task.end().into_iter().chain(self.kernel.signals()).collect();
            let signed = self.runtime.wait(&signals, Some(rest));
            drop(signals);
            let due = signed || self.runtime.now().saturating_duration_since(began) >= rest;
            if due
                && !task.is_finished()
                && let Some(report) = self.handle_events_now()
            {
                pass.report.incidents.extend(report.incidents);
            }
        }
        self.kernel.filling = filling;
        task.finish()
    }

    /// The same with the policies. Reports of repairs made meanwhile are not told: what policies
    /// are is said by that of the check.
    pub(crate) fn with_roster<T: Send + 'static>(
        &mut self,
        pass: &mut Pass,
        work: impl FnOnce(&mut Roster) -> T + Send + 'static,
    ) -> T {
        let empty = Roster::without_records(self.detection.families);
        let mut roster = std::mem::replace(&mut self.roster, empty);
        let (roster, result) = self.beside(pass, move || {
            let result = work(&mut roster);
            (roster, result)
        });
        self.roster = roster;
        result
    }
}
