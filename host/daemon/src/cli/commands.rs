//! What each command does. The exit code follows from its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::schedule::Reason;

use super::open::{check_configuration, open_for_cleanup, open_once, open_running};
use super::{Arguments, Command, incidents, manpages, policy, terminal, watch};
use crate::config::{Config, DEFAULT_FILE, DEFAULT_RUNTIME_DIRECTORY, DEFAULT_STATE_DIRECTORY};
use crate::logs::{self, Level};
use crate::open::{self, engine};
use crate::reload;
use crate::run;
use crate::serve::client::{self, ClientError};
use crate::serve::control::{LogLevel, Request};
use crate::serve::http;
use crate::serve::lock::RuntimeLock;
use crate::serve::socket::Access;
use crate::status_store::StatusStore;
use crate::traces::{self, Traces};
use ruleward_kernel::verdict;
use ruleward_report::output::Output;
use ruleward_report::screen;
use ruleward_report::text::{self, Style};
use ruleward_report::{Checks, ErrorClass, Intent, Report};
use ruleward_sandbox::{OnEvaluation, compile};
use ruleward_state::{CLOSE_TIME, StateWriter};

/// Does what was asked, and gives the exit code.
pub fn execute(arguments: &Arguments) -> u8 {
    let output = Output::new(arguments.output.into());
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
            once(&arguments.config, Some(name), |checks| check_once(checks, Intent::Write)),
            Intent::Write,
            text::done,
        ),
        Command::Plan => end(
            once(&arguments.config, None, |checks| check_once(checks, Intent::PlanOnly)),
            Intent::PlanOnly,
            text::plan,
        ),
        Command::Check => {
            end(load(&arguments.config).map(|config| check_configuration(&config)), Intent::Write, text::checked)
        }
        Command::Cleanup => end(cleanup(&arguments.config, name), Intent::Write, text::cleaned),
        Command::Status { watch: false } => status(&arguments.config, output),
        Command::Status { watch: true } => {
            let directory = match runtime_directory(&arguments.config, output) {
                Ok(directory) => directory,
                Err(error) => return no_answer(&error, output),
            };
            watch::watch(&directory, output).unwrap_or_else(|error| {
                let report = Report::failure(ErrorClass::Internal, format!("can't show the status: {error}"));
                output.complain(&text::problems(&report));
                report.exit_code(Intent::Write)
            })
        }
        Command::Incidents { follow, last } => show_incidents(&arguments.config, *follow, *last, output),
        Command::Refresh => match ask(&arguments.config, output, &Request::Refresh {}) {
            Ok(report) => end(Ok(report), Intent::Write, text::done),
            Err(error) => no_answer(&error, output),
        },
        Command::Log { level } => log(&arguments.config, *level, output),
        Command::Rehearse => match verdict::child_main() {
            Ok(()) => 0,
            Err(error) => {
                output.complain(&format!("{error}\n"));
                ErrorClass::Internal.exit_code()
            }
        },
        Command::Policy(command) => policy::execute(command, &arguments.config, output),
        Command::Reload => match ask(&arguments.config, output, &Request::Reload {}) {
            Ok(report) => end(Ok(report), Intent::Write, text::reloaded),
            Err(error) => no_answer(&error, output),
        },
        Command::Completions { shell } => manpages::completions(*shell),
        Command::Man { folder } => manpages::man(folder, output),
        Command::Compile { memory, seconds, input, compiled } => {
            let limits = compile::CompileLimits { memory: *memory, seconds: *seconds };
            match compile::child_main(limits, input, compiled) {
                Ok(()) => 0,
                Err(error) => {
                    output.complain(&format!("{error}\n"));
                    error.exit_code()
                }
            }
        }
    }
}

/// The configuration, or what is wrong with it as a report.
///
/// # Errors
/// A report.
pub fn load(file: &Path) -> Result<Config, Box<Report>> {
    Config::load(file).map_err(|error| {
        let class = if error.denied() { ErrorClass::Permission } else { ErrorClass::Configuration };
        Box::new(Report::failure(class, error.to_string()))
    })
}

