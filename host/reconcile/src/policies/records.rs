//! What is in force, kept for the next start. A disk that is full or read-only stops nobody: what could not be written is
//! tried again at each check, and notes say so.

use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;

use super::member::Member;
use super::{Accepted, Roster};
use ruleward_report::timestamp;
use ruleward_sandbox::Limits;
use ruleward_sandbox::last_good::{self, LastGood, Records};

/// A version that was in force when the last process ended: all that it takes to load it again.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Whose.
    pub policy: PolicyName,
    /// Of the component.
    pub digest: String,
    /// As the policy gets them.
    pub settings: String,
    /// What it may own and read.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
}

impl Recorded {
    /// All that can be read; what can't is told by [`Roster::open`].
    pub fn read_all(kept: &dyn Records) -> Vec<Self> {
        let policies = kept.policies().unwrap_or_default();
        let read = |policy: PolicyName| {
            let LastGood { digest, settings, grants, limits, .. } = kept.load(&policy).ok()??;
            Some(Self { policy, digest, settings, grants, limits })
        };
        policies.into_iter().filter_map(read).collect()
    }
}

impl Roster {
    /// Reads what was in force when the last process ended.
    pub(super) fn recall(&mut self) {
        let Some(kept) = self.kept.clone() else { return };
        let policies = match kept.policies() {
            Ok(policies) => policies,
            Err(error) => {
                tracing::warn!("saved answers can't be read: {error}");
                self.notes.push(format!("saved answers can't be read: {error}"));
                return;
            }
        };
        for policy in policies {
            match kept.load(&policy) {
                Ok(Some(known)) => self.members.push(Member::recall(known, self.families)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("policy {policy}: the saved answer can't be read: {error}");
                    let note = format!(
                        "policy {policy}: the saved answer can't be read: {error}. If the policy is no longer configured, \
                         configure it once more, and remove it then: only so it is known what it owned"
                    );
                    self.unreadable.insert(policy, note);
                }
            }
        }
        self.notes.extend(self.unreadable.values().cloned());
        self.members.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Whether anything that was written is not on the disk any more: it is written anew with the next commit.
    pub fn notice_lost(&mut self, now: SystemTime) -> bool {
        let Some(kept) = &self.kept else { return false };
        let mut lost = false;
        for member in self.members.iter_mut().filter(|member| member.good.is_some() && member.unsaved.is_none()) {
            if !kept.exists(&member.name) {
                tracing::warn!("policy {}: the saved answer is gone from the disk; it is saved again", member.name);
                member.unsaved = Some(now);
                lost = true;
            }
        }
        lost
    }

    /// What is in force, for the history, if that has lost it.
    pub fn all_in_force(&self) -> Vec<Accepted> {
        let one = |member: &Member| {
            let (facts, answer) = member.answer.as_ref()?;
            let (version, good) = (member.version.as_ref()?, member.good.as_ref()?);
            (good.answer.contribution == answer.contribution).then(|| Accepted {
                version: Arc::clone(version),
                facts: Arc::clone(facts),
                contribution: Arc::clone(&answer.contribution),
                new_version: false,
            })
        };
        self.members.iter().filter_map(one).collect()
    }

    /// Whether anything that is in force has not been written yet.
    pub fn is_unsaved(&self) -> bool {
        self.members.iter().any(|member| member.unsaved.is_some() && member.good.is_some())
    }

    /// Writes what has not been written yet.
    pub fn save(&mut self) {
        let Some(records) = &self.kept else { return };
        let mut notes = Vec::new();
        for member in &mut self.members {
            let (Some(good), Some(since)) = (&member.good, member.unsaved) else { continue };
            let kept = LastGood {
                policy: member.name.clone(),
                digest: good.digest.clone(),
                version: good.version.clone(),
                settings: &*good.settings,
                grants: good.grants.clone(),
                limits: good.limits.clone(),
                facts: good.facts.as_deref().map(last_good::facts_digest).unwrap_or_default(),
                contribution: &*good.answer.contribution,
                warnings: good.answer.warnings.to_vec(),
            };
            match records.store(&kept) {
                Ok(()) => {
                    member.unsaved = None;
                    self.unreadable.remove(&member.name);
                }
                Err(error) => notes.push(format!(
                    "policy {}: its answer is in force, but has not been saved for the next start since {}: {error}",
                    member.name,
                    timestamp(since)
                )),
            }
        }
        self.forgotten.retain(|policy| match records.forget(policy) {
            Ok(()) => false,
            Err(error) => {
                notes.push(format!("{policy}: no longer configured, but its saved answer can't be deleted: {error}"));
                true
            }
        });
        notes.extend(self.unreadable.values().cloned());
        self.notes = notes;
    }
}
