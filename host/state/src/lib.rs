//! What outlives a restart, in the state directory: incidents, records of what policies answered,
//! pins, and the last valid configuration.
//!
//! Nothing here is needed to recognise what is ours in the kernel. Files are written whole or not at
//! all; what is damaged is named and does not count. What the daemon records while it runs goes to
//! the disk on a thread of its own ([`StateWriter`]), so that no repair waits for one.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod configuration;
pub mod history;
pub mod journal;
pub mod pins;
mod retry;
mod writer;

pub use writer::{CLOSE_TIME, Kept, Settings, StateWriter};
