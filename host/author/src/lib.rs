//! What an author of policies needs beside a compiler: the contract as WIT, bindings for languages that need them,
//! components from compiled modules. Pure: bytes and text in, bytes and text out, the same for the same.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bindings;
mod contract;
mod encode;
mod post_return;

pub use bindings::{BindingsFile, Language, bindings};
pub use contract::{ContractError, WIT};
pub use encode::{EncodeError, Interface, encode, interface};
