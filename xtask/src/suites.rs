//! `cargo xtask test`: sets up, builds, runs every test of the workspace. The real-kernel suites make network
//! namespaces; where those are refused this fails and says what to do, it never skips.

use anyhow::Result;

use crate::command::Run;
use crate::progress::step;
use crate::{demo, languages, policies, setup, walls, workspace};

/// Runs them all; `rest` goes to `cargo test`.
pub fn run(rest: &[&str]) -> Result<()> {
    setup::run()?;
    step("network namespaces are permitted", || demo::inside_namespaces().map(drop))?;
    policies::build_all()?;
    languages::build(&[])?;
    step("cargo test --workspace", || {
        Run::new(workspace::cargo())
            .args(["test", "--workspace"])
            .args(rest)
            .env("RULEWARD_BIN", workspace::program())
            .env("RULEWARD_POLICIES", workspace::policies_dir())
            .within(workspace::root())
            .show()
    })
}

/// Writes what of the documentation is made from the code. The tests that say whether it is current do it.
pub fn generate() -> Result<()> {
    walls::generate(workspace::root())?;
    step("documentation that is made from the code", || {
        Run::new(workspace::cargo())
            .args(["test", "--workspace", "--lib", "is_current"])
            .env("RULEWARD_GENERATE", "1")
            .within(workspace::root())
            .show()
    })
}
