//! Logs go to the standard error output: one event, one line, whatever the event's text contains.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::Level;
use super::output::colours;

/// Starts logging. The daemon says more, and when; a fault of the program becomes an event too.
pub fn start(level: Option<Level>, daemon: bool) {
    let level = match level {
        Some(Level::Error) => LevelFilter::ERROR,
        Some(Level::Warn) => LevelFilter::WARN,
        Some(Level::Info) => LevelFilter::INFO,
        Some(Level::Debug) => LevelFilter::DEBUG,
        Some(Level::Trace) => LevelFilter::TRACE,
        None if daemon => LevelFilter::INFO,
        None => LevelFilter::WARN,
    };
    let logs = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(colours(io::stderr().is_terminal()))
        .log_internal_errors(false)
        .with_writer(OneLine);
    // A second start in one process changes nothing.
    let _ = if daemon { logs.try_init() } else { logs.without_time().try_init() };
    std::panic::set_hook(Box::new(|panic| tracing::error!("fault in ruleward: {panic}")));
}

/// Writes each event with its inner line breaks escaped. A closed standard error output is nobody's concern.
#[derive(Debug, Clone, Copy)]
struct OneLine;

impl MakeWriter<'_> for OneLine {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for OneLine {
    /// Gets one whole event at a time.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(&one_line(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn one_line(event: &[u8]) -> Vec<u8> {
    let body = event.strip_suffix(b"\n").unwrap_or(event);
    let mut line = Vec::with_capacity(event.len() + 1);
    for byte in body {
        match byte {
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_can_not_forge_a_line() {
        assert_eq!(one_line(b"INFO a\nERROR b\r\n"), b"INFO a\\nERROR b\\r\n");
        assert_eq!(one_line(b"INFO a"), b"INFO a\n");
    }
}
