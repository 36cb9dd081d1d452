//! `policy conform`: the verdicts on a component, for its author to publish.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ruleward_core::limit::Unit;
use ruleward_report::output::Output;

use super::{CaseArguments, FAILED, component_of};
use crate::case::CaseFiles;
use crate::conform::{self, Report, Verdict};
use crate::error::AuthorError;
use crate::suite;

/// Prints the report. Exit code 1: a check failed.
pub fn judge(policy: &Path, cases: Option<&Path>, case: &CaseArguments, output: Output) -> Result<u8, AuthorError> {
    let mut files: Vec<(String, CaseFiles)> = Vec::new();
    if let Some(folder) = cases {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.extend(suite::cases(folder)?.iter().map(|path| (name(path), CaseFiles::in_folder(path))));
    }
    let own = case.files();
    if own != CaseFiles::default() {
        files.push(("the case".to_owned(), own));
    }
    let report = conform::judge(&component_of(policy)?, &files)?;
    output.print(&report, |_| text(&report));
    Ok(if report.is_good() { 0 } else { FAILED })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if let Some(policy) = &report.policy {
        let _ = writeln!(text, "{} {}, {}", policy.name, policy.version, policy.digest);
    }
    let _ = writeln!(text, "judged by ruleward {}", report.judged_by);
    let (mut passed, mut failed, mut not) = (0, 0, 0);
    for check in &report.checks {
        let name = check.check;
        match &check.verdict {
            Verdict::Pass { detail } => {
                passed += 1;
                let _ = writeln!(text, "pass  {name}\n        {detail}");
            }
            Verdict::Fail { reasons } => {
                failed += 1;
                let _ = writeln!(text, "FAIL  {name}");
                for reason in reasons {
                    let _ = writeln!(text, "        {reason}");
                }
            }
            Verdict::NotApplicable { reason } => {
                not += 1;
                let _ = writeln!(text, "n/a   {name}\n        {reason}");
            }
        }
    }
    let used = report.limits.iter().filter(|share| share.used > 0 && share.unit != Unit::Microseconds);
    for share in used {
        let percent = share.used as f64 * 100.0 / share.most as f64;
        let _ =
            writeln!(text, "limit {:<15}{:>12} of {:>11}, {percent:.2} %", share.limit.key(), share.used, share.most);
    }
    let _ = writeln!(text, "{passed} passed, {failed} failed, {not} not applicable");
    text
}
