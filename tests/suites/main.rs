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

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(reason) = ruleward_tests::sandbox::enter()
    {
        eprintln!("The real-kernel tests can't run here: {reason}");
        return ExitCode::FAILURE;
    }
    ruleward_tests::trial::quiet_panics();
    let suites: &[fn() -> Vec<Trial>] = &[
        kit::trials,
        raw::trials,
        takeover::trials,
        traffic::trials,
        shipped::trials,
        scopes::trials,
        grants::trials,
        resolvers::trials,
        strangers::trials,
        bad_input::trials,
        hostile::trials,
        lock::trials,
        failure::trials,
        crash::trials,
        matrix::trials,
        packets::trials,
        events::trials,
        neighbours::trials,
        reload::trials,
        versions::trials,
        service::trials,
        shown::trials,
        truth::trials,
        author::trials,
        differential::trials,
        native::trials,
        set_types::trials,
        set_options::trials,
        large_sets::trials,
    ];
    let trials = suites.iter().flat_map(|suite| suite()).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::end();
    ruleward_tests::warm::forget();
    conclusion.exit_code()
}
