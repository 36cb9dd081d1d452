//! Printing without panics: a reader that went away ends the output, nothing else.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::Format;
use crate::report::text::Style;

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

/// Whether to use colours: on a terminal that has them, by the conventions of no-color.org and bixense.com/clicolors.
pub fn colours(terminal: bool) -> bool {
    wants_colours(terminal, |name| std::env::var(name).ok())
}

fn wants_colours(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    let forced = variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    forced || (terminal && variable("TERM").is_none_or(|terminal| terminal != "dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let wants = |terminal, set: &[(&str, &str)]| {
            let set = set.to_vec();
            wants_colours(terminal, move |name| {
                set.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(wants(true, &[]) && !wants(false, &[]));
        assert!(wants(true, &[("NO_COLOR", "")]) && !wants(true, &[("NO_COLOR", "1")]));
        assert!(!wants(true, &[("TERM", "dumb")]) && wants(true, &[("TERM", "xterm")]));
        assert!(wants(false, &[("CLICOLOR_FORCE", "1")]) && !wants(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!wants(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "who wants none has the last word");
    }
}
