//! A named trial whose failure says everything: the panic's message and place, and what nodes and daemons leave as
//! evidence while the panic unwinds through them.

use std::cell::RefCell;
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe};

use libtest_mimic::{Failed, Trial};

use crate::sandbox;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
    static EVIDENCE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps panics off the terminal and remembers where they happened. Once, before the trials run.
pub fn quiet_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PLACE.with_borrow_mut(|remembered| *remembered = place);
    }));
}

/// A trial that passes unless `test` panics.
pub fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || attempt(test))
}

/// A trial of what only the machine's own root can bring about: files of another owner, another user, a device. For anybody
/// else it is shown as ignored, and not as passed.
pub fn root_trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    trial(name, test).with_ignored_flag(!sandbox::is_real_root())
}

/// Runs `test`; a panic becomes a failure with all its evidence.
pub fn attempt(test: impl FnOnce()) -> Result<(), Failed> {
    EVIDENCE.take();
    let Err(panic) = panic::catch_unwind(AssertUnwindSafe(test)) else { return Ok(()) };
    let message = panic.downcast_ref::<String>().cloned();
    let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    let mut text = format!("{}\n  at {}", message.unwrap_or_else(|| "a panic without text".into()), PLACE.take());
    for evidence in EVIDENCE.take() {
        write!(text, "\n{evidence}").expect("a String takes everything");
    }
    Err(text.into())
}

/// Adds to what a failure shows; called by destructors while a panic unwinds.
pub(crate) fn leave_evidence(title: &str, text: &str) {
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(120);
    let shown = lines.get(from..).unwrap_or_default().join("\n  | ");
    let cut = if from > 0 { format!(" (last 120 of {} lines)", lines.len()) } else { String::new() };
    EVIDENCE.with_borrow_mut(|all| all.push(format!("--- {title}{cut}\n  | {shown}")));
}
