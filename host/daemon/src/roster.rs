//! The policies of the configuration, each with its last good answer.
//!
//! A policy that fails in any way (it can't be loaded, traps, is refused by the check or by the rehearsal) keeps the
//! contribution that was last in force, also across restarts. It never becomes an empty one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruleward_core::check::{self, Checked, OutputLimits};
use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use ruleward_core::ownership::Ownership;

use crate::config::{Config, LimitsConfig, Mode, PolicyConfig};
use crate::policies::last_good::{self, LastGood};
use crate::policies::{Cause, Limits, LoadedPolicy, Log, LogLevel, PolicyEngine, Refusal};
use crate::report::{PolicyReport, PolicyState};

/// All policies of the configuration.
pub struct Roster {
    members: Vec<Member>,
    off: Vec<PolicyName>,
    state_directory: PathBuf,
}

/// One enabled policy.
struct Member {
    name: PolicyName,
    grants: Grants,
    settings: String,
    output: OutputLimits,
    loaded: Result<LoadedPolicy, String>,
    /// What the policy answered last, and to which facts.
    answer: Option<(Arc<Facts>, Answer)>,
    /// What was in force last.
    good: Option<Answer>,
    /// Why the last answer is not the one in force.
    reason: Option<String>,
}

/// A contribution that passed the check.
#[derive(Clone)]
struct Answer {
    contribution: Arc<Contribution>,
    checked: Arc<Checked>,
}

impl Roster {
    /// Loads every enabled policy and what it answered before. A policy that can't be loaded is in the roster with
    /// the reason.
    pub fn open(config: &Config, engine: &PolicyEngine) -> Self {
        let enabled = config.policies.iter().filter(|(_, policy)| policy.mode == Mode::Enforce);
        let off = config.policies.iter().filter(|(_, policy)| policy.mode == Mode::Off);
        let members = enabled.map(|(name, policy)| Member::open(name, policy, engine)).collect();
        Self {
            members,
            off: off.map(|(name, _)| name.clone()).collect(),
            state_directory: config.state_directory.clone(),
        }
    }

    /// Who owns what.
    pub fn ownership(&self) -> Ownership {
        Ownership::new(self.members.iter().map(|member| (member.name.clone(), member.grants.clone())).collect())
    }

    /// Asks every policy. Without `facts` (they could not be read) the last answers count.
    pub fn evaluate(&mut self, facts: Option<&Arc<Facts>>, families: Families) {
        for member in &mut self.members {
            if member.good.is_none() {
                member.recall(&self.state_directory, families);
            }
            if let Some(facts) = facts {
                member.evaluate(facts, families);
            }
        }
    }

    /// What is to be put in force: the newest answer of each policy, or its last good one.
    ///
    /// # Errors
    /// Names of policies that have neither: nothing may be written before they have answered once.
    pub fn contributions(&self) -> Result<Vec<Arc<Checked>>, Vec<PolicyName>> {
        let silent: Vec<PolicyName> =
            self.members.iter().filter(|member| member.chosen().is_none()).map(|member| member.name.clone()).collect();
        if !silent.is_empty() {
            return Err(silent);
        }
        Ok(self.members.iter().filter_map(|member| Some(Arc::clone(&member.chosen()?.checked))).collect())
    }

    /// Policies whose newest answer is not the one that was in force last.
    pub fn candidates(&self) -> Vec<PolicyName> {
        self.members.iter().filter(|member| member.is_candidate()).map(|member| member.name.clone()).collect()
    }

    /// What would be put in force if of all candidates only `name` were taken.
    pub fn contributions_with_only(&self, name: &PolicyName) -> Vec<Arc<Checked>> {
        let choose = |member: &Member| {
            let newest = member.name == *name || member.good.is_none();
            let answer = if newest { member.chosen() } else { member.good.as_ref() };
            answer.map(|answer| Arc::clone(&answer.checked))
        };
        self.members.iter().filter_map(choose).collect()
    }

