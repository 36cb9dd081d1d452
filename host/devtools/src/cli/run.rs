//! `policy run`: one evaluation, printed.

use std::path::Path;

use ruleward_kernel::verdict::Verdict;
use ruleward_report::output::Output;
use ruleward_sandbox::{Contribution, Log};
use serde::Serialize;

use super::{REFUSED, component_of};
use crate::answer::answer;
use crate::case::{Case, CaseFiles};
use crate::component::load;
use crate::error::AuthorError;

#[derive(Serialize)]
struct Printed<'a> {
    policy: String,
    contribution: &'a Contribution,
    rules: &'a str,
}

/// Prints the rules; the log and the usage go to the standard error output.
pub fn once(policy: &Path, files: &CaseFiles, rehearse: bool, output: Output) -> Result<u8, AuthorError> {
    let loaded = load(&component_of(policy)?)?;
    let case = Case::read(files, loaded.description())?;
    match answer(&loaded, &case) {
        Ok(answer) => {
            show_log(&answer.log, output);
            let policy = loaded.description().name.clone();
            let verdict = rehearse.then(|| case.verdict(&policy, &answer.contribution));
            let rules = match verdict {
                None => answer.rules,
                Some(Verdict::Takes { rules, .. }) => rules,
                Some(Verdict::Refuses { reason, .. } | Verdict::NotAsked { reason }) => {
                    output.complain(&format!("rehearsal: {reason}\n"));
                    return Ok(REFUSED);
                }
            };
            let printed = Printed { policy: policy.to_string(), contribution: &answer.contribution, rules: &rules };
            output.print(&printed, |_| rules.clone());
            Ok(0)
        }
        Err(refused) => {
            show_log(&refused.log, output);
            output.complain(&refused.reasons.lines().map(|line| format!("refused: {line}\n")).collect::<String>());
            Ok(REFUSED)
        }
    }
}

fn show_log(log: &Log, output: Output) {
    for line in &log.lines {
        let level = format!("{:?}", line.level).to_lowercase();
        output.complain(&format!("{level}: {}\n", line.message));
    }
}
