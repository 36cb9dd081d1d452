//! What is known of the kernel without reading it.

use std::collections::BTreeSet;
use std::time::Instant;

use ruleward_core::names::{Family, Table};
use ruleward_kernel::activity::Activity;

use crate::kernel::deferred::Deferred;

/// What is known of the kernel without reading it. *In sync* is a claim: it is made after everything
/// was compared, and goes with the first thing that is not known any more.
#[derive(Debug)]
pub(crate) enum SyncState {
    /// Not in sync, or not known to be.
    Unknown {
        /// All changes up to this generation were looked at (nft).
        compared: Option<u32>,
    },
    /// All is as it is to be.
    InSync {
        /// All changes up to this generation were looked at (nft).
        generation: Option<u32>,
    },
    /// Repairs wait, because they are undone again and again.
    Contended(Box<Contended>),
}

/// Repairs that wait.
#[derive(Debug)]
pub(crate) struct Contended {
    /// Where.
    pub deferred: Deferred,
    /// What was heard of these places meanwhile.
    pub pending: Activity,
    /// Until then.
    pub due: Instant,
}

impl Default for SyncState {
    fn default() -> Self {
        Self::Unknown { compared: None }
    }
}

impl SyncState {
    pub fn is_in_sync(&self) -> bool {
        matches!(self, Self::InSync { .. })
    }

    pub fn contended(&self) -> Option<&Contended> {
        match self {
            Self::Contended(contended) => Some(&**contended),
            _ => None,
        }
    }

    /// The generation up to which all changes were looked at.
    pub fn generation(&self) -> Option<u32> {
        match self {
            Self::Unknown { compared: generation } | Self::InSync { generation } => *generation,
            Self::Contended(_) => None,
        }
    }

    /// All changes up to this generation were looked at.
    pub fn set_generation(&mut self, to: Option<u32>) {
        match self {
            Self::Unknown { compared: generation } | Self::InSync { generation } => *generation = to,
            Self::Contended(_) => {}
        }
    }

    /// The same, if all changes before were.
    pub fn advance(&mut self, to: u32) {
        if self.generation().is_some() {
            self.set_generation(Some(to));
        }
    }

    /// Nothing that is known counts any more but what waits, which waits until `soonest` at least.
    pub fn fail(&mut self, soonest: Instant) {
        match self {
            Self::Contended(contended) => contended.due = contended.due.max(soonest),
            _ => *self = Self::default(),
        }
    }

    /// Nothing waits any more.
    pub fn end_contention(&mut self) {
        if self.contended().is_some() {
            *self = Self::default();
        }
    }

    /// Whether it was in sync. It is not known to be from now on, for something was found.
    pub fn doubt(&mut self) -> bool {
        let was = self.is_in_sync();
        if was {
            *self = Self::Unknown { compared: self.generation() };
        }
        was
    }

    /// What came of looking: in sync or not; where not all changes were looked at, that is known as well.
    pub fn judge(&mut self, in_sync: bool, all_looked_at: bool) {
        if self.contended().is_none() {
            let generation = self.generation().filter(|_| all_looked_at);
            *self = if in_sync { Self::InSync { generation } } else { Self::Unknown { compared: generation } };
        }
    }

    /// Whether a chain waits.
    pub fn defers(&self, place: (Family, Table), chain: &str) -> bool {
        self.contended().is_some_and(|contended| contended.deferred.has(place, chain))
    }

    /// Adds to what was heard of places that wait.
    pub fn hear(&mut self, heard: Activity) {
        if let Self::Contended(contended) = self {
            contended.pending.extend(heard);
        }
    }

    /// What was heard of places that wait, but for these tables.
    pub fn take_pending(&mut self, but: &BTreeSet<(Family, Table)>) -> Activity {
        match self {
            Self::Contended(contended) => contended.pending.take_all_but(but),
            _ => Activity::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn contended(due: Instant) -> SyncState {
        let contended = Contended { deferred: Deferred::default(), pending: Activity::default(), due };
        SyncState::Contended(Box::new(contended))
    }

    #[test]
    fn nothing_claims_sync_but_a_judgement() {
        let now = Instant::now();
        let mut state = SyncState::default();
        state.set_generation(Some(7));
        state.advance(8);
        assert!(!state.is_in_sync() && state.generation() == Some(8));
        state.judge(true, true);
        assert!(state.is_in_sync() && state.generation() == Some(8));
        assert!(state.doubt() && !state.doubt() && !state.is_in_sync());
        assert_eq!(state.generation(), Some(8), "what was looked at was looked at");
        state.judge(true, false);
        assert!(state.is_in_sync() && state.generation().is_none());
        state.advance(9);
        assert!(state.generation().is_none(), "what came before is not known");
        state.fail(now);
        assert!(!state.is_in_sync());
    }

    #[test]
    fn what_waits_is_never_in_sync_and_waits_on_after_a_failure() {
        let now = Instant::now();
        let mut state = contended(now);
        state.judge(true, true);
        assert!(!state.is_in_sync());
        state.fail(now + Duration::from_secs(1));
        assert!(state.contended().is_some_and(|contended| contended.due == now + Duration::from_secs(1)));
        state.end_contention();
        assert!(state.contended().is_none() && !state.is_in_sync());
    }
}
