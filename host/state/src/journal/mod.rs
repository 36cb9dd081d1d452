//! The journal of incidents: durable, bounded, safe against crashes, in the state directory.
//!
//! - `incidents.jsonl` holds one incident a line, as JSON. One that changes is appended again under its id; the last
//!   line wins. At a size (`incident-journal-size`) it becomes `incidents.1.jsonl`, in place of the one before, and a
//!   new one begins. So the disk holds two of them at most.
//! - The thread of [`StateWriter`](crate::StateWriter) writes. Each batch is on the disk (`fdatasync`) before the next
//!   one begins. An incident that repeats is written at growing pauses, the first a second, the longest
//!   [`LONGEST_PAUSE`], and once more when it has been quiet for [`QUIET`] or the daemon stops.
//! - What waits is bounded ([`MOST_BYTES`]); beyond that the oldest go, and are counted.
//! - A line that a crash has cut is left out by readers ([`read`]), and what is appended begins on a line of its own.
//! - Ids go on across restarts. Two incidents with one id (from a time when the old ones could not be read) are told apart
//!   by the time when they were seen first.

pub mod file;
pub mod follow;
mod queue;
pub mod read;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use queue::{Batch, Queue};
pub(crate) use writer::Writer;

use std::time::Duration;

/// The file that grows.
pub const CURRENT: &str = "incidents.jsonl";
/// The one before.
pub const PREVIOUS: &str = "incidents.1.jsonl";

/// First pause between two lines of the same incident.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two lines of the same incident.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After this time without a repeat the count of an incident is final.
pub const QUIET: Duration = Duration::from_secs(60);
/// How much may wait for the disk, in bytes.
pub const MOST_BYTES: usize = 16 << 20;