fn store(config: &Config) -> StatusStore {
    let host_name = || ruleward_facts::host_name().unwrap_or_default();
    StatusStore::new(&config.node_name.clone().unwrap_or_else(host_name), config.refresh_interval)
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
    let store = store(&config);
    let state = if writer.is_some() { open::state(&config, &store, false) } else { StateWriter::none() };
    let mut checks = open_once(&config, &store, &state, writer.is_some())?;
    let report = pass(&mut *checks);
    state.close(CLOSE_TIME);
    Ok(report)
}

/// Removes what is ours, also if the configuration is wrong: then by the last good one, or by what of it makes sense.
fn cleanup(file: &Path, name: &str) -> Result<Report, Box<Report>> {
    let (config, note, problem) = match load(file) {
        Ok(config) => (config, None, None),
        Err(refusal) if refusal.class == ErrorClass::Permission => return Err(refusal),
        Err(refusal) => {
            let why = refusal.problems.join("; ");
            if let Some(config) = Config::kept(file) {
                let note = format!("the configuration is invalid, so cleanup used the last valid one: {why}");
                (config, Some(note), None)
            } else if let Some(config) = Config::salvaged(file) {
                let problem = format!(
                    "the configuration is invalid, and no valid one is saved. What its valid parts own was removed, and \
                     nothing else: {why}"
                );
                (config, None, Some(problem))
            } else {
                return Err(refusal);
            }
        }
    };
    let _lock = lock(&config, name)?;
    let mut report = open_for_cleanup(&config, &store(&config))?.cleanup();
    report.notes.extend(note);
    if let Some(problem) = problem {
        report.problems.push(problem);
        report.class = ErrorClass::Configuration;
    }
    Ok(report)
}

fn check_once(checks: &mut dyn Checks, intent: Intent) -> Report {
    Arc::unwrap_or_clone(checks.check(intent, Reason::Start))
}

fn lock(config: &Config, command: &str) -> Result<RuntimeLock, Box<Report>> {
    RuntimeLock::take(&config.runtime_directory, command).map_err(|error| Box::new(Report::from(error)))
}

/// Without its group the sockets are root's: no reason to leave the node alone.
fn access(config: &Config, store: &StatusStore) -> Access {
    let Some(group) = &config.socket_group else { return Access::of_mode(config.socket_mode) };
    Access::new(config.socket_mode, group).unwrap_or_else(|problem| {
        tracing::warn!("{problem}");
        store.note("sockets", Some(problem));
        Access::of_mode(config.socket_mode & 0o606)
    })
}

/// The configuration, or the last one that was right and why it is not the one in the file.
fn load_or_recall(file: &Path) -> Result<(Config, Option<String>), Box<Report>> {
    let refusal = match load(file) {
        Ok(config) => return Ok((config, None)),
        Err(refusal) => refusal,
    };
    let Some(config) = Config::kept(file) else { return Err(refusal) };
    let reason = refusal.problems.join("; ");
    tracing::error!("the configuration is invalid, so the last valid one is in force: {reason}");
    Ok((config, Some(reason)))
}

