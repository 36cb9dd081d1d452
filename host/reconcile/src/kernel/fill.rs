//! Fills large sets beside those whose place they take, in pieces, before anything is compared or locked: rules that are
//! damaged meanwhile are repaired between two pieces.

use std::collections::BTreeMap;

use ruleward_core::members::Members;
use ruleward_core::plan::{Plan, SetChange, SetStep};
use ruleward_core::script::MOST_MEMBERS;

use crate::kernel::Kernel;

/// Sets that stand ready under their scratch names, by the names that they will have.
pub(crate) type Filled = BTreeMap<String, (String, Members)>;

fn is_large(change: &SetChange) -> bool {
    change.members.len() > MOST_MEMBERS && !change.filled
}

/// The large sets that a plan would have to fill.
pub(crate) fn large(todo: &mut Plan) -> impl Iterator<Item = &mut SetChange> {
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
