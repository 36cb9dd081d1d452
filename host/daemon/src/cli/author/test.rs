//! `policy test`: the cases of a policy, with what differs.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::{FAILED, component_of};
use crate::author::suite::{self, CaseResult, EXPECTED, Outcome};
use crate::author::{AuthorError, load};
use crate::cli::output::Output;

#[derive(Serialize)]
struct Printed<'a> {
    case: &'a str,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
}

/// Runs them all. Exit code 1: one differs.
pub fn all(policy: &Path, cases: Option<&Path>, update: bool, output: Output) -> Result<u8, AuthorError> {
    let start = Instant::now();
    let component = component_of(policy)?;
    let built = start.elapsed();
    let beside = if policy.is_dir() { policy } else { policy.parent().unwrap_or(policy) };
    let folder = cases.map_or_else(|| beside.join("tests"), Path::to_owned);
    let loaded = load(&component)?;
    let results = suite::run(&loaded, &folder, update)?;
    let printed: Vec<Printed<'_>> = results.iter().map(printed).collect();
    output.print(&printed, |_| {
        let failed = results.iter().filter(|result| !result.is_good()).count();
        let mut text: String = results.iter().map(line).collect();
        text.push_str(&format!(
            "{} passed, {failed} failed; built in {:.2} s, tested in {:.2} s\n",
            results.len() - failed,
            built.as_secs_f64(),
            (start.elapsed() - built).as_secs_f64()
        ));
        text
    });
    Ok(if results.iter().all(CaseResult::is_good) { 0 } else { FAILED })
}

fn printed(result: &CaseResult) -> Printed<'_> {
    let difference = match &result.outcome {
        Outcome::Differs(difference) => Some(difference.as_str()),
        _ => None,
    };
    Printed { case: &result.name, passed: result.is_good(), difference }
}

fn line(result: &CaseResult) -> String {
    let name = &result.name;
    match &result.outcome {
        Outcome::Passed => format!("ok       {name}\n"),
        Outcome::Updated => format!("updated  {name}/{EXPECTED}\n"),
        Outcome::NotExpected => format!(
            "FAILED   {name}: there is no {EXPECTED}; `--update` writes what comes out: read it before you keep it\n"
        ),
        Outcome::Differs(difference) => format!("FAILED   {name}\n{difference}\n"),
    }
}
