//! What outlives a restart, in the state directory: incidents, records of what policies answered,
//! pins, and the last valid configuration.
//!
//! The host recognises its rules in the kernel without any of it. A file is written whole or not at
//! all; a damaged one is named and does not count. While the daemon runs, one thread ([`StateWriter`])
//! writes, so that no repair waits for a disk.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod configuration;
pub mod history;
pub mod journal;
pub mod pins;
mod retry;
mod writer;

pub use writer::{CLOSE_TIME, Kept, Settings, StateWriter};
