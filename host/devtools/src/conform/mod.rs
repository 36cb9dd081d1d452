//! Whether a component keeps to the contract in everything that can be seen from outside: a list of checks, each with a verdict
//! that its author can publish. What a policy is asked on is made here from its own description and schema, or from cases
//! that its author gives; time is measured and never judged, so that the same component gets the same verdicts on every
//! machine.

mod checks;
mod schema;
mod situations;

use std::path::Path;

use ruleward_core::limit::{Limit, Limits, Unit, Usage};
use ruleward_sandbox::LoadedPolicy;
use serde::Serialize;
use serde_json::Value;

use crate::case::{Case, CaseFiles};
use crate::component::load;
use crate::error::AuthorError;

/// A judged component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The version of ruleward that judged it.
    pub judged_by: &'static str,
    /// Which one, if it could be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Identity>,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// The most that was used of each limit, over all checks.
    pub limits: Vec<Share>,
}

/// Names a component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// As it calls itself.
    pub name: String,
    /// As it says.
    pub version: String,
    /// Of its bytes.
    pub digest: String,
}

/// One check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What is asked.
    pub check: &'static str,
    /// What came out.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Pass {
        /// What was seen.
        detail: String,
    },
    /// Not so.
    Fail {
        /// Each with its place, and what would be right.
        reasons: Vec<String>,
    },
    /// The policy has nothing that could be checked.
    NotApplicable {
        /// Why, and what would make it so.
        reason: String,
    },
}

impl Verdict {
    fn pass(detail: impl Into<String>) -> Self {
        Self::Pass { detail: detail.into() }
    }

    fn not_applicable(reason: impl Into<String>) -> Self {
        Self::NotApplicable { reason: reason.into() }
    }

    /// Passed, unless there are reasons why not.
    fn of(reasons: Vec<String>, detail: impl Into<String>) -> Self {
        if reasons.is_empty() { Self::pass(detail) } else { Self::Fail { reasons } }
    }
}

/// How much of a default limit was used.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Share {
    /// Which.
    pub limit: Limit,
    /// What its numbers count.
    pub unit: Unit,
    /// At most, in one evaluation.
    pub used: u64,
    /// The default.
    pub most: u64,
}

impl Report {
    /// Whether no check failed.
    pub fn is_good(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.verdict, Verdict::Fail { .. }))
    }
}

/// What one policy is judged with.
struct Subject {
    /// Loaded twice, in two engines.
    policies: [LoadedPolicy; 2],
    /// What it is asked on, by name; at least one.
    bases: Vec<(String, Case)>,
    /// Whether the author gave these.
    given: bool,
}

/// Judges the component on these cases; without any, on settings that its schema asks for.
///
/// # Errors
/// When the component's file or a case can't be read; a component that can't be a policy is a report.
pub fn judge(component: &Path, cases: &[(String, CaseFiles)]) -> Result<Report, AuthorError> {
    std::fs::metadata(component).map_err(|error| AuthorError::file(component, error))?;
    let loaded = match load(component).and_then(|first| Ok([first, load(component)?])) {
        Ok(loaded) => loaded,
        Err(AuthorError::Load(error)) => return Ok(unloadable(&error.problem.to_string())),
        Err(other) => return Err(other),
    };
    // A busy machine must not be taken for a slow policy: fuel counts the same on every one.
    let limits = Limits::default().with(Limit::Time, 60_000_000);
    let policies = loaded.map(|policy| policy.with_limits(&limits));
    let description = policies[0].description();
    let identity = Identity {
        name: description.name.to_string(),
        version: description.version.clone(),
        digest: policies[0].digest().to_owned(),
    };
    let mut bases = Vec::new();
    for (name, files) in cases {
        bases.push((name.clone(), Case::read(files, description)?));
    }
    if cases.is_empty() {
        let schema: Value = serde_json::from_str(&description.settings_schema).unwrap_or_default();
        let mut case = Case::read(&CaseFiles::default(), description)?;
        case.settings = schema::least(&schema);
        bases.push(("least settings".to_owned(), case));
    }
    let subject = Subject { policies, bases, given: !cases.is_empty() };
    let mut used = Usage::default();
    let checks = checks::all(&subject, &mut used);
    let shares = Limit::ALL.into_iter().map(|limit| Share {
        limit,
        unit: limit.unit(),
        used: used[limit],
        most: limit.default_amount(),
    });
    Ok(Report { judged_by: env!("CARGO_PKG_VERSION"), policy: Some(identity), checks, limits: shares.collect() })
}

fn unloadable(reason: &str) -> Report {
    let mut checks = vec![Check { check: checks::LOADS, verdict: Verdict::Fail { reasons: vec![reason.to_owned()] } }];
    let not = Verdict::not_applicable("it can't be loaded");
    checks.extend(checks::AFTER_LOADING.map(|check| Check { check, verdict: not.clone() }));
    Report { judged_by: env!("CARGO_PKG_VERSION"), policy: None, checks, limits: Vec::new() }
}
