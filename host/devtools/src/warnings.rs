//! Warnings of the parts that the daemon has too, such as the kernel's: here they go to the
//! standard error output, a line each, and nothing below a warning is of interest.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

struct Warnings;

/// Shows them from now on.
pub fn show() {
    // A second start in one process changes nothing.
    let _ = tracing::subscriber::set_global_default(Warnings);
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{}:", event.metadata().level().as_str().to_lowercase()));
        event.record(&mut line);
        let _ = writeln!(std::io::stderr().lock(), "{}", line.0); // nobody reads it
    }

    // Spans are none of its business.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The message, and what else is told, by name.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_and_what_is_worse_is_shown() {
        tracing::subscriber::with_default(Warnings, || {
            assert!(tracing::enabled!(Level::ERROR) && tracing::enabled!(Level::WARN));
            assert!(!tracing::enabled!(Level::INFO));
        });
    }
}
