//! The kit of the real-kernel suites: a node in its own namespaces, the program under test, a stranger who tampers,
//! packets that tell what they saw, and tools that misbehave. Tests stay a few lines long because everything here
//! fails by panicking with what happened, what was expected and what the program said ([`mod@trial`] collects it).
//!
//! Nothing here touches the machine's own rules: [`sandbox::enter`] runs before the first thread, and every
//! [`Node`] and [`Netns`] has namespaces of its own below that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod documented;
pub mod fake_tool;
pub mod raw;
pub mod resolvers;
pub mod sandbox;
pub mod save;
pub mod silent;
pub mod system_calls;
pub mod traffic;
pub mod trial;
pub mod warm;
pub mod web;

mod daemon;
mod kernel_words;
mod naming;
mod netns;
mod node;
pub mod policies;
pub mod program;
mod report;
mod running;
mod stranger;
mod systemd;

/// For [`trials!`].
pub use inventory;

pub use daemon::{Daemon, PATIENCE, poll, try_poll};
pub use fake_tool::FakeTool;
pub use kernel_words::{Backend, Family, HOOKS, Placement, TABLES};
pub use naming::{can_be_told, until_named};
pub use netns::Netns;
pub use node::{Command, Node, Output, which};

pub use program::{binary, policy_file};
pub use report::{
    Actor, ActorTimes, Candidate, Change, Fight, Incident, Mark, Parent, PolicyState, Report, Status, Timings,
};
pub use running::Running;
pub use stranger::Stranger;
pub use systemd::Systemd;
pub use traffic::Traffic;
