//! How often something may be said: many times at once, and then at a steady pace. A pure function of time.

use std::time::Duration;

/// A pace with what was left out. It recovers one turn each `every`, up to `burst` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    burst: u32,
    every: Duration,
    /// When all turns are there again.
    full_at: Duration,
    left_out: u64,
}

impl Pace {
    /// All turns are there. With a burst of 0 nothing ever passes.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, full_at: Duration::ZERO, left_out: 0 }
    }

    /// Takes a turn at `now`, which never goes back. It says how many were left out since the last turn that was there;
    /// none: this one is left out too.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        let full_at = self.full_at.max(now).saturating_add(self.every);
        if full_at.saturating_sub(now) > self.every.saturating_mul(self.burst) {
            self.left_out += 1;
            return None;
        }
        self.full_at = full_at;
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
            burst in 0_u32..20,
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
