//! Everything that reaches the kernel's packet filter.

mod chains;
pub mod commit;
pub mod detect;
pub mod fake;
pub mod generation;
pub mod live;
pub mod lock;
mod nfnetlink;
pub mod observe;
pub mod port;
pub mod process;
pub mod rehearse;
mod restore_message;
mod save_text;
pub mod scratch;
mod tool_error;
mod tool_path;
pub mod tools;
