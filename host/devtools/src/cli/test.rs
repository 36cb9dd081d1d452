//! `policy test`: the cases of a policy, with what differs.

use std::path::Path;
use std::time::Instant;

use ruleward_kernel::verdict::Verdict;
use ruleward_report::output::Output;
use serde::Serialize;

use super::{FAILED, component_of};
use crate::component::load;
use crate::error::AuthorError;
use crate::suite::{self, CaseResult, EXPECTED, Outcome};

#[derive(Serialize)]
struct Printed<'a> {
    case: &'a str,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rehearsal: Option<&'a Verdict>,
}

/// Runs them all. Exit code 1: one differs.
pub fn all(
    policy: &Path,
    cases: Option<&Path>,
    (rehearse, update): (bool, bool),
    output: Output,
) -> Result<u8, AuthorError> {
    let start = Instant::now();
    let component = component_of(policy)?;
    let built = start.elapsed();
    let beside = if policy.is_dir() { policy } else { policy.parent().unwrap_or(policy) };
    let folder = cases.map_or_else(|| beside.join("tests"), Path::to_owned);
    let loaded = load(&component)?;
    let results = suite::run(&loaded, &folder, update)?;
    let name = &loaded.description().name;
    let rehearsed = |result: &CaseResult| {
        let answer = result.answer.as_ref().ok().filter(|_| rehearse)?;
        Some(result.case.verdict(name, &answer.contribution))
    };
    let verdicts: Vec<Option<Verdict>> = results.iter().map(rehearsed).collect();
    let printed: Vec<Printed<'_>> = results.iter().zip(&verdicts).map(printed).collect();
    let failed = printed.iter().filter(|printed| !printed.passed).count();
    output.print(&printed, |_| {
        let mut text: String = results.iter().zip(&verdicts).map(line).collect();
        text.push_str(&format!(
            "{} passed, {failed} failed; built in {:.2} s, tested in {:.2} s\n",
            results.len() - failed,
            built.as_secs_f64(),
            (start.elapsed() - built).as_secs_f64()
        ));
        text
    });
    Ok(if failed == 0 { 0 } else { FAILED })
}

fn printed<'a>((result, verdict): (&'a CaseResult, &'a Option<Verdict>)) -> Printed<'a> {
    let difference = match &result.outcome {
        Outcome::Differs(difference) => Some(difference.as_str()),
        _ => None,
    };
    let passed = result.is_good() && matches!(verdict, None | Some(Verdict::Takes { .. }));
    Printed { case: &result.name, passed, difference, rehearsal: verdict.as_ref() }
}

fn line((result, verdict): (&CaseResult, &Option<Verdict>)) -> String {
    let name = &result.name;
    let kernel = match verdict {
        None | Some(Verdict::Takes { .. }) => String::new(),
        Some(Verdict::Refuses { reason, .. }) => format!("FAILED   {name}: the kernel refuses it: {reason}\n"),
        Some(Verdict::NotAsked { reason }) => format!("FAILED   {name}: the kernel could not be asked: {reason}\n"),
    };
    kernel
        + &match &result.outcome {
            Outcome::Passed => format!("ok       {name}\n"),
            Outcome::Updated => format!("updated  {name}/{EXPECTED}\n"),
            Outcome::NotExpected => format!(
                "FAILED   {name}: there is no {EXPECTED}; `--update` writes what comes out: read it before you keep it\n"
            ),
            Outcome::Differs(difference) => format!("FAILED   {name}\n{difference}\n"),
        }
}
