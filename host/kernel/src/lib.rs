//! Everything that reaches the kernel's packet filter.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod activity;
mod chains;
pub mod commit;
mod confine;
pub mod describe;
pub mod detect;
mod estimators;
pub mod event_source;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod generation;
pub mod identify;
mod in_flight;
pub mod legacy;
pub mod live;
mod load;
pub mod lock;
mod nfnetlink;
pub mod nft;
pub mod nft_tables;
mod objects;
pub mod observe;
mod own_processes;
pub mod port;
pub mod process;
mod prove;
pub mod rehearse;
mod restore_message;
mod save_text;
pub mod scratch;
mod set_digest;
pub mod set_index;
#[cfg(feature = "sim")]
pub mod sim;
pub mod target_names;
mod tool_error;
mod tool_path;
pub mod tools;
pub mod verdict;
pub mod watch;
pub mod writers;
