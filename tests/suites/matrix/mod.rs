//! The regression matrix: every kind of drift, in every table, hook, placement, family and backend, is found by the
//! next check and repaired to exactly the text that was there before. No case is exempt; that is the point.

mod chains;
mod group;
mod jumps;
mod named;
mod sets;
mod tables;

use libtest_mimic::Trial;
use ruleward_tests::trial::trial;
use ruleward_tests::trials;
use ruleward_tests::{Backend, Family, HOOKS, Placement, TABLES};

pub use group::{Mode, end};

trials!(|| cases(Mode::Asked));

/// One trial a case. The suite `events` runs the same cases where nobody asks for a check.
///
/// By events every jump is deleted in every place; what else can happen to a jump or a chain happens in each of a
/// table's places in turn, so that every kind meets every table, and every place several kinds.
pub fn cases(mode: Mode) -> Vec<Trial> {
    let suite = match mode {
        Mode::Asked => "matrix",
        Mode::ByEvents => "events::matrix",
    };
    let mut trials = Vec::new();
    // The backends alternate, so that two threads work on two daemons.
    for family in Family::ALL {
        for table in TABLES {
            let hooks: Vec<_> = HOOKS.iter().filter(|(of, _)| *of == table).map(|(_, hook)| *hook).collect();
            let places: Vec<_> =
                hooks.iter().flat_map(|hook| Placement::ALL.map(|placement| (*hook, placement))).collect();
            for (at, (hook, placement)) in places.iter().copied().enumerate() {
                let all = jumps::CASES.iter().chain(chains::CASES).enumerate();
                for (number, (name, case)) in all {
                    if mode == Mode::ByEvents && number > 0 && number % places.len() != at {
                        continue;
                    }
                    for backend in Backend::ALL {
                        let name = format!("{suite}::{backend}::{family}::{table}::{hook}::{placement}::{name}");
                        let place = group::Place { mode, backend, family, table, hook, placement };
                        trials.push(trial(name, move || group::with(place, case)));
                    }
                }
            }
            for (name, case) in tables::CASES {
                for backend in Backend::ALL {
                    let name = format!("{suite}::{backend}::{family}::{table}::{name}");
                    let (hook, placement) = (hooks[0], Placement::Last);
                    let place = group::Place { mode, backend, family, table, hook, placement };
                    trials.push(trial(name, move || group::with(place, case)));
                }
            }
        }
        for (name, case) in sets::CASES {
            for backend in Backend::ALL {
                let name = format!("{suite}::{backend}::{family}::sets::{name}");
                trials.push(trial(name, move || sets::with(mode, backend, family, case)));
            }
        }
    }
    trials
}
