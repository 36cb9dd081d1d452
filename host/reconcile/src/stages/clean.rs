//! Takes everything away that is ours.

use std::sync::Arc;

use ruleward_core::drift;
use ruleward_core::expected::Expected;
use ruleward_core::plan::plan;
use ruleward_core::rule_encodings::RuleEncodings;

use crate::pass::{Pass, Stop};
use crate::reconciler::Reconciler;
use crate::traced::{self, Stage};
use ruleward_kernel::observe::Scope;
use ruleward_report::{Change, ErrorClass, Intent, Outcome, Report};

impl Reconciler {
    /// All that is ours by the configuration's grants, or by those of what was in force before.
    pub(crate) fn clean_all(&mut self) -> Report {
        self.cached = None;
        let mut pass = self.begin(Intent::Write);
        pass.cause = traced::CLEANUP;
        let families = self.detection.families.iter().collect();
        let mut released = self.roster.policies_in_force();
        released.extend(self.roster.policies_of_unknown());
        let nothing = Arc::new(Expected::nothing(self.roster.whole_ownership(), families, released));
        let cleaned = self.clean(&mut pass, nothing);
        if cleaned.is_ok() {
            pass.report.notes.extend(self.roster.forget_leaving());
            pass.report.in_sync = pass.report.problems.is_empty();
            pass.report.outcome = if pass.report.changes.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        }
        self.end(pass)
    }

    fn clean(&mut self, pass: &mut Pass, mut nothing: Arc<Expected>) -> Result<(), Stop> {
        let mut observed = match self.observe(pass, &mut nothing)? {
            Some(observed) => observed,
            // What only bytes show is recognised by its marks, and deleted by its handle.
            None => {
                let mut forms = RuleEncodings::default();
                forms.replayable = true;
                nothing = Arc::new(Expected { forms: Some(Arc::new(forms)), ..Expected::clone(&nothing) });
                let again = self.observe(pass, &mut nothing)?;
                again.ok_or_else(|| pass.stop(ErrorClass::Temporary, "the kernel can't be read; nothing is removed"))?
            }
        };
        let mut todo = pass.timed(Stage::Plan, || plan(&nothing, &observed));
        pass.report.changes = drift::list(&todo, &observed).into_iter().map(Change::from).collect();
        pass.report.notes.extend(todo.notes.iter().cloned());
        if !todo.is_empty() {
            self.kernel.write(&*self.port, pass, &mut nothing, &mut observed, &mut todo, &Scope::All)?;
        }
        pass.report.problems.append(&mut todo.problems);
        Ok(())
    }
}
