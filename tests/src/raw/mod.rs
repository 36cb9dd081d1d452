//! The kernel without a stock tool: netlink to nf_tables, getsockopt and setsockopt to iptables-legacy, which go around its
//! lock. Written for the tests with no line of the program under test, so that a mistake there is not repeated here.
//!
//! Works in the network namespace of the calling thread.

pub mod legacy;

mod listener;
mod netlink;
mod rules;

pub use listener::{Listener, Transaction};
pub use netlink::Message;
pub use rules::{Nft, Place, Rule};

/// What can't be done, for people.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
