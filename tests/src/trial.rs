//! Trials register where they stand, with [`trial!`](crate::trial!) and
//! [`trials!`](crate::trials!). No list has them.
//!
//! A named trial whose failure says everything: the panic's message and place, and what nodes and
//! daemons leave as evidence while the panic unwinds through them.

use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// Trials that stand at a place of the source.
pub struct Registration {
    place: (&'static str, u32),
    trials: fn() -> Vec<Trial>,
}

inventory::collect!(Registration);

impl Registration {
    /// For [`trials!`](crate::trials!).
    pub const fn new(file: &'static str, line: u32, trials: fn() -> Vec<Trial>) -> Self {
        Self { place: (file, line), trials }
    }
}

/// All of this program, in the order of the source, so that every build runs them in the same one.
pub fn all() -> Vec<Trial> {
    let mut registrations: Vec<&Registration> = inventory::iter::<Registration>().collect();
    registrations.sort_by_key(|registration| registration.place);
    registrations.into_iter().flat_map(|registration| (registration.trials)()).collect()
}

/// Every `share`th trial of each suite, the first one included. For a second run of what has passed already.
pub fn sample(trials: Vec<Trial>, share: usize) -> Vec<Trial> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut is_chosen = |trial: &Trial| {
        let suite = trial.name().split("::").next().unwrap_or_default().to_owned();
        let count = counts.entry(suite).or_default();
        *count += 1;
        (*count - 1).is_multiple_of(share)
    };
    trials.into_iter().filter(|trial| is_chosen(trial)).collect()
}

/// Adds trials that a function makes: `fn() -> Vec<Trial>`.
#[macro_export]
macro_rules! trials {
    ($trials:expr) => {
        $crate::inventory::submit! { $crate::trial::Registration::new(file!(), line!(), $trials) }
    };
}

/// Adds a trial, or one for each value of the variables. The name shows their values:
///
/// ```ignore
/// trial!("lock::nft_does_not_wait", nft_does_not_wait());
/// trial!(for backend in Backend::ALL, "crowd::{backend}::all_come", all_come(backend));
/// trial!(root "truth::without_permission", without_permission());
/// ```
///
/// `root`: see [`root_trial`].
#[macro_export]
macro_rules! trial {
    (@ $all:ident $make:ident [] $name:literal, $test:expr) => {
        $all.push($crate::trial::$make(format!($name), move || $test))
    };
    (@ $all:ident $make:ident [[$variable:pat, $values:expr] $($more:tt)*] $name:literal, $test:expr) => {
        for $variable in $values {
            $crate::trial!(@ $all $make [$($more)*] $name, $test);
        }
    };
    ($(for $variable:pat in $values:expr,)* root $name:literal, $test:expr $(,)?) => {
        $crate::trial!(@@ root_trial [$([$variable, $values])*] $name, $test);
    };
    ($(for $variable:pat in $values:expr,)* $name:literal, $test:expr $(,)?) => {
        $crate::trial!(@@ trial [$([$variable, $values])*] $name, $test);
    };
    (@@ $make:ident $variables:tt $name:literal, $test:expr) => {
        $crate::trials!(|| {
            let mut all = Vec::new();
            $crate::trial!(@ all $make $variables $name, $test);
            all
        });
    };
}

/// A trial that passes unless `test` panics.
pub fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || attempt(test))
}

/// A trial of what only the machine's own root can bring about: files of another owner, another
/// user, a device. For anybody else it is shown as ignored, and not as passed.
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

/// What a panic has left on this thread: its place, and evidence.
pub(crate) type Traces = (String, Vec<String>);

/// Takes it, for another thread.
pub(crate) fn take_traces() -> Traces {
    (PLACE.take(), EVIDENCE.take())
}

/// Leaves it on this thread.
pub(crate) fn leave_traces((place, evidence): Traces) {
    PLACE.set(place);
    EVIDENCE.with_borrow_mut(|all| all.extend(evidence));
}

/// Adds to what a failure shows; called by destructors while a panic unwinds.
pub(crate) fn leave_evidence(title: &str, text: &str) {
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(120);
    let shown = lines.get(from..).unwrap_or_default().join("\n  | ");
    let cut = if from > 0 { format!(" (last 120 of {} lines)", lines.len()) } else { String::new() };
    EVIDENCE.with_borrow_mut(|all| all.push(format!("--- {title}{cut}\n  | {shown}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_some_of_each_suite() {
        let trials = ["a::1", "a::2", "b::1", "a::3", "a::4", "c::1"].map(|name| trial(name, || ()));
        let chosen = sample(trials.into(), 3);
        assert_eq!(chosen.iter().map(Trial::name).collect::<Vec<_>>(), ["a::1", "b::1", "a::4", "c::1"]);
    }
}
