//! Tests of a policy as files: each folder under `tests/` is a case, and `expected.rules` in it is what must come out.

use std::fs;
use std::path::{Path, PathBuf};

use ruleward_sandbox::LoadedPolicy;
use similar::TextDiff;

use crate::answer::{Answer, Refused, answer, as_text};
use crate::case::{Case, CaseFiles};
use crate::error::AuthorError;

/// The file with what is expected.
pub const EXPECTED: &str = "expected.rules";

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Written down as what is expected from now on.
    Updated,
    /// Otherwise: what differs, as a diff.
    Differs(String),
    /// Nothing is expected yet.
    NotExpected,
}

/// One case and its outcome.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The folder's name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked.
    pub case: Case,
    /// What came out.
    pub answer: Result<Answer, Refused>,
}

impl CaseResult {
    /// Nothing is wrong.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::Updated)
    }
}

/// Runs all cases in `folder`, in the order of their names. With `update` what comes out is written down.
///
/// # Errors
/// [`AuthorError`] when there is no case, or one can't be read.
pub fn run(policy: &LoadedPolicy, folder: &Path, update: bool) -> Result<Vec<CaseResult>, AuthorError> {
    cases(folder)?.iter().map(|case| run_case(policy, case, update)).collect()
}

/// The folders of cases in `folder`, in the order of their names.
///
/// # Errors
/// [`AuthorError`] when there is none.
pub fn cases(folder: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let wrong = |error: std::io::Error| AuthorError::file(folder, format!("can't be read: {error}"));
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let files = CaseFiles::in_folder(&path);
        if path.join(EXPECTED).exists() || files != CaseFiles::default() {
            cases.push(path);
        }
    }
    if cases.is_empty() {
        let reason = "holds no case; make a folder in it for each, with settings.toml, resources.yaml or facts.toml";
        return Err(AuthorError::file(folder, reason));
    }
    cases.sort();
    Ok(cases)
}

fn run_case(policy: &LoadedPolicy, folder: &Path, update: bool) -> Result<CaseResult, AuthorError> {
    let case = Case::read(&CaseFiles::in_folder(folder), policy.description())?;
    let answer = answer(policy, &case);
    let found = as_text(&answer);
    let file = folder.join(EXPECTED);
    let expected = match fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(AuthorError::file(&file, error)),
    };
    let outcome = match expected {
        Some(expected) if expected == found => Outcome::Passed,
        _ if update => {
            fs::write(&file, &found).map_err(|error| AuthorError::file(&file, error))?;
            Outcome::Updated
        }
        Some(expected) => Outcome::Differs(difference(("expected", &expected), ("found", &found))),
        None => Outcome::NotExpected,
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(CaseResult { name, outcome, case, answer })
}

/// What differs between two lists of rules, as a diff.
pub fn difference(old: (&str, &str), new: (&str, &str)) -> String {
    TextDiff::from_lines(old.1, new.1).unified_diff().context_radius(2).header(old.0, new.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_rules() {
        let (old, new) = ("*filter\n-A a -j DROP\nCOMMIT\n", "*filter\n-A a -j ACCEPT\nCOMMIT\n");
        let text = difference(("expected", old), ("found", new));
        assert!(text.contains("--- expected\n+++ found\n"), "{text}");
        assert!(text.contains("\n--A a -j DROP\n+-A a -j ACCEPT\n"), "{text}");
    }

    #[test]
    fn a_folder_without_cases_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let message = cases(folder.path()).unwrap_err().to_string();
        assert!(message.contains("holds no case"), "{message}");
    }
}
