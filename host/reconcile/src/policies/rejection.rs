//! What a version has to tell the history: what it is, and why it was not put in force.

use std::sync::Arc;

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;

use super::Roster;
use super::member::{Candidate, Member};
use super::version::Version;
use ruleward_sandbox::Limits;

/// A version that answers nothing that is in force.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// Whose.
    pub policy: PolicyName,
    /// The version, if it could be loaded.
    pub version: Option<Arc<Version>>,
    /// Of its component.
    pub digest: String,
    /// As the policy gets them.
    pub settings: Arc<str>,
    /// What it may own and read.
    pub grants: Grants,
    /// What a call may use.
    pub limits: Limits,
    /// The facts that it was asked about; none if it was not asked, or they are no other than now.
    pub facts: Option<Arc<Facts>>,
    /// Its answer, if the kernel or the tools did not take it.
    pub contribution: Option<Arc<Contribution>>,
    /// Why.
    pub reason: String,
}

impl Roster {
    /// All that is refused now. What waits is not refused, and is nothing to remember.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.members.iter().filter(|member| !member.leaving).flat_map(Member::rejections).collect()
    }
}

impl Member {
    fn rejections(&self) -> Vec<Rejection> {
        let of = |version: &Arc<Version>, facts, contribution, reason: &String| Rejection {
            policy: self.name.clone(),
            version: Some(Arc::clone(version)),
            digest: version.loaded().digest().to_owned(),
            settings: Arc::clone(version.settings()),
            grants: version.grants().clone(),
            limits: version.loaded().limits().clone(),
            facts,
            contribution,
            reason: reason.clone(),
        };
        let candidate = match &self.candidate {
            Some(Candidate::Unloadable { digest: Some(digest), cause, rest, .. }) => Some(Rejection {
                policy: self.name.clone(),
                version: None,
                digest: digest.clone(),
                settings: Arc::clone(&rest.settings),
                grants: self.configured.clone(),
                limits: rest.limits.clone(),
                facts: None,
                contribution: None,
                reason: cause.clone(),
            }),
            Some(Candidate::Loaded(trial)) => {
                trial.refused.as_ref().filter(|refused| !refused.reason.waits).map(|refused| {
                    let contribution = refused.answer.as_ref().map(|answer| Arc::clone(&answer.contribution));
                    of(&trial.version, refused.facts.clone(), contribution, &refused.reason.reason)
                })
            }
            _ => None,
        };
        let refused = self.reason.as_ref().filter(|reason| !reason.waits).map(|refused| &refused.reason);
        let in_force = self.version.as_ref().zip(refused).map(|(version, reason)| {
            let (facts, answer) = self.not_taken.clone().unzip();
            of(version, facts, answer.map(|answer| answer.contribution), reason)
        });
        candidate.into_iter().chain(in_force).collect()
    }
}
