//! How often something may be done: many times at once, and then at a steady pace. Pure functions of time.

use std::time::Duration;

/// Passes that may be made: so many at once, and one more each time a cost has gone by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    /// How many at once.
    most: u32,
    cost: Duration,
    longest_cost: Duration,
    /// When it will be full again; in the past if it is.
    full_at: Duration,
}

impl TokenBucket {
    pub(crate) fn new(most: u32, cost: Duration, longest_cost: Duration) -> Self {
        Self { most: most.max(1), cost, longest_cost, full_at: Duration::ZERO }
    }

    /// A pass costs no more than this from now on.
    pub(crate) fn limit(&mut self, longest_cost: Duration) {
        self.longest_cost = longest_cost;
        self.cost = self.cost.min(longest_cost);
    }

    /// When there is a pass in it.
    pub(crate) fn affordable_at(&self) -> Duration {
        (self.full_at + self.cost).saturating_sub(self.cost * self.most)
    }

    pub(crate) fn pay(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now) + self.cost;
    }

    /// As many passes are in it as before; those that come have another cost.
    pub(crate) fn reprice(&mut self, now: Duration, cost: Duration) {
        let cost = cost.min(self.longest_cost);
        let owed = self.full_at.saturating_sub(now);
        if !self.cost.is_zero() {
            self.full_at = now + owed.mul_f64(cost.as_secs_f64() / self.cost.as_secs_f64());
        }
        self.cost = cost;
    }
}

/// A pace with what was left out. It recovers one turn each `every`, up to `burst` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    turns: TokenBucket,
    left_out: u64,
}

impl Pace {
    /// All turns are there; at least one.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { turns: TokenBucket::new(burst, every, every), left_out: 0 }
    }

    /// Takes a turn at `now`, which never goes back. It says how many were left out since the last turn that was there;
    /// none: this one is left out too.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        if now < self.turns.affordable_at() {
            self.left_out += 1;
            return None;
        }
        self.turns.pay(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_then_one_each_turn_and_the_count_of_the_others_is_told() {
        let mut pace = Pace::new(3, SECOND);
        let taken: Vec<_> = (0..5).map(|_| pace.take(Duration::ZERO)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(pace.take(SECOND), Some(2));
        assert_eq!(pace.take(SECOND), None);
        // After a rest all of the burst is there, and no more.
        let later = SECOND * 1000;
        let taken: Vec<_> = (0..4).map(|_| pace.take(later)).collect();
        assert_eq!(taken, [Some(1), Some(0), Some(0), None]);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_pace_and_nothing_is_forgotten(
            burst in 1_u32..20,
            steps in proptest::collection::vec(0_u64..3000, 1..200),
        ) {
            let (mut pace, mut now, mut passed, mut told) = (Pace::new(burst, SECOND), Duration::ZERO, 0, 0);
            for step in &steps {
                now += Duration::from_millis(*step);
                if let Some(left_out) = pace.take(now) {
                    (passed, told) = (passed + 1, told + left_out);
                }
                prop_assert!(passed <= u64::from(burst) + now.as_secs());
            }
            prop_assert_eq!(passed + told + pace.left_out, steps.len() as u64);
        }
    }
}
