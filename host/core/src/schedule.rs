//! When to look at the kernel again: a pure function of what happened and what time it is.
//!
//! - At every refresh interval, without exception and whatever else happened, the full comparison runs.
//! - After each write it runs again at growing intervals (1 s, 2 s, 4 s, ... up to the refresh interval): some writers
//!   clobber others a moment later.
//! - After a failure it runs again soon, then at growing pauses, never slower than the refresh interval.
//!
//! Time is the time since the host started, on a clock that never goes back.

use std::time::Duration;

/// First pause after a write.
pub const FIRST_RECHECK: Duration = Duration::from_secs(1);
/// First pause after a failure.
pub const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Longest pause after a failure, if the refresh interval is longer.
pub const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The host has just started.
    Started,
    /// The time that was asked for has come (or any other moment).
    Woken,
    /// Somebody asked for a check, or something hints at drift.
    Asked,
    /// What policies are made of, or what they see, has changed.
    Changed,
    /// A check has ended.
    Checked(Outcome),
    /// A repair that nobody asked for has ended: drift was seen as it happened. Puts off no refresh.
    Repaired(Outcome),
}

/// How a check has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was as it should be.
    Clean,
    /// Something was written, and is as it should be now.
    Wrote,
    /// The node may not be as it should be.
    Failed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run a full check now, then report [`Event::Checked`].
    Check(Reason),
    /// Nothing before this time.
    WaitUntil(Duration),
}

/// Why a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The first one.
    Start,
    /// The refresh interval is over.
    Refresh,
    /// Something was written a short time ago.
    Recheck,
    /// The last one failed.
    Retry,
    /// Somebody asked.
    Asked,
    /// What policies are made of, or what they see, has changed.
    Change,
}

/// Where the schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    refresh: Duration,
    next_refresh: Duration,
    /// When to look again before that, why, and the pause that led there.
    early: Option<(Duration, Reason, Duration)>,
}

impl Schedule {
    /// With this refresh interval.
    pub fn new(refresh: Duration) -> Self {
        Self { refresh, next_refresh: Duration::ZERO, early: None }
    }

    /// The same with another refresh interval: the next refresh comes at the latest when it is over.
    #[must_use]
    pub fn with_refresh(self, refresh: Duration, now: Duration) -> Self {
        Self { refresh, next_refresh: self.next_refresh.min(now + refresh), ..self }
    }

    /// When the next check is due.
    pub fn due(&self) -> Duration {
        self.early.map_or(self.next_refresh, |(at, ..)| at.min(self.next_refresh))
    }

