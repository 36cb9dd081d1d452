//! Whether anything that facts are made of may have changed since they were read: counted by who hears of changes, asked
//! by who reads. While nobody listens, everything may have.

use std::sync::Mutex;
use std::sync::PoisonError;

/// Shared between the two.
#[derive(Debug, Default)]
pub struct ChangeCounter {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    heard: u64,
    listening: bool,
}

impl ChangeCounter {
    /// Something happened.
    pub fn heard(&self) {
        self.with(|state| state.heard += 1);
    }

    /// From now on every change is heard of, or no longer.
    pub fn listening(&self, listening: bool) {
        self.with(|state| {
            if !state.listening {
                state.heard += 1; // what was missed until now
            }
            state.listening = listening;
        });
    }

    /// A number that stays the same as long as nothing happens; none while nobody listens.
    pub fn count(&self) -> Option<u64> {
        self.with(|state| state.listening.then_some(state.heard))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Plain data that is whole after every statement.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_listen_knows_nothing() {
        let signs = ChangeCounter::default();
        assert_eq!(signs.count(), None);
        signs.listening(true);
        let quiet = signs.count();
        assert!(quiet.is_some() && signs.count() == quiet);
        signs.listening(true);
        assert_eq!(signs.count(), quiet);
        signs.heard();
        assert_ne!(signs.count(), quiet);
        let later = signs.count();
        signs.listening(false);
        assert_eq!(signs.count(), None);
        signs.listening(true);
        assert_ne!(signs.count(), later, "what was missed meanwhile counts");
    }
}
