//! What each command does. The exit code follows from its report.

use std::path::{Path, PathBuf};

use ruleward_core::schedule::Reason;

use super::open::{check_configuration, open_checks};
use super::output::Output;
use super::{Arguments, Command, incidents};
use crate::config::{Config, DEFAULT_FILE};
use crate::journal::{CLOSE_TIME, Journal};
use crate::policies::compile;
use crate::report::board::Board;
use crate::report::text::{self, Style};
use crate::report::{Checks, ErrorClass, Intent, Report};
use crate::run;
use crate::serve::client::{self, ClientError};
use crate::serve::lock::RuntimeLock;

/// Where the daemon is if the configuration can't say so.
const DEFAULT_RUNTIME_DIRECTORY: &str = "/run/ruleward";
/// Where its journal is if the configuration can't say so.
const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/ruleward";

/// Does what was asked, and gives the exit code.
pub fn execute(arguments: &Arguments) -> u8 {
    let output = Output::new(arguments.output);
    let end = |result: Result<Report, Box<Report>>, intent, text: fn(&Report, Style) -> String| {
        let report = result.unwrap_or_else(|report| *report);
        output.print(&report, |style| text(&report, style));
        output.complain(&text::problems(&report));
        report.exit_code(intent)
    };
    let name = arguments.command.name();
    match &arguments.command {
        Command::Run => run_daemon(&arguments.config, output),
        Command::Apply => end(
            once(&arguments.config, Some(name), |checks| checks.check(Intent::Write, Reason::Start)),
            Intent::Write,
            text::done,
        ),
        Command::Plan => end(
            once(&arguments.config, None, |checks| checks.check(Intent::PlanOnly, Reason::Start)),
            Intent::PlanOnly,
            text::plan,
        ),
        Command::Check => {
            end(load(&arguments.config).map(|config| check_configuration(&config)), Intent::Write, text::checked)
        }
        Command::Cleanup => {
            end(once(&arguments.config, Some(name), |checks| checks.cleanup()), Intent::Write, text::cleaned)
        }
        Command::Status => status(&arguments.config, output),
        Command::Incidents { follow, last } => {
            incidents::show(&state_directory(&arguments.config, output), *follow, *last, output)
        }
        Command::Refresh => match refresh(&arguments.config, output) {
            Ok(report) => end(Ok(report), Intent::Write, text::done),
            Err(error) => no_answer(&error, output),
        },
        Command::Compile { input, compiled } => match compile::child_main(input, compiled) {
            Ok(()) => 0,
            Err(error) => {
                output.complain(&format!("{error}\n"));
                error.exit_code()
            }
        },
    }
}

fn load(file: &Path) -> Result<Config, Box<Report>> {
    Config::load(file).map_err(|error| {
        let class = if error.denied() { ErrorClass::Permission } else { ErrorClass::Configuration };
        Box::new(Report::failure(class, error.to_string()))
    })
}

fn board(config: &Config) -> Board {
    let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    Board::new(&config.node_name.clone().unwrap_or_else(host_name), config.refresh_interval)
}

/// One pass, under the runtime lock if it may write.
fn once(
    file: &Path,
    writer: Option<&str>,
    pass: impl FnOnce(&mut dyn Checks) -> Report,
) -> Result<Report, Box<Report>> {
    let config = load(file)?;
    let _lock = match writer {
        Some(command) => Some(lock(&config, command)?),
        None => None,
    };
    let mut checks = open_checks(&config, &board(&config), &Journal::none(), false)?;
    Ok(pass(&mut *checks))
}

fn lock(config: &Config, command: &str) -> Result<RuntimeLock, Box<Report>> {
    RuntimeLock::take(&config.runtime_directory, command).map_err(|error| Box::new(Report::from(error)))
}

fn run_daemon(file: &Path, output: Output) -> u8 {
    let result = load(file).and_then(|config| {
        let _lock = lock(&config, Command::Run.name())?;
        let board = board(&config);
        let (directory, refresh) = (config.runtime_directory.clone(), config.refresh_interval);
        let noted = board.clone();
        let journal = Journal::start(&config.state_directory, config.incident_journal_size, move |note| {
            noted.note("journal", note);
        });
        let (shown, written) = (board.clone(), journal.clone());
        let open = Box::new(move || open_checks(&config, &shown, &written, true));
        tracing::info!("version {}, checks at least every {refresh:?}", env!("CARGO_PKG_VERSION"));
        let result = run::run(&directory, refresh, &board, open);
        journal.close(CLOSE_TIME);
        result
    });
    match result {
        Ok(()) => 0,
        Err(report) => {
            output.complain(&text::problems(&report));
            report.exit_code(Intent::Write)
        }
    }
}

/// Where the daemon is.
fn runtime_directory(file: &Path, output: Output) -> PathBuf {
    let instead = format!("asking the daemon in {DEFAULT_RUNTIME_DIRECTORY}");
    configured(file, output, &instead)
        .map_or_else(|| DEFAULT_RUNTIME_DIRECTORY.into(), |config| config.runtime_directory)
}

/// Where its journal is.
fn state_directory(file: &Path, output: Output) -> PathBuf {
    let instead = format!("reading the journal in {DEFAULT_STATE_DIRECTORY}");
    configured(file, output, &instead).map_or_else(|| DEFAULT_STATE_DIRECTORY.into(), |config| config.state_directory)
}

/// A configuration that is being edited must not hide a running daemon: says what is done instead.
fn configured(file: &Path, output: Output, instead: &str) -> Option<Config> {
    let error = match Config::load(file) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    let missing = file == Path::new(DEFAULT_FILE) && !file.exists();
    if !missing {
        let text = format!("the configuration has errors; {instead}\n{error}");
        output.complain(&text::problems(&Report::failure(ErrorClass::Configuration, text)));
    }
    None
}

fn status(file: &Path, output: Output) -> u8 {
    match client::status(&runtime_directory(file, output)) {
        Ok(status) => {
            output.print(&status, |style| text::status(&status, style));
            u8::from(!status.report.in_sync)
        }
        Err(error) => no_answer(&error, output),
    }
}

fn refresh(file: &Path, output: Output) -> Result<Report, ClientError> {
    let directory = runtime_directory(file, output);
    client::refresh(&directory, || {
        let waiting = client::status(&directory).ok().and_then(|status| status.waiting);
        let what = waiting.unwrap_or_else(|| "for the check to end".to_owned());
        tracing::warn!("still waiting {what}");
    })
}

fn no_answer(error: &ClientError, output: Output) -> u8 {
    let report = Report::failure(ErrorClass::Temporary, error.to_string());
    output.complain(&text::problems(&report));
    error.exit_code()
}
