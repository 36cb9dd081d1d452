//! Files that others can reach, too: read without waiting for what is no file, written whole or not
//! at all, and known again by what they hold.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod digest;
pub mod private_dir;
pub mod regular;
pub mod sealed;
