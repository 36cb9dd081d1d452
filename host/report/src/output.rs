//! Printing without panics: a reader that went away ends the output, nothing else.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::terminal::colours;
use super::text::Style;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object, or one a line.
    Json,
}

/// Where a command's output goes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
}

impl Output {
    /// In this format.
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether it is for programs.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints what was asked for: `value` as JSON, or the text that `text` makes.
    pub fn print(self, value: &impl Serialize, text: impl FnOnce(Style) -> String) {
        let text = match self.format {
            Format::Text => text(Style { colours: colours(io::stdout().is_terminal()) }),
            Format::Json => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
        };
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Writes one of many things: `value` as a line of JSON, or the text that `text` makes.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn stream(self, value: &impl Serialize, text: impl FnOnce(Style) -> String) -> io::Result<()> {
        let text = match self.format {
            Format::Text => text(Style { colours: colours(io::stdout().is_terminal()) }),
            Format::Json => serde_json::to_string(value)? + "\n",
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints to the standard error output.
    pub fn complain(self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}
