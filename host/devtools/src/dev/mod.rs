//! One round of `ruleward dev`: builds the policy, runs its cases, says which rules are others than before, and what a kernel
//! says of them. What is wrong ends the round, and leaves what was before.

mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ruleward_kernel::verdict::Verdict;
use ruleward_sandbox::LoadedPolicy;
use serde::Serialize;

use crate::answer::{answer, as_text};
use crate::case::{Case, CaseFiles};
use crate::component::load_with;
use crate::error::AuthorError;
use crate::project::Project;
use crate::suite::{self, CaseResult, Outcome, difference};

pub use sources::Sources;

/// What came of a round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Round {
    /// Counted from 1.
    pub round: u64,
    /// The component.
    pub component: PathBuf,
    /// The author's compiler, milliseconds.
    pub built_ms: u128,
    /// From the component to machine code that has said what it is, milliseconds.
    pub loaded_ms: u128,
    /// Cases and rehearsals, milliseconds.
    pub judged_ms: u128,
    /// In the order of their names.
    pub cases: Vec<Judged>,
}

/// One case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Judged {
    /// The folder's name, or `no settings`.
    pub case: String,
    /// What differs from what its file expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unexpected: Option<String>,
    /// What differs from the round before, or all rules in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// What the kernel says; nothing of a case that is to be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Verdict>,
}

impl Round {
    /// Whether it can go live: every case is as expected, and no kernel refuses it.
    pub fn is_good(&self) -> bool {
        let refused = |case: &Judged| matches!(case.rehearsal, Some(Verdict::Refuses { .. }));
        !self.cases.iter().any(|case| case.unexpected.is_some() || refused(case))
    }
}

/// A policy that is being worked on.
pub struct Workshop {
    folder: PathBuf,
    /// Holds the compiled components.
    state_directory: PathBuf,
    rounds: u64,
    /// What each case gave in the last round, and what the kernel said of it.
    before: BTreeMap<String, (String, Option<Verdict>)>,
}

impl Workshop {
    /// In this folder. What is compiled is kept in the state directory: that of a node finds it there.
    pub fn new(folder: &Path, state_directory: PathBuf) -> Self {
        Self { folder: folder.to_owned(), state_directory, rounds: 0, before: BTreeMap::new() }
    }

    /// Builds, tests, compares and rehearses.
    ///
    /// # Errors
    /// When the build fails, or leaves what can't be a policy.
    pub fn round(&mut self) -> Result<Round, AuthorError> {
        let start = Instant::now();
        let component = Project::read(&self.folder)?.build(&self.folder)?;
        let built = start.elapsed();
        let policy = load_with(&self.state_directory, &component)?;
        let loaded = start.elapsed();
        let results = self.results(&policy)?;
        self.rounds += 1;
        let cases = results.into_iter().map(|result| self.judged(&policy, result)).collect();
        let judged_ms = (start.elapsed() - loaded).as_millis();
        let loaded_ms = (loaded - built).as_millis();
        Ok(Round { round: self.rounds, component, built_ms: built.as_millis(), loaded_ms, judged_ms, cases })
    }

    /// Of the cases in `tests/`; of a plain node where there are none.
    fn results(&self, policy: &LoadedPolicy) -> Result<Vec<CaseResult>, AuthorError> {
        let tests = self.folder.join("tests");
        if tests.is_dir() {
            return suite::run(policy, &tests, false);
        }
        let case = Case::read(&CaseFiles::default(), policy.description())?;
        let answer = answer(policy, &case);
        let outcome = match &answer {
            Ok(_) => Outcome::Passed,
            Err(refused) => {
                Outcome::Differs(format!("{}; write a case with what it needs into tests/", refused.reasons))
            }
        };
        Ok(vec![CaseResult { name: "no settings".to_owned(), outcome, case, answer }])
    }

    fn judged(&mut self, policy: &LoadedPolicy, result: CaseResult) -> Judged {
        let CaseResult { name, outcome, case, answer } = result;
        let now = as_text(&answer);
        let policy = &policy.description().name;
        let rehearse = || Some(case.verdict(policy, &answer.as_ref().ok()?.contribution));
        let (difference, rehearsal) = match self.before.remove(&name) {
            None => (Some(now.clone()), rehearse()),
            // What the kernel said of the same rules, it would say again.
            Some((old, said)) if old == now => (None, said),
            Some((old, _)) => (Some(difference(("before", &old), ("now", &now))), rehearse()),
        };
        self.before.insert(name.clone(), (now, rehearsal.clone()));
        let unexpected = match outcome {
            Outcome::Passed | Outcome::Updated => None,
            Outcome::Differs(difference) => Some(difference),
            Outcome::NotExpected => {
                Some("nothing is expected yet; `ruleward policy test --update` writes it down".to_owned())
            }
        };
        Judged { case: name, unexpected, difference, rehearsal }
    }
}
