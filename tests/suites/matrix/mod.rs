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
use ruleward_tests::{Backend, Family, HOOKS, Placement, TABLES};

pub use group::end;

/// One trial a case.
pub fn trials() -> Vec<Trial> {
    let mut trials = named::trials();
    // The backends alternate, so that two threads work on two daemons.
    for family in Family::ALL {
        for table in TABLES {
            for (_, hook) in HOOKS.iter().filter(|(of, _)| *of == table) {
                for placement in Placement::ALL {
                    let place = move |backend| group::Place { backend, family, table, hook, placement };
                    for (name, case) in jumps::CASES.iter().chain(chains::CASES) {
                        for backend in Backend::ALL {
                            let name = format!("matrix::{backend}::{family}::{table}::{hook}::{placement}::{name}");
                            trials.push(trial(name, move || group::with(place(backend), case)));
                        }
                    }
                }
            }
            for (name, case) in tables::CASES {
                for backend in Backend::ALL {
                    let name = format!("matrix::{backend}::{family}::{table}::{name}");
                    let (hook, placement) = (first_hook(table), Placement::Last);
                    let place = group::Place { backend, family, table, hook, placement };
                    trials.push(trial(name, move || group::with(place, case)));
                }
            }
        }
        for (name, case) in sets::CASES {
            for backend in Backend::ALL {
                let name = format!("matrix::{backend}::{family}::sets::{name}");
                trials.push(trial(name, move || sets::with(backend, family, case)));
            }
        }
    }
    trials
}

fn first_hook(table: &str) -> &'static str {
    HOOKS.iter().find(|(of, _)| *of == table).map_or("OUTPUT", |(_, hook)| hook)
}
