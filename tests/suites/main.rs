//! Everything that is proven on the real kernel, as one program of named trials. It first moves into a sandbox of
//! namespaces; where that is forbidden it fails and says what would permit it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod author;
mod bad_input;
mod crash;
mod crowd;
mod differential;
mod events;
mod failure;
mod grants;
mod hostile;
mod kit;
mod large_sets;
mod lock;
mod matrix;
mod native;
mod neighbours;
mod packets;
mod raw;
mod reload;
mod resolvers;
mod scopes;
mod service;
mod set_options;
mod set_types;
mod shipped;
mod shown;
mod strangers;
mod takeover;
mod traffic;
mod truth;
mod versions;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(reason) = ruleward_tests::sandbox::enter()
    {
        eprintln!("The real-kernel tests can't run here: {reason}");
        return ExitCode::FAILURE;
    }
    ruleward_tests::trial::quiet_panics();
    let mut trials = ruleward_tests::trial::all();
    if let Some(share) = share() {
        let all = trials.len();
        trials = ruleward_tests::trial::sample(trials, share);
        println!("one trial in {share} of each suite: {} of {all}", trials.len());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::end();
    ruleward_tests::warm::forget();
    conclusion.exit_code()
}

/// Of how many trials one is run. All are, unless RULEWARD_ONE_IN says otherwise.
fn share() -> Option<usize> {
    let share = std::env::var("RULEWARD_ONE_IN").ok()?;
    Some(share.parse().ok().filter(|share| *share > 0).expect("RULEWARD_ONE_IN is a number from 1"))
}
