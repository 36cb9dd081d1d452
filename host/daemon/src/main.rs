//! The `ruleward` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ruleward::memory::share_one_heap();
    ruleward::cli::main(std::env::args_os())
}
