//! What can go wrong with a tool, from not being there to saying what can't be true. Each says which program it was,
//! and carries what the program itself had to say.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a tool gave no usable result.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{program} is not installed; install the Debian package `{package}` (apt-get install {package})")]
    NotFound {
        /// Name of the program.
        program: String,
        /// The package that has it.
        package: &'static str,
    },
    /// The kernel refuses to start it.
    #[error("{program} may not be run: {path} is not executable for this user")]
    NotExecutable {
        /// Name of the program.
        program: String,
        /// Where it was found.
        path: PathBuf,
    },
    /// It could not be started or watched: out of memory, processes or descriptors, mostly.
    #[error("{program} could not be run: {what} failed: {source}")]
    System {
        /// Name of the program.
        program: String,
        /// The step that failed.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It ran longer than allowed and was killed.
    #[error("{program} was killed after {} s without coming to an end{}", .limit.as_secs_f64(), first_lines(" it said: ", .stderr))]
    TimedOut {
        /// Name of the program.
        program: String,
        /// The limit.
        limit: Duration,
        /// What it had printed as errors by then.
        stderr: String,
    },
    /// Someone killed it, or it crashed.
    #[error("{program} was ended by signal {signal}{}", first_lines("; it said: ", .stderr))]
    Killed {
        /// Name of the program.
        program: String,
        /// Signal number.
        signal: i32,
        /// Its error output.
        stderr: String,
    },
    /// It ran and reported failure.
    #[error("{program} failed with status {status}{}", first_lines(": ", .stderr))]
    Failed {
        /// Name of the program.
        program: String,
        /// Exit status.
        status: i32,
        /// Its error output.
        stderr: String,
    },
    /// It printed more than [`super::process::LONGEST_OUTPUT`].
    #[error("{program} printed more than {} MiB and was killed", .limit >> 20)]
    OutputTooLarge {
        /// Name of the program.
        program: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The kernel's list of iptables-legacy tables can't be read.
    #[error("{path}, the kernel's list of iptables-legacy tables, can't be read: {source}; run as root")]
    TableList {
        /// The file.
        path: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It left out a table with rules that it has no words for, and reported success.
    #[error(
        "{program} left out a table ({remark}): that table holds rules which only `nft` can show; find them with \
         `nft list ruleset`, and move them to a table of their own"
    )]
    Incompatible {
        /// Name of the program.
        program: String,
        /// What it said.
        remark: String,
    },
    /// It reported success, yet what it printed is not what it should print.
    #[error("{program} reported success, but its output can't be trusted: {reason}")]
    Untrustworthy {
        /// Name of the program.
        program: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// The first three lines of an error output, joined, after `lead`; nothing if there are none.
fn first_lines(lead: &str, stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    if lines.is_empty() { String::new() } else { format!("{lead}{}", lines.join(" / ")) }
}
