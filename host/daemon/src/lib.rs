//! The Ruleward daemon as a library: everything that does I/O, one folder an edge. The edges do not know each
//! other; `node` joins them with the reconciler.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod cli;
pub mod compare;
pub mod config;
#[cfg(test)]
mod generated;
pub mod logs;
mod mailbox;
pub mod memory;
pub mod metrics;
pub mod node;
pub mod open;
pub mod reload;
pub mod replay;
pub mod run;
pub mod runtime;
pub mod serve;
pub mod shadows;
pub mod status_store;
pub mod traces;

#[cfg(test)]
#[test]
fn compiling_child_entry_point() {
    ruleward_sandbox::testkit::compiling_child();
}
