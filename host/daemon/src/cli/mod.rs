//! The command line: what the arguments mean, and what each command exits with.
//!
//! What was asked for goes to the standard output, as text or as one JSON object; problems and logs go to the standard
//! error output. A reader that goes away early is no error.

mod authors;
mod commands;
#[cfg(test)]
mod documented;
mod incidents;
mod manpages;
mod open;
mod policy;
mod terminal;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::DEFAULT_FILE;
use crate::logs::{self, Level, LogFormat};
use policy::PolicyCommand;
use ruleward_kernel::verdict;
use ruleward_report::output;

/// Exit code for arguments that make no sense.
const USAGE: u8 = 64;

/// Keeps iptables exactly as sandboxed WebAssembly policies say.
#[derive(Debug, Parser)]
#[command(
    name = "ruleward",
    version,
    after_help = "Exit codes: 0 done, 1 status: out of sync, 2 plan found a difference, 3 status: in sync, but a version \
                  or the configuration is refused, 4 status: nothing is enforced, 64 usage, 69 no daemon, or a program is not installed, 70 internal fault, 75 the kernel or a tool failed (try again), 77 permission, 78 configuration or \
                  policy refused"
)]
struct Arguments {
    /// Configuration file; conf.d/*.toml beside it counts too
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// How to print what was asked for
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Least important log lines to show [default: `log` of the configuration for run, warn for the others]
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// What log lines look like [default: auto]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object; for incidents one a line.
    Json,
}

impl From<Format> for output::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Command {
    /// Keep the rules in force until stopped; stopping leaves them (SIGHUP: reload)
    Run,
    /// Bring the kernel to the desired state, once
    Apply,
    /// Show what apply would change, and write nothing (exit 2 if anything)
    Plan,
    /// Check configuration and policies; needs no root
    Check,
    /// Show how the running daemon is doing (exit 0 in sync, 1 out of sync, 3 something is refused, 4 nothing is enforced)
    Status {
        /// Go on showing it until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Have the running daemon check everything now, and wait for it
    Refresh,
    /// Have the running daemon read configuration and policies again, and wait until they are in force or refused (exit
    /// 78 if anything was refused)
    Reload,
    /// Show how much the running daemon logs, or change it until it is started again or `log` in its configuration changes
    Log {
        /// Least important lines to show from now on
        #[arg(value_enum)]
        level: Option<Level>,
    },
    /// Show what others did to the rules, and how it was repaired; the newest is last
    Incidents {
        /// Go on with new ones as they come
        #[arg(long)]
        follow: bool,
        /// Only the last ones [default: all; 10 with --follow]
        #[arg(long, value_name = "N")]
        last: Option<usize>,
    },
    /// Look at policies one by one, and write your own
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Remove everything that is ours by the configuration's grants
    Cleanup,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual, a page for each command, into a folder
    Man {
        /// The folder; it is made if need be
        folder: PathBuf,
    },
    /// Try an answer out in a private namespace: a question on standard input, a verdict on standard output
    #[command(hide = true, name = verdict::COMMAND)]
    Rehearse,
    /// Compile a component, within limits
    #[command(hide = true)]
    Compile {
        /// Address space, bytes
        memory: u64,
        /// Processor time, seconds
        seconds: u64,
        /// The component
        input: PathBuf,
        /// Where the compiled one goes
        #[arg(value_name = "OUTPUT")]
        compiled: PathBuf,
    },
}

impl Command {
    /// As it is typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Apply => "apply",
            Self::Plan => "plan",
            Self::Check => "check",
            Self::Status { .. } => "status",
            Self::Refresh => "refresh",
            Self::Reload => "reload",
            Self::Log { .. } => "log",
            Self::Incidents { .. } => "incidents",
            Self::Policy(_) => "policy",
            Self::Cleanup => "cleanup",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
            Self::Rehearse => verdict::COMMAND,
            Self::Compile { .. } => "compile",
        }
    }
}

/// The command line with the commands that another program does, which stand in its help, manual
/// and completions.
fn command() -> clap::Command {
    authors::add_to(Arguments::command())
}

/// What the words mean, the program's name first.
fn parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&command().try_get_matches_from(words)?)
}

/// The whole program: takes the arguments, the program's name first, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    if let Some(theirs) = authors::theirs(&words) {
        return authors::become_their_program(&theirs);
    }
    let arguments = match parse(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // nobody reads it
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    logs::start(arguments.log_level, arguments.log_format, arguments.command == Command::Run);
    ExitCode::from(commands::execute(&arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn options_count_before_and_after_the_command() {
        let parse = |line: &str| parse(line.split(' ')).unwrap();
        let before = parse("ruleward --config x.toml --output json --log-level debug plan");
        let after = parse("ruleward plan --config x.toml --output json --log-level debug");
        for arguments in [before, after] {
            assert_eq!(arguments.config, PathBuf::from("x.toml"));
            assert_eq!((arguments.output, arguments.log_level), (Format::Json, Some(Level::Debug)));
            assert_eq!(arguments.command, Command::Plan);
        }
        assert_eq!(parse("ruleward run").config, PathBuf::from(DEFAULT_FILE));
    }

    #[test]
    fn every_command_is_named_as_it_is_typed() {
        let names: Vec<String> = Arguments::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        for name in names {
            let mut line = vec!["ruleward", &name];
            match name.as_str() {
                "compile" => line.extend(["1", "2", "in", "out"]),
                "policy" => line.push("list"),
                "completions" => line.push("bash"),
                "man" => line.push("folder"),
                _ => {}
            }
            assert_eq!(parse(line).unwrap().command.name(), name);
        }
    }
}
