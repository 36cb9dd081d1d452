//! Records what a reading found that is no difference to write.

use ruleward_core::drift::Drift;
use ruleward_kernel::activity::Activity;
use ruleward_report::ONLY_RECORDED;

use crate::incidents::{Cause, Repair};
use crate::kernel::deferred::touch;
use crate::kernel::noted::Noted;
use crate::pass::Pass;
use crate::reconciler::Reconciler;

impl Reconciler {
    /// Records what was noted, as incidents that no repair belongs to.
    pub(crate) fn record_noted(&mut self, pass: &mut Pass, noted: &Noted, heard: &Activity) {
        let cause = |drift: &Drift| {
            let touch = touch(heard, drift);
            Cause { actors: touch.actors_of(drift.kind), events: touch.events, ..Cause::default() }
        };
        let mut record = |drift: &Drift, how: &str| {
            let repair = Repair { how: how.to_owned(), ..Repair::default() };
            self.record_incidents(pass, std::slice::from_ref(drift), cause, &repair);
        };
        noted.policies.iter().for_each(|drift| record(drift, ONLY_RECORDED));
        noted.stuck.iter().for_each(|stuck| record(&stuck.drift, &stuck.problem));
    }
}
