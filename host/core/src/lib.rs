//! The pure heart of Ruleward: what a rule is, what policies ask for, how it is merged and checked, how it
//! differs from what the kernel has, and when to look again.
//!
//! Nothing here touches a file, a process, a socket, a clock or a thread; everything comes in through parameters,
//! so that every decision can be tested without a kernel. The types force the order of the straight path: only
//! [`check::Checked`] state can be rehearsed, only [`expected::Expected`] state can be planned, only a
//! [`plan::Plan`] is committed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actor;
pub mod align;
pub mod awaited;
pub mod awaiting;
pub mod base_chain;
pub mod bytes;
pub mod change;
pub mod check;
pub mod contribution;
pub mod difference;
pub mod drift;
pub mod encoded_rule;
pub mod estimator;
pub mod expected;
pub mod extension;
pub mod facts;
pub mod fight;
pub mod foreign;
pub mod foreign_object;
pub mod grants;
pub mod judge_chain;
pub mod limit;
pub mod listing;
pub mod members;
pub mod merge;
pub mod named;
pub mod names;
pub mod observed;
pub mod ownership;
pub mod plan;
pub mod quantity;
pub mod quote;
pub mod rate;
pub mod render;
pub mod rule;
pub mod rule_encodings;
pub mod save_lines;
pub mod schedule;
pub mod script;
pub mod set_members;
pub mod set_type;
pub mod set_use;
pub mod set_words;
pub mod sets;
pub mod settle;
#[cfg(any(test, feature = "sim"))]
pub mod simulate;
pub mod transaction;
pub mod unmatchable;
