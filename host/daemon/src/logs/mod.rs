//! Logs: one event is one line, whatever its text contains.
//!
//! People read them on the standard error output, journald gets them with fields, and other
//! programs as JSON. They are one layer of tracing-subscriber; the level is a filter before it, and
//! can be changed while the program runs. A place in the code that repeats itself is cut short, and
//! the next line says how many were left out ([`Pace`]). A reader of logs can neither hold up the
//! program nor end it.

mod journald;
mod line;

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::rate::Pace;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, registry, reload};

use line::Line;
use ruleward_report::terminal::colours;

/// So many lines of one place in the code pass at once, ...
const BURST: u32 = 100;
/// ... and then one in this time.
const EVERY: Duration = Duration::from_millis(200);

/// Importance of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something is not as it should be, or an incident.
    Warn,
    /// What the daemon does.
    Info,
    /// Each check and each repair.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// All, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn of(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `journal` if the standard error output leads there, else `text`.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// To journald, with fields.
    Journal,
}

/// The logs of this process.
#[derive(Debug)]
struct Logs {
    began: Instant,
    level: reload::Handle<LevelFilter, Registry>,
    /// The format, and whether text has the time.
    form: Mutex<(LogFormat, bool)>,
    paces: Mutex<HashMap<(tracing::callsite::Identifier, Option<String>), Pace>>,
    /// Level and format that the command line asked for: the configuration does not count then.
    fixed: Mutex<(Option<Level>, Option<LogFormat>)>,
    /// What the configuration said last.
    configured: Mutex<Option<Level>>,
    journal: PathBuf,
    /// Lines that journald did not take in time.
    lost: AtomicU64,
}

static LOGS: OnceLock<Logs> = OnceLock::new();

/// Starts logging. The daemon says more, and when; a fault of the program becomes an event too.
pub fn start(level: Option<Level>, format: Option<LogFormat>, daemon: bool) {
    let default = if daemon { Level::Info } else { Level::Warn };
    let (filter, handle) = reload::Layer::new(level.unwrap_or(default).into());
    let logs = LOGS.get_or_init(|| Logs::new(handle, format.unwrap_or(LogFormat::Auto), daemon));
    *locked(&logs.fixed) = (level, format);
    // A second start in one process changes nothing.
    let _ = tracing::subscriber::set_global_default(registry().with(filter).with(logs));
    std::panic::set_hook(Box::new(|panic| tracing::error!("fault in ruleward: {panic}")));
}

/// Takes what the configuration says, when it says something new and the command line said nothing.
pub fn configure(level: Level, format: LogFormat) {
    if let Some(logs) = LOGS.get() {
        logs.configure(level, format);
    }
}

/// Shows lines of this level and above from now on.
pub fn set_level(level: Level) {
    if let Some(logs) = LOGS.get() {
        logs.set_level(level);
    }
}

/// The least important lines that are shown.
pub fn level() -> Level {
    LOGS.get().map_or(Level::Info, Logs::level)
}

fn locked<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner) // whole after every statement
}

impl Logs {
    fn new(level: reload::Handle<LevelFilter, Registry>, format: LogFormat, with_time: bool) -> Self {
        Self {
            began: Instant::now(),
            level,
            form: Mutex::new((format, with_time)),
            paces: Mutex::default(),
            fixed: Mutex::default(),
            configured: Mutex::default(),
            journal: PathBuf::from(journald::SOCKET),
            lost: AtomicU64::new(0),
        }
    }

    fn level(&self) -> Level {
        let filter = self.level.clone_current();
        filter.and_then(LevelFilter::into_level).map_or(Level::Info, |level| Level::of(&level))
    }

    fn configure(&self, level: Level, format: LogFormat) {
        let (fixed_level, fixed_format) = *locked(&self.fixed);
        let before = locked(&self.configured).replace(level);
        if fixed_level.is_none() && before != Some(level) {
            self.set_level(level);
        }
        if fixed_format.is_none() {
            locked(&self.form).0 = format;
        }
    }

    fn set_level(&self, level: Level) {
        let _ = self.level.reload(level); // fails only without the filter, and then nothing is logged
    }

    /// Whether this line may be written, and how many like it were left out before. What policies
    /// say is counted for each of them.
    fn turn(&self, event: &Event<'_>, line: &Line) -> Option<u64> {
        let source = (event.metadata().callsite(), line.field("policy").map(ToOwned::to_owned));
        let mut paces = locked(&self.paces);
        paces.entry(source).or_insert_with(|| Pace::new(BURST, EVERY)).take(self.began.elapsed())
    }

