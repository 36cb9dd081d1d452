//! Files that others can reach, too: read without waiting for what is no file, written whole or not
//! at all, known again by what they hold, and listened to for changes. And processes that are given
//! up when they take too long.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod child;
pub mod digest;
pub mod places;
pub mod private_dir;
pub mod regular;
pub mod sealed;
pub mod sibling;
pub mod watch;