    /// The newest answer of `name` can't be put in force: its last good one counts again.
    pub fn refuse(&mut self, name: &PolicyName, reason: String) {
        if let Some(member) = self.members.iter_mut().find(|member| member.name == *name) {
            member.answer = None;
            member.set_reason(Some(reason));
        }
    }

    /// Everything chosen has been proven: it is good from now on, and is kept for the next start.
    ///
    /// Gives what could not be stored.
    pub fn accept(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for member in &mut self.members {
            let Some((_, answer)) = &member.answer else { continue };
            let known = member.good.as_ref().is_some_and(|good| good.contribution == answer.contribution);
            member.good = Some(answer.clone());
            if known {
                continue;
            }
            let Ok(loaded) = &member.loaded else { continue };
            let kept = LastGood {
                policy: member.name.clone(),
                digest: loaded.digest().to_owned(),
                settings_hash: last_good::settings_hash(&member.settings),
                contribution: (*answer.contribution).clone(),
            };
            if let Err(error) = last_good::store(&self.state_directory, &kept) {
                notes.push(format!(
                    "{}: the answer is in force but could not be kept for the next start: {error}",
                    member.name
                ));
            }
        }
        notes
    }

    /// For the report.
    pub fn report(&self) -> Vec<PolicyReport> {
        let off = self.off.iter().map(|name| PolicyReport {
            name: name.to_string(),
            version: None,
            digest: None,
            state: PolicyState::Off,
            reason: None,
            chains: 0,
            rules: 0,
            sets: 0,
        });
        self.members.iter().map(Member::report).chain(off).collect()
    }
}

impl Member {
    fn open(name: &PolicyName, policy: &PolicyConfig, engine: &PolicyEngine) -> Self {
        let (limits, output) = limits(&policy.limits);
        let loaded = engine
            .load(name, &policy.component, &limits)
            .map_err(|error| format!("the component {} {}", error.path.display(), error.problem));
        let loaded = loaded.and_then(|loaded| {
            loaded.check_settings(&policy.settings).map_err(|error| format!("{}: {error}", policy.place))?;
            Ok(loaded)
        });
        if let Err(reason) = &loaded {
            tracing::error!("policy {name}: {reason}");
        }
        Self {
            name: name.clone(),
            grants: policy.grants.clone(),
            settings: policy.settings.to_string(),
            output,
            reason: loaded.as_ref().err().cloned(),
            loaded,
            answer: None,
            good: None,
        }
    }

    fn check(&self, contribution: Contribution, families: Families) -> Result<Answer, String> {
        let checked =
            check::check(&self.name, &self.grants, |family| families.contains(family), self.output, &contribution);
        match checked {
            Ok(checked) => Ok(Answer { contribution: Arc::new(contribution), checked: Arc::new(checked) }),
            Err(refusals) => {
                let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                Err(lines.join("; "))
            }
        }
    }

    /// Reads what was good before the last restart.
    fn recall(&mut self, state_directory: &Path, families: Families) {
        match last_good::load(state_directory, &self.name) {
            Ok(None) => {}
            Ok(Some(kept)) => match self.check(kept.contribution, families) {
                Ok(answer) => self.good = Some(answer),
                Err(reason) => tracing::warn!("policy {}: its kept answer does not fit any more: {reason}", self.name),
            },
            Err(error) => tracing::warn!("policy {}: its kept answer can't be read: {error}", self.name),
        }
    }

    fn evaluate(&mut self, facts: &Arc<Facts>, families: Families) {
        if self.answer.as_ref().is_some_and(|(asked, _)| asked == facts) {
            return; // same facts, settings and component: same answer
        }
        let Ok(loaded) = &self.loaded else { return };
        self.answer = None;
        let answered = match loaded.evaluate(facts, &self.grants, &self.settings) {
            Ok(evaluation) => {
                forward(&self.name, &evaluation.log);
                self.check(evaluation.contribution, families)
            }
            Err(error) => {
                forward(&self.name, &error.log);
                Err(format!("{error}{}", self.whose_setting(&error.cause)))
            }
        };
        match answered {
            Ok(answer) => {
                self.answer = Some((Arc::clone(facts), answer));
                self.set_reason(None);
            }
            Err(reason) => self.set_reason(Some(reason)),
        }
    }

