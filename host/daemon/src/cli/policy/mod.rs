//! `policy ...`: what has to do with one policy rather than with the node. One file for each command. Those that only
//! read do it from the files of the state directory, with or without a running daemon.

mod diff;
mod history;
mod list;
mod locate;
mod problem;
mod replay;
mod rollback;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ruleward_core::names::PolicyName;

use super::output::Output;
use ruleward_state::history::record::RecordName;

/// What can be asked about policies.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PolicyCommand {
    /// Show each policy: version, state, since when, what it asks for
    List,
    /// Show the versions of a policy and what became of them; the newest is first
    History {
        /// As in the configuration
        #[arg(value_parser = name)]
        policy: PolicyName,
        /// Only the newest ones [default: all]
        #[arg(long, value_name = "N")]
        last: Option<usize>,
    },
    /// Show which rules differ (exit 2 if any): a shadow from what is in force, or two records
    Diff {
        /// As in the configuration
        #[arg(value_parser = name)]
        policy: PolicyName,
        /// Number of a record [default: the one in force before the other; of a shadow, what is in force]
        first: Option<u64>,
        /// Number of another record [default: the newest in force; of a shadow, its newest]
        second: Option<u64>,
    },
    /// Put an earlier version in force, and hold it until the policy's files change
    Rollback {
        /// As in the configuration
        #[arg(value_parser = name)]
        policy: PolicyName,
        /// Number of the record [default: the newest in force with another version]
        record: Option<u64>,
        /// Why, for those who ask `status`
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        /// Put in force again what the configuration asks for
        #[arg(long, conflicts_with_all = ["record", "why"])]
        release: bool,
    },
    /// Give an answer again from its recorded inputs, and compare (exit 2 if it is another one)
    Replay {
        /// A record such as web@17, or a file that `policy export` wrote
        record: PathBuf,
    },
    /// Write a record with its component to one file, for a replay anywhere
    Export {
        /// A record such as web@17
        record: RecordName,
        /// The file
        file: PathBuf,
    },
    /// Say where the component of a policy and the state directory are, for `ruleward-policy dev --live`
    #[command(hide = true)]
    Locate {
        /// As in the configuration
        #[arg(value_parser = name)]
        policy: PolicyName,
    },
}

/// Does what was asked, and gives the exit code. `config` is the main configuration file.
pub fn execute(command: &PolicyCommand, config: &Path, output: Output) -> u8 {
    match command {
        PolicyCommand::List => list::show(config, output),
        PolicyCommand::History { policy, last } => history::show(config, policy, *last, output),
        PolicyCommand::Diff { policy, first, second } => diff::show(config, policy, (*first, *second), output),
        PolicyCommand::Rollback { policy, release: true, .. } => rollback::release(config, policy, output),
        PolicyCommand::Rollback { policy, record, why, .. } => rollback::hold(config, policy, *record, why, output),
        PolicyCommand::Replay { record } => replay::replay(config, record, output),
        PolicyCommand::Export { record, file } => replay::export(config, record, file, output),
        PolicyCommand::Locate { policy } => locate::show(config, policy, output),
    }
}

/// A policy's name on the command line.
pub fn name(text: &str) -> Result<PolicyName, String> {
    PolicyName::new(text).map_err(|error| error.to_string())
}
