//! `cargo xtask COMMAND`: everything around the program that is not the program. It sets a machine up, builds the
//! policies, shows the main job, runs the tests and checks the house rules.
//!
//! Every command can be run again at any time, says what it is doing, and ends with a status other than 0 and the
//! reason when it could not do all of it. Nothing is skipped in silence.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bench;
mod bindings;
mod browser;
mod ci;
mod command;
mod demo;
mod examples;
mod fuzz;
mod languages;
mod links;
mod neighbours;
mod package;
mod picture;
mod policies;
mod progress;
mod readme;
mod setup;
mod suites;
mod tidy;
mod tools;
mod walls;
mod wasm_target;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup      installs what is missing, or names it: iptables, ipset, iproute2, util-linux, the Wasm target
  policies   builds the policies of plugins/ into target/policies
  build      builds the policies and the programs
  demo       the main job on the real kernel, in network namespaces of its own
  bench      time and memory beside the stock tools: [--list] [--smoke] [PART ...] [--json FILE] [--rules 1000,10000,50000] [--build release]
  test       builds everything and runs every test; arguments go to `cargo test`
  ci         everything that must hold before a merge: [--list] [--keep-going] [STEP ...]
  languages  a policy in Rust, C, Go, JavaScript and Python, from its README's commands to a live rule; [LANGUAGE ...]
  browser    drives Chromium over the status page: [--update] takes the pictures of docs/ anew
  neighbours real firewall programs (firewalld, ufw, ...) beside Ruleward: [--rounds N] [SCENE ...]
  bindings   proves that the bindings are what the generator makes of the contract: [--update]
  fuzz       looks for bytes that make a reader crash: [--seconds N] [--keep] [TARGET ...]
  package    the packages and what is in them, in target/package: [--dev] [--rpm] [--version VERSION]
  generate   writes the parts of docs/ that are made from the code
  tidy       checks the house rules
  picture    renders terminal text from standard input as SVG: picture FILE.svg TITLE
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["setup"] => setup::run(),
        ["policies"] => policies::run(),
        ["build"] => policies::build_all(),
        ["demo"] => demo::run(),
        ["demo", "--inside"] => demo::run_inside(),
        ["bench", rest @ ..] => bench::run(rest),
        ["test", rest @ ..] => suites::run(rest),
        ["ci", "--as-nobody", rest @ ..] => ci::run_as_nobody(rest),
        ["ci", rest @ ..] => ci::run(rest),
        ["browser"] => browser::run(false),
        ["browser", "--update"] => browser::run(true),
        ["neighbours", rest @ ..] => neighbours::run(rest),
        ["bindings"] => bindings::run(false),
        ["bindings", "--update"] => bindings::run(true),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["languages", rest @ ..] => languages::run(rest),
        ["package", rest @ ..] => package::run(rest),
        ["generate"] => suites::generate(),
        ["tidy"] => tidy::run(),
        ["picture", file, title] => picture::run(file, title),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("unknown command `{}`\n\n{USAGE}", words.join(" "));
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask {}: {error:#}", words.first().unwrap_or(&""));
            ExitCode::FAILURE
        }
    }
}
