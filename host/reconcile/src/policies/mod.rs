//! The policies of the configuration, each with the version in force and maybe one that would take its place.
//!
//! A *version* is a loaded component with its settings, grants and limits. A changed one is a *candidate*: it is
//! evaluated beside the versions in force, merged and rehearsed with them, and takes its place in the commit that puts
//! its rules in force ([`Roster::accept`]). Whatever goes wrong with it before ends in a refusal, and nobody else notices.
//!
//! A policy that fails in any way (it can't be loaded, traps, is refused by the check or by the rehearsal) keeps the
//! contribution that was last in force, also across restarts. It never becomes an empty one. What a policy owns that has
//! left the configuration, or that is granted less, is ours until a commit has removed it.
//!
//! A policy that has never answered holds up no other. What it may own stays as it is in the kernel; and so does what a
//! policy owns that has left the configuration, because the one that has not answered may be what takes its place.

mod evaluation;
mod member;
mod records;
mod rejection;
mod set;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::check::Checked;
use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::limit::Limit;
use ruleward_core::names::{Family, Hook, PolicyName, Table};
use ruleward_core::ownership::Ownership;

use crate::runtime::Runtime;
use member::{ActiveVersion, Candidate, Member, describe};
use ruleward_report::{PolicyReport, PolicyState};
use ruleward_sandbox::last_good::Records;

use evaluation::Evaluations;

pub use evaluation::EvaluationRecord;
pub use records::Recorded;
pub use rejection::Rejection;
pub use set::{PolicySet, PolicySpec, ShadowSpec, SpecState};
pub use version::{Answer, Component, Counts, NoAnswer, Version, identity, judge};

/// All policies of the configuration, and those that are leaving it.
pub struct Roster {
    members: Vec<Member>,
    off: Vec<PolicyName>,
    /// Where what is in force is kept; nowhere without it.
    kept: Option<Arc<dyn Records>>,
    families: Families,
    /// What no policy's limits may be above, for the report.
    ceiling: BTreeMap<Limit, u64>,
    /// Policies that are gone, and whose records are still there.
    forgotten: BTreeSet<PolicyName>,
    /// What there is to say of records that can't be read.
    unreadable: BTreeMap<PolicyName, String>,
    notes: Vec<String>,
}

/// What of a policy is in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// By which grants it was judged.
    pub grants: Grants,
    /// The answer.
    pub contribution: Arc<Contribution>,
}

/// Which policies are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Whom {
    /// All.
    #[default]
    All,
    /// None: what is known counts.
    None,
    /// One. Of the others what is known counts.
    Only(PolicyName),
}

impl Whom {
    fn includes(&self, policy: &PolicyName) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(name) => name == policy,
        }
    }
}

/// Policies that are not as the configuration asks, one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// Something is wrong with them.
    pub refused: Vec<String>,
    /// They wait for something that must exist first.
    pub waiting: Vec<String>,
    /// They are new, and their components are not loaded yet.
    pub loading: Vec<String>,
    /// They have left the configuration, and stay until all others have answered.
    pub staying: Vec<String>,
    /// One that does not wait has nothing in force.
    pub missing: bool,
}

/// An answer that has just been put in force.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Which version gave it.
    pub version: Arc<Version>,
    /// To which facts.
    pub facts: Arc<Facts>,
    /// The answer.
    pub contribution: Arc<Contribution>,
    /// The version was not in force before.
    pub new_version: bool,
}

impl Roster {
    /// With what was in force when the last process ended; no configuration yet.
    pub fn open(kept: Arc<dyn Records>, families: Families) -> Self {
        let mut roster = Self { kept: Some(kept), ..Self::without_records(families) };
        roster.recall();
        roster
    }

