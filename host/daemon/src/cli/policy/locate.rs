//! `policy locate`: what another program must know of the configuration to put a policy's component
//! in its place.

use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::{Problem, failed};
use crate::cli::commands::load;
use ruleward_report::output::Output;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Located {
    component: PathBuf,
    state_directory: PathBuf,
}

/// Prints it; gives the exit code.
pub fn show(file: &Path, policy: &PolicyName, output: Output) -> u8 {
    let located = load(file).map_err(|report| Problem::Other(report.problems.join("; "))).and_then(|config| {
        let found = config.policies.get(policy).map(|found| found.component.clone());
        let none =
            || Problem::Other(format!("{} has no policy {policy}; add it with its grants first", file.display()));
        Ok(Located { component: found.ok_or_else(none)?, state_directory: config.state_directory })
    });
    match located {
        Ok(located) => {
            let Located { component, state_directory } = &located;
            output.print(&located, |_| format!("{}\n{}\n", component.display(), state_directory.display()));
            0
        }
        Err(problem) => failed(&problem, output),
    }
}
