//! What is to be in force: the merged answers of the policies, as the kernel has to show them.

use std::sync::Arc;

use ruleward_core::check::Checked;
use ruleward_core::expected::Expected;

/// What was rehearsed, and of what it was made.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub merged: Vec<Arc<Checked>>,
    pub expected: Arc<Expected>,
    /// Whether byte forms were to be learned.
    pub replay: bool,
}

/// What is to be in force.
#[derive(Default)]
pub(crate) struct Target {
    /// The contributions that `expected` was made of.
    pub merged: Vec<Arc<Checked>>,
    /// What is to be in force, as the kernel has to show it.
    pub expected: Option<Arc<Expected>>,
    /// Whether it has been in force: only then is a difference drift.
    pub committed: bool,
    /// Whether encodings were to be learned for it.
    pub replayed: bool,
    /// The live tables hold what iptables-save does not show: they are read by bytes, also with `replay = "off"`.
    pub by_bytes: bool,
    /// Something else that was rehearsed, and could not be put in force.
    pub prepared: Option<Proven>,
    /// Rules that can never match.
    pub unmatchable: Vec<String>,
    /// Why no rehearsal could be held, if so.
    pub no_rehearsal: Option<String>,
    /// Why rules are not compared byte for byte, if so.
    pub no_encodings: Option<String>,
}

impl Target {
    /// What must be shown if nothing else is asked for from now on: the measure of drift.
    pub fn in_force(&self) -> Option<Arc<Expected>> {
        self.expected.clone().filter(|_| self.committed)
    }

    /// What was rehearsed is in force, or could not be put in force: then what was before still counts. Whether other
    /// chains may be ours from now on.
    pub fn enforce(&mut self, proven: Proven, done: bool) -> bool {
        let Proven { merged, expected, replay } = proven;
        let same = are_same(&self.merged, &merged);
        if done || self.expected.is_none() || (same && !self.committed) {
            let other_owners = self.expected.as_ref().is_none_or(|own| own.ownership != expected.ownership);
            let others = !same || other_owners;
            self.committed &= !others;
            (self.merged, self.expected, self.replayed) = (merged, Some(expected), replay);
            self.prepared = None;
            others
        } else if same {
            self.expected = Some(expected);
            false
        } else {
            self.prepared = Some(Proven { merged, expected, replay });
            self.committed = false; // a part of the other may have been written
            false
        }
    }
}

/// Most often they are the very same, and need not be walked through.
pub(crate) fn are_same(some: &[Arc<Checked>], others: &[Arc<Checked>]) -> bool {
    let same = |(one, other): (&Arc<Checked>, &Arc<Checked>)| Arc::ptr_eq(one, other) || one == other;
    some.len() == others.len() && some.iter().zip(others).all(same)
}