    /// A pointer such as `/chains/3/rules/0` says little to a person; the name of what it points into says more.
    fn whose_setting(&self, cause: &Cause) -> String {
        let Cause::Refused(Refusal::Settings { place, .. }) = cause else { return String::new() };
        let Ok(settings) = serde_json::from_str::<serde_json::Value>(&self.settings) else { return String::new() };
        let mut pointer = place.as_str();
        while let Some(at) = pointer.rfind('/') {
            pointer = &pointer[..at];
            if let Some(name) =
                settings.pointer(pointer).and_then(|value| value.get("name")).and_then(|name| name.as_str())
            {
                return format!(" (in {pointer}, which is {name:?})");
            }
        }
        String::new()
    }

    /// One line in the log when it changes, not at every refresh.
    fn set_reason(&mut self, reason: Option<String>) {
        if self.reason == reason {
            return;
        }
        let left = if self.good.is_some() { "its last good answer stays in force" } else { "nothing is written" };
        match &reason {
            Some(reason) => tracing::error!("policy {}: {reason}; {left}", self.name),
            None => tracing::info!("policy {}: answers again", self.name),
        }
        self.reason = reason;
    }

    fn chosen(&self) -> Option<&Answer> {
        self.answer.as_ref().map(|(_, answer)| answer).or(self.good.as_ref())
    }

    fn is_candidate(&self) -> bool {
        match (&self.answer, &self.good) {
            (Some((_, answer)), Some(good)) => answer.contribution != good.contribution,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn report(&self) -> PolicyReport {
        let state = match (&self.answer, &self.good) {
            (Some(_), _) => PolicyState::Current,
            (None, Some(_)) => PolicyState::LastGood,
            (None, None) => PolicyState::NeverAnswered,
        };
        let count = |count: fn(&Contribution) -> usize| self.chosen().map_or(0, |answer| count(&answer.contribution));
        PolicyReport {
            name: self.name.to_string(),
            version: self.loaded.as_ref().ok().map(|loaded| loaded.description().version.clone()),
            digest: self.loaded.as_ref().ok().map(|loaded| loaded.digest().to_owned()),
            state,
            reason: self.reason.clone(),
            chains: count(|contribution| contribution.chains.len()),
            rules: count(|contribution| {
                contribution.chains.iter().map(|chain| chain.rules.len()).sum::<usize>()
                    + contribution.attachments.len()
            }),
            sets: count(|contribution| contribution.sets.len()),
        }
    }
}

/// What a policy logged goes into the log under its name.
fn forward(policy: &PolicyName, log: &Log) {
    for line in &log.lines {
        match line.level {
            LogLevel::Debug => tracing::debug!("policy {policy} says: {}", line.message),
            LogLevel::Info => tracing::info!("policy {policy} says: {}", line.message),
            LogLevel::Warn => tracing::warn!("policy {policy} says: {}", line.message),
            LogLevel::Error => tracing::error!("policy {policy} says: {}", line.message),
        }
    }
    if log.dropped > 0 {
        tracing::warn!("policy {policy} logged {} lines more than limits.log-lines allows", log.dropped);
    }
}

/// The configured limits over the engine's defaults, and the part of them that the check applies.
fn limits(config: &LimitsConfig) -> (Limits, OutputLimits) {
    let default = Limits::default();
    let limits = Limits {
        memory: config.memory.unwrap_or(default.memory),
        time: config.time.unwrap_or(default.time),
        fuel: config.fuel.unwrap_or(default.fuel),
        chains: config.chains.unwrap_or(default.chains),
        rules: config.rules.unwrap_or(default.rules),
        members: config.members.unwrap_or(default.members),
        log_lines: config.log_lines.unwrap_or(default.log_lines),
        output: config.output.unwrap_or(default.output),
        ..default
    };
    let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let output = OutputLimits { chains: most(limits.chains), rules: most(limits.rules), members: most(limits.members) };
    (limits, output)
}
