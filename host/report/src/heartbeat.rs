//! The pulse of the checking thread: whether a check or a repair goes on, or hangs. systemd's watchdog is fed by it.
//!
//! A sign of life is a step that was done: a phase that begins, a tool or a lock that is waited for and said to be. Each
//! of these waits has a limit of its own, so that none of them is for ever. A thread that gives no sign although it has
//! work is stuck. Time comes in as a parameter.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the thread that works and whoever looks after it.
#[derive(Debug)]
pub struct Heartbeat(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// The last sign.
    at: Instant,
    doing: &'static str,
    /// How long this step may take by its own limits.
    allowed: Duration,
    working: bool,
    ordered: bool,
}

/// Work that does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// The step that does not end.
    pub doing: &'static str,
    /// Since when there was no sign.
    pub silent: Duration,
}

impl Heartbeat {
    /// Nothing to do yet.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(State { at: now, doing: "nothing", allowed: Duration::ZERO, working: false, ordered: false }))
    }

    /// A check was ordered: from now on the thread has work.
    pub fn ordered(&self, now: Instant) {
        let mut state = self.state();
        if !state.working && !state.ordered {
            (state.at, state.doing, state.allowed) = (now, "taking up a check", Duration::ZERO);
        }
        state.ordered = true;
    }

    /// The thread takes up work.
    pub fn begins(&self, now: Instant, doing: &'static str, ordered: bool) {
        let mut state = self.state();
        state.ordered &= !ordered;
        *state = State { at: now, doing, allowed: Duration::ZERO, working: true, ordered: state.ordered };
    }

    /// The work goes on with this step, which may take as long as the limits of what is done in it.
    pub fn step(&self, now: Instant, doing: &'static str, allowed: Duration) {
        let mut state = self.state();
        (state.at, state.doing, state.allowed) = (now, doing, allowed);
    }

    /// The work is done, whatever came of it.
    pub fn rests(&self, now: Instant) {
        let mut state = self.state();
        (state.at, state.doing, state.allowed, state.working) = (now, "taking up a check", Duration::ZERO, false);
    }

    /// The step that has not ended within `patience` and its own limits, if there is work.
    pub fn stuck(&self, now: Instant, patience: Duration) -> Option<Stuck> {
        let state = *self.state();
        let silent = now.saturating_duration_since(state.at);
        let stuck = (state.working || state.ordered) && silent > patience.saturating_add(state.allowed);
        stuck.then_some(Stuck { doing: state.doing, silent })
    }

    /// Plain data that is whole after every statement.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn later(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn who_has_nothing_to_do_is_not_stuck() {
        let start = Instant::now();
        let pulse = Heartbeat::new(start);
        assert_eq!(pulse.stuck(later(start, 100_000), PATIENCE), None);
        pulse.begins(later(start, 1), "a repair", false);
        pulse.rests(later(start, 2));
        assert_eq!(pulse.stuck(later(start, 100_000), PATIENCE), None);
    }

    #[test]
    fn a_step_without_end_is_named_and_one_that_goes_on_is_not() {
        let start = Instant::now();
        let pulse = Heartbeat::new(start);
        pulse.begins(start, "a check", true);
        for second in (0..600).step_by(20) {
            pulse.step(later(start, second), "waiting", Duration::ZERO);
            assert_eq!(pulse.stuck(later(start, second + 20), PATIENCE), None);
        }
        pulse.step(later(start, 600), "reading facts", Duration::ZERO);
        let stuck = Stuck { doing: "reading facts", silent: Duration::from_secs(31) };
        assert_eq!(pulse.stuck(later(start, 631), PATIENCE), Some(stuck));
    }

    #[test]
    fn a_step_may_take_what_its_limits_permit() {
        let start = Instant::now();
        let pulse = Heartbeat::new(start);
        pulse.begins(start, "a check", true);
        pulse.step(start, "asking policies", Duration::from_secs(100));
        assert_eq!(pulse.stuck(later(start, 130), PATIENCE), None);
        assert!(pulse.stuck(later(start, 131), PATIENCE).is_some());
    }

    #[test]
    fn an_order_that_nobody_takes_up_is_seen() {
        let start = Instant::now();
        let pulse = Heartbeat::new(start);
        pulse.ordered(start);
        assert_eq!(pulse.stuck(later(start, 31), PATIENCE).map(|stuck| stuck.doing), Some("taking up a check"));
        // A repair that ran meanwhile ends, and the order is still there.
        pulse.begins(later(start, 31), "a repair", false);
        pulse.rests(later(start, 32));
        assert_eq!(pulse.stuck(later(start, 60), PATIENCE), None);
        assert!(pulse.stuck(later(start, 63), PATIENCE).is_some());
        pulse.begins(later(start, 63), "a check", true);
        pulse.rests(later(start, 64));
        assert_eq!(pulse.stuck(later(start, 1000), PATIENCE), None);
    }
}
