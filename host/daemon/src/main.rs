//! The `ruleward` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ruleward::cli::main(std::env::args_os())
}