    fn write(&self, mut line: Line) {
        let (format, with_time) = *locked(&self.form);
        let journal = match format {
            LogFormat::Journal => true,
            LogFormat::Auto => journald::is_our_stderr(),
            LogFormat::Text | LogFormat::Json => false,
        };
        if journal && self.send(&mut line) {
            return;
        }
        let text = match format {
            LogFormat::Json => line.json(),
            _ => line.text(with_time, colours(io::stderr().is_terminal())),
        };
        // A closed standard error output is nobody's concern.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Whether journald has the line, or it is lost: one that does not keep up has its standard
    /// error outputs full as well, and writing there would wait.
    fn send(&self, line: &mut Line) -> bool {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            line.add(format!(" ({lost} lines before this one were lost: journald did not keep up)"));
        }
        match journald::send(&self.journal, &line.journal()) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }
}

impl<S: Subscriber> Layer<S> for &'static Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::of(event, SystemTime::now());
        let Some(left_out) = self.turn(event, &line) else { return };
        if left_out > 0 {
            line.add(format!(" ({left_out} more lines like this one were left out)"));
        }
        self.write(line);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Hears every event.
    struct Probe<F>(F);

    impl<S: Subscriber, F: Fn(&Event<'_>) + 'static> Layer<S> for Probe<F> {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            (self.0)(event);
        }
    }

    /// tracing has one level for all subscribers of a process: two tests that set it would meet.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// With the filter that its level is set in.
    fn logs(
        format: LogFormat,
        with_time: bool,
    ) -> (Logs, reload::Layer<LevelFilter, Registry>, std::sync::MutexGuard<'static, ()>) {
        let alone = locked(&ONE_AT_A_TIME);
        let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
        (Logs::new(handle, format, with_time), filter, alone)
    }

    #[test]
    fn every_level_can_be_set_while_it_runs() {
        let (logs, filter, _alone) = logs(LogFormat::Auto, true);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&heard);
        let probe = Probe(move |event: &Event<'_>| locked(&taken).push(Level::of(event.metadata().level())));
        tracing::subscriber::with_default(registry().with(filter).with(probe), || {
            for (least, level) in Level::ALL.into_iter().enumerate() {
                logs.set_level(level);
                assert_eq!(logs.level(), level);
                tracing::error!("x");
                tracing::warn!("x");
                tracing::info!("x");
                tracing::debug!("x");
                tracing::trace!("x");
                assert_eq!(std::mem::take(&mut *locked(&heard)), Level::ALL[..=least]);
            }
        });
    }

    #[test]
    fn the_configuration_counts_when_it_changes_and_the_command_line_before_it() {
        let (logs, _filter, _alone) = logs(LogFormat::Auto, true);
        logs.configure(Level::Debug, LogFormat::Json);
        assert_eq!((logs.level(), locked(&logs.form).0), (Level::Debug, LogFormat::Json));
        logs.set_level(Level::Trace);
        logs.configure(Level::Debug, LogFormat::Json);
        assert_eq!(logs.level(), Level::Trace, "what was set by hand stays until the configuration says something new");
        logs.configure(Level::Warn, LogFormat::Text);
        assert_eq!((logs.level(), locked(&logs.form).0), (Level::Warn, LogFormat::Text));
        *locked(&logs.fixed) = (Some(Level::Error), Some(LogFormat::Text));
        logs.configure(Level::Info, LogFormat::Json);
        assert_eq!((logs.level(), locked(&logs.form).0), (Level::Warn, LogFormat::Text));
    }

    #[test]
    fn one_noisy_source_is_cut_short_and_no_other() {
        let (logs, filter, _alone) = logs(LogFormat::Text, false);
        let turns = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&turns);
        let probe = Probe(move |event: &Event<'_>| {
            let line = Line::of(event, SystemTime::now());
            let passes = logs.turn(event, &line).is_some();
            locked(&taken).push((line.field("policy").unwrap_or_default().to_owned(), passes));
        });
        let say = |policy: &str| tracing::info!(policy, "says something");
        tracing::subscriber::with_default(registry().with(filter).with(probe), || {
            (0..10_000).for_each(|_| say("noisy"));
            say("quiet");
        });
        let passed = |name: &str| locked(&turns).iter().filter(|(policy, passes)| policy == name && *passes).count();
        assert!((BURST as usize..10_000).contains(&passed("noisy")), "{}", passed("noisy"));
        assert_eq!(passed("quiet"), 1);
    }

    #[test]
    fn who_does_not_keep_up_is_not_waited_for_and_the_lines_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let logs = Logs { journal: path.clone(), ..logs(LogFormat::Journal, false).0 };
        assert!(!logs.send(&mut Line::saying("gone")), "a line for which there is no journald goes elsewhere");
        let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        while logs.lost.load(Ordering::Relaxed) < 3 {
            assert!(logs.send(&mut Line::saying("too many")));
        }
        let mut entry = vec![0; 4096];
        journal.recv(&mut entry).unwrap();
        assert!(logs.send(&mut Line::saying("after")));
        journal.set_nonblocking(true).unwrap();
        let entries = std::iter::from_fn(|| {
            let length = journal.recv(&mut entry).ok()?;
            Some(String::from_utf8_lossy(&entry[..length]).into_owned())
        });
        let last = entries.last().unwrap();
        assert!(last.contains("after (3 lines before this one were lost"), "{last}");
    }
}
