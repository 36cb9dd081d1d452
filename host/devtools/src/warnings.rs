//! Warnings of the parts that the daemon has too, such as the kernel's: here they go to the
//! standard error output, a line each, and nothing below a warning is of interest.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

struct Warnings;

/// Shows them from now on.
pub fn show() {
    // A second start in one process changes nothing.
    let _ = tracing::subscriber::set_global_default(warnings());
}

fn warnings() -> impl Subscriber + Send + Sync {
    registry().with(LevelFilter::WARN).with(Warnings)
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(format!("{}:", event.metadata().level().as_str().to_lowercase()));
        event.record(&mut line);
        let _ = writeln!(std::io::stderr().lock(), "{}", line.0); // nobody reads it
    }
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
    use tracing::Level;

    use super::*;

    #[test]
    fn only_warnings_and_what_is_worse_is_shown() {
        tracing::subscriber::with_default(warnings(), || {
            assert!(tracing::enabled!(Level::ERROR) && tracing::enabled!(Level::WARN));
            assert!(!tracing::enabled!(Level::INFO));
        });
    }
}
