//! How a disk is treated that does not take what is written: tried again at growing pauses.

use std::time::{Duration, Instant, SystemTime};

/// First pause after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether the last write failed, and when the next one may be tried.
#[derive(Debug, Default)]
pub struct Retry(Option<Trouble>);

#[derive(Debug)]
struct Trouble {
    since: SystemTime,
    pause: Duration,
    at: Instant,
}

impl Retry {
    /// Whether the last write failed.
    pub fn in_trouble(&self) -> bool {
        self.0.is_some()
    }

    /// When to write what is due at `due`. After a failure that is when the pause has passed, also if nothing
    /// waits: then it is known that the disk is well again.
    pub fn next(&self, due: Option<Instant>) -> Option<Instant> {
        self.0.as_ref().map_or(due, |trouble| Some(trouble.at))
    }

    /// A write has failed. Since when writes fail, and whether this is the first.
    pub fn failed(&mut self) -> (SystemTime, bool) {
        let (since, pause, first) = match &self.0 {
            Some(trouble) => (trouble.since, (trouble.pause * 2).min(LONGEST), false),
            None => (SystemTime::now(), FIRST, true),
        };
        self.0 = Some(Trouble { since, pause, at: Instant::now() + pause });
        (since, first)
    }

    /// A write has succeeded. Whether the one before had failed.
    pub fn succeeded(&mut self) -> bool {
        self.0.take().is_some()
    }
}
