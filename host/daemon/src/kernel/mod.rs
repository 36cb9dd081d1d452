//! Everything that reaches the kernel's packet filter.

pub mod activity;
mod chains;
pub mod commit;
pub mod describe;
pub mod detect;
pub mod fake;
pub mod generation;
pub mod identify;
pub mod legacy;
pub mod live;
pub mod lock;
mod nfnetlink;
pub mod nft;
pub mod observe;
pub mod port;
pub mod process;
mod prove;
pub mod rehearse;
mod restore_message;
mod save_text;
pub mod scratch;
mod set_digest;
pub mod set_index;
mod tool_error;
mod tool_path;
pub mod tools;
pub mod watch;