fn run_daemon(file: &Path, output: Output) -> u8 {
    let result = load_or_recall(file).and_then(|(config, refusal)| {
        logs::configure(config.log, config.log_format);
        let _lock = lock(&config, Command::Run.name())?;
        let store = store(&config);
        let access = access(&config, &store);
        let (directory, refresh) = (config.runtime_directory.clone(), config.refresh_interval);
        let state = open::state(&config, &store, true);
        let traces = Traces::new(store.clone());
        let (shown, written, traced) = (store.clone(), state.clone(), traces.clone());
        let counters = open::counters(&store);
        if let Err(error) = http::start(&directory, (access, config.http.clone()), store.clone(), counters) {
            store.note("http", Some(format!("no metrics and no status page: {error}")));
        }
        let counted = store.clone();
        let told = OnEvaluation::new(move |policy, usage, answered| {
            counted.metrics().policies().evaluated(policy.as_str(), usage, answered);
        });
        let (reload, source) =
            reload::start((config.clone(), refusal), engine(&config, told)?, state.clone(), store.clone()).map_err(
                |error| {
                    Box::new(Report::failure(ErrorClass::Internal, format!("can't start watching the files: {error}")))
                },
            )?;
        let open = Box::new(move || open_running(&source, &shown, (&written, &traced)));
        tracing::info!("Ruleward {} started, with a full check at least every {refresh:?}", env!("CARGO_PKG_VERSION"));
        let result = run::run((&directory, access), refresh, &store, open, reload);
        traces.end();
        state.close(CLOSE_TIME);
        traces.close(traces::CLOSE_TIME);
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
///
/// # Errors
/// [`ClientError::Unknown`] when the configuration may not be read.
pub fn runtime_directory(file: &Path, output: Output) -> Result<PathBuf, ClientError> {
    let default = Path::new(DEFAULT_RUNTIME_DIRECTORY);
    configured(file, output, "asking the daemon", ("runtime-directory", default), |config| config.runtime_directory)
}

/// Where its journal is.
///
/// # Errors
/// [`ClientError::Unknown`] when the configuration may not be read.
pub fn state_directory(file: &Path, output: Output) -> Result<PathBuf, ClientError> {
    let default = Path::new(DEFAULT_STATE_DIRECTORY);
    configured(file, output, "reading the journal", ("state-directory", default), |config| config.state_directory)
}

/// A configuration that is being edited must not hide a running daemon: says what is done instead.
fn configured(
    file: &Path,
    output: Output,
    doing: &str,
    (key, default): (&str, &Path),
    directory: fn(Config) -> PathBuf,
) -> Result<PathBuf, ClientError> {
    let error = match Config::load(file) {
        Ok(config) => return Ok(directory(config)),
        Err(error) => error,
    };
    let named = Config::directory_in(file, key);
    // Another place than the one that was configured would be empty, and say that no daemon has run.
    if error.denied() && named.is_none() {
        return Err(ClientError::Unknown(error.to_string()));
    }
    let instead = named.unwrap_or_else(|| default.to_owned());
    let missing = file == Path::new(DEFAULT_FILE) && matches!(file.try_exists(), Ok(false));
    if !missing {
        let text = format!("the configuration has errors; {doing} in {}\n{error}", instead.display());
        output.complain(&text::problems(&Report::failure(ErrorClass::Configuration, text)));
    }
    Ok(instead)
}

/// What the daemon has to say of incidents that go on is newer than the journal.
fn show_incidents(file: &Path, follow: bool, last: Option<usize>, output: Output) -> u8 {
    let directory = match state_directory(file, output) {
        Ok(directory) => directory,
        Err(error) => return no_answer(&error, output),
    };
    let running = Config::load(file).ok().and_then(|config| client::status(&config.runtime_directory).ok());
    incidents::show(
        &directory,
        (follow, last),
        running.map(|status| status.report.incidents).unwrap_or_default(),
        output,
    )
}

fn status(file: &Path, output: Output) -> u8 {
    match runtime_directory(file, output).and_then(|directory| client::status(&directory)) {
        Ok(status) => {
            output.print(&status, |style| terminal::fitting(&screen::status(&status, SystemTime::now(), style)));
            status.verdict().exit_code()
        }
        Err(error) => no_answer(&error, output),
    }
}

/// Has the running daemon do something, and waits for its report.
pub fn ask(file: &Path, output: Output, request: &Request) -> Result<Report, ClientError> {
    let directory = runtime_directory(file, output)?;
    client::ask(&directory, request, || {
        let waiting = client::status(&directory).ok().and_then(|status| status.waiting);
        let what = waiting.unwrap_or_else(|| "for the check to end".to_owned());
        tracing::warn!("still waiting {what}");
    })
}

fn log(file: &Path, level: Option<Level>, output: Output) -> u8 {
    let request = level.map_or(Request::LogLevel {}, |level| Request::Log { level });
    match runtime_directory(file, output).and_then(|directory| client::ask(&directory, &request, || {})) {
        Ok(answer) => {
            let LogLevel { log } = answer;
            output.print(&answer, |_| format!("{}\n", log.as_str()));
            0
        }
        Err(error) => no_answer(&error, output),
    }
}

pub fn no_answer(error: &ClientError, output: Output) -> u8 {
    let report = Report::failure(ErrorClass::Temporary, error.to_string());
    output.complain(&text::problems(&report));
    error.exit_code()
}