    /// Takes one event and says what to do.
    #[must_use]
    pub fn step(mut self, event: Event, now: Duration) -> (Self, Action) {
        match event {
            Event::Started => return (self, Action::Check(Reason::Start)),
            Event::Asked => return (self, Action::Check(Reason::Asked)),
            Event::Changed => return (self, Action::Check(Reason::Change)),
            Event::Woken => {}
            Event::Repaired(outcome) => {
                let soon = match outcome {
                    Outcome::Clean => None,
                    Outcome::Wrote => Some((now + FIRST_RECHECK, Reason::Recheck, FIRST_RECHECK)),
                    Outcome::Failed => Some((now + FIRST_RETRY, Reason::Retry, FIRST_RETRY)),
                };
                if let Some(soon) = soon.filter(|soon| self.early.is_none_or(|early| early.1 != soon.1)) {
                    self.early = Some(soon);
                }
            }
            Event::Checked(outcome) => {
                self.next_refresh = now + self.refresh;
                let before = self.early.take();
                let pause = |reason, first: Duration| match before {
                    Some((_, same, pause)) if same == reason => pause * 2,
                    _ => first,
                };
                self.early = match outcome {
                    Outcome::Clean => match before {
                        Some((_, Reason::Recheck, pause)) => Some((now + pause * 2, Reason::Recheck, pause * 2)),
                        _ => None,
                    },
                    Outcome::Wrote => Some((now + FIRST_RECHECK, Reason::Recheck, FIRST_RECHECK)),
                    Outcome::Failed => {
                        let pause = pause(Reason::Retry, FIRST_RETRY).min(LONGEST_RETRY);
                        Some((now + pause, Reason::Retry, pause))
                    }
                };
                if self.early.is_some_and(|(at, ..)| at >= self.next_refresh) {
                    // The refresh comes first; growing pauses end there, a failure is kept in mind.
                    self.early = self.early.filter(|(_, reason, _)| *reason == Reason::Retry);
                }
            }
        }
        let due = self.due();
        if due > now {
            return (self, Action::WaitUntil(due));
        }
        let reason = match self.early {
            Some((at, reason, _)) if at <= now => reason,
            _ => Reason::Refresh,
        };
        (self, Action::Check(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Runs the schedule for `total`, answering each check by `outcome`, and gives the times of the checks.
    fn run(refresh: Duration, total: Duration, mut outcome: impl FnMut(usize) -> Outcome) -> Vec<Duration> {
        let mut times = Vec::new();
        let mut now = Duration::ZERO;
        let (mut schedule, mut action) = Schedule::new(refresh).step(Event::Started, now);
        while now <= total {
            (schedule, action) = match action {
                Action::Check(_) => {
                    times.push(now);
                    schedule.step(Event::Checked(outcome(times.len())), now)
                }
                Action::WaitUntil(at) => {
                    now = at;
                    schedule.step(Event::Woken, now)
                }
            };
        }
        times
    }

    fn seconds(times: &[Duration]) -> Vec<u64> {
        times.iter().map(Duration::as_secs).collect()
    }

    #[test]
    fn a_quiet_node_is_read_at_every_refresh() {
        assert_eq!(seconds(&run(MINUTE, 3 * MINUTE, |_| Outcome::Clean)), [0, 60, 120, 180]);
    }

    #[test]
    fn a_write_is_followed_by_looks_at_growing_intervals_up_to_the_refresh() {
        let times = run(MINUTE, 2 * MINUTE, |check| if check == 1 { Outcome::Wrote } else { Outcome::Clean });
        assert_eq!(seconds(&times), [0, 1, 3, 7, 15, 31, 63]);
    }

    #[test]
    fn failures_are_retried_at_growing_pauses_never_slower_than_the_refresh() {
        let times = run(MINUTE, 2 * MINUTE, |_| Outcome::Failed);
        let pauses: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[0], FIRST_RETRY);
        assert!(pauses.windows(2).all(|two| two[1] == (two[0] * 2).min(LONGEST_RETRY)), "{pauses:?}");
        let fast = run(Duration::from_millis(100), Duration::from_secs(1), |_| Outcome::Failed);
        assert!(fast.windows(2).all(|two| two[1] - two[0] <= Duration::from_millis(100)), "{fast:?}");
    }

    #[test]
    fn asking_never_waits_and_never_delays_the_refresh() {
        let (schedule, _) = Schedule::new(MINUTE).step(Event::Checked(Outcome::Clean), Duration::ZERO);
        let (schedule, action) = schedule.step(Event::Asked, Duration::from_secs(5));
        assert_eq!(action, Action::Check(Reason::Asked));
        assert_eq!(schedule.due(), MINUTE);
    }

    #[test]
    fn another_interval_counts_at_once() {
        let (schedule, _) = Schedule::new(60 * MINUTE).step(Event::Checked(Outcome::Clean), Duration::ZERO);
        let schedule = schedule.with_refresh(MINUTE, Duration::from_secs(5));
        assert_eq!(schedule.due(), Duration::from_secs(65));
        let (schedule, action) = schedule.step(Event::Changed, Duration::from_secs(6));
        assert_eq!(action, Action::Check(Reason::Change));
        let (schedule, _) = schedule.step(Event::Checked(Outcome::Clean), Duration::from_secs(7));
        assert_eq!(schedule.with_refresh(60 * MINUTE, Duration::from_secs(8)).due(), Duration::from_secs(67));
    }

    #[test]
    fn repairs_bring_rechecks_and_put_off_no_refresh() {
        let (mut schedule, _) = Schedule::new(MINUTE).step(Event::Checked(Outcome::Clean), Duration::ZERO);
        let mut action = Action::WaitUntil(MINUTE);
        for second in 1..60 {
            let now = Duration::from_secs(second);
            (schedule, action) = schedule.step(Event::Repaired(Outcome::Wrote), now);
            if let Action::Check(reason) = action {
                assert_eq!(reason, Reason::Recheck);
                (schedule, _) = schedule.step(Event::Checked(Outcome::Clean), now);
            }
        }
        assert!(matches!(action, Action::WaitUntil(_)));
        let before = Schedule::new(MINUTE).step(Event::Checked(Outcome::Clean), Duration::ZERO).0;
        let (after, action) = before.step(Event::Repaired(Outcome::Wrote), MINUTE - FIRST_RECHECK / 2);
        assert_eq!((after.due(), action), (MINUTE, Action::WaitUntil(MINUTE)));
    }

    #[test]
    fn a_clock_far_ahead_gives_one_check_not_many() {
        let (schedule, _) = Schedule::new(MINUTE).step(Event::Checked(Outcome::Clean), Duration::ZERO);
        let (schedule, action) = schedule.step(Event::Woken, 100 * MINUTE);
        assert_eq!(action, Action::Check(Reason::Refresh));
        let (_, action) = schedule.step(Event::Checked(Outcome::Clean), 100 * MINUTE);
        assert_eq!(action, Action::WaitUntil(101 * MINUTE));
    }
}