    /// Where nothing was ever in force.
    pub fn without_records(families: Families) -> Self {
        Self {
            members: Vec::new(),
            off: Vec::new(),
            kept: None,
            families,
            ceiling: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The configuration asks for this from now on.
    pub fn take(&mut self, offer: &PolicySet) {
        self.off.clone_from(&offer.off);
        self.ceiling.clone_from(&offer.settings.limits_ceiling);
        for member in &mut self.members {
            // What others would have in its place may still be loading: it stays until they are there.
            let unwished = !offer.specs.contains_key(&member.name);
            member.leaving = unwished && (offer.complete || member.leaving);
            if let Some(version) = offer.recalled.get(&member.name)
                && member.version.is_none()
                && member.good.as_ref().is_some_and(|good| good.digest == version.loaded().digest())
            {
                member.version = Some(Arc::clone(version));
            }
        }
        for (name, spec) in &offer.specs {
            self.forgotten.remove(name);
            let at = self.members.binary_search_by(|member| member.name.cmp(name));
            let at = at.unwrap_or_else(|at| {
                self.members.insert(at, Member::new(name.clone()));
                at
            });
            self.members[at].configure(spec);
        }
        // What never was in force leaves nothing behind.
        self.members.retain(|member| !member.leaving || member.good.is_some());
        self.hold();
    }

    /// Who owns what, when what is chosen is put in force: all that is chosen, and what goes with it.
    pub fn ownership(&self) -> Ownership {
        let (mut owned, mut leaving) = (Vec::new(), Vec::new());
        for member in &self.members {
            let chosen = member.chosen().map(|(_, grants)| grants);
            if let Some(grants) = chosen {
                owned.push((member.name.clone(), grants.clone()));
            }
            let good = member.good.as_ref().filter(|_| !member.unusable);
            if let Some(good) = good.filter(|good| chosen != Some(&good.grants)) {
                leaving.push((member.name.clone(), good.grants.clone()));
            }
        }
        let unanswered = self.unanswered().map(|member| (member.name.clone(), member.configured.clone()));
        let unusable = self.members.iter().filter(|member| member.unusable);
        let unusable = unusable.filter_map(|member| Some((member.name.clone(), member.good.as_ref()?.grants.clone())));
        Ownership::new(owned).with_leaving(leaving).with_unanswered(unanswered.chain(unusable).collect())
    }

    /// The policies of built-in chains that what was in force asked for, also before a restart.
    pub fn policies_in_force(&self) -> BTreeSet<(Family, Table, Hook)> {
        let good = self.members.iter().filter(|member| !member.unusable).filter_map(|member| member.good.as_ref());
        let asked = good.flat_map(|good| &good.answer.contribution.policies);
        asked.flat_map(|one| one.families.iter().map(|family| (family, one.table, one.hook))).collect()
    }

    /// Policies of built-in chains that a policy may have asked for whose answer was not kept.
    pub fn policies_of_unknown(&self) -> BTreeSet<(Family, Table, Hook)> {
        let unknown = self.members.iter().filter(|member| member.good.is_none());
        let granted = unknown.flat_map(|member| &member.configured.policies);
        granted.flat_map(|one| Family::ALL.map(|family| (family, one.table, one.hook))).collect()
    }

    /// Configured policies that have nothing to put in force.
    fn unanswered(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.leaving && member.chosen().is_none())
    }

    /// All that can be ours by the configuration or by what was in force.
    pub fn whole_ownership(&self) -> Ownership {
        let configured = self.members.iter().filter(|member| !member.leaving);
        let configured = configured.map(|member| (member.name.clone(), member.configured.clone())).collect();
        let in_force = |member: &Member| Some((member.name.clone(), member.good.as_ref()?.grants.clone()));
        Ownership::new(configured).with_leaving(self.members.iter().filter_map(in_force).collect())
    }

    /// Asks every policy, and every candidate, that `whom` names. Without `facts` (they could not be read) the last answers
    /// count. `again`: what was refused is tried again. Gives those that had to be asked: none whose answer to these facts
    /// is known.
    pub fn evaluate(
        &mut self,
        facts: Option<&Arc<Facts>>,
        whom: &Whom,
        again: bool,
        runtime: &dyn Runtime,
    ) -> Vec<EvaluationRecord> {
        let mut asked = Evaluations { families: self.families, runtime, done: Vec::new() };
        if let Some(facts) = facts {
            for member in self.members.iter_mut().filter(|member| !member.leaving && whom.includes(&member.name)) {
                member.evaluate(facts, again, &mut asked);
            }
        }
        self.hold();
        asked.done
    }

    /// Decides who waits for whom. Grants of the configuration never overlap, but a candidate may be given what a version
    /// still owns whose own candidate was not taken: it waits. A policy that has left the configuration stays in force
    /// until all others have answered, unless one that has answered is given its names.
    fn hold(&mut self) {
        for member in &mut self.members {
            if let Some(Candidate::Loaded(trial)) = &mut member.candidate {
                trial.held = None;
            }
        }
        loop {
            self.hold_leaving();
            let Some((at, reason)) = self.find_overlap() else { return };
            if let Some(Candidate::Loaded(trial)) = &mut self.members[at].candidate {
                trial.held = Some(reason);
            }
        }
    }

    fn hold_leaving(&mut self) {
        let waits = self.unanswered().next().is_some();
        let stays = |member: &Member| {
            let Some(good) = member.good.as_ref().filter(|_| member.leaving && waits) else { return false };
            let mut others = self.members.iter().filter(|other| !other.leaving).filter_map(Member::chosen);
            !others.any(|(_, grants)| grants.overlap(&good.grants).is_some())
        };
        let stays: Vec<bool> = self.members.iter().map(stays).collect();
        for (member, stays) in self.members.iter_mut().zip(stays) {
            member.stays = stays;
        }
    }

    fn find_overlap(&self) -> Option<(usize, String)> {
        self.members.iter().enumerate().find_map(|(at, member)| {
            let grants = member.trial()?.0.grants();
            let others = self.members.iter().enumerate().filter(|(other, _)| *other != at);
            others.filter(|(_, other)| other.trial().is_none()).find_map(|(_, other)| {
                let what = grants.overlap(other.chosen()?.1)?;
                let name = &other.name;
                Some((at, format!("it would own what policy {name} owns until its new version is in force: {what}")))
            })
        })
    }

    /// What is to be put in force: of each policy the newest answer of its candidate, else of its version in force, else
    /// what is in force. Of a policy that has none of these: nothing, and what it may own stays as it is.
    pub fn contributions(&self) -> Vec<Arc<Checked>> {
        self.members.iter().filter_map(|member| Some(Arc::clone(&member.chosen()?.0.checked))).collect()
    }

    /// Whether policies are configured, and none of all has anything to put in force.
    pub fn is_silent(&self) -> bool {
        self.unanswered().next().is_some() && self.members.iter().all(|member| member.chosen().is_none())
    }

    /// Of each policy what would be put in force, with the grants by which it was judged.
    pub fn answers(&self) -> impl Iterator<Item = (&PolicyName, &Grants, &Contribution)> {
        let members = self.members.iter().filter(|member| !member.leaving);
        members
            .filter_map(|member| member.chosen().map(|(answer, grants)| (&member.name, grants, &*answer.contribution)))
    }

    /// Policies of which something else is chosen than what is in force.
    pub fn news(&self) -> Vec<PolicyName> {
        self.members.iter().filter(|member| member.is_news()).map(|member| member.name.clone()).collect()
    }

    /// What would be put in force if of all news only that of `name` were taken.
    pub fn contributions_with_only(&self, name: &PolicyName) -> Vec<Arc<Checked>> {
        let choose = |member: &Member| {
            let stays = !member.is_going() && !member.unusable;
            let in_force = member.good.as_ref().filter(|_| stays).map(|good| &good.answer);
            let chosen = if member.name == *name { None } else { in_force };
            chosen.or(member.chosen().map(|(answer, _)| answer)).map(|answer| Arc::clone(&answer.checked))
        };
        self.members.iter().filter_map(choose).collect()
    }

    /// What is chosen of `name` can't be put in force. `lasting`: nor could it be with the same facts later.
    pub fn refuse(&mut self, name: &PolicyName, reason: String, lasting: bool) {
        if let Some(member) = self.members.iter_mut().find(|member| member.name == *name) {
            member.refuse(reason, lasting);
        }
        self.hold();
    }

    /// Takes back whatever is chosen and not in force, because it could not be written: each is tried again at the next
    /// check. Gives whose it was.
    pub fn retract(&mut self, reason: &str) -> Vec<PolicyName> {
        let news = self.news();
        for member in self.members.iter_mut().filter(|member| news.contains(&member.name)) {
            member.refuse(reason.to_owned(), false);
        }
        self.hold();
        news
    }

    /// What is chosen stands in the kernel: candidates take their places, and (`gone`) what was leaving has left.
    /// [`Roster::save`] keeps it for the next start.
    pub fn accept(&mut self, gone: bool, now: SystemTime) -> Vec<Accepted> {
        let mut accepted = Vec::new();
        for member in &mut self.members {
            if member.is_going() && gone {
                self.forgotten.insert(member.name.clone());
                tracing::info!("policy {}: no longer configured; all that it owned was removed", member.name);
                continue;
            }
            accepted.extend(member.accept(now));
        }
        self.members.retain(|member| !member.is_going() || !gone);
        accepted
    }

    /// What is in force.
    pub fn in_force(&self) -> BTreeMap<PolicyName, InForce> {
        let one = |member: &Member| {
            let good = member.good.as_ref().filter(|_| !member.is_going())?;
            let in_force = InForce { grants: good.grants.clone(), contribution: Arc::clone(&good.answer.contribution) };
            Some((member.name.clone(), in_force))
        };
        self.members.iter().filter_map(one).collect()
    }

    /// Whether ownership shrinks with [`Roster::accept`].
    pub fn is_leaving(&self) -> bool {
        self.members.iter().any(|member| {
            let chosen = member.chosen().map(|(_, grants)| grants);
            member.good.as_ref().is_some_and(|good| chosen != Some(&good.grants))
        })
    }

    /// Whether something takes the place of what is chosen if that is refused.
    pub fn has_fallback(&self, name: &PolicyName) -> bool {
        self.members.iter().any(|member| member.name == *name && member.good.is_some() && member.is_news())
    }

    /// What has left the configuration is gone from the kernel. Gives what could not be written.
    pub fn forget_leaving(&mut self) -> Vec<String> {
        self.forgotten.extend(self.members.iter().filter(|member| member.leaving).map(|member| member.name.clone()));
        self.members.retain(|member| !member.leaving);
        self.save();
        std::mem::take(&mut self.notes)
    }

    /// Digests of the components that are in force or on their way.
    pub fn digests(&self) -> BTreeSet<String> {
        let of_candidate = |member: &Member| match &member.candidate {
            Some(Candidate::Loaded(trial)) => Some(trial.version.loaded().digest().to_owned()),
            _ => None,
        };
        let in_force = self.members.iter().filter_map(|member| Some(member.good.as_ref()?.digest.clone()));
        in_force.chain(self.members.iter().filter_map(of_candidate)).collect()
    }

    /// Whether anything is known that can be put or kept in force while other policies are being loaded.
    pub fn can_begin(&self) -> bool {
        self.members
            .iter()
            .any(|member| member.good.is_some() || matches!(member.candidate, Some(Candidate::Loaded(_))))
    }

    /// What the policies are not that the configuration asks for.
    pub fn behind(&self) -> Behind {
        let mut behind = Behind::default();
        for member in self.members.iter().filter(|member| !member.leaving) {
            let trouble = member.trouble();
            let waits = trouble.as_ref().is_some_and(|trouble| trouble.waits);
            behind.missing |= member.chosen().is_none() && !waits;
            match trouble {
                Some(NoAnswer { reason, waits: true }) => {
                    behind.waiting.push(format!("policy {} {reason}; {}", member.name, member.what_is_left()));
                }
                Some(NoAnswer { reason, .. }) => behind.refused.push(format!("policy {}: {reason}", member.name)),
                None if member.chosen().is_none() => {
                    behind.loading.push(format!("policy {} is being loaded; {}", member.name, member.what_is_left()));
                }
                None => {}
            }
        }
        let unanswered: Vec<&str> = self.unanswered().map(|member| member.name.as_str()).collect();
        let stays = self.members.iter().filter(|member| member.stays);
        behind.staying.extend(stays.map(|member| {
            let name = &member.name;
            format!(
                "policy {name} is no longer configured; what it owns stays until every other policy has \
                 answered; missing: {}",
                unanswered.join(", ")
            )
        }));
        behind
    }

    /// Whether all that is configured is in force and on the disk: to the same facts nothing else can come.
    pub fn is_at_rest(&self) -> bool {
        self.notes.is_empty() && self.members.iter().all(Member::is_at_rest)
    }

    /// What an operator should know: records that can't be read or written.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// For the report.
    pub fn report(&self) -> Vec<PolicyReport> {
        let off = self.off.iter().map(|name| PolicyReport::new(name, PolicyState::Off));
        self.members
            .iter()
            .filter(|member| !member.leaving)
            .map(|member| member.report(&self.ceiling))
            .chain(off)
            .collect()
    }
}

impl Member {
    /// What is chosen is in force from now on.
    fn accept(&mut self, now: SystemTime) -> Option<Accepted> {
        if self.leaving {
            return None;
        }
        let new_version = self.trial().map(|(version, answer)| (Arc::clone(version), answer.clone()));
        let is_new = new_version.is_some();
        let (version, answer) = match new_version {
            Some(new) => new,
            None => (self.version.clone()?, self.answer.clone()?),
        };
        let (facts, answer) = answer;
        if let Some(good) = self.good.as_mut().filter(|good| !is_new && good.answer.contribution == answer.contribution)
        {
            if good.answer.warnings != answer.warnings {
                good.answer.warnings = answer.warnings;
                self.unsaved = self.unsaved.or(Some(now));
            }
            return None;
        }
        if is_new {
            tracing::info!("policy {}: version {} is in force", self.name, describe(&version));
            self.candidate = None;
            self.reason = None;
            self.answer = Some((Arc::clone(&facts), answer.clone()));
            self.version = Some(Arc::clone(&version));
        }
        let contribution = Arc::clone(&answer.contribution);
        self.good = Some(ActiveVersion {
            answer,
            facts: Some(Arc::clone(&facts)),
            grants: version.grants().clone(),
            limits: version.loaded().limits().clone(),
            settings: Arc::clone(version.settings()),
            digest: version.loaded().digest().to_owned(),
            version: version.loaded().description().version.clone(),
        });
        self.unsaved = self.unsaved.or(Some(now));
        Some(Accepted { version, facts, contribution, new_version: is_new })
    }
}

#[cfg(test)]
mod tests;
