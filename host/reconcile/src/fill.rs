//! Fills large sets beside those whose place they take, in pieces, before anything is compared or locked: rules that are
//! damaged meanwhile are repaired between two pieces.

use std::collections::BTreeMap;

use ruleward_core::members::Members;
use ruleward_core::plan::{Plan, SetChange, SetStep};
use ruleward_core::script::{self, MOST_MEMBERS};
use ruleward_kernel::activity::Activity;

use crate::kernel::Kernel;
use crate::reconciler::{Pass, Reconciler, Stop};
use ruleward_report::ErrorClass;

/// Sets that stand ready under their scratch names, by the names that they will have.
pub(crate) type Filled = BTreeMap<String, (String, Members)>;

fn is_large(change: &SetChange) -> bool {
    change.members.len() > MOST_MEMBERS && !change.filled
}

/// The large sets that a plan would have to fill.
fn large(todo: &mut Plan) -> impl Iterator<Item = &mut SetChange> {
    let first = todo.first.as_deref_mut().map_or(&mut [][..], |first| &mut first.sets);
    first.iter_mut().chain(&mut todo.sets).filter_map(SetStep::change_mut).filter(|change| is_large(change))
}

impl Kernel {
    /// What stands ready is not filled again.
    pub fn use_filled(&self, todo: &mut Plan) {
        if self.filled.is_empty() {
            return;
        }
        for change in large(todo) {
            let ready = self.filled.get(&change.name);
            change.filled =
                ready.is_some_and(|(create, members)| (create, members) == (&change.create, &change.members));
        }
    }

    /// Takes the large sets out of a plan that repairs rules: they come after it. Their names.
    pub fn put_off_large(todo: &mut Plan) -> Vec<String> {
        if todo.first.is_some() {
            return Vec::new(); // rules and sets depend on each other
        }
        let names: Vec<String> = large(todo).map(|change| change.name.clone()).collect();
        todo.sets.retain_mut(|step| !step.change_mut().is_some_and(|change| is_large(change)));
        names
    }
}

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
