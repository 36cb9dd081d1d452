//! Fills large sets beside those whose place they take, and reads what sets hold, before anything is compared.

use std::sync::Arc;

use ruleward_core::expected::Expected;
use ruleward_core::plan::{Plan, SetChange};
use ruleward_core::script;
use ruleward_kernel::activity::Activity;
use ruleward_report::ErrorClass;

use crate::kernel::fill::large;
use crate::pass::{Pass, Stop};
use crate::reconciler::Reconciler;

impl Reconciler {
    /// Fills what `todo` needs. True: there was something, and the kernel has to be looked at
    /// again. What was `heard` and not repaired yet is, meanwhile.
    pub(crate) fn fill(&mut self, pass: &mut Pass, todo: &mut Plan, heard: &mut Activity) -> Result<bool, Stop> {
        if self.kernel.filling {
            return Ok(false);
        }
        self.kernel.use_filled(todo);
        let changes: Vec<SetChange> = large(todo).map(|change| change.clone()).collect();
        if changes.is_empty() {
            return Ok(false);
        }
        self.progress("filling sets");
        if self.target.committed {
            self.kernel.pending.extend(std::mem::take(heard));
        }
        (self.kernel.filling, self.kernel.sets.uncompared) = (true, true);
        let filled = changes.iter().try_for_each(|change| self.fill_one(pass, change));
        self.kernel.filling = false;
        filled.map(|()| true)
    }

    fn fill_one(&mut self, pass: &mut Pass, change: &SetChange) -> Result<(), Stop> {
        let scratch = script::scratch_set(&change.name);
        let left_behind = self.port.set_references(&scratch).is_some();
        let cleared = left_behind.then(|| format!("destroy {scratch}\n"));
        for script in cleared.into_iter().chain(script::fill(change)) {
            self.port.restore_sets(&script).map_err(|error| {
                pass.stop(ErrorClass::Temporary, format!("set {} could not be filled: {error}", change.name))
            })?;
            self.progress("filling sets");
            if self.target.committed
                && let Some(report) = self.handle_events_now()
            {
                pass.report.incidents.extend(report.incidents);
            }
        }
        self.kernel.filled.insert(change.name.clone(), (change.create.clone(), change.members.clone()));
        Ok(())
    }
}

impl Reconciler {
    /// Reads the sets for the look that comes next. Where they hold many members rules that are damaged meanwhile are
    /// repaired.
    pub(crate) fn read_sets(&mut self, pass: &mut Pass, expected: &Arc<Expected>) -> Result<(), Stop> {
        if !self.kernel.sets_are_many(&*self.port, expected) {
            return Ok(()); // the look reads them
        }
        self.progress("reading sets");
        let read = self.kernel.reading(&self.port, expected);
        let reading = self.beside(pass, read).map_err(|error| {
            pass.stop(ErrorClass::Temporary, format!("the sets can't be read: {error}; nothing is written"))
        })?;
        self.kernel.sets.note(reading);
        Ok(())
    }
}
