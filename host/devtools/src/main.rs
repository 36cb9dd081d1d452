//! `ruleward-policy`: what authors of policies need on their own machine. It looks at, runs,
//! measures and tests one component on facts that come from files.
//!
//! It needs no root, no configuration and no daemon, and writes nothing but what it is asked to
//! write and a cache of compiled components. Only `dev --live` has to do with a node: it asks
//! `ruleward` there. `ruleward policy new` and the like start this program.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answer;
mod case;
mod cli;
mod component;
mod conform;
mod dev;
mod error;
mod node;
mod project;
mod scaffold;
mod suite;
mod warnings;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args_os())
}
